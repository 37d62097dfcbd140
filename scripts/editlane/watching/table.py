"""Draw the live table to fit the terminal: one block per stage, one line per lane."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from editlane.core.device_names import shorten_device_ids
from editlane.core.printable import escape
from editlane.core.text_width import measure_width, shorten_name
from editlane.watching.plain_text import describe_lane, describe_progress, format_pace, is_silent
from editlane.watching.stages import AT_WORK, IN_TROUBLE, Lane
from editlane.watching.state import RunState

GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. In a narrow terminal the columns with the highest `spare` are dropped first."""

    title: str
    cell: Callable[[Lane], str | Text]
    spare: int = 0
    widest: int = 99
    right: bool = False

    def measure(self, lanes: Sequence[Lane]) -> int:
        """Return the width in terminal cells; 0 if there is nothing to show."""
        widths = [measure_width(str(self.cell(lane))) for lane in lanes]
        return min(self.widest, max(measure_width(self.title), *widths)) if any(widths) else 0


def draw_bar(share: float, width: int) -> Text:
    """Draw a bar that can be read without colours."""
    full = min(width, int(share * width + 1e-9))
    return Text.assemble(("━" * full, "green"), ("·" * (width - full), "dim"))


def shorten_device(name: str) -> str:
    """Return the leased id in a device's name: `GPU-3a4f12` for `NVIDIA H200 (GPU-3a4f12c0-...)`."""
    leased = re.search(r"\(([^()]*)\)$", name)
    return shorten_device_ids(escape(leased.group(1) if leased else name), 6)


def _format_items(lane: Lane) -> str:
    return f"{lane.done}/{'~' * lane.is_estimated}{lane.total}"


def _get_steps(lane: Lane) -> tuple[int, int] | None:
    """Return the denoising step of the item in work."""
    status = lane.status
    return (status.step, status.steps) if lane.state == "working" and status and status.step and status.steps else None


def _format_step(lane: Lane) -> str:
    steps = _get_steps(lane)
    return f"{steps[0]}/{steps[1]}" if steps else ""


def _draw_step_bar(lane: Lane) -> Text | str:
    steps = _get_steps(lane)
    return draw_bar(steps[0] / steps[1], 8) if steps else ""


def _format_last(lane: Lane) -> str:
    """Return the last score, or else how the last item ended: edited, failed, refused, unreadable."""
    if lane.status is None:
        return ""
    score = lane.status.last_score
    return f"{score:.2f}" if score is not None else escape(lane.status.last_state or "").split("_")[-1]


def _format_retries(lane: Lane) -> str:
    """Return an empty text for no retries, so that the column appears only if it has something to show."""
    return str(lane.retries) if lane.retries else ""


def _format_pace(lane: Lane) -> str:
    return "" if lane.state == "waiting" else format_pace(lane.seconds_per_item)


def _format_state(lane: Lane) -> Text:
    style = "bold red" if lane.state in IN_TROUBLE or is_silent(lane) else "dim" if lane.state == "waiting" else ""
    return Text(describe_lane(lane), style=style)


def _format_memory(lane: Lane) -> str:
    status = lane.status
    if status is None:
        return ""
    if status.memory_used is not None and status.memory_total is not None:
        return f"{status.memory_used / GIB:.1f}/{status.memory_total / GIB:.0f} GiB"
    return f"{status.peak_memory / GIB:.1f} GiB" if status.peak_memory is not None else ""


def _format_utilisation(lane: Lane) -> str:
    return f"{lane.status.utilisation:.0%}" if lane.status and lane.status.utilisation is not None else ""


