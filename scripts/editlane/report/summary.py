"""The numbers as tables of text, the same for Markdown and HTML."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from editlane.report.load import Report, models
from editlane.types import State

NONE = "–"
"""Stands where there is no number."""

SPREAD_COLUMNS = ("Scored", "n", "Coverage", "Mean", "Worst-case bounds", "Median", "Std", "Min", "Max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row: its name and its cells."""

    name: str
    cells: tuple[str, ...]
    editor: int | None = None
    """The editor's place in the report; gives its colour."""
    low: bool = False
    """Coverage below what the run asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    name: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows in groups. `heads` are the titles of the group's and the row's name; a single one means nameless groups."""

    title: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    numeric: bool = True


def facts(report: Report) -> list[tuple[str, str, str]]:
    """What was measured, as (label, name or number, detail)."""
    numbers = report.numbers
    sizes = Counter(item.category for item in report.items)
    rows, expected = numbers["rows"], numbers["rows"] + numbers["missing"]
    counts = (("item", len(report.items)), ("editor", len(report.editors)), ("judge", len(report.judges)))
    product = " × ".join(f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in counts)
    scored = sum(numbers["editors"][editor][judge]["overall"]["scored"] for editor, judge in report.cells)
    return [
        *((kind.capitalize(), name, _made_of(record)) for kind, name, record in models(report)),
        ("Items", str(len(report.items)), ", ".join(f"{name} {sizes[name]}" for name in report.categories)),
        ("Rows", str(rows), f"= {product}" if rows == expected else f"of {expected} = {product}"),
        ("Scored", str(scored), f"of {expected}, coverage {percent(scored / expected if expected else None)}"),
    ]


def _made_of(record: Mapping[str, Any]) -> str:
    """Model, revision, adapter and protocol, as far as they are known."""
    model, revision, protocol = (record.get(key) for key in ("model", "revision", "protocol"))
    if isinstance(protocol, Mapping):
        protocol = " ".join(str(protocol[key]) for key in ("name", "version") if protocol.get(key))
    parts = (
        f"{model} @ {revision}" if model and revision else model,
        f"adapter {record['adapter']}" if record.get("adapter") else None,
        f"protocol {protocol}" if protocol else None,
    )
    return ", ".join(str(part) for part in parts if part)


def number(value: float | None) -> str:
    """Two decimals."""
    return NONE if value is None else f"{value:.2f}"


def percent(share: float | None) -> str:
    """One decimal; 100% is said only where nothing is left out."""
    if share is None:
        return NONE
    return f"{min(share * 100, 99.9 if share < 1 else 100.0):.1f}%"


def is_low(s: Mapping[str, Any], min_coverage: float) -> bool:
    """Whether too few of these rows were scored."""
    return s["coverage"] is not None and s["coverage"] < min_coverage


