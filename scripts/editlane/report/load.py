"""Read the tables of a run and compute the numbers of its report."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from editlane.core import schemas, tables
from editlane.core.errors import UnknownName, UserError
from editlane.core.paths import RunPaths
from editlane.core.schemas import CostRow, ReferenceRow, criteria_among
from editlane.core.types import Control
from editlane.ratings.tables import read_ratings
from editlane.report.numbers import Inputs, compute_numbers
from editlane.report.rated import match_ratings

log = logging.getLogger(__name__)

CONTROL_COLUMNS = (
    *("item_id", "category", "editor", "judge", "judge_key", "state", "score", "edited_sha256", "control", "repeat"),
)
"""Columns of the controls table that the report reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run with its numbers."""

    numbers: dict[str, Any]
    """The object of report.json."""
    items: pd.DataFrame
    """The items table in its order, one row per item, with an index from 0."""
    scores: pd.DataFrame
    """The scores table with a column `item`, the index of the row's item in `items`. A partial run lacks some rows."""
    editors: list[str]
    """The baseline, if any, comes first."""
    judges: list[str]
    categories: list[str]
    criteria: list[str]
    baseline: str | None

    @property
    def cells(self) -> list[tuple[str, str]]:
        """All pairs of an editor and a judge, in order."""
        return [(editor, judge) for editor in self.editors for judge in self.judges]


def find_earlier_controls(run_dir: Path) -> list[Path]:
    """List the older controls tables of sibling runs, oldest first, to notice a judge that changed since.

    Those of runs that this user may not look into are skipped, with a warning.
    """
    run = RunPaths(run_dir)
    written: dict[Path, float] = {}
    for one in run.runs_beside():
        try:
            if one.controls.is_file():
                written[one.controls] = one.controls.stat().st_mtime
        except OSError as error:
            log.warning("the canary set is not compared with the run %s: %s", one.run_dir.name, error.strerror)
    since = written.get(run.controls, time.time())
    return sorted((path for path, at in written.items() if at < since), key=lambda path: (written[path], path))


def load_report(
    *,
    scores: Path,
    items: Path,
    run: str,
    editors: Sequence[str] = (),
    judges: Sequence[str] = (),
    categories: Sequence[str] = (),
    baseline: str | None = None,
    controls: Path | None = None,
    preservation: Path | None = None,
    costs: Path | None = None,
    pairs: Path | None = None,
    earlier: Sequence[Path] = (),
    votes: pd.DataFrame | None = None,
    ratings: Path | None = None,
) -> Report:
    """Read the tables. Editors, judges and categories default to those that have rows.

    A report that is made early has no `controls`, `preservation` and `costs`, and a run without an arena no `pairs`.
    `earlier` are the controls tables of other runs, the oldest first. `votes` are people's, on pairs; see
    `people_votes.compute_people`. `ratings` is a file of people's ratings. Raises UserError if a table is damaged, if
    the tables are not of one run, or if the baseline is unknown.
    """
    criteria = criteria_among(tables.read_columns(scores))
    rows = tables.read_frame(scores, schemas.scores_schema(criteria).names)
    item_rows = _read_items(items)
    editors, judges = _choose_names(rows, editors, judges, scores)
    editors = _put_first(baseline, editors)
    categories = list(dict.fromkeys([*categories, *item_rows["category"]]))
    inputs = Inputs(
        scores=rows,
        items=item_rows,
        controls=_read_own_table(controls, item_rows, editors, CONTROL_COLUMNS),
        preservation=_read_own_table(preservation, item_rows, editors, schemas.PRESERVATION.names),
        earlier=list(_read_canaries(earlier)),
        costs=_read_costs(costs, editors, judges),
        pairs=_read_pairs(pairs, item_rows, editors, judges),
        votes=votes,
        rated=match_ratings(read_ratings([ratings]), rows) if ratings else None,
    )
    provenance = {"dataset": tables.read_provenance(items)} | tables.read_provenance(scores)
    if pairs:
        provenance["arena"] = tables.read_provenance(pairs)
    named = {"editors": editors, "judges": judges, "categories": categories, "criteria": criteria}
    numbers = compute_numbers(inputs, run=run, provenance=provenance, **named)
    return Report(numbers=numbers, items=item_rows, scores=_add_places(rows, item_rows), baseline=baseline, **named)


def _choose_names(
    rows: pd.DataFrame, editors: Sequence[str], judges: Sequence[str], path: Path
) -> tuple[list[str], list[str]]:
    editors = list(editors or dict.fromkeys(rows["editor"]))
    judges = list(judges or dict.fromkeys(rows["judge"]))
    if not editors or not judges:
        raise UserError(
            f"{path} has no rows to name editors and judges; give --expected-editors and --expected-judges."
        )
    return editors, judges


