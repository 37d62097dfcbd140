"""What the lanes of a run have cost: the heartbeats of all their processes, added up.

A process counts from the moment it got its device to its last sign of life. One that hung and was killed may have held
the device for longer. One that found all its work in the journal has left no heartbeat and counts nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from editlane.journal import Row
from editlane.progress import LaneStatus

SUMS = ("attempts", "items", "load_seconds", "busy_seconds", "idle_seconds", "held_seconds", "gpu_hours")


def lane_costs(statuses: Sequence[LaneStatus], provenance: Mapping[str, Any], lanes: int) -> list[Row]:
    """The rows of a costs table: every editor of `provenance`, then every editor with every judge, lane by lane.

    Only what was done under the settings that the provenance tells of is counted. A lane beyond `lanes` has a row if it
    did something: it is of an earlier split, and what it made is in the results. One within has a row in any case.
    """
    editors = {name: about.get("key") for name, about in provenance["editors"].items()}
    judges = {name: about.get("key") for name, about in provenance["judges"].items()}
    cells = [("edit", editor, None) for editor in editors]
    cells += [("score", editor, judge) for editor in editors for judge in judges]
    rows = []
    for stage, editor, judge in cells:
        names = {"stage": stage, "editor": editor, "judge": judge}
        names |= {"editor_key": editors[editor], "judge_key": judges[judge] if judge is not None else None}
        of_lanes: dict[int, list[LaneStatus]] = {lane: [] for lane in range(lanes)}
        for one in statuses:
            if all(getattr(one, name) == value for name, value in names.items()):
                of_lanes.setdefault(one.lane, []).append(one)
        for lane, of_lane in sorted(of_lanes.items()):
            places = {name: _all(getattr(one, name) for one in of_lane) for name in ("device", "host")}
            rows.append(names | {"lane": lane} | add_up(list(map(_process, of_lane))) | places)
    return rows


def add_up(rows: Sequence[Row]) -> Row:
    """The sums of some rows, null where all are; `seconds_per_item` is of busy seconds, `peak_memory` the highest."""
    total: Row = {name: _sum(row[name] for row in rows) for name in SUMS}
    for count in ("attempts", "items"):
        total[count] = total[count] or 0
    total["seconds_per_item"] = total["busy_seconds"] / total["items"] if total["items"] else None
    total["peak_memory"] = max((row["peak_memory"] for row in rows if row["peak_memory"] is not None), default=None)
    return total


def _process(one: LaneStatus) -> Row:
    """The row of one process. One that never got its model loaded has spent all its time on that."""
    load = one.load_seconds or one.held_seconds
    gpus = 0 if one.device == "cpu" else 1 + one.device.count(",")
    return {
        "attempts": 1,
        "items": one.done,
        "load_seconds": load,
        "busy_seconds": one.busy_seconds,
        "idle_seconds": max(0.0, one.held_seconds - load - one.busy_seconds),  # an item's seconds are rounded
        "held_seconds": one.held_seconds,
        "gpu_hours": gpus * one.held_seconds / 3600 if gpus else None,
        "peak_memory": one.peak_memory,
    }


def _sum(values: Iterator[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _all(names: Iterator[str]) -> str | None:
    """The different names, in order."""
    return ", ".join(dict.fromkeys(names)) or None
