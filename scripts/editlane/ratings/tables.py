"""Read and check human ratings and the scores they are compared with, and arrange them as arrays. Write ratings.

A ratings file has one row per item, system and rater: `item, system, rater, score`. The column names of Editlane's own
tables, `item_id` and `editor`, are accepted, too.
"""

import csv
import io
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from editlane.core.csv_files import CsvFile, check_columns_once
from editlane.core.errors import UnknownName, UserError
from editlane.core.types import State
from editlane.images.files import write_atomically

LARGEST = 1e9
"""Limit of a score's magnitude: far above any scale, and far below the overflow of a sum of squares."""

COLUMNS = ("item", "system", "rater", "score")
_ALIASES = {"item_id": "item", "editor": "system", "source_sha256": "source"}
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_NOTHING = ("", "nan", "na", "null", "none")


class Rating(NamedTuple):
    item: str
    system: str
    rater: str
    score: float
    """On any scale; NaN if the rater gave none."""


class Score(NamedTuple):
    item: str
    system: str
    judge: str
    score: float
    """NaN unless it was scored."""
    source: str
    """The SHA-256 of the source image, or the item's id if the table has no such column."""


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


def read_ratings(paths: Iterable[Path]) -> list[Rating]:
    """Read all ratings of the files (.csv, .tsv, .parquet).

    Raises UserError for an invalid row, and for a second rating of the same item and system by the same rater.
    """
    found: dict[tuple[str, str, str], Path] = {}
    ratings = []
    for path in paths:
        for where, row in _read_rows(path, COLUMNS):
            item, system, rater = (_read_name(path, where, row, name) for name in COLUMNS[:3])
            rating = Rating(item, system, rater, _read_number(path, where, row))
            if rating[:3] in found:
                also = f" (also in {found[rating[:3]]})" if found[rating[:3]] != path else ""
                raise UserError(
                    f"{path}, {where}: a second rating of item {rating.item!r}, system {rating.system!r} by rater "
                    f"{rating.rater!r}{also}. Remove the wrong one."
                )
            found[rating[:3]] = path
            ratings.append(rating)
    return ratings


def write_ratings(path: Path, ratings: Iterable[Rating]) -> None:
    """Write a CSV file atomically. Whole numbers have no decimal point, and NaN is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*rating[:3], "" if math.isnan(rating.score) else f"{rating.score:.15g}") for rating in ratings)
    write_atomically(path, text.getvalue().encode())


def read_scores(path: Path) -> list[Score]:
    """Read a scores table: scores.parquet of a run, or a .csv or .tsv with item, system, score and optionally judge.

    Without a column `judge` the judge is named after the file. Raises UserError for duplicate rows.
    """
    seen = set()
    scores = []
    for where, row in _read_rows(path, ("item", "system", "score"), ("judge", "state", "source")):
        item, system = _read_name(path, where, row, "item"), _read_name(path, where, row, "system")
        judge = _read_name(path, where, row, "judge") if "judge" in row else path.stem
        scored = row.get("state", State.SCORED) == State.SCORED
        if (item, system, judge) in seen:
            raise UserError(f"{path}, {where}: a second row of item {item!r}, system {system!r}, judge {judge!r}.")
        seen.add((item, system, judge))
        score = _read_number(path, where, row) if scored else math.nan
        scores.append(Score(item, system, judge, score, str(row.get("source") or item)))
    if not scores:
        raise UserError(f"{path} has no rows.")
    return scores


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
    return _make_array(ratings, items, systems, raters)


def _make_array(rows: Iterable[tuple[Any, ...]], *axes: Sequence[str]) -> NDArray[np.float64]:
    """Put the last value of each row at the position given by the names before it."""
    places = [{name: place for place, name in enumerate(axis)} for axis in axes]
    array = np.full([len(axis) for axis in axes], np.nan)
    for *names, value in rows:
        array[tuple(place[name] for place, name in zip(places, names, strict=True))] = value
    return array


def _explain_no_overlap(judge: str, rows: int, given: int, unknown: dict[str, Counter[str]], known: int) -> str:
    if not given:
        return f"None of the {rows} ratings has a score." if rows else "The ratings files have no rows."
    parts = [
        f"{len(names)} {kind} that it has no scores of ({list_first(sorted(names))})"
        for kind, names in unknown.items()
        if names
    ]
    if known:
        parts.append(f"{known} ratings of edits that it did not score")
    return (
        f"No rating can be compared with judge {judge!r}. There are {' and '.join(parts)}. "
        "Items and systems must be named as in the scores table."
    )


def list_first(names: Sequence[str]) -> str:
    """List the first five names and the number of the others."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _read_rows(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place in the file, row), with the columns under our names."""
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _read_parquet(path, needed, optional)
    elif suffix in _DELIMITERS:
        yield from _read_csv(path, _DELIMITERS[suffix], needed, optional)
    else:
        raise UserError(f"{path} ends in {path.suffix!r}; give a file that ends in .csv, .tsv or .parquet.")


def _map_columns(path: Path, found: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> dict[str, str]:
    """Map the file's column names to ours. A column's own name takes precedence over its alias."""
    check_columns_once(path, found)
    own = {name: _ALIASES.get(name, name) for name in found if _ALIASES.get(name) not in found}
    lacking = [name for name in needed if name not in own.values()]
    if lacking:
        raise UserError(
            f"{path} has no column {' and no column '.join(lacking)}; it has: {', '.join(found) or 'none'}."
        )
    return {name: ours for name, ours in own.items() if ours in (*needed, *optional)}


def _read_csv(
    path: Path, delimiter: str, needed: Sequence[str], optional: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    table = CsvFile(path, delimiter)
    columns = _map_columns(path, table.columns, needed, optional)
    for where, row in table.read_rows():
        yield where, {ours: row[name] for name, ours in columns.items()}


def _read_parquet(path: Path, needed: Sequence[str], optional: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        columns = _map_columns(path, pq.read_schema(path).names, needed, optional)
        table = pq.read_table(path, columns=list(columns), partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())}") from error
    for number, row in enumerate(table.to_pylist(), start=1):
        yield f"row {number}", {ours: row[name] for name, ours in columns.items()}


def _read_name(path: Path, where: str, row: dict[str, Any], column: str) -> str:
    """Read a name in NFC, like all names in a run, because macOS decomposes the letters of file names."""
    text = "" if row[column] is None else unicodedata.normalize("NFC", str(row[column])).strip()
    if not text:
        raise UserError(f"{path}, {where}: {column} is empty.")
    return text


def _read_number(path: Path, where: str, row: dict[str, Any]) -> float:
    """Read the score; NaN if the cell is empty."""
    text = str(row["score"]).strip()
    if text.lower() in _NOTHING:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if not abs(number) <= LARGEST:
        raise UserError(
            f"{path}, {where}: score is {text!r}; give a number up to {LARGEST:g}, or leave the cell empty."
        )
    return number
