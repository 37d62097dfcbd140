"""List the facts in the head, and make the tables of scores, criteria, states, preservation and old rules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from editlane.core.types import State
from editlane.report.answer_kinds import name_answer_kind
from editlane.report.cells import (
    NONE,
    Group,
    Line,
    Table,
    format_coverage,
    format_criterion,
    format_interval,
    format_mean,
    format_number,
    format_percent,
    format_rate,
    format_share,
    format_signed,
    get_category,
    label_editor,
    make_editor_lines,
    name_categories,
)
from editlane.report.load import Report, list_models
from editlane.report.texts import Texts

SPREAD_COLUMNS = ("coverage", "mean", "interval", "bounds", "median", "std", "min", "max")
MEAN = SPREAD_COLUMNS.index("mean")
METRICS = {"ssim": 3, "psnr": 2, "mae": 2}
"""Metric -> decimals."""

FEW = 4
"""Up to this number, editors have a line each in the head."""

SHORT = 12
"""Characters of a revision in the head. The provenance has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A line of the head."""

    label: str
    name: str
    """A name or a number."""
    detail: str
    editor: int | None = None
    """The editor's index in the report, which selects its colour."""


def list_facts(report: Report, t: Texts) -> list[Fact]:
    """List the editors, judges, items and rows of the run."""
    numbers = report.numbers
    sizes = report.items["category"].astype(str).value_counts()
    rows, expected = numbers["rows"], numbers["rows"] + numbers["missing"]
    counts = {"items": len(report.items), "editors": len(report.editors), "judges": len(report.judges)}
    product = " × ".join(t(f"facts.count_{what}", n=count) for what, count in counts.items())
    scored = sum(numbers["editors"][editor][judge]["overall"]["scored"] for editor, judge in report.cells)
    coverage = format_percent(scored / expected if expected else None)
    of_rows = t("facts.rows_all" if rows == expected else "facts.rows_part", expected=expected, product=product)
    in_categories = t.join(f"{name} {sizes.get(name, 0)}" for name in report.categories)
    of_scored = t("facts.scored_of", expected=expected, coverage=coverage)
    return [
        *_list_editors(report, t),
        *(
            Fact(label=t("head.judge"), name=name, detail=_describe_judge(report, name, record, t))
            for kind, name, record in list_models(report)
            if kind == "judge"
        ),
        Fact(label=t("facts.items"), name=str(counts["items"]), detail=in_categories),
        Fact(label=t("column.photos"), name=str(report.items["source_sha256"].nunique()), detail=t("facts.photos_of")),
        *_describe_seeds(report, t),
        Fact(label=t("facts.rows"), name=str(rows), detail=of_rows),
        Fact(label=t("facts.scored"), name=str(scored), detail=of_scored),
    ]


def _describe_seeds(report: Report, t: Texts) -> list[Fact]:
    """Name the number of seeds of each item. Empty if there is one."""
    seeds = report.numbers["seeds"]
    if not seeds:
        return []
    first = int(report.items["sample_of"].isna().sum())
    return [Fact(label=t("facts.seeds"), name=str(seeds["samples"]), detail=t("facts.seeds_of", n=first))]


def _list_editors(report: Report, t: Texts) -> list[Fact]:
    """List the editors with a line each, or with one line if there are many. The provenance has their settings."""
    if len(report.editors) > FEW:
        return [Fact(label=t("facts.editors"), name=str(len(report.editors)), detail=t.join(report.editors))]
    made_of = [_describe_model(record, t) for kind, _, record in list_models(report) if kind == "editor"]
    return [
        Fact(label=t("head.editor"), name=name, detail=made_of[place], editor=place)
        for place, name in enumerate(report.editors)
    ]


def _describe_judge(report: Report, judge: str, record: Mapping[str, Any], t: Texts) -> str:
    kind = name_answer_kind(report.numbers["judge_answers"][judge], t)
    return t("page.clause").join(part for part in (_describe_model(record, t), kind) if part)


