"""Which item belongs to which lane. A lane is a property of the data, never of a device."""

from collections.abc import Sequence

from editlane.types import Item


def split_lanes(items: Sequence[Item], categories: Sequence[str], lanes: int) -> dict[tuple[str, int], list[Item]]:
    """The shard of every (category, lane), balanced by `Item.cost`; the order of `items` does not matter.

    The items of a category are dealt in rounds, dearest first, one item a lane and round, the dearest of a round to the
    lane with the least work so far. So lanes differ by at most one item within each category, and for equal costs by
    at most one item over all categories together.
    """
    load = [0.0] * lanes
    cells = [(category, lane) for category in categories for lane in range(lanes)]
    shards: dict[tuple[str, int], list[Item]] = {cell: [] for cell in cells}
    for category in categories:
        members = [item for item in items if item.category == category]
        members.sort(key=lambda item: (-item.cost, item.item_id))
        for start in range(0, len(members), lanes):
            emptiest = sorted(range(lanes), key=lambda lane: (load[lane], lane))
            for lane, item in zip(emptiest, members[start : start + lanes], strict=False):
                shards[category, lane].append(item)
                load[lane] += item.cost
    for shard in shards.values():
        shard.sort(key=lambda item: item.item_id)
    return shards
