"""The report's sections, in the order in which they are read; the page and the Markdown file have the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from editlane.images.preservation import CHANGED_LEVELS, COMMON_SIDE
from editlane.report.cells import Table
from editlane.report.costs import cost_tables
from editlane.report.leaderboard import leaderboards
from editlane.report.load import Report
from editlane.report.provenance import provenance_tables
from editlane.report.statements import comparison_tables
from editlane.report.summary import (
    criterion_tables,
    error_tables,
    legacy_tables,
    preservation_tables,
    score_tables,
    state_table,
)
from editlane.report.texts import Texts
from editlane.report.time_breakdown import time_tables
from editlane.report.trust import trust_tables
from editlane.stats.intervals import FEWEST_CLUSTERS

LIMITS = {"fewest": FEWEST_CLUSTERS, "side": COMMON_SIDE, "levels": CHANGED_LEVELS}
"""What the hints name."""

WITHOUT_TABLES = ("said", "charts", "trust", "failures")
"""Sections that stand even where they have no table: they say something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    name: str
    title: str
    hint: str
    tables: Sequence[Table] = ()


def make_sections(report: Report, t: Texts, min_coverage: float = 0.0) -> list[Section]:
    """All sections but the gallery; one that has nothing to show is left out."""
    tables: dict[str, Sequence[Table]] = {
        "said": (),
        "leaderboard": leaderboards(report, t),
        "charts": (),
        "trust": trust_tables(report, t),
        "scores": score_tables(report, t, min_coverage),
        "preservation": preservation_tables(report, t),
        "comparisons": comparison_tables(report, t),
        "legacy": legacy_tables(report, t),
        "criteria": criterion_tables(report, t),
        "states": [state_table(report, t), *error_tables(report, t)],
        "failures": (),
        "time": time_tables(report, t),
        "costs": cost_tables(report, t),
        "provenance": provenance_tables(report, t),
    }
    return [
        Section(name=name, title=t(f"{name}.title"), hint=t(f"{name}.hint", **LIMITS), tables=found)
        for name, found in tables.items()
        if found or name in WITHOUT_TABLES
    ]
