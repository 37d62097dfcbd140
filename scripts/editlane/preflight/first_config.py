"""Write the first config of a dataset: a commented YAML file with what was found in it."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from editlane.core.checkout import CHECKOUT
from editlane.core.errors import UserError
from editlane.core.printable import escape
from editlane.core.text_width import pluralize
from editlane.datasets.checking import check_records
from editlane.datasets.detect import detect_format, read_columns
from editlane.datasets.given_edits import open_folders
from editlane.datasets.item_ids import digest
from editlane.datasets.parsing import ENGLISH_CATEGORIES, Selection, Skipped, parse_records
from editlane.datasets.prepare import check_categories
from editlane.datasets.records import LANGUAGES
from editlane.preflight.control_counts import ENOUGH, ControlCounts
from editlane.preflight.devices import Devices
from editlane.preflight.run_config import ControlsConfig
from editlane.protocols.load import load_protocol

PROTOCOL = "resources/protocols/rubric.yaml"

MODELS = (("config/qwen.yaml", 79e9), ("config/small.yaml", 8e9), ("config/config.yaml", 0.0))
"""Shipped configs whose models to take, and the bytes of memory that each GPU must have for them."""

_FIELDS = {
    "image": "the source image",
    "images": "the images of an item, the source first",
    "edited": "the edit that is given",
    "category": "the category",
    "instruction": "the instruction",
    "turns": "the instructions of several turns, an item each",
    "item_id": "the item's id",
    "description": "what the image shows, told to the judge",
    "rationale": "what makes the edit difficult, told to the judge",
    "tags": "tags",
    "difficulty": "the difficulty",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a dataset holds."""

    selection: Selection
    columns: Sequence[str]
    sizes: Mapping[str, int]
    """Category -> number of items, the largest first."""
    uniform: Collection[str]
    """Categories whose items all have the same instruction."""
    fallback: int
    """Items without an instruction in the chosen language."""
    edited_dir: Path | None
    ignored: Collection[str]
    """Columns called like a list of ours that hold none."""


def look_at(dataset: Path, edited_dir: Path | None) -> Found:
    """Read a dataset to its end. Raises UserError for everything that would stop a run on it."""
    columns = read_columns(dataset)
    format = detect_format(dataset, columns)
    skipped = Skipped()
    for _ in parse_records(Selection(dataset=dataset, format=format, language="en", categories=()), skipped):
        pass
    if not skipped.categories:
        raise UserError(f"{dataset} has no records.")
    names = tuple(name for name, _ in skipped.categories.most_common())
    try:
        check_categories(names)
    except UserError as error:
        raise UserError(f"{dataset}: {error} Rename it there.") from error
    found = [_read(dataset, format, language, names, columns, edited_dir) for language in LANGUAGES]
    return min(found, key=lambda one: one.fallback)


def _read(
    dataset: Path,
    format: str,
    language: str,
    categories: tuple[str, ...],
    columns: Sequence[str],
    edited_dir: Path | None,
) -> Found:
    apart = edited_dir is not None
    selection = Selection(dataset=dataset, format=format, language=language, categories=categories, edits_apart=apart)
    instructions: defaultdict[str, set[str]] = defaultdict(set)
    sizes, fallback, skipped = Counter[str](), 0, Skipped()
    for record in check_records(selection, skipped, open_folders(edited_dir)):
        sizes[record.category] += 1
        fallback += record.language != language
        instructions[record.category].add(digest(record.instruction))
    return Found(
        selection=selection,
        columns=columns,
        sizes={name: sizes[name] for name in categories if sizes[name]},
        uniform={name for name, different in instructions.items() if len(different) < 2},
        fallback=fallback,
        edited_dir=edited_dir,
        ignored=skipped.columns,
    )