def list_columns(hosts: int) -> list[Column]:
    """Return the columns from left to right; with several hosts the device includes its host."""

    def device(lane: Lane) -> str:
        if lane.status is None:
            return ""
        return (f"{escape(lane.status.host)}:" if hosts > 1 else "") + shorten_device(lane.status.device)

    def category(lane: Lane) -> str:
        return escape(lane.status.category or "") if lane.status and lane.state in AT_WORK else ""

    return [
        Column(title="lane", cell=lambda lane: str(lane.number), right=True),
        Column(title="device", cell=device, spare=6, widest=22),
        Column(title="category", cell=category, spare=2, widest=16),
        Column(title="item", cell=_format_items, right=True),
        Column(title="", cell=lambda lane: draw_bar(lane.done / max(1, lane.total), 12), spare=5),
        Column(title="step", cell=_format_step, spare=4, right=True),
        Column(title="", cell=_draw_step_bar, spare=7),
        Column(title="s/item", cell=_format_pace, right=True),
        Column(title="left", cell=_format_state, right=True),
        Column(title="last", cell=_format_last, spare=3, widest=16, right=True),
        Column(title="retries", cell=_format_retries, spare=1, right=True),
        Column(title="memory", cell=_format_memory, spare=8, right=True),
        Column(title="busy", cell=_format_utilisation, spare=9, right=True),
    ]


def choose_columns(lanes: Sequence[Lane], width: int) -> list[tuple[Column, int]]:
    """Return the columns that have something to show and fit side by side, with their widths."""
    hosts = len({lane.status.host for lane in lanes if lane.status})
    chosen = [(column, column.measure(lanes)) for column in list_columns(hosts)]
    room = width + 2
    for column, wide in sorted(chosen, key=lambda pair: pair[0].spare):
        if not wide or (wide + 2 > room and column.spare):
            chosen.remove((column, wide))
        else:
            room -= wide + 2
    return chosen


class RunTable:
    """State of a run as a rich renderable, at most `height` lines."""

    def __init__(self, title: str, state: RunState, *, clock: str = "", height: int | None = None) -> None:
        self._title, self._state, self._clock, self._height = escape(title), state, clock, height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        lines = self._make_lines(console, options, quiet=("",))
        if self._height is not None and len(lines) > self._height:
            lines = self._make_lines(console, options, quiet=("done", "waiting"))
        if self._height is not None and len(lines) > self._height:
            hidden = len(lines) - self._height + 1
            lines = [*lines[: self._height - 1], Text(f"{hidden} more lines; a taller window shows them", style="dim")]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
            yield line

    def _make_lines(self, console: Console, options: ConsoleOptions, quiet: Sequence[str]) -> list[Text]:
        """Return all lines except those of lanes in a `quiet` state."""
        width = options.max_width
        shown = [lane for group in self._state.groups for lane in group.lanes]
        chosen = choose_columns(shown, width - 2)
        lines = [Text.assemble((self._title, "bold"), f"  {self._state.workflow}  {self._clock}".rstrip())]
        for stage, groups in self._state.stages.items():
            lines += [
                Text(),
                Text.assemble((stage, "bold"), f"  {describe_progress(groups, width=width - len(stage) - 2)}"),
            ]
            titled = False
            for group in groups:
                rows = [] if group.finished or not group.begun else [x for x in group.lanes if x.state not in quiet]
                table = _make_table(rows, chosen, titles=not titled)
                titled = titled or bool(rows)
                note = describe_progress([group], width=width // 2) if group.begun else "not begun"
                name = shorten_name(group.name, width - 4 - measure_width(note))
                lines.append(Text.assemble("  ", name, (f"  {note}", "dim")))
                if rows:
                    narrow = options.update_width(width - 2)
                    for segments in console.render_lines(table, narrow, pad=False):
                        pieces = [(segment.text, segment.style or "") for segment in segments]
                        lines.append(Text.assemble("  ", *pieces))
        return lines


def _make_table(lanes: Sequence[Lane], chosen: Sequence[tuple[Column, int]], *, titles: bool) -> Table:
    table = Table(box=None, show_header=titles, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    for column, wide in chosen:
        table.add_column(
            Text(column.title),
            width=wide,
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if column.right else "left",
        )
    for row in lanes:
        table.add_row(*(_make_text(column.cell(row)) for column, _ in chosen))
    return table


def _make_text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)