def _add_places(rows: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    places = pd.Series(items.index, index=items["item_id"])
    return rows.assign(item=rows["item_id"].map(places).astype("int64"))


def list_references(items: pd.DataFrame) -> list[list[ReferenceRow]]:
    """Return the further images of each item."""
    return [[] if references is None else list(references) for references in items["references"]]


def _read_items(path: Path) -> pd.DataFrame:
    items = tables.read_frame(path, schemas.ITEMS.names)
    doubled = items["item_id"][items["item_id"].duplicated()]
    if len(doubled):
        raise UserError(f"{path} has the item {doubled.iloc[0]!r} twice. Give the items.parquet of the run.")
    return items


def _put_first(baseline: str | None, editors: list[str]) -> list[str]:
    if baseline is None:
        return editors
    if baseline not in editors:
        raise UnknownName("baseline", baseline, editors)
    return [baseline, *(editor for editor in editors if editor != baseline)]


def _read_own_table(
    path: Path | None, items: pd.DataFrame, editors: Sequence[str], columns: Sequence[str]
) -> pd.DataFrame | None:
    """Read a table about the edits of this run. Raises UserError if it belongs to another run."""
    if path is None:
        return None
    frame = tables.read_frame(path, columns)
    canary = frame["control"] == Control.CANARY if "control" in frame else False
    category = frame["item_id"].map(items.set_index("item_id")["category"].astype(object))
    foreign = (category != frame["category"].astype(object)) | ~frame["editor"].isin(editors)
    if (foreign & ~canary).any():
        first = frame[foreign & ~canary].iloc[0]
        raise UserError(
            f"{path} does not belong to this run: it has item {first['item_id']!r} of category {first['category']!r}, "
            f"editor {first['editor']!r}, which are not in the items and scores tables. Give this run's own table."
        )
    return frame


def _read_pairs(
    path: Path | None, items: pd.DataFrame, editors: Sequence[str], judges: Sequence[str]
) -> pd.DataFrame | None:
    """Read the arena's answers. Raises UserError if they belong to another run."""
    if path is None:
        return None
    frame = tables.read_frame(path, schemas.PAIRS.names)
    known = items.set_index("item_id")
    foreign = ~frame["editor_a"].isin(editors) | ~frame["editor_b"].isin(editors) | ~frame["judge"].isin(judges)
    for name in ("category", "source_sha256"):
        foreign |= frame["item_id"].map(known[name].astype(object)) != frame[name].astype(object)
    if foreign.any():
        first = frame[foreign].iloc[0]
        raise UserError(
            f"{path} does not belong to this run: it has item {first['item_id']!r} of category {first['category']!r}, "
            f"editors {first['editor_a']!r} and {first['editor_b']!r}, judge {first['judge']!r}, which are not those "
            "of the items and scores tables. Give this run's own table."
        )
    return frame


def _read_costs(path: Path | None, editors: Sequence[str], judges: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """Read the costs of this run's lanes. Raises UserError if they belong to another run."""

    def is_foreign(row: CostRow) -> bool:
        return row["editor"] not in (None, *editors) or row["judge"] not in (None, *judges)

    rows = tables.read_costs(path) if path else []
    foreign = next((row for row in rows if is_foreign(row)), None)
    if foreign:
        about = ", ".join(f"{name} {foreign[name]!r}" for name in ("editor", "judge") if foreign[name])
        raise UserError(f"{path} does not belong to this run: it has {about}. Give this run's own table.")
    return rows


def _read_canaries(earlier: Sequence[Path]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield (run, its controls). An unreadable table is skipped, because it must not prevent this run's report."""
    for path in earlier:
        try:
            yield (
                path.parent.name,
                tables.read_frame(path, ["control", "item_id", "judge_key", "edited_sha256", "score"]),
            )
        except UserError as error:
            log.warning("the canary set is not compared with that run: %s", error)


def list_models(report: Report) -> list[tuple[str, str, dict[str, Any]]]:
    """List (kind, name, provenance) of every editor and judge."""
    provenance = report.numbers["provenance"]
    return [
        (kind.removesuffix("s"), name, get_record(provenance, kind, name))
        for kind, names in (("editors", report.editors), ("judges", report.judges))
        for name in names
    ]


def get_record(provenance: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """Return the provenance of one of the `editors` or `judges`, or an empty dict."""
    records = provenance.get(kind)
    found = records.get(name) if isinstance(records, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}