def spread_cells(s: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of SPREAD_COLUMNS."""
    bounds = NONE if s["bounds"] is None else f"{number(s['bounds'][0])} – {number(s['bounds'][1])}"
    rest = (number(s[key]) for key in ("median", "std", "min", "max"))
    return (str(s["scored"]), str(s["n"]), percent(s["coverage"]), number(s["mean"]), bounds, *rest)


def score_tables(report: Report, min_coverage: float = 0.0) -> list[Table]:
    """One per judge: overall and every category, editors below each other."""
    return [_score_table(report, judge, min_coverage) for judge in report.judges]


def _score_table(report: Report, judge: str, min_coverage: float) -> Table:
    partial = bool(report.numbers["missing"])

    def line(place: int, s: Mapping[str, Any]) -> Line:
        unchanged = f"{s['unchanged']['count']} / {s['unchanged']['n']}"
        return Line(
            name=editor_label(report, place),
            cells=(*spread_cells(s), unchanged, *([str(s["missing"])] if partial else [])),
            editor=place,
            low=is_low(s, min_coverage),
        )

    cells = [report.numbers["editors"][editor][judge] for editor in report.editors]
    groups = [("Overall", [cell["overall"] for cell in cells])]
    groups += [(category, [cell["categories"][category] for cell in cells]) for category in report.categories]
    return Table(
        title=f"Scores by {judge}",
        heads=("Category", "Editor"),
        columns=(*SPREAD_COLUMNS, "Unchanged", *(["Missing"] if partial else [])),
        groups=tuple(Group(name=name, lines=tuple(map(line, range(len(cells)), s))) for name, s in groups),
    )


def criterion_tables(report: Report) -> list[Table]:
    """One per judge: the parts that its scores are made of; none for a judge that never answered."""
    return [
        Table(
            title=f"Criteria by {judge}",
            heads=("Criterion", "Editor"),
            columns=SPREAD_COLUMNS,
            groups=tuple(
                Group(
                    name=criterion,
                    lines=tuple(
                        Line(
                            name=editor_label(report, place),
                            cells=spread_cells(report.numbers["editors"][editor][judge]["criteria"][criterion]),
                            editor=place,
                        )
                        for place, editor in enumerate(report.editors)
                    ),
                )
                for criterion in asked
            ),
        )
        for judge in report.judges
        if (asked := list(report.numbers["editors"][report.editors[0]][judge]["criteria"]))
    ]


def state_table(report: Report) -> Table:
    """How the items ended, by judge and editor."""

    def line(place: int, s: Mapping[str, Any]) -> Line:
        counts = (*s["states"].values(), s["missing"], s["n"])
        return Line(name=editor_label(report, place), cells=tuple(map(str, counts)), editor=place)

    return Table(
        title="How the items ended",
        heads=("Judge", "Editor"),
        columns=(*(words(state) for state in State), "missing", "n"),
        groups=tuple(
            Group(
                name=judge,
                lines=tuple(
                    line(place, report.numbers["editors"][editor][judge]["overall"])
                    for place, editor in enumerate(report.editors)
                ),
            )
            for judge in report.judges
        ),
    )


def error_table(report: Report) -> Table | None:
    """Why items have no score, by judge and editor; None where all have one."""
    groups = []
    for judge in report.judges:
        lines = tuple(
            Line(name=editor_label(report, place), cells=(words(state), kind, str(count)), editor=place)
            for place, editor in enumerate(report.editors)
            for state, kinds in report.numbers["editors"][editor][judge]["errors"].items()
            for kind, count in kinds.items()
        )
        if lines:
            groups.append(Group(name=judge, lines=lines))
    if not groups:
        return None
    columns = ("State", "Error kind", "Count")
    return Table(title="Error kinds", heads=("Judge", "Editor"), columns=columns, groups=tuple(groups), numeric=False)


def provenance_tables(report: Report) -> list[Table]:
    """Everything the tables' writers said about how they were made; editors, and judges, side by side."""
    provenance = report.numbers["provenance"]
    found = []
    for kind, names in (("editors", report.editors), ("judges", report.judges)):
        records = {name: dict(flatten(provenance.get(kind, {}).get(name, {}))) for name in names}
        if any(records.values()):
            found.append(_settings(kind.capitalize(), records))
    rest = {key: value for key, value in provenance.items() if key not in ("editors", "judges")}
    return [*found, _settings("Run", {"Value": dict(flatten(rest))})] if rest else found


def _settings(title: str, records: Mapping[str, Mapping[str, str]]) -> Table:
    paths = dict.fromkeys(path for record in records.values() for path in record)
    lines = (Line(name=path, cells=tuple(record.get(path, NONE) for record in records.values())) for path in paths)
    groups = (Group(name="", lines=tuple(lines)),)
    return Table(title=title, heads=("Setting",), columns=tuple(records), groups=groups, numeric=False)


def flatten(value: Any, path: str = "") -> list[tuple[str, str]]:
    """A nested object as (dotted path, text) pairs."""
    if isinstance(value, Mapping):
        return [pair for key, entry in value.items() for pair in flatten(entry, f"{path}.{key}" if path else str(key))]
    if value is None:
        return [(path, NONE)]
    return [(path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]


def editor_label(report: Report, place: int) -> str:
    """An editor's name, marked where it is the baseline."""
    name = report.editors[place]
    return f"{name} (baseline)" if name == report.baseline else name


def words(name: str) -> str:
    """A state or criterion as it stands in the page's text."""
    return name.replace("_", " ")
