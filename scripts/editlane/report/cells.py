"""Build tables of text and format their numbers, for Markdown and the page alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from editlane.report.texts import Texts

if TYPE_CHECKING:  # the terminal formats numbers, too, and must not wait for pandas
    from editlane.report.load import Report

NONE = "–"
"""Shown in place of a missing number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row: its name and its cells."""

    name: str
    cells: tuple[str, ...]
    editor: int | None = None
    """The editor's index in the report, which selects its colour."""
    low: bool = False
    """True if the coverage is below the run's minimum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    name: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows in groups. `heads` are the titles of the group's and the row's name; with one title, groups have no name."""

    title: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    numeric: bool = True
    note: str = ""
    strong: int | None = None
    """Index of the emphasised column."""
    folded: bool = False
    """True if the table is collapsed on the page, because it is long."""
    about: tuple[str, ...] = ()
    """What distinguishes it from the other tables of its section, such as the judge, for the names of its files."""

    @property
    def rows(self) -> int:
        return sum(len(group.lines) for group in self.groups)


def format_number(value: float | None, digits: int = 2) -> str:
    """Format a number with two decimals, or with `digits`."""
    return NONE if value is None else _use_minus_sign(f"{value:.{digits}f}")


def format_seconds(value: float | None) -> str:
    """Format seconds with more decimals the fewer they are, so that a fast model does not take 0.00 s."""
    return format_number(value, 2 if value is None or value >= 0.1 else 3)


def format_signed(value: float | None) -> str:
    """Format a number with two decimals and a sign. Zero has no sign."""
    return NONE if value is None else _use_minus_sign(f"{value:+.2f}").replace("+0.00", "0.00").replace("−0.00", "0.00")


def format_interval(bounds: Sequence[float] | None, digits: int = 2) -> str:
    """Format an interval as `[lo, hi]`."""
    return NONE if bounds is None else f"[{format_number(bounds[0], digits)}, {format_number(bounds[1], digits)}]"


def format_mean(value: float | None, bounds: Sequence[float] | None, digits: int = 2) -> str:
    """Format a mean and its interval, if it has one."""
    return format_number(value, digits) + (
        "" if value is None or bounds is None else f" {format_interval(bounds, digits)}"
    )


def format_percent(part: float | None) -> str:
    """Format a share with one decimal. A share just below 1 is 99.9%."""
    if part is None:
        return NONE
    return f"{min(part * 100, 99.9) if part < 1 else part * 100:.1f}%"


def format_coverage(scored: int, n: int) -> str:
    """Format how many of the items have a score: `35 / 36 (97.2%)`."""
    return f"{scored} / {n} ({format_percent(scored / n)})" if n else f"{scored} / {n}"


def format_rate(count: int, total: int, bounds: Sequence[float] | None) -> str:
    """Format count / total and its interval: `6.0% [2.1, 16.2]`."""
    return format_share(count / total, bounds) if total else NONE


def format_share(mean: float | None, bounds: Sequence[float] | None) -> str:
    """Format a mean share and its interval in percent."""
    text = format_percent(mean)
    return text if mean is None or bounds is None else f"{text} [{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


SMALL_P = 0.001


def format_p(p: float | None) -> str:
    """Format p with three decimals, or as `< 0.001`."""
    if p is None:
        return NONE
    return f"< {SMALL_P}" if p < SMALL_P else f"{p:.3f}"


def _use_minus_sign(text: str) -> str:
    return text.replace("-", "−")


def label_editor(report: "Report", place: int, t: Texts) -> str:
    """Return an editor's name, marked if it is the baseline."""
    name = report.editors[place]
    return t("page.baseline", name=name) if name == report.baseline else name


def make_editor_lines(report: "Report", cells: Mapping[str, Sequence[str]], t: Texts) -> tuple[Line, ...]:
    """Make one line for each editor that has cells."""
    return tuple(
        Line(name=label_editor(report, place, t), cells=tuple(cells[editor]), editor=place)
        for place, editor in enumerate(report.editors)
        if editor in cells
    )


def name_categories(report: "Report", t: Texts, together: str = "page.micro") -> list[tuple[str | None, str]]:
    """Return (None, the text of all categories `together`), then (category, name) of each category."""
    return [(None, t(together)), *((category, category) for category in report.categories)]


def get_category(numbers: Mapping[str, Any], category: str | None) -> Any:
    """Return the entry of `overall`, or of the category if given. None if the category is missing."""
    return numbers["overall"] if category is None else numbers["categories"].get(category)


def format_criterion(name: str) -> str:
    """Format the name of a criterion for the page."""
    return name.replace("_", " ")
