"""Make the charts of the page's sections, each only where its data exist, and by accepted judges only."""

from collections.abc import Iterator

from editlane.report.load import Report
from editlane.report.page.category_chart import draw_categories
from editlane.report.page.figure import Figure
from editlane.report.page.forest_chart import draw_forest
from editlane.report.page.speed_chart import draw_speed
from editlane.report.page.win_chart import draw_wins
from editlane.report.texts import Texts
from editlane.report.trust import is_accepted


def make_figures(report: Report, t: Texts) -> dict[str, list[list[Figure]]]:
    """Make the figures by section, a list for each judge."""
    accepted = [judge for judge in report.judges if is_accepted(report, judge)]
    return {
        "charts": [list(_draw(report, judge, t)) for judge in accepted],
        "comparisons": [list(draw_wins(report, judge, t)) for judge in accepted],
    }


def _draw(report: Report, judge: str, t: Texts) -> Iterator[Figure]:
    for draw in (draw_forest, draw_speed, draw_categories):
        yield from draw(report, judge, t)
