"""Read and check human ratings and the scores they are compared with, and arrange them as arrays. Write ratings.

A ratings file has one row per item, system and rater: `item, system, rater, score`, and what was rated (`Subject`),
which older files lack. The column names of Editlane's own tables, `item_id` and `editor`, are accepted, too.
"""

import csv
import hashlib
import io
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from editlane.core.errors import UnknownName, UserError, format_value
from editlane.core.text_width import pluralize
from editlane.core.types import State
from editlane.images.files import write_atomically
from editlane.ratings.rows import read_name, read_number, read_rows

COLUMNS = ("item", "system", "rater", "score")
SUBJECT_COLUMNS = ("source_sha256", "edited_sha256", "instruction_sha256")
_SHA256 = re.compile("[0-9a-f]{64}")


class Subject(NamedTuple):
    """What was rated or scored, as SHA-256 in hex. A name stays when an edit is made anew; its subject does not."""

    source: str
    edit: str
    """Empty if there is no edit."""
    instruction: str


class Rating(NamedTuple):
    item: str
    system: str
    rater: str
    score: float
    """On any scale; NaN if the rater gave none."""
    subject: Subject | None = None
    """None if the file does not tell."""


class Score(NamedTuple):
    item: str
    system: str
    judge: str
    score: float
    """NaN unless it was scored."""
    source: str
    """The SHA-256 of the source image, or the item's id if the table has no such column."""
    subject: Subject | None = None
    """None if the table does not tell."""


class Aligned(NamedTuple):
    """Ratings and the scores of one judge as arrays, NaN = missing. All names are sorted."""

    items: list[str]
    systems: list[str]
    raters: list[str]
    ratings: NDArray[np.float64]
    """(items, systems, raters)"""
    scores: NDArray[np.float64]
    """(items, systems)"""
    sources: NDArray[np.str_]
    """(items,)"""
    unknown: dict[str, dict[str, int]]
    """For the `items` and `systems` without rows of the judge, the number of ignored ratings of each."""
    not_scored: int
    """Ratings that are ignored because the judge has a row, but no score."""


def hash_instruction(instruction: str) -> str:
    """Return the SHA-256 of an instruction's UTF-8."""
    return hashlib.sha256(instruction.encode()).hexdigest()


def read_ratings(paths: Iterable[Path]) -> list[Rating]:
    """Read all ratings of the files (.csv, .tsv, .parquet).

    Raises UserError for an invalid row, and for a second rating of the same item and system by the same rater, unless
    both name their subject and these differ.
    """
    found: dict[tuple[str, str, str], list[tuple[Rating, Path]]] = defaultdict(list)
    ratings = []
    for path in paths:
        for where, row in read_rows(path, COLUMNS, ("source", *SUBJECT_COLUMNS[1:])):
            item, system, rater = (read_name(path, where, row, name) for name in COLUMNS[:3])
            rating = Rating(item, system, rater, read_number(path, where, row), _read_subject(path, where, row))
            for other, place in found[rating[:3]]:
                if other.subject == rating.subject or None in (other.subject, rating.subject):
                    also = f" (also in {place})" if place != path else ""
                    raise UserError(
                        f"{path}, {where}: a second rating of item {rating.item!r}, system {rating.system!r} by rater "
                        f"{rating.rater!r}{also}. Remove the wrong one."
                    )
            found[rating[:3]].append((rating, path))
            ratings.append(rating)
    return ratings


def _read_subject(path: Path, where: str, row: Mapping[str, Any]) -> Subject | None:
    """Read what a rating is of: three SHA-256, or nothing in files by hand and of older versions."""
    cells = [str(row.get(name) or "").strip().lower() for name in ("source", *SUBJECT_COLUMNS[1:])]
    if not any(cells):
        return None
    for name, cell in zip(SUBJECT_COLUMNS, cells, strict=True):
        if not _SHA256.fullmatch(cell):
            raise UserError(
                f"{path}, {where}: {name} is {format_value(cell)}, which is not a SHA-256 of 64 hex digits."
            )
    return Subject(*cells)


