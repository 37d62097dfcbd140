"""Tables of text, the same for Markdown and the page, and how a number is written in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editlane.report.load import Report
from editlane.report.texts import Texts

NONE = "–"
"""Stands where there is no number."""


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
    note: str = ""
    strong: int | None = None
    """The column that is read first."""
    folded: bool = False
    """Too long to stand open on the page."""

    @property
    def rows(self) -> int:
        return sum(len(group.lines) for group in self.groups)


def format_number(value: float | None, digits: int = 2) -> str:
    """With two decimals, or as many as asked for."""
    return NONE if value is None else _use_minus_sign(f"{value:.{digits}f}")


def format_signed(value: float | None) -> str:
    """Two decimals and always a sign; zero has none."""
    return NONE if value is None else _use_minus_sign(f"{value:+.2f}").replace("+0.00", "0.00").replace("−0.00", "0.00")


def format_interval(bounds: Sequence[float] | None, digits: int = 2) -> str:
    """`[lo, hi]`."""
    return NONE if bounds is None else f"[{format_number(bounds[0], digits)}, {format_number(bounds[1], digits)}]"


def format_mean(value: float | None, bounds: Sequence[float] | None, digits: int = 2) -> str:
    """A mean and, where there is one, its interval."""
    return format_number(value, digits) + (
        "" if value is None or bounds is None else f" {format_interval(bounds, digits)}"
    )


def format_percent(part: float | None) -> str:
    """One decimal; 100% is said only where nothing is left out."""
    if part is None:
        return NONE
    return f"{min(part * 100, 99.9 if part < 1 else 100.0):.1f}%"


def format_rate(count: int, total: int, bounds: Sequence[float] | None) -> str:
    """A share and its interval: `6.0% [2.1, 16.2]`."""
    return format_share(count / total, bounds) if total else NONE


def format_share(mean: float | None, bounds: Sequence[float] | None) -> str:
    """A mean share and its interval, in percent."""
    said = format_percent(mean)
    return said if mean is None or bounds is None else f"{said} [{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


SMALL_P = 0.001


def format_p(p: float | None) -> str:
    """Three decimals, or that it is smaller."""
    if p is None:
        return NONE
    return f"< {SMALL_P}" if p < SMALL_P else f"{p:.3f}"


def _use_minus_sign(text: str) -> str:
    return text.replace("-", "−")


def label_editor(report: Report, place: int, t: Texts) -> str:
    """An editor's name, marked where it is the baseline."""
    name = report.editors[place]
    return t("page.baseline", name=name) if name == report.baseline else name


def make_editor_lines(report: Report, cells: Mapping[str, Sequence[str]], t: Texts) -> tuple[Line, ...]:
    """One line for each editor that has cells."""
    return tuple(
        Line(name=label_editor(report, place, t), cells=tuple(cells[editor]), editor=place)
        for place, editor in enumerate(report.editors)
        if editor in cells
    )


def name_categories(report: Report, t: Texts) -> list[tuple[str | None, str]]:
    """(None, what all categories together are called), then (category, its name)."""
    return [(None, t("page.overall")), *((category, category) for category in report.categories)]


def get_category(numbers: Mapping[str, Any], category: str | None) -> Any:
    """What stands under `overall`, or under the category; None where that is not there."""
    return numbers["overall"] if category is None else numbers["categories"].get(category)


def format_criterion(name: str) -> str:
    """A criterion as it stands in the page's text."""
    return name.replace("_", " ")