def write_config(found: Found, *, run: str, devices: Devices, command: str, schema: str) -> str:
    """Return the text of a config. Every line that a user may want to change says why it is as it is."""
    is_given = found.selection.format == "pairs" or found.edited_dir is not None
    models = choose_models(devices)
    shipped = yaml.safe_load((CHECKOUT / models).read_text(encoding="utf-8"))
    told = [
        f"yaml-language-server: $schema={schema}",
        f"Written by {command}",
        f"It has {pluralize(sum(found.sizes.values()), 'item')}. What its columns were taken for:",
        *(f"  {line}" for line in describe_columns(found)),
    ]
    lines = [
        *(f"# {escape(line)}" for line in told),  # a name with a line break would write keys
        "# Every key is described in config/README.md.",
        f"run: {quote(run)}    # results go to results/{run}/",
        *_write_dataset(found),
        *_write_lanes(found, devices),
        "seed: 42",
        *([] if is_given else _write_models("editors", shipped["editors"], models)),
        *_write_models("judges", {name: _set_protocol(judge) for name, judge in shipped["judges"].items()}, models),
        *_write_controls(found, 1 if is_given else len(shipped["editors"])),
    ]
    return "\n".join(lines) + "\n"


def describe_columns(found: Found) -> list[str]:
    """Say of each column what it was taken for."""
    names = found.selection.names
    taken = {names.get(field, field): meaning for field, meaning in _FIELDS.items()}
    for language in LANGUAGES:
        for field in ("instruction", "turns", "description", "rationale"):
            taken[f"{names.get(field, field)}_{language}"] = f"{_FIELDS[field]}, in the language {language!r}"
    if found.selection.format != "pairs":
        taken.pop("edited", None)
    taken |= dict.fromkeys(found.ignored, "not used, because it holds no list")
    return [f"{name}: {taken.get(name, 'not used')}" for name in found.columns]


def choose_models(devices: Devices) -> str:
    """Return the shipped config whose models fit on every GPU of this machine."""
    least = min((gpu.memory or 0 for gpu in devices.gpus), default=0)
    return next(name for name, needed in MODELS if least >= needed)


def _write_dataset(found: Found) -> list[str]:
    selection, total = found.selection, sum(found.sizes.values())
    protocol = load_protocol(CHECKOUT / PROTOCOL)
    general = protocol.list_generally_judged(found.sizes)
    in_it = total - found.fallback
    lines = [
        "dataset:",
        f"  path: {quote(str(selection.dataset))}",
        f"  format: {selection.format}",
        *([f"  edited_dir: {quote(str(found.edited_dir))}"] if found.edited_dir else []),
        f"  language: {selection.language}    # that of {in_it} of {pluralize(total, 'instruction')}",
        "  categories:    # remove those that you do not want",
    ]
    english = {name: alias for alias, name in reversed(ENGLISH_CATEGORIES.items())}
    for name, size in found.sizes.items():
        rubric = "judged by the general rubric" if name in general else "has a rubric of its own"
        also = f"{english[name]}; " if name in english else ""
        lines.append(f"    - {quote(name)}    # {also}{pluralize(size, 'item')}; {rubric}")
    return [*lines, "  # limit: 5    # a trial: the first 5 items of each category"]


def _write_lanes(found: Found, devices: Devices) -> list[str]:
    gpus = len(devices.gpus)
    lanes = max(1, min(gpus, sum(found.sizes.values())))
    why = f"one for each of the {gpus} GPUs of this machine" if gpus > 1 else "raise it to the number of GPUs"
    return [f"lanes: {lanes}    # {why}; changing it recomputes nothing"]


def _write_models(kind: str, models: Mapping[str, Any], source: str) -> list[str]:
    real = "" if source != MODELS[-1][0] else "; random weights, to try the way: replace them by config/small.yaml's"
    text = yaml.safe_dump(dict(models), allow_unicode=True, sort_keys=False, default_flow_style=None, width=110)
    return [f"{kind}:    # as in {source}{real}", *(f"  {line}" for line in text.splitlines())]


def _set_protocol(judge: Mapping[str, Any]) -> dict[str, Any]:
    return {**judge, "protocol": PROTOCOL}


def _write_controls(found: Found, editors: int) -> list[str]:
    least = ControlsConfig().least
    counts = ControlCounts(sizes=found.sizes, uniform=found.uniform, editors=editors, least=least)
    share = counts.find_share()
    asked = counts.count(share or 6)
    why = f"{asked} questions; a judge needs about {ENOUGH} of each kind and in each category to be accepted"
    if share is None:
        why += f", but there are {counts.count_rarest(6)}: add items"
    return [f"controls: {{share: {share or 6:g}}}    # {why}"]


def quote(text: str) -> str:
    """Return a text as YAML on one line, in quotes where YAML needs them."""
    return yaml.safe_dump(text, allow_unicode=True, width=10**6).removesuffix("\n").removesuffix("\n...")
