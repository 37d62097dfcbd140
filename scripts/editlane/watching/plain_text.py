"""Describe a run in plain lines, for pipes, logs and the workflow's own terminal."""

from collections.abc import Iterator, Sequence

from editlane.core.text_width import measure_width, pluralize, shorten_name
from editlane.watching.stages import (
    AT_WORK,
    IN_TROUBLE,
    Group,
    Lane,
    average_seconds,
    count_failures,
    count_lanes,
    count_retries,
    estimate_time_left,
)
from editlane.watching.state import RunState

SILENT_AFTER = 30.0
"""Seconds without a change after which a lane at work counts as silent; for a slow lane, the time of 5 items."""
NAME_CELLS = 40
"""Columns of a name in a line, at most."""


def format_duration(seconds: float) -> str:
    """Format seconds as `40 s`, `12 min`, `3 h 20 min` or `2 d 4 h`."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{round(whole / 60)} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def format_pace(seconds: float | None) -> str:
    """Return seconds per item in at most three figures; `-` if nothing is finished yet."""
    if seconds is None:
        return "-"
    digits = 3 if seconds < 0.1 else 2 if seconds < 10 else 1 if seconds < 100 else 0
    return f"{seconds:.{digits}f}"


def is_silent(lane: Lane) -> bool:
    """Return whether a lane at work has shown no change for so long that it needs a look."""
    return lane.state == "working" and lane.silent >= max(SILENT_AFTER, 5 * (lane.seconds_per_item or 0.0))


def describe_lane(lane: Lane) -> str:
    """Describe a lane's state in a word or two; for a lane that makes progress, the time left."""
    if is_silent(lane):
        return f"silent {format_duration(lane.silent)}"
    if lane.state in ("gone", "loading") and lane.silent >= SILENT_AFTER:
        return f"{lane.state} {format_duration(lane.silent)}"
    if lane.state == "working" and lane.seconds_per_item is not None:
        return format_duration(lane.estimate_items_left() * lane.seconds_per_item)
    return lane.state


def describe_progress(groups: Sequence[Group], *, width: int | None = None) -> str:
    """Return a line such as `12/30, 1.4 s/item, about 1 min left, 2 lanes at work`.

    A `~` marks a total that is partly estimated. The last parts are dropped to fit `width` columns.
    """
    parts = _list_progress(groups)
    while width is not None and len(parts) > 1 and measure_width(", ".join(parts)) > width:
        parts.pop()
    return ", ".join(parts)


def _list_progress(groups: Sequence[Group]) -> list[str]:
    lanes = [lane for group in groups for lane in group.lanes]
    parts = [f"{sum(lane.done for lane in lanes)}/{_format_total(lanes)}"]
    if count_lanes(lanes, "done") == len(lanes):
        parts[0] += " done"
    if (each := average_seconds(lanes)) is not None:
        parts.append(f"{format_pace(each)} s/item")
    if (left := estimate_time_left(groups)) is not None and left.seconds >= 0.5:
        parts.append(f"about {format_duration(left.seconds)} left{_name_untimed(left.without)}")
    parts += _describe_failures(lanes)
    if working := count_lanes(lanes, *AT_WORK):
        parts.append(f"{pluralize(working, 'lane')} at work")
    if (waiting := count_lanes(lanes, "waiting")) and waiting < len(lanes):
        parts.append(f"{waiting} waiting")
    return parts


def _format_total(lanes: Sequence[Lane]) -> str:
    guess = "~" if any(lane.is_estimated for lane in lanes) else ""
    return f"{guess}{sum(lane.total for lane in lanes)}"


def _name_untimed(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f" without {shorten_name(names[0], NAME_CELLS)}" + (f" and {len(names) - 1} more" if names[1:] else "")


def _describe_failures(lanes: Sequence[Lane]) -> list[str]:
    failed = count_failures(lanes)
    least = "at least " if any(lane.failed is None for lane in lanes) else ""
    return [f"{least}{failed} failed"] if failed else []


def describe_run(state: RunState) -> str:
    """Describe all stages that have begun in one line, with the lanes in trouble."""
    parts = []
    for stage, groups in state.stages.items():
        if any(group.begun for group in groups):
            names = [shorten_name(group.name, NAME_CELLS) for group in groups if count_lanes(group.lanes, *AT_WORK)]
            of = f" {names[0]}" if len(names) == 1 else f" {names[0]} and {len(names) - 1} more" if names else ""
            parts.append(" ".join([f"{stage}{of}", describe_progress(groups), *list_troubles(groups)]))
    return " | ".join(parts) or "no lane has begun"


def list_troubles(groups: Sequence[Group]) -> Iterator[str]:
    """Name the lanes that are stuck, each in brackets."""
    for group in groups:
        for lane in group.lanes:
            if lane.state in IN_TROUBLE or is_silent(lane):
                yield f"[lane {lane.number} of {shorten_name(group.name, NAME_CELLS)}: {describe_lane(lane)}]"


def summarize_run(state: RunState) -> Iterator[str]:
    """Yield one line per group, for a run that has ended."""
    if state.workflow:
        yield state.workflow
    for stage, groups in state.stages.items():
        for group in groups:
            yield f"{stage} {group.name}: {_summarize_group(group)}"


def _summarize_group(group: Group) -> str:
    if not group.begun:
        return "not begun"
    lanes = group.lanes
    parts = [f"{sum(lane.done for lane in lanes)} of {_format_total(lanes)}"]
    for state in ("waiting", "loading", "working", "gone", "stopped", "failed"):
        if number := count_lanes(lanes, state):
            word = "not begun" if state == "waiting" else state
            parts.append(f"{pluralize(number, 'lane')} {word}")
    parts += _describe_failures(lanes)
    if (each := average_seconds(lanes)) is not None:
        parts.append(f"{format_pace(each)} s/item")
    if again := count_retries(lanes):
        parts.append(f"{again} {'retry' if again == 1 else 'retries'}")
    return ", ".join(parts)
