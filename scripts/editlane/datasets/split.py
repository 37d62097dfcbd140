"""Assign items to lanes. A lane is a property of the data, never of a device."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from editlane.core.chains import find_first_turns


def split_lanes(items: pa.Table, categories: Sequence[str], lanes: int) -> Iterator[tuple[str, int, pa.Table]]:
    """Yield the shard of every category and lane, balanced by `cost`. The order of `items` does not matter.

    The items of a category are dealt in rounds, most expensive first. Each lane gets one item per round, and the most
    expensive of a round goes to the lane with the least work so far. Lanes therefore differ by at most one item within
    each category. If all costs are equal, they also differ by at most one item over all categories together.
    A chain of turns is dealt like one item, with the costs of all.
    """
    load = np.zeros(lanes)
    for category in categories:
        members = items.filter(pc.equal(items["category"], category)).sort_by("item_id")
        chain_of = _number_chains(members)
        lane_of = _deal(np.bincount(chain_of, weights=members["cost"].to_numpy()), load)[chain_of]
        by_lane = members.take(np.argsort(lane_of, kind="stable"))
        sizes = np.bincount(lane_of, minlength=lanes)
        for lane, (end, size) in enumerate(zip(sizes.cumsum(), sizes, strict=True)):
            yield category, lane, by_lane.slice(end - size, size)


def _number_chains(members: pa.Table) -> np.ndarray:
    """Return the number of each item's chain of turns, from 0 in the order of the items. Other items are alone."""
    first = find_first_turns(members["item_id"].to_pylist(), members["after"].to_pylist())
    numbers: np.ndarray = pa.array(first, pa.string()).dictionary_encode().indices.to_numpy()
    return numbers


def _deal(costs: np.ndarray, load: np.ndarray) -> np.ndarray:
    """Return the lane of each item. `load` (lanes,) is each lane's work so far; it is updated in place."""
    lane_of = np.empty(len(costs), dtype=np.int64)
    most_expensive = np.argsort(-costs, kind="stable")
    for start in range(0, len(costs), len(load)):
        dealt = most_expensive[start : start + len(load)]
        least_loaded = np.argsort(load, kind="stable")[: len(dealt)]
        lane_of[dealt] = least_loaded
        load[least_loaded] += costs[dealt]
    return lane_of
