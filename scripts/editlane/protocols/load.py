"""Read a protocol file and check how its keys fit together. The keys themselves are in file.py."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from editlane.core.checkout import CHECKOUT
from editlane.core.errors import UnknownName, UserError
from editlane.core.strict_model import read_model
from editlane.core.text_width import pluralize
from editlane.core.yaml_files import parse_yaml, read_content
from editlane.protocols.file import (
    CombinationFile,
    CriterionFile,
    GeneratedFile,
    ItemFile,
    ProtocolFile,
    ReadoutFile,
    ReplyFile,
    ScalarFile,
    ShownFile,
)
from editlane.protocols.pairwise_file import PAIRWISE, PairwiseFile, ShownPairFile
from editlane.protocols.protocol import (
    Combination,
    Criterion,
    GeneratedAnswer,
    ReadoutAnswer,
    ScalarAnswer,
    ScoringProtocol,
    ShownImage,
    rescale,
)


def load_protocol(path: Path) -> ScoringProtocol:
    """Read and check a protocol file. Raises UserError with the file, the key, the problem and the fix."""
    data, content = read_protocol_file(path)
    if is_pairwise(data):
        raise UserError(
            f"The protocol file {path} compares two edits (`kind: pairwise`), but a judge's `protocol:` scores one. "
            "Name it in `arena: {protocol: ...}`, and here one that scores, such as resources/protocols/rubric.yaml."
        )
    try:
        return _make_protocol(data, content)
    except UserError as error:
        raise UserError(f"The protocol file {path}: {error}") from error


def is_pairwise(data: Any) -> bool:
    """Return whether the content of a protocol file is one that compares two edits."""
    return isinstance(data, dict) and data.get("kind") == PAIRWISE


def read_protocol_file(path: Path) -> tuple[Any, bytes]:
    """Read a protocol file as data and as bytes. Raises UserError."""
    try:
        content = read_content(path)
    except FileNotFoundError as error:
        raise UserError(f"There is no protocol file {path}. Check `protocol:` in the config.") from error
    except OSError as error:
        raise UserError(f"The protocol file {path} cannot be read: {error.strerror}.") from error
    try:
        return parse_yaml(content), content
    except UserError as error:
        raise UserError(f"The protocol file {path} cannot be read as YAML: {error}.") from error


def list_fitting(categories: Sequence[str]) -> list[str]:
    """List Editlane's own protocol files that have a rubric for each of these categories."""
    own = {path.relative_to(CHECKOUT).as_posix(): path for path in CHECKOUT.glob("resources/protocols/*.yaml")}
    scoring = {name: load_protocol(path) for name, path in own.items() if not is_pairwise(read_protocol_file(path)[0])}
    return [name for name, protocol in sorted(scoring.items()) if not protocol.list_without_rubric(categories)]


def find_generally_judged(text: str, categories: Sequence[str]) -> list[str]:
    """List the categories that a protocol, given by its text, judges by its general rubric."""
    try:
        data = parse_yaml(text.encode())
    except UserError:  # a table that another program wrote may say anything
        return []
    if not isinstance(data, dict) or not data.get("general_rubric"):
        return []
    own = {unicodedata.normalize("NFC", str(name)) for name in data.get("rubrics") or ()}
    return [name for name in categories if unicodedata.normalize("NFC", name) not in own]


def _make_protocol(data: Any, content: bytes) -> ScoringProtocol:
    file = read_model(ProtocolFile, data, noun="key")
    criteria, answer = _make_criteria(file.criteria), _make_answer(file.answer)
    _check_replies(criteria, answer)
    return make_protocol(file, data, content, criteria=criteria, answer=answer, score=_make_score(file.score, criteria))


def make_protocol(file: ProtocolFile | PairwiseFile, data: Any, content: bytes, **asked: Any) -> ScoringProtocol:
    """Make a protocol of what all kinds of files have, and of what is `asked`: criteria, answer and score."""
    return ScoringProtocol(
        name=file.name,
        version=file.version,
        description=file.description,
        system=file.system,
        rubrics={unicodedata.normalize("NFC", name): text for name, text in file.rubrics.items()},
        general_rubric=file.general_rubric or "",
        images=make_images(file.images),
        item_texts=make_item_texts(file.item, data),
        sha256=hashlib.sha256(content).hexdigest(),
        text=content.decode("utf-8"),
        **asked,
    )


