"""Edits to ask a reward server about, what its judge says of them offline, and what an answer did wrong."""

import base64
import io
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from editlane.core.types import Item, Judge, Row
from editlane.judges.fake import FakeJudge, FakeJudgeParams
from editlane.protocols.asking import ask, prepare
from editlane.protocols.load import load_protocol
from editlane.protocols.protocol import ScoringProtocol
from editlane.protocols.scoring import build_questions

ROOT = Path(__file__).parents[2]
RUBRIC = ROOT / "resources/protocols/rubric.yaml"
CATEGORIES = ("物理", "环境", "社会", "因果", "指代")


def draw_png(number: int, size: tuple[int, int] = (24, 20)) -> bytes:
    """Return a small picture that depends on the number."""
    image = Image.new("RGB", size, (number % 256, number // 256 % 256, 90))
    image.putpixel((number % size[0], 3), (255, 255, 255))
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()


def draw_noise(number: int, side: int) -> bytes:
    """Return a picture of that side which does not compress: 3 bytes a pixel. 182 pixels are 100 kB."""
    encoded = io.BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(number).randbytes(3 * side * side)).save(encoded, "PNG")
    return encoded.getvalue()


def make_edit(number: int, **more: Any) -> dict[str, Any]:
    """Return edit number n, with its images as bytes. It depends only on n."""
    return {
        "id": f"项目-{number}",
        "source": draw_png(number % 7),
        "edited": draw_png(1000 + number),
        "instruction": f"让它下雨，第 {number} 次",
        "category": CATEGORIES[number % 5],
    } | more


def to_json(edits: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Return a body of /v1/score, with the images in base64."""
    return {"items": [dict(edit) | _encode(edit) for edit in edits]} | more


def _encode(edit: Mapping[str, Any]) -> dict[str, str]:
    images = {name: edit[name] for name in ("source", "edited") if isinstance(edit[name], bytes)}
    return {name: base64.b64encode(content).decode() for name, content in images.items()}


def judge_offline(edits: Sequence[Mapping[str, Any]], **params: Any) -> list[Row]:
    """Return the score columns that the fake judge gives these edits without a server."""
    return judge_with(FakeJudge(model=None, revision=None, params=FakeJudgeParams(**params)), edits)


def judge_with(judge: Judge, edits: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the score columns that a judge gives these edits, in one batch."""
    protocol = _load_rubric()
    asked = []
    for edit in edits:
        source, edited = (Image.open(io.BytesIO(edit[name])).convert("RGB") for name in ("source", "edited"))
        asked.append(build_questions(protocol, _make_item(edit), source, edited, protocol.select_criteria()))
    return ask(protocol, judge, prepare(judge, asked), [0] * len(asked))


@cache
def _load_rubric() -> ScoringProtocol:
    return load_protocol(RUBRIC)


def _make_item(edit: Mapping[str, Any]) -> Item:
    return Item(
        item_id="",
        category=edit["category"],
        instruction=edit["instruction"],
        language="",
        source_path="",
        source_sha256="",
        width=None,
        height=None,
        cost=1.0,
    )


def audit(edits: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]], **params: Any) -> Counter[str]:
    """Count what is wrong in the answers to a request: lost, doubled, misattributed, invented.

    An edit that honestly failed is none of these.
    """
    expected = judge_offline(edits, **params)
    found = Counter(lost=max(0, len(edits) - len(answers)), doubled=max(0, len(answers) - len(edits)))
    scores = {row["score"] for row in expected}
    for edit, answer, right in zip(edits, answers, expected, strict=False):
        if answer["id"] != edit["id"]:
            found["misattributed"] += 1
        elif answer["score"] is None or answer["score"] == right["score"]:
            continue
        elif answer["score"] in scores:
            found["misattributed"] += 1
        else:
            found["invented"] += 1
    return found
