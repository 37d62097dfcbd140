"""Read what the report is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editlane import tables
from editlane.errors import UnknownName, UserError
from editlane.metrics import Row, report_numbers
from editlane.types import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run, checked and counted."""

    numbers: dict[str, Any]
    """The object of report.json."""
    items: list[Item]
    rows: dict[tuple[str, str, str], Row]
    """By item_id, editor and judge; a partial run lacks some."""
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
) -> Report:
    """Read both tables. Editors, judges and categories are those given, else those that have rows.

    Raises UserError where a table is damaged, where the two do not fit together, or where the baseline is unknown.
    """
    rows, all_items = tables.read_rows(scores), tables.read_items(items)
    editors = list(editors or dict.fromkeys(row["editor"] for row in rows))
    judges = list(judges or dict.fromkeys(row["judge"] for row in rows))
    if not editors or not judges:
        raise UserError(
            f"{scores} has no rows to name editors and judges; give --expected-editors and --expected-judges."
        )
    if baseline is not None:
        if baseline not in editors:
            raise UnknownName("baseline", baseline, editors)
        editors = [baseline, *(editor for editor in editors if editor != baseline)]
    criteria = [name.removeprefix("mode_") for name in tables.read_columns(scores) if name.startswith("mode_")]
    categories = list(dict.fromkeys([*categories, *(item.category for item in all_items)]))
    numbers = report_numbers(
        rows,
        all_items,
        editors,
        judges,
        run=run,
        criteria=criteria,
        categories=categories,
        provenance={"dataset": tables.read_provenance(items)} | tables.read_provenance(scores),
    )
    return Report(
        numbers=numbers,
        items=all_items,
        rows={(row["item_id"], row["editor"], row["judge"]): row for row in rows},
        editors=editors,
        judges=judges,
        categories=categories,
        criteria=criteria,
        baseline=baseline,
    )


def models(report: Report) -> list[tuple[str, str, dict[str, Any]]]:
    """(kind, name, what the provenance says) of every editor and judge."""
    provenance = report.numbers["provenance"]
    return [
        (kind.removesuffix("s"), name, _record(provenance.get(kind), name))
        for kind, names in (("editors", report.editors), ("judges", report.judges))
        for name in names
    ]


def _record(records: Any, name: str) -> dict[str, Any]:
    record = records.get(name) if isinstance(records, Mapping) else None
    return dict(record) if isinstance(record, Mapping) else {}