def _describe_model(record: Mapping[str, Any], t: Texts) -> str:
    """Describe the known ones of model, revision, adapter and protocol."""
    model, revision, protocol, adapter = (record.get(key) for key in ("model", "revision", "protocol", "adapter"))
    if isinstance(protocol, Mapping):
        protocol = " ".join(str(protocol[key]) for key in ("name", "version") if protocol.get(key))
    parts = (
        t("facts.revision", model=model, revision=str(revision)[:SHORT]) if model and revision else model,
        t("facts.adapter", adapter=adapter) if adapter else None,
        t("facts.protocol", protocol=protocol) if protocol else None,
    )
    return t("page.clause").join(str(part) for part in parts if part)


def is_low(s: Mapping[str, Any], min_coverage: float) -> bool:
    """Return whether the coverage is below `min_coverage`."""
    return s["coverage"] is not None and s["coverage"] < min_coverage


def format_spread(s: Mapping[str, Any], t: Texts) -> tuple[str, ...]:
    """Format the cells of SPREAD_COLUMNS."""
    mean = format_number(s["mean"]) if s["scored"] else t("page.no_data")
    bounds = NONE if s["bounds"] is None else f"{format_number(s['bounds'][0])} – {format_number(s['bounds'][1])}"
    rest = (format_number(s[key]) for key in ("median", "std", "min", "max"))
    return (
        format_coverage(s["scored"], s["n"]),
        mean,
        format_interval(s["interval"]),
        bounds,
        *rest,
    )


def make_score_tables(report: Report, t: Texts, min_coverage: float = 0.0) -> list[Table]:
    """Make one table per judge, with a group of editors overall and for each category."""
    partial = ["missing"] if report.numbers["missing"] else []

    def line(place: int, s: Mapping[str, Any]) -> Line:
        unchanged = s["unchanged"]
        how_many = (f"{unchanged['count']} / {unchanged['n']}", format_rate(**_rate(unchanged)))
        return Line(
            name=label_editor(report, place, t),
            cells=(*format_spread(s, t), *how_many, *(str(s[name]) for name in partial)),
            editor=place,
            low=is_low(s, min_coverage),
        )

    def group(judge: str, category: str | None, name: str) -> Group:
        cells = [get_category(report.numbers["editors"][editor][judge], category) for editor in report.editors]
        return Group(name=name, lines=tuple(line(place, s) for place, s in enumerate(cells)))

    return [
        Table(
            about=(judge,),
            title=t("scores.table", judge=judge),
            heads=(t("head.category"), t("head.editor")),
            columns=title_columns(t, *SPREAD_COLUMNS, "unchanged", "unchanged_rate", *partial),
            groups=tuple(group(judge, category, name) for category, name in name_categories(report, t)),
            strong=MEAN,
        )
        for judge in report.judges
    ]


def _rate(unchanged: Mapping[str, Any]) -> dict[str, Any]:
    return {"count": unchanged["count"], "total": unchanged["n"], "bounds": unchanged["interval"]}


def title_columns(t: Texts, *names: str) -> tuple[str, ...]:
    """Return the titles of the named columns."""
    return tuple(t(f"column.{name}") for name in names)


def make_criterion_tables(report: Report, t: Texts) -> list[Table]:
    """Make one table of criteria per judge that answered at least once.

    If the answers are Yes and No, it has the rate at which Yes is the more likely one.
    """

    def of(editor: str, judge: str, criterion: str) -> dict[str, Any]:
        found: dict[str, Any] = report.numbers["editors"][editor][judge]["criteria"][criterion]
        return found

    def says_yes(judge: str) -> bool:
        criteria = report.numbers["editors"][report.editors[0]][judge]["criteria"]
        return any(of(editor, judge, name).get("yes") for editor in report.editors for name in criteria)

    def cells(editor: str, judge: str, criterion: str) -> tuple[str, ...]:
        s = of(editor, judge, criterion)
        yes = s.get("yes")
        said = format_rate(yes["count"], yes["n"], yes["interval"]) if yes else NONE
        return (*format_spread(s, t), *([said] if says_yes(judge) else []))

    def lines(judge: str, criterion: str) -> tuple[Line, ...]:
        return make_editor_lines(report, {editor: cells(editor, judge, criterion) for editor in report.editors}, t)

    return [
        Table(
            about=(judge,),
            title=t("criteria.table", judge=judge),
            heads=(t("head.criterion"), t("head.editor")),
            columns=title_columns(t, *SPREAD_COLUMNS, *(["yes_rate"] if says_yes(judge) else [])),
            groups=tuple(Group(name=format_criterion(criterion), lines=lines(judge, criterion)) for criterion in asked),
            strong=MEAN,
        )
        for judge in report.judges
        if (asked := list(report.numbers["editors"][report.editors[0]][judge]["criteria"]))
    ]


