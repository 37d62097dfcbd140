"""Make the tables of the comparison of runs, for the page and the Markdown file alike."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editlane.report.cells import (
    NONE,
    Group,
    Line,
    Table,
    format_interval,
    format_number,
    format_p,
    format_share,
    format_signed,
)
from editlane.report.runs.words import name_judge, name_pair
from editlane.report.summary import title_columns
from editlane.report.texts import Texts

Numbers = Mapping[str, Any]

LONG = 40
"""A table with more rows is collapsed."""

SHORT = 12
"""Characters of a hash that are shown."""

_HASH = re.compile("[0-9a-z]{40,}")

COUNTS = ("matched", "only_reference", "only_run", "doubled_reference", "doubled_run", "asked_otherwise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A section of the page."""

    name: str
    title: str
    hint: str
    tables: tuple[Table, ...]
    none: str = ""
    """Said in place of tables."""


def make_parts(numbers: Numbers, t: Texts) -> list[Part]:
    """Make the sections in reading order. The first one, of sentences, has no table."""
    tables = {
        "said": [],
        "differences": _list_difference_tables(numbers, t),
        "drift": _list_drift_tables(numbers, t),
        "items": [_make_items_table(numbers, t)],
        "changes": _list_change_tables(numbers, t),
    }
    none = {"said": "said.none", "drift": "drift.none", "changes": "changes.none"}
    return [
        Part(
            name=name,
            title=t(f"runs.{name}.title"),
            hint=t(f"runs.{name}.hint", reference=numbers["reference"]),
            tables=tuple(found),
            none=t(f"runs.{none[name]}") if name in none and not found else "",
        )
        for name, found in tables.items()
        if found or name in none
    ]


def _list_difference_tables(numbers: Numbers, t: Texts) -> list[Table]:
    """Make one table for each judge of each run: every pair of editors, by the macro mean and in each category."""
    found = []
    for one in numbers["comparisons"]:
        names = {"run": one["run"], "reference": numbers["reference"]}
        for judge in one["judges"]:
            rows = judge["comparisons"]
            groups = [
                Group(
                    name=t("page.macro") if category is None else category,
                    lines=tuple(_make_line(row, names, t) for row in rows if row["category"] == category),
                )
                for category in dict.fromkeys(row["category"] for row in rows)
            ]
            columns = [
                *title_columns(t, "difference", "interval", "p_holm", "n"),
                *(t(f"runs.differences.{name}") for name in ("not_scored", "same_edits")),
                *title_columns(t, "bounds", "detectable", "verdict"),
            ]
            table = Table(
                title=t("runs.differences.table", judge=name_judge(judge, one["run"], t), **names),
                heads=(t("head.category"), t("head.editor")),
                columns=tuple(columns),
                groups=tuple(groups),
                folded=len(rows) > LONG,
                strong=0,
            )
            found += [table] if rows else []
    return found


def _make_line(row: Numbers, names: Mapping[str, str], t: Texts) -> Line:
    failed = row["not_scored"]
    return Line(
        name=name_pair(row, names["reference"], t),
        cells=(
            format_signed(row["difference"]),
            format_interval(row["interval"]),
            format_p(row["p_holm"]),
            str(row["n"]),
            f"{failed['run']} / {failed['reference']}",
            str(row["same_edits"]),
            format_interval(row["bounds"]) if row["left_out"] else NONE,
            format_number(row["detectable"]),
            t(f"runs.differences.verdict_{row['verdict']}", run=names["run"]),
        ),
    )


def _list_drift_tables(numbers: Numbers, t: Texts) -> list[Table]:
    """Make one table per run: what each judge said twice of the same."""
    found = []
    for one in numbers["comparisons"]:
        groups = tuple(
            Group(
                name=name_judge(judge, one["run"], t),
                lines=tuple(
                    Line(
                        name=t(f"runs.drift.kind_{drift['kind']}"),
                        cells=(
                            str(drift["n"]),
                            format_share(drift["equal"] / drift["n"], drift["equal_interval"]),
                            format_signed(drift["difference"]),
                            format_interval(drift["interval"]),
                            format_p(drift["p"]),
                            format_number(drift["largest"]),
                            _say_moved(drift, t),
                        ),
                    )
                    for drift in judge["drift"]
                ),
            )
            for judge in one["judges"]
            if judge["drift"]
        )
        columns = [
            *title_columns(t, "n"),
            t("runs.drift.equal"),
            *title_columns(t, "difference", "interval", "p"),
            t("runs.drift.largest"),
            *title_columns(t, "moved"),
        ]
        title = t("runs.drift.table", run=one["run"], reference=numbers["reference"])
        heads = (t("head.judge"), t("runs.drift.kind"))
        found += [Table(title=title, heads=heads, columns=tuple(columns), groups=groups)] if groups else []
    return found


def _say_moved(drift: Numbers, t: Texts) -> str:
    """Say whether the judge moved; nothing if there are too few answers to tell, unless all of them are equal."""
    if drift["p"] is None and drift["equal"] < drift["n"]:
        return NONE
    return t("page.yes" if drift["moved"] else "page.no")


def _make_items_table(numbers: Numbers, t: Texts) -> Table:
    lines = tuple(
        Line(name=one["run"], cells=tuple(str(one["items"][name]) for name in COUNTS), editor=place)
        for place, one in enumerate(numbers["comparisons"], start=1)
    )
    return Table(
        title=t("runs.items.table"),
        heads=(t("runs.run"),),
        columns=tuple(t(f"runs.items.{name}") for name in COUNTS),
        groups=(Group(name="", lines=lines),),
        strong=0,
    )


def _list_change_tables(numbers: Numbers, t: Texts) -> list[Table]:
    """Make the table of settings that differ, with the runs side by side."""
    parts = list(dict.fromkeys(change["part"] for change in numbers["changes"]))
    groups = tuple(
        Group(
            name=name_part(part, t),
            lines=tuple(_make_change_line(one, t) for one in numbers["changes"] if one["part"] == part),
        )
        for part in parts
    )
    if not groups:
        return []
    columns = tuple(run["name"] for run in numbers["runs"])
    heads = (t("runs.changes.part"), t("head.setting"))
    return [Table(title=t("runs.changes.table"), heads=heads, columns=columns, groups=groups, numeric=False)]


def name_part(part: str, t: Texts) -> str:
    """Return the name of a part of the provenance."""
    kind, _, name = part.partition(".")
    return t(f"runs.changes.{kind}", name=name)


def _make_change_line(change: Numbers, t: Texts) -> Line:
    values: Sequence[str | None] = change["values"]
    if not change["setting"]:
        there = tuple(t("page.no" if value is None else "page.yes") for value in values)
        return Line(name=t("runs.changes.there"), cells=there)
    return Line(name=change["setting"], cells=tuple(map(_shorten_value, values)))


def _shorten_value(value: str | None) -> str:
    """Return a value for a cell. Of a hash the beginning is enough; the JSON file has all of it."""
    if value is None:
        return NONE
    return f"{value[:SHORT]}…" if _HASH.fullmatch(value) else value
