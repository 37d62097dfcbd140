"""Read what the report is about."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from editlane.core import schemas, tables
from editlane.core.errors import UnknownName, UserError
from editlane.core.schemas import criteria_among
from editlane.core.types import Control
from editlane.report.numbers import Inputs, compute_numbers

log = logging.getLogger(__name__)

CONTROL_COLUMNS = (
    *("item_id", "category", "editor", "judge", "judge_key", "state", "score", "edited_sha256", "control", "repeat"),
)
"""What the report needs of a control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run, checked and counted."""

    numbers: dict[str, Any]
    """The object of report.json."""
    items: pd.DataFrame
    """The items table, one row an item, in its order; the index counts them from 0."""
    scores: pd.DataFrame
    """The scores table, and `item`, the place of the row's item in `items`; a partial run lacks some rows."""
    editors: list[str]
    """The baseline, where there is one, comes first."""
    judges: list[str]
    categories: list[str]
    criteria: list[str]
    baseline: str | None

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Every editor with every judge, in order."""
        return [(editor, judge) for editor in self.editors for judge in self.judges]


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
    earlier: Sequence[Path] = (),
) -> Report:
    """Read the tables. Editors, judges and categories are those given, else those that have rows.

    `controls`, `preservation` and `costs` are left out of a report that comes before them; `earlier` are the controls
    tables of other runs, the oldest first. Raises UserError where a table is damaged, where the tables do not fit
    together, or where the baseline is unknown.
    """
    rows = tables.read_frame(scores, schemas.scores_schema(()).names, others=True)
    item_rows = tables.read_frame(items, schemas.ITEMS.names)
    doubled = item_rows["item_id"][item_rows["item_id"].duplicated()]
    if len(doubled):
        raise UserError(f"{items} has the item {doubled.iloc[0]!r} twice. Give the items.parquet of the run.")
    editors = list(editors or dict.fromkeys(rows["editor"]))
    judges = list(judges or dict.fromkeys(rows["judge"]))
    if not editors or not judges:
        raise UserError(
            f"{scores} has no rows to name editors and judges; give --expected-editors and --expected-judges."
        )
    if baseline is not None:
        if baseline not in editors:
            raise UnknownName("baseline", baseline, editors)
        editors = [baseline, *(editor for editor in editors if editor != baseline)]
    criteria = criteria_among(tables.read_columns(scores))
    categories = list(dict.fromkeys([*categories, *item_rows["category"]]))
    inputs = Inputs(
        scores=rows,
        items=item_rows,
        controls=_read_own_table(controls, item_rows, editors, CONTROL_COLUMNS),
        preservation=_read_own_table(preservation, item_rows, editors, schemas.PRESERVATION.names),
        earlier=list(_read_canaries(earlier)),
        costs=_read_costs(costs, editors, judges),
    )
    numbers = compute_numbers(
        inputs,
        editors,
        judges,
        run=run,
        criteria=criteria,
        categories=categories,
        provenance={"dataset": tables.read_provenance(items)} | tables.read_provenance(scores),
    )
    places = pd.Series(item_rows.index, index=item_rows["item_id"])
    return Report(
        numbers=numbers,
        items=item_rows,
        scores=rows.assign(item=rows["item_id"].map(places).astype("int64")),
        editors=editors,
        judges=judges,
        categories=categories,
        criteria=criteria,
        baseline=baseline,
    )


def _read_own_table(
    path: Path | None, items: pd.DataFrame, editors: Sequence[str], columns: Sequence[str]
) -> pd.DataFrame | None:
    """A table about the edits of this run. Raises UserError where it is about another run's."""
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
            f"editor {first['editor']!r}, which the items and scores tables do not know. Give this run's own table."
        )
    return frame


def _read_costs(path: Path | None, editors: Sequence[str], judges: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """The costs of this run's lanes. Raises UserError where they are another run's."""
    rows = tables.read_costs(path) if path else []
    foreign = next((row for row in rows if row["editor"] not in editors or row["judge"] not in (None, *judges)), None)
    if foreign:
        about = ", ".join(f"{name} {foreign[name]!r}" for name in ("editor", "judge") if foreign[name])
        raise UserError(f"{path} does not belong to this run: it is about {about}. Give this run's own table.")
    return rows


def _read_canaries(earlier: Sequence[Path]) -> Iterator[tuple[str, pd.DataFrame]]:
    """(run, its controls); a run whose table cannot be read is no reason to go without this run's report."""
    for path in earlier:
        try:
            yield (
                path.parent.name,
                tables.read_frame(path, ["control", "item_id", "judge_key", "edited_sha256", "score"]),
            )
        except UserError as error:
            log.warning("the canary set is not compared with that run: %s", error)


def list_models(report: Report) -> list[tuple[str, str, dict[str, Any]]]:
    """(kind, name, what the provenance says) of every editor and judge."""
    provenance = report.numbers["provenance"]
    return [
        (kind.removesuffix("s"), name, get_record(provenance, kind, name))
        for kind, names in (("editors", report.editors), ("judges", report.judges))
        for name in names
    ]


def get_record(provenance: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """What the provenance says of one of the `editors` or `judges`."""
    records = provenance.get(kind)
    found = records.get(name) if isinstance(records, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}
