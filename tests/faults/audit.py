"""What a fault did to the results of a run, item by item, held against a run that nothing disturbed."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

Row = dict[str, Any]

WHOSE = (
    "category", "instruction", "language", "source_path", "source_sha256", "edited_path", "edited_sha256", "seed",
    "editor_key", "judge_key",
)  # fmt: skip
"""Columns that say what a row is about; all others say what came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Numbers of items."""

    lost: int
    """No row, or an edit without its image."""
    doubled: int
    """More than one row, or finished more than once in the journal."""
    misattributed: int
    """A row, or an image, that is another item's in part or as a whole."""
    invented: int
    """A row that nobody asked for, or whose outcome is not what an undisturbed run gives."""


NONE = Damage(lost=0, doubled=0, misattributed=0, invented=0)


def damage(results: Path, found: Iterable[Row], expected: Iterable[Row], *, redone: int = 0) -> Damage:
    """The `found` rows of scores.parquet, their images and the journal, against the `expected` rows.

    `redone`: how many items had to be done again, because the fault took their finished work away.
    """
    wanted = {_name(row): row for row in expected}
    rows = list(found)
    counts = Counter(map(_name, rows))
    known = [row for row in rows if _name(row) in wanted]
    outcomes = Counter(_outcome(row) for row in wanted.values())
    alien, invented = 0, len(counts.keys() - wanted.keys())
    for row in known:
        mine = wanted[_name(row)]
        if any(row[column] != mine[column] for column in WHOSE):
            alien += 1
        elif _outcome(row) != _outcome(mine):
            alien += row["score"] is not None and _outcome(row) in outcomes
            invented += row["score"] is None or _outcome(row) not in outcomes
    images = [_image(results, row) for row in known if row["edited_path"] is not None]
    again = sum(count - 1 for count in finished(results).values())
    return Damage(
        lost=len(wanted.keys() - counts.keys()) + images.count("lost"),
        doubled=sum(count - 1 for count in counts.values()) + max(0, again - redone),
        misattributed=alien + images.count("another"),
        invented=invented,
    )


def _name(row: Row) -> tuple[str, str, str]:
    return row["item_id"], row["editor"], row["judge"]


def _outcome(row: Row) -> str:
    return repr(sorted((column, value) for column, value in row.items() if column not in (*WHOSE, "item_id")))


def _image(results: Path, row: Row) -> str:
    path = results / row["edited_path"]
    if not path.exists():
        return "lost"
    return "whole" if hashlib.sha256(path.read_bytes()).hexdigest() == row["edited_sha256"] else "another"


def finished(results: Path, pattern: str = "*/**/*.jsonl") -> Counter[tuple[str, str]]:
    """How often each (stage, key) was finished, by the journal's intact lines."""
    counts: Counter[tuple[str, str]] = Counter()
    for path in (results / "journal").glob(pattern):
        stage = path.relative_to(results / "journal").parts[0]
        for line in path.read_bytes().splitlines():
            text, _, checksum = line.partition(b"\t")
            if text.startswith(b'{"key"') and checksum == b"%08x" % crc32(text):
                counts[stage, json.loads(text)["key"]] += 1
    return counts
