"""Which item belongs to which lane. A lane is a property of the data, never of a device."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def split_lanes(items: pa.Table, categories: Sequence[str], lanes: int) -> Iterator[tuple[str, int, pa.Table]]:
    """The shard of every category and lane, balanced by `cost`; the order of `items` does not matter.

    The items of a category are dealt in rounds, dearest first, one item a lane and round, the dearest of a round to the
    lane with the least work so far. So lanes differ by at most one item within each category, and for equal costs by
    at most one item over all categories together.
    """
    load = np.zeros(lanes)
    for category in categories:
        members = items.filter(pc.equal(items["category"], category)).sort_by("item_id")
        lane_of = _deal(members["cost"].to_numpy(), load)
        by_lane = members.take(np.argsort(lane_of, kind="stable"))
        sizes = np.bincount(lane_of, minlength=lanes)
        for lane, (end, size) in enumerate(zip(sizes.cumsum(), sizes, strict=True)):
            yield category, lane, by_lane.slice(end - size, size)


def _deal(costs: np.ndarray, load: np.ndarray) -> np.ndarray:
    """The lane of each item. `load`, (lanes,), has each lane's work so far and grows by what it gets."""
    lane_of = np.empty(len(costs), dtype=np.int64)
    dearest = np.argsort(-costs, kind="stable")
    for start in range(0, len(costs), len(load)):
        dealt = dearest[start : start + len(load)]
        emptiest = np.argsort(load, kind="stable")[: len(dealt)]
        lane_of[dealt] = emptiest
        load[emptiest] += costs[dealt]
    return lane_of
