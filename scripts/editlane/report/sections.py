"""Make the report's sections in the order of the manual. The page and the Markdown file have the same sections.

A judge that is not accepted has no tables of its scores: it has one line in `said`, and its controls in
`trust`. report.json keeps its numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from editlane.images.preservation import CHANGED_LEVELS, COMMON_SIDE
from editlane.report.arena_tables import make_arena_tables
from editlane.report.breakdown_tables import make_breakdown_tables
from editlane.report.cells import Table
from editlane.report.costs import make_cost_tables
from editlane.report.division_tables import make_division_tables
from editlane.report.leaderboard import make_leaderboards
from editlane.report.load import Report
from editlane.report.page.figure import Figure
from editlane.report.people_tables import make_people_tables
from editlane.report.provenance import make_provenance_tables
from editlane.report.seed_tables import make_seed_tables
from editlane.report.statements import make_comparison_tables
from editlane.report.summary import (
    make_criterion_tables,
    make_error_tables,
    make_legacy_tables,
    make_preservation_tables,
    make_score_tables,
    make_state_table,
)
from editlane.report.texts import Texts
from editlane.report.time_breakdown import make_time_tables
from editlane.report.together import make_together_tables
from editlane.report.trust import list_shown, make_trust_tables
from editlane.stats.acceptance import BEST
from editlane.stats.intervals import FEWEST_CLUSTERS

LIMITS = {"fewest": FEWEST_CLUSTERS, "side": COMMON_SIDE, "levels": CHANGED_LEVELS, "best": f"{BEST:.0%}"}
"""Values of the placeholders in the hints."""

WITHOUT_TABLES = ("said", "charts", "trust", "failures")
"""Sections that are kept without a table, because they have other content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    name: str
    title: str
    hint: str
    tables: Sequence[Table] = ()
    figures: Sequence[Sequence[Figure]] = ()
    """A list for each judge."""
    """Charts above the tables, on the page only."""


def make_sections(report: Report, t: Texts, min_coverage: float = 0.0) -> list[Section]:
    """Make all sections but the answer, the pictures and the gallery. Empty sections are omitted."""
    shown = replace(report, judges=list_shown(report))
    tables: dict[str, Sequence[Table]] = {
        "states": [make_state_table(report, t), *make_error_tables(report, t)],
        "failures": (),
        "scores": make_score_tables(shown, t, min_coverage),
        "criteria": make_criterion_tables(shown, t),
        "charts": (),
        "leaderboard": make_leaderboards(shown, t),
        "said": (),
        "comparisons": make_comparison_tables(shown, t),
        "trust": make_trust_tables(report, t),
        "together": make_together_tables(report, t),
        "people": make_people_tables(report, t),
        "breakdowns": make_breakdown_tables(report, t),
        "arena": [*make_arena_tables(report, t), *make_division_tables(report, t)],
        "seeds": make_seed_tables(shown, t),
        "preservation": make_preservation_tables(report, t),
        "legacy": make_legacy_tables(shown, t),
        "time": make_time_tables(report, t),
        "costs": make_cost_tables(report, t),
        "provenance": make_provenance_tables(report, t),
    }
    return [
        Section(name=name, title=t(f"{name}.title"), hint=t(f"{name}.hint", **LIMITS), tables=found)
        for name, found in tables.items()
        if found or (name in WITHOUT_TABLES and (shown.judges or name != "charts"))
    ]
