"""Make the tables of scores by difficulty, by tag and by turn, and that of chains."""

from collections.abc import Mapping
from typing import Any

from editlane.report.breakdowns import KINDS
from editlane.report.cells import NONE, Group, Table, format_interval, format_number, format_rate, make_editor_lines
from editlane.report.load import Report
from editlane.report.summary import title_columns
from editlane.report.texts import Texts

COLUMNS = ("scored", "n", "photos", "mean", "interval", "std")

LONG = 40
"""A table with more rows is collapsed."""


def make_breakdown_tables(report: Report, t: Texts) -> list[Table]:
    """Make a table by difficulty, one by tag and one by turn for each accepted judge, and one of chains.

    Empty if the items have none of these.
    """
    breakdowns = report.numbers.get("breakdowns", {})
    chains = report.numbers.get("chains")
    tables = [
        _make_table(report, kind, judge, breakdowns[kind], t)
        for kind in KINDS
        if kind in breakdowns and breakdowns[kind]["values"]
        for judge in breakdowns[kind]["judges"]
    ]
    return [*tables, _make_chain_table(report, chains, t)] if chains else tables


def _make_chain_table(report: Report, chains: Mapping[str, Any], t: Texts) -> Table:
    lines = {
        editor: (str(one["n"]), str(one["count"]), format_rate(one["count"], one["n"], one["interval"]))
        for editor, one in chains["editors"].items()
    }
    return Table(
        about=("chains",),
        title=t("breakdowns.chains"),
        heads=(t("head.editor"),),
        columns=title_columns(t, "chains", "whole_chains", "whole_rate"),
        groups=(Group(name="", lines=make_editor_lines(report, lines, t)),),
        note=t("breakdowns.chains_note"),
        strong=2,
    )


def _make_table(report: Report, kind: str, judge: str, found: Mapping[str, Any], t: Texts) -> Table:
    groups = tuple(
        Group(
            name=value,
            lines=make_editor_lines(report, {editor: _format(one, t) for editor, one in editors.items()}, t),
        )
        for value, editors in found["judges"][judge].items()
        if editors
    )
    notes = []
    if found["without"]:
        notes.append(t(f"breakdowns.without_{kind}", n=found["without"]))
    if found["more"]:
        notes.append(t("breakdowns.more", n=found["more"], shown=len(found["values"])))
    return Table(
        about=(kind, judge),
        title=t(f"breakdowns.{kind}", judge=judge),
        heads=(t(f"head.{kind}"), t("head.editor")),
        columns=title_columns(t, *COLUMNS),
        groups=groups,
        note=t("page.space").join(notes),
        strong=COLUMNS.index("mean"),
        folded=sum(len(group.lines) for group in groups) > LONG,
    )


def _format(one: Mapping[str, Any], t: Texts) -> tuple[str, ...]:
    counts = (str(one["scored"]), str(one["n"]), str(one["clusters"]))
    if one["too_few"]:
        return (*counts, t("breakdowns.too_few") if one["scored"] else t("page.no_data"), NONE, NONE)
    return (*counts, format_number(one["mean"]), format_interval(one["interval"]), format_number(one["std"]))