def make_state_table(report: Report, t: Texts) -> Table:
    """Make the table of states by judge and editor."""

    def cells(editor: str, judge: str) -> list[str]:
        s = report.numbers["editors"][editor][judge]["overall"]
        return list(map(str, (*s["states"].values(), s["missing"], s["n"])))

    return Table(
        title=t("states.table"),
        heads=(t("head.judge"), t("head.editor")),
        columns=(*(t(f"state.{state}") for state in State), t("state.missing"), t("column.n")),
        groups=tuple(
            Group(name=judge, lines=make_editor_lines(report, {e: cells(e, judge) for e in report.editors}, t))
            for judge in report.judges
        ),
    )


def make_error_tables(report: Report, t: Texts) -> list[Table]:
    """Make the table of error kinds by judge and editor. Empty if every item has a score."""
    groups = []
    for judge in report.judges:
        lines = tuple(
            Line(name=label_editor(report, place, t), cells=(t(f"state.{state}"), kind, str(count)), editor=place)
            for place, editor in enumerate(report.editors)
            for state, kinds in report.numbers["editors"][editor][judge]["errors"].items()
            for kind, count in kinds.items()
        )
        if lines:
            groups.append(Group(name=judge, lines=lines))
    heads, titles = (t("head.judge"), t("head.editor")), title_columns(t, "state", "error_kind", "count")
    table = Table(
        about=("errors",), title=t("states.errors"), heads=heads, columns=titles, groups=tuple(groups), numeric=False
    )
    return [table] if groups else []


def make_preservation_tables(report: Report, t: Texts) -> list[Table]:
    """Make the table of how much each editor changed the picture. Empty if it was not measured."""
    measured = {editor: p for editor, p in report.numbers["preservation"].items() if p}

    def cells(p: Mapping[str, Any]) -> list[str]:
        means = (format_mean(p[name]["mean"], p[name]["interval"], digits) for name, digits in METRICS.items())
        changed = p["changed_share"]
        return [f"{p['measured']} / {p['n']}", *means, format_share(changed["mean"], changed["interval"])]

    return _tabulate(report, t, "preservation.table", ("measured", *METRICS, "changed_share"), measured, cells)


def make_legacy_tables(report: Report, t: Texts) -> list[Table]:
    """Make one table per judge with old rules: the honest mean beside the one that they would have printed."""
    names = ("honest", "old", "difference", "old_source_judged", "made_up_unreadable", "made_up_failed")

    def cells(old: Mapping[str, Any]) -> list[str]:
        made_up = (str(old["replaced"][reason]) for reason in ("unreadable", "failed"))
        honest = t("page.no_data") if old["honest"] is None else format_number(old["honest"])
        means = (
            honest,
            format_number(old["old"]),
            format_signed(old["difference"]),
            format_number(old["old_source_judged"]),
        )
        return [*means, *made_up]

    found = []
    for judge in report.judges:
        cells_of = {editor: report.numbers["editors"][editor][judge]["legacy"] for editor in report.editors}
        there = {editor: legacy for editor, legacy in cells_of.items() if legacy}
        found += _tabulate(report, t, "legacy.table", names, there, cells, judge=judge)
    return found


def _tabulate(
    report: Report,
    t: Texts,
    title: str,
    names: tuple[str, ...],
    numbers: Mapping[str, Any],
    cells: Callable[[Mapping[str, Any]], list[str]],
    **placeholders: str,
) -> list[Table]:
    """Make a table of all categories and all editors that have numbers. Empty if no editor has any."""
    groups = tuple(
        Group(
            name=name,
            lines=make_editor_lines(
                report, {e: cells(get_category(found, category)) for e, found in numbers.items()}, t
            ),
        )
        for category, name in name_categories(report, t)
    )
    heads = (t("head.category"), t("head.editor"))
    columns, about = title_columns(t, *names), tuple(placeholders.values())
    return [Table(about=about, title=t(title, **placeholders), heads=heads, columns=columns, groups=groups)][
        : len(numbers)
    ]
