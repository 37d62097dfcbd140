"""Show how much of the spread of scores is the seed's."""

from collections.abc import Mapping
from typing import Any

from editlane.report.cells import Group, Table, format_mean, format_number, make_editor_lines
from editlane.report.load import Report
from editlane.report.summary import title_columns
from editlane.report.texts import Texts


def make_seed_tables(report: Report, t: Texts) -> list[Table]:
    """Make a table for each judge. Empty if every item has one sample."""
    found = report.numbers["seeds"]
    if not found:
        return []

    def cells(spread: Mapping[str, Any]) -> list[str]:
        names = ("item_sd", "seed_sd", "seed_share", "interval_width")
        item, seed, share, width = (format_mean(spread[name]["value"], spread[name]["interval"]) for name in names)
        counts = (str(spread[name]) for name in ("items", "samples", "equal_edits"))
        return [*counts, item, seed, format_number(spread["judge_sd"]), share, width]

    names = ("items", "samples", "equal_edits", "item_sd", "seed_sd", "judge_sd", "seed_share", "interval_width")
    return [
        Table(
            about=(judge,),
            title=t("seeds.table", judge=judge),
            heads=(t("head.editor"),),
            columns=title_columns(t, *names),
            groups=(
                Group(
                    name="",
                    lines=make_editor_lines(report, {e: cells(found["editors"][e][judge]) for e in report.editors}, t),
                ),
            ),
            note=t("seeds.note"),
        )
        for judge in report.judges
    ]
