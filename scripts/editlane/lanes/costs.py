"""Add up the heartbeats of all processes of a run to the costs of its lanes.

A process counts from the moment it got its device to its last sign of life. One that hung and was killed may have held
the device for longer. One that found all its work in the journal has left no heartbeat and counts nothing.
held_seconds = load_seconds + busy_seconds + idle_seconds + lost_seconds.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from editlane.core.paths import COMPARE, EDIT, SCORE, LaneId
from editlane.core.types import Row
from editlane.lanes.lane_status import LaneStatus
from editlane.lanes.requests_sent import Sent

LOADING = ("imports", "reading", "transfer", "warmup")
"""Known parts of loading; the rest is `starting`."""
IDLE = ("input", "output")
"""The same of idle time; the rest is `other`."""
PARTS = ("busy", *LOADING, "starting", *IDLE, "other", "lost")
"""Parts of the time that a device was held. They sum to `held_seconds`."""

SUMS = (
    *("attempts", "died", "items", "load_seconds", *(f"{name}_seconds" for name in LOADING)),
    *("busy_seconds", "idle_seconds", *(f"{name}_seconds" for name in IDLE)),
    *("lost_seconds", "held_seconds", "gpu_hours"),
)


COUNTS = ("requests", "images", "paid")
"""Of an editor on a server; a judge there has `requests` only."""


def lane_costs(
    statuses: Sequence[LaneStatus],
    provenance: Mapping[str, Any],
    lanes: int,
    sent: Mapping[tuple[str, str], Mapping[int, Sent]] = MappingProxyType({}),
) -> list[Row]:
    """Return the rows of a costs table: every editor of `provenance`, every judge, then those `comparing`, by lane.

    `sent`: by stage and editor or judge, then by lane, the requests to servers; an editor's with the settings in
    `provenance`.

    Only processes with the settings in `provenance` are counted; a judge's, if one of the editors it judged has them. A
    lane below `lanes` always has a row. A lane above it, from an earlier split, has a row if it did something, because
    its results are in the tables.
    """
    editors = {name: about.get("key") for name, about in provenance["editors"].items()}
    judges = {name: about.get("key") for name, about in provenance["judges"].items()}
    rows: list[Row] = []
    for editor, key in editors.items():
        own = [one for one in statuses if (one.stage, one.editor, one.editor_key) == (EDIT, editor, key)]
        names = {"stage": EDIT, "editor": editor, "judge": None, "editor_key": key, "judge_key": None}
        requests = sent.get((EDIT, editor), {})
        params = provenance["editors"][editor].get("params") or {}
        rows += [row | _price(requests.get(row["lane"]), params) for row in sum_lanes(own, names, lanes, requests)]
    comparing = {name: about.get("key") for name, about in provenance.get("comparing", {}).items()}
    asking = [(SCORE, *one) for one in judges.items()] + [(COMPARE, *one) for one in comparing.items()]
    for stage, judge, key in asking:
        own = [one for one in statuses if (one.stage, one.judge, one.judge_key) == (stage, judge, key)]
        own = [one for one in own if one.editor_key is None or editors_of(one) & set(editors.values())]
        names = {"stage": stage, "editor": None, "judge": judge, "editor_key": None, "judge_key": key}
        requests = sent.get((stage, judge), {})
        rows += [row | _count(requests.get(row["lane"])) for row in sum_lanes(own, names, lanes, requests)]
    return rows


def sum_lanes(statuses: Sequence[LaneStatus], names: Row, lanes: int, further: Collection[int] = ()) -> Iterator[Row]:
    """Yield a row of `names` and costs for each lane below `lanes`, and for each above it that has a process, or is one
    of `further`."""
    of_lanes: dict[int, list[LaneStatus]] = {lane: [] for lane in (*range(lanes), *further)}
    for one in statuses:
        of_lanes.setdefault(one.lane, []).append(one)
    for lane, of_lane in sorted(of_lanes.items()):
        places = {name: _all(getattr(one, name) for one in of_lane) for name in ("device", "host")}
        yield names | {"lane": lane} | add_up(_processes(of_lane)) | places


def _count(sent: Sent | None) -> Row:
    """Return the columns about a judge's requests to a server."""
    return dict.fromkeys((*COUNTS, "currency")) | ({"requests": sent.requests} if sent else {})


def _price(sent: Sent | None, params: Mapping[str, Any]) -> Row:
    """Return the columns about requests to a server."""
    if sent is None:
        return dict.fromkeys((*COUNTS, "currency"))
    price = params.get("cost_per_image")
    paid = {"paid": None, "currency": None} if price is None else {"paid": price * sent.images}
    return {"requests": sent.requests, "images": sent.images, "currency": params.get("currency"), **paid}


