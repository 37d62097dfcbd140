"""Describe lanes and groups of lanes: progress, speed, failures, time left."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from editlane.lanes.lane_status import LaneStatus

AT_WORK = ("loading", "working")
IN_TROUBLE = ("gone", "failed", "stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One lane of one editor, or of one judge."""

    number: int
    state: str
    """waiting (no process yet), loading, working, gone (its process is no more), stopped, failed or done."""
    total: int
    """Items; of a score lane, questions."""
    is_estimated: bool = False
    """True while the total is not known, because no process has counted the questions."""
    done: int
    """Number of these in the journal."""
    silent: float = 0.0
    """Seconds since anything changed, by the watcher's clock; 0 for a lane that is not at work."""
    status: LaneStatus | None = None
    """Last heartbeat of its newest process, or of the process that made the tables.

    None if every heartbeat belongs to earlier settings.
    """
    failed: int | None = 0
    """Number of items that ended without an edit or a score; None if no process reported it."""
    retries: int = 0
    """Processes with work to do that this workflow started after the first one."""

    @property
    def seconds_per_item(self) -> float | None:
        """Return the mean over the items of the newest process, with the time it waited for files."""
        return _measure_work(self.status) / self.status.done if self.status and self.status.done else None

    def estimate_items_left(self) -> float:
        """Return the items left, counting the denoising steps of the item in work."""
        begun = self.status.step / self.status.steps if self.status and self.status.step and self.status.steps else 0.0
        return max(0.0, self.total - self.done - min(1.0, begun if self.state == "working" else 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Lanes of one editor or one judge."""

    stage: str
    name: str
    lanes: Sequence[Lane] = field(default_factory=list)

    @property
    def begun(self) -> bool:
        return any(lane.state != "waiting" for lane in self.lanes)

    @property
    def finished(self) -> bool:
        return all(lane.state == "done" for lane in self.lanes)


def count_lanes(lanes: Sequence[Lane], *states: str) -> int:
    """Return how many lanes are in one of these states."""
    return sum(lane.state in states for lane in lanes)


def count_failures(lanes: Sequence[Lane]) -> int:
    """Return how many items ended without an edit or a score, as far as it is known."""
    return sum(lane.failed or 0 for lane in lanes)


def count_retries(lanes: Sequence[Lane]) -> int:
    """Return how many processes beyond the first the lanes have needed in this workflow."""
    return sum(lane.retries for lane in lanes)


def average_seconds(lanes: Sequence[Lane]) -> float | None:
    """Return the mean over the items of the newest processes, with the time they waited for files."""
    known = [lane.status for lane in lanes if lane.status and lane.status.done]
    return sum(map(_measure_work, known)) / sum(one.done for one in known) if known else None


def _measure_work(status: LaneStatus) -> float:
    """Return the seconds from the loaded model to the last finished item: a slow disk takes as long as a slow model."""
    settled = (status.settled_seconds or 0.0) - status.load_seconds
    return max(status.busy_seconds, settled)


class TimeLeft(NamedTuple):
    """Seconds until lanes are done at today's number of lanes at work."""

    seconds: float
    without: tuple[str, ...]
    """Models whose lanes are not counted, because none of them has finished an item: their speed is unknown."""


def estimate_time_left(groups: Sequence[Group]) -> TimeLeft | None:
    """Estimate the time left; None if no speed is known.

    A lane without finished items gets the mean speed of its own group: other models have other speeds.
    """
    lanes = [lane for group in groups for lane in group.lanes]
    at_work = count_lanes(lanes, *AT_WORK)
    if not at_work or average_seconds(lanes) is None:
        return None
    work, longest, without = 0.0, 0.0, []
    for group in groups:
        usual = average_seconds(group.lanes)
        if usual is None:
            without += [group.name] * any(lane.estimate_items_left() for lane in group.lanes)
            continue
        for lane in group.lanes:
            seconds = lane.estimate_items_left() * (lane.seconds_per_item or usual)
            work += seconds
            longest = max(longest, seconds if lane.state in AT_WORK else 0.0)
    return TimeLeft(max(longest, work / at_work), tuple(without))
