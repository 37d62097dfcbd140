"""Rows of scores to numbers. An item without a score is counted, never turned into one."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from editlane.errors import UserError
from editlane.types import SCALE, Item, State

Row = Mapping[str, Any]


class Spread(TypedDict):
    """How the scores of `n` rows are spread. Nothing is said (null) where nothing was scored."""

    n: int
    """Rows that should exist."""
    scored: int
    mean: float | None
    std: float | None
    """Sample standard deviation; null for fewer than two scores."""
    median: float | None
    min: float | None
    max: float | None
    coverage: float | None
    """scored / n, 0..1."""
    bounds: tuple[float, float] | None
    """The mean if every row without a score had got the lowest, and the highest, score of the scale."""


class UnchangedCount(TypedDict):
    count: int
    """Edits that do not differ from their source."""
    n: int
    """Edits there are."""


class Summary(Spread):
    """`S` of the report: the spread of the item scores, and how the items ended."""

    states: dict[str, int]
    """Every state, also those that did not occur."""
    missing: int
    """Rows that do not exist yet: part of n, of no state."""
    unchanged: UnchangedCount


def spread(values: Iterable[float | None], expected: int) -> Spread:
    """The spread of the values that are there, out of `expected` ones."""
    scores = np.array([value for value in values if value is not None], dtype=np.float64)
    count = len(scores)
    lowest, highest = (np.concatenate([scores, np.full(expected - count, end)]) for end in SCALE)
    return {
        "n": expected,
        "scored": count,
        "mean": float(scores.mean()) if count else None,
        "std": float(scores.std(ddof=1)) if count > 1 else None,
        "median": float(np.median(scores)) if count else None,
        "min": float(scores.min()) if count else None,
        "max": float(scores.max()) if count else None,
        "coverage": count / expected if expected else None,
        "bounds": (float(lowest.mean()), float(highest.mean())) if expected else None,
    }


def summarise(rows: Sequence[Row], expected: int) -> Summary:
    """The numbers of some rows, of which there should be `expected`. Needs state, score and unchanged."""
    found = Counter(row["state"] for row in rows)
    compared = [row["unchanged"] for row in rows if row["unchanged"] is not None]
    return {
        **spread((row["score"] for row in rows if row["state"] == State.SCORED), expected),
        "states": {str(state): found[state] for state in State},
        "missing": expected - len(rows),
        "unchanged": {"count": sum(compared), "n": len(compared)},
    }


def report_numbers(
    rows: Sequence[Row],
    items: Sequence[Item],
    editors: Sequence[str],
    judges: Sequence[str],
    *,
    run: str,
    criteria: Sequence[str] = (),
    categories: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The object of `report.json`. A complete run has `rows` = items x editors x judges and `missing` = 0.

    Categories come in the given order, then those of further items in theirs. Of `criteria` each judge has those that
    it answered for any editor. Raises UserError where rows are doubled, belong to no item, editor or judge of the run,
    or carry a score that their state does not allow.
    """
    check_rows(rows, items, editors, judges)
    sizes = dict.fromkeys(categories, 0)
    for item in items:
        sizes[item.category] = sizes.get(item.category, 0) + 1
    cells: dict[tuple[str, str], list[Row]] = {(editor, judge): [] for editor in editors for judge in judges}
    for row in rows:
        cells[row["editor"], row["judge"]].append(row)
    asked = {judge: _asked([row for row in rows if row["judge"] == judge], criteria) for judge in judges}
    return {
        "run": run,
        "items": len(items),
        "rows": len(rows),
        "missing": len(items) * len(cells) - len(rows),
        "editors": {
            editor: {judge: _cell(cells[editor, judge], sizes, asked[judge]) for judge in judges} for editor in editors
        },
        "provenance": dict(provenance or {}),
    }


def _asked(rows: Sequence[Row], criteria: Sequence[str]) -> list[str]:
    """The criteria that the judge of these rows answered at least once; the table holds those of all judges."""
    columns = {name: (f"mode_{name}", f"score_{name}") for name in criteria}
    return [name for name in criteria if any(row.get(column) is not None for row in rows for column in columns[name])]


def _cell(rows: Sequence[Row], sizes: Mapping[str, int], criteria: Sequence[str]) -> dict[str, Any]:
    """What one judge says of one editor."""
    total = sum(sizes.values())
    scored = [row for row in rows if row["state"] == State.SCORED]
    return {
        "overall": summarise(rows, total),
        "categories": {
            category: summarise([row for row in rows if row["category"] == category], size)
            for category, size in sizes.items()
        },
        "criteria": {name: spread((row[f"score_{name}"] for row in scored), total) for name in criteria},
        "errors": error_kinds(rows),
    }


def error_kinds(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """State to error kind to count, for the rows without a score."""
    failed = [row for row in rows if row["state"] != State.SCORED]
    counts = Counter((str(row["state"]), row["error_kind"] or "not given") for row in failed)
    found: dict[str, dict[str, int]] = {}
    for (state, kind), count in sorted(counts.items()):
        found.setdefault(state, {})[kind] = count
    return found


def check_rows(rows: Sequence[Row], items: Sequence[Item], editors: Sequence[str], judges: Sequence[str]) -> None:
    """Raise UserError for the first row that must not be counted."""
    category = {item.item_id: item.category for item in items}
    seen: set[tuple[str, str, str]] = set()
    for row in rows:
        cell = (row["item_id"], row["editor"], row["judge"])
        score, scored = row["score"], row["state"] == State.SCORED
        if cell in seen:
            problem = "there is a second row for it"
        elif category.get(row["item_id"]) != row["category"]:
            problem = f"the items table has no such item in category {row['category']!r}"
        elif row["editor"] not in editors or row["judge"] not in judges:
            problem = "this editor or judge is not expected in this run"
        elif row["state"] not in list(State):
            problem = f"the state {row['state']!r} is unknown"
        elif scored != (score is not None):
            problem = f"state {row['state']!r} and score {score} contradict each other"
        elif scored and not SCALE[0] <= score <= SCALE[1]:
            problem = f"the score {score} lies outside {SCALE[0]:g}..{SCALE[1]:g}"
        else:
            seen.add(cell)
            continue
        raise UserError(
            f"Cannot report item {cell[0]!r}, editor {cell[1]!r}, judge {cell[2]!r}: {problem}. The scores and the "
            "items table must come from one run; run merge_scores.py again with the run's own files."
        )