def editors_of(one: LaneStatus) -> set[str]:
    """Return the keys of the editors' settings that a process worked on."""
    return set(one.editor_key.split(",")) if one.editor_key else set()


def add_up(rows: Sequence[Row]) -> Row:
    """Return one row with the sums, nulls ignored, and the highest `peak_memory`. Several currencies are not summed."""
    total: Row = {name: _sum(row[name] for row in rows) for name in SUMS}
    for count in ("attempts", "died", "items"):
        total[count] = total[count] or 0
    total |= {name: _sum(row.get(name) for row in rows) for name in COUNTS}
    currencies = {row["currency"] for row in rows if row.get("paid") is not None}
    total["currency"] = next(iter(currencies)) if len(currencies) == 1 else None
    if len(currencies) > 1:  # their sum would mean nothing
        total["paid"] = None
    total["seconds_per_item"] = total["busy_seconds"] / total["items"] if total["items"] else None
    total["peak_memory"] = max((row["peak_memory"] for row in rows if row["peak_memory"] is not None), default=None)
    return total


def time_parts(row: Row) -> dict[str, float]:
    """Return the seconds by PARTS of a row of a costs table, or of a sum of rows.

    Time that no heartbeat explains is `starting` or `other`. A table of an older version has no `lost_seconds`.
    """
    known = {name: row.get(f"{name}_seconds") or 0.0 for name in ("busy", "load", "idle", "lost", *LOADING, *IDLE)}
    known["starting"] = max(0.0, known["load"] - sum(known[name] for name in LOADING))
    known["other"] = max(0.0, known["idle"] - sum(known[name] for name in IDLE))
    return {name: known[name] for name in PARTS}


def busy_share(parts: Mapping[str, float]) -> float | None:
    """Return the share of the time a process held a device, loading excluded, that was spent on items."""
    working = parts["busy"] + sum(parts[name] for name in (*IDLE, "other"))
    return parts["busy"] / working if working else None


def largest_loss(stages: Sequence[Row]) -> Row | None:
    """Return the part, other than `busy`, that took most time over all stages; None if nothing was lost.

    `stages`: rows with their `parts`. The result has the part, its share of all time, and the stage, editor and judge
    that lost most to it.
    """
    sums = {name: sum(one["parts"][name] for one in stages) for name in PARTS}
    part = max(PARTS[1:], key=lambda name: sums[name])
    if not sums[part]:
        return None
    most = max(stages, key=lambda one: one["parts"][part])
    place = {name: most[name] for name in ("stage", "editor", "judge")}
    return {"part": part, "share": sums[part] / sum(sums.values())} | place


def _processes(of_lane: Sequence[LaneStatus]) -> list[Row]:
    """Return a row per process.

    A process counts as lost if it failed, was stopped, or was replaced before it was done. Its loading and its time
    after the last item are then lost, because another process has to load again.
    """
    last: dict[LaneId, int] = {}  # a judge's lane has several ids, if older versions had one for each editor
    for one in of_lane:
        last[one.lane_id] = max(one.attempt, last.get(one.lane_id, 0))
    return [
        _process(
            one, lost=one.phase != "done" and (one.attempt < last[one.lane_id] or one.phase in ("failed", "stopped"))
        )
        for one in of_lane
    ]


def _process(one: LaneStatus, *, lost: bool) -> Row:
    """Return the row of one process. All time of a process that never loaded its model counts as loading."""
    load = one.load_seconds or one.held_seconds
    settled = one.held_seconds if one.settled_seconds is None else max(load, one.settled_seconds)
    held = settled if lost else one.held_seconds
    gpus = 0 if one.device == "cpu" else 1 + one.device.count(",")
    idle = max(0.0, held - load - one.busy_seconds)  # an item's seconds are rounded
    waits = {name: getattr(one, f"{name}_seconds") for name in IDLE}
    waited = sum(seconds or 0.0 for seconds in waits.values())
    share = min(1.0, idle / waited) if waited else 1.0  # the waits after the last item of a lost process are lost, too
    return {
        "attempts": 1,
        "died": int(lost),
        "items": one.done,
        "load_seconds": 0.0 if lost else load,
        **{f"{name}_seconds": 0.0 if lost else getattr(one, f"{name}_seconds") for name in LOADING},
        "busy_seconds": one.busy_seconds,
        "idle_seconds": idle,
        **{f"{name}_seconds": None if seconds is None else share * seconds for name, seconds in waits.items()},
        "lost_seconds": load + one.held_seconds - held if lost else 0.0,
        "held_seconds": one.held_seconds,
        "gpu_hours": gpus * one.held_seconds / 3600 if gpus else None,
        "peak_memory": one.peak_memory,
    }


def _sum(values: Iterator[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _all(names: Iterator[str]) -> str | None:
    """Join the distinct names, in order."""
    return ", ".join(dict.fromkeys(names)) or None