def make_images(shown: Sequence[ShownFile | ShownPairFile]) -> tuple[ShownImage, ...]:
    """Return the images of a file as those of a protocol."""
    return tuple(ShownImage(show=one.show, label=one.label) for one in shown)


def make_item_texts(file: ItemFile | None, data: Any) -> dict[str, str]:
    """Return the lines in the order of the file, which is the order of the prompt."""
    return {field: getattr(file, field) for field in data["item"]} if file else {}


def _make_criteria(files: dict[str, CriterionFile]) -> tuple[Criterion, ...]:
    asking = {name: one for name, one in files.items() if not isinstance(one, ReplyFile)}
    found = []
    for name, one in files.items():
        if isinstance(one, ReplyFile):
            if one.reply_of not in asking:
                raise UnknownName(f"criterion in criteria.{name}.reply_of:", one.reply_of, asking)
            optional = asking[one.reply_of].optional
            found.append(Criterion(name=name, question="", optional=optional, reply_of=one.reply_of))
        else:
            images = make_images(one.images) if one.images else None
            found.append(Criterion(name=name, question=one.question, optional=one.optional, images=images))
    return tuple(found)


def _check_replies(criteria: Sequence[Criterion], answer: ReadoutAnswer | GeneratedAnswer | ScalarAnswer) -> None:
    """Raise UserError unless one answer, or one pattern, can read the reply to every question."""
    followers = Counter(one.reply_of for one in criteria if one.reply_of)
    if not isinstance(answer, GeneratedAnswer):
        if followers:
            name = next(one.name for one in criteria if one.reply_of)
            what = "one token" if isinstance(answer, ReadoutAnswer) else "one number"
            raise UserError(f"criteria.{name}.reply_of: {what} answers one criterion. Give it a `question:`.")
        return
    groups = re.compile(answer.pattern).groups
    for one in criteria:
        numbers = 1 + followers[one.name]
        if not one.reply_of and groups != numbers:
            found = pluralize(groups, "group")
            wanted = "one, (...), around the number" if numbers == 1 else f"{numbers}, one (...) around each number"
            raise UserError(
                f"answer.pattern has {found}; use {wanted} of the reply to {one.name}, and (?:...) elsewhere."
            )


def _make_answer(file: ReadoutFile | GeneratedFile | ScalarFile) -> ReadoutAnswer | GeneratedAnswer | ScalarAnswer:
    if isinstance(file, ScalarFile):
        linear = file.map == "linear"
        width = file.high - file.low if linear else file.width
        return ScalarAnswer(map=file.map, origin=file.low if linear else file.center, width=width)
    if isinstance(file, GeneratedFile):
        low, high = file.range
        return GeneratedAnswer(max_new_tokens=file.max_new_tokens, pattern=file.pattern, low=low, high=high)
    low, high = min(file.values), max(file.values)
    values = tuple(rescale(value, low, high) for value in file.values)
    return ReadoutAnswer(answers=tuple(file.answers), values=values, min_mass=file.min_mass)


def _make_score(file: CombinationFile, criteria: Sequence[Criterion]) -> Combination:
    combination = _make_combination("score", file, [one.name for one in criteria])
    optional = [one.name for one in criteria if one.optional and one.name in combination.criteria]
    if optional:
        raise UserError(
            f"score: {', '.join(optional)} is optional, so it may be missing. "
            "Remove it from `score`, or remove `optional: true`."
        )
    return combination


def _make_combination(where: str, file: CombinationFile, known: Sequence[str]) -> Combination:
    where = f"{where}.{file.how}"
    parts: list[str | Combination] = []
    for number, part in enumerate(file.parts):
        if isinstance(part, str) and part not in known:
            raise UnknownName(f"criterion in {where}:", part, known)
        parts.append(part if isinstance(part, str) else _make_combination(f"{where}.{number}", part, known))
    return Combination(how=file.how, parts=tuple(parts))