def write_ratings(path: Path, ratings: Iterable[Rating]) -> None:
    """Write a CSV file atomically. Whole numbers have no decimal point, and NaN is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS + SUBJECT_COLUMNS)
    for rating in ratings:
        score = "" if math.isnan(rating.score) else f"{rating.score:.15g}"
        writer.writerow((*rating[:3], score, *(rating.subject or ("", "", ""))))
    write_atomically(path, text.getvalue().encode())


def read_scores(path: Path) -> list[Score]:
    """Read a scores table: scores.parquet of a run, or a .csv or .tsv with item, system, score and optionally judge.

    Without a column `judge` the judge is named after the file. Raises UserError for duplicate rows.
    """
    seen = set()
    scores = []
    optional = ("judge", "state", "source", "edited_sha256", "instruction")
    for where, row in read_rows(path, ("item", "system", "score"), optional):
        item, system = read_name(path, where, row, "item"), read_name(path, where, row, "system")
        judge = read_name(path, where, row, "judge") if "judge" in row else path.stem
        scored = row.get("state", State.SCORED) == State.SCORED
        if (item, system, judge) in seen:
            raise UserError(f"{path}, {where}: a second row of item {item!r}, system {system!r}, judge {judge!r}.")
        seen.add((item, system, judge))
        score = read_number(path, where, row) if scored else math.nan
        subject = None
        if row.get("source") and row.get("instruction") and "edited_sha256" in row:
            told = str(row["source"]), str(row["edited_sha256"] or ""), hash_instruction(str(row["instruction"]))
            subject = Subject(*told)
        scores.append(Score(item, system, judge, score, str(row.get("source") or item), subject))
    if not scores:
        raise UserError(f"{path} has no rows.")
    return scores


def drop_outdated(ratings: Sequence[Rating], scores: Iterable[Score]) -> tuple[list[Rating], list[Rating]]:
    """Split ratings into (usable ones, those of another edit, source or instruction than was scored under that name).

    Where ratings or scores do not tell their subject, the names alone count. Of several ratings by one person under a
    name without scores, the last one counts. Raises UserError if it cannot be told which of several was scored.
    """
    subjects = {row[:2]: row.subject for row in scores}
    last = {rating[:3]: rating for rating in ratings}
    usable, outdated = [], []
    for rating in ratings:
        scored = subjects.get(rating[:2])
        if scored is None and last[rating[:3]] is not rating:
            if rating[:2] in subjects:
                raise UserError(
                    f"Rater {rating.rater!r} has rated two edits under the name of item {rating.item!r}, system "
                    f"{rating.system!r}, and the scores do not tell which of them they are of. Give the run's "
                    "scores.parquet, or remove one of the ratings."
                )
            outdated.append(rating)
        elif rating.subject and scored and scored != rating.subject:
            outdated.append(rating)
        else:
            usable.append(rating)
    return usable, outdated


def list_judges(scores: Iterable[Score], chosen: str | None = None) -> list[str]:
    """List the judges of a table in its order, or only the chosen one. Raises UnknownName."""
    judges = list(dict.fromkeys(row.judge for row in scores))
    if chosen is None:
        return judges
    if chosen not in judges:
        raise UnknownName("judge", chosen, judges)
    return [chosen]


def align(ratings: Sequence[Rating], scores: Iterable[Score], judge: str) -> Aligned:
    """Arrange ratings and one judge's scores as arrays, restricted to the items and systems that are in both.

    Raises UserError if no edit is both rated and scored.
    """
    table = {(row.item, row.system): row for row in scores if row.judge == judge}
    known_items, known_systems = {item for item, _ in table}, {system for _, system in table}
    given = [rating for rating in ratings if not math.isnan(rating.score)]
    unknown = {
        "items": Counter(rating.item for rating in given if rating.item not in known_items),
        "systems": Counter(rating.system for rating in given if rating.system not in known_systems),
    }
    known = [rating for rating in given if rating.item in known_items and rating.system in known_systems]
    used = [r for r in known if (r.item, r.system) in table and not math.isnan(table[r.item, r.system].score)]
    if not used:
        raise UserError(_explain_no_overlap(judge, len(ratings), len(given), unknown, len(known)))
    items, systems, raters = (sorted({str(rating[place]) for rating in used}) for place in range(3))
    cells = [table[item, system] for item in items for system in systems if (item, system) in table]
    sources = {cell.item: cell.source for cell in cells}
    return Aligned(
        items=items,
        systems=systems,
        raters=raters,
        ratings=make_rating_array(used, items, systems, raters),
        scores=_make_array([(*row[:2], row.score) for row in cells], items, systems),
        sources=np.array([sources[item] for item in items]),
        unknown={kind: dict(sorted(names.items())) for kind, names in unknown.items()},
        not_scored=len(known) - len(used),
    )


def make_rating_array(
    ratings: Iterable[Rating], items: Sequence[str], systems: Sequence[str], raters: Sequence[str]
) -> NDArray[np.float64]:
    """Arrange the ratings as float64 (items, systems, raters), NaN = missing."""
    return _make_array([rating[:4] for rating in ratings], items, systems, raters)


def _make_array(rows: Iterable[tuple[Any, ...]], *axes: Sequence[str]) -> NDArray[np.float64]:
    """Put the last value of each row at the position given by the names before it."""
    places = [{name: place for place, name in enumerate(axis)} for axis in axes]
    array = np.full([len(axis) for axis in axes], np.nan)
    for *names, value in rows:
        array[tuple(place[name] for place, name in zip(places, names, strict=True))] = value
    return array


def _explain_no_overlap(judge: str, rows: int, given: int, unknown: dict[str, Counter[str]], known: int) -> str:
    if not given:
        return f"None of {pluralize(rows, 'rating')} has a score." if rows else "The ratings files have no rows."
    parts = [
        f"{pluralize(len(names), kind.removesuffix('s'))} that it has no scores of ({list_first(sorted(names))})"
        for kind, names in unknown.items()
        if names
    ]
    if known:
        parts.append(f"{pluralize(known, 'rating')} of edits that it did not score")
    return (
        f"No rating can be compared with judge {judge!r}. The ratings have {' and '.join(parts)}. "
        "Items and systems must be named as in the scores table."
    )


def list_first(names: Sequence[str]) -> str:
    """List the first five names and the number of the others."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
