from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from editlane.core import schemas, tables
from editlane.core.types import Item
from editlane.datasets.split import split_lanes

CATEGORIES = ["物理", "环境", "社会", "因果", "指代"]


def item(number: int, category: str, cost: float = 1.0) -> Item:
    return Item(
        item_id=f"i{number:04}",
        category=category,
        instruction="让它下雨",
        language="zh",
        source_path="sources/aa/a.png",
        source_sha256="a" * 64,
        width=8,
        height=8,
        cost=cost,
    )


def split(items: list[Item], lanes: int) -> dict[tuple[str, int], list[Item]]:
    table = tables.from_rows(map(tables.item_row, items), schemas.ITEMS)
    shards = split_lanes(table, CATEGORIES, lanes)
    return {(category, lane): [tables.to_item(row) for row in shard.to_pylist()] for category, lane, shard in shards}


def dealt_by_hand(items: list[Item], lanes: int) -> dict[tuple[str, int], list[Item]]:
    """The same deal, item by item."""
    load = [0.0] * lanes
    shards: dict[tuple[str, int], list[Item]] = {
        (category, lane): [] for category in CATEGORIES for lane in range(lanes)
    }
    for category in CATEGORIES:
        members = sorted((-entry.cost, entry.item_id, entry) for entry in items if entry.category == category)
        for start in range(0, len(members), lanes):
            emptiest = sorted(range(lanes), key=lambda lane: (load[lane], lane))
            for lane, (_, _, entry) in zip(emptiest, members[start : start + lanes], strict=False):
                shards[category, lane].append(entry)
                load[lane] += entry.cost
    return {cell: sorted(shard, key=lambda entry: entry.item_id) for cell, shard in shards.items()}


categories = st.lists(st.sampled_from(CATEGORIES), max_size=80)


@settings(max_examples=50)
@given(categories, st.integers(1, 9))
def test_equal_costs_differ_by_at_most_one_item_in_each_category_and_overall(members, lanes) -> None:
    items = [item(number, category) for number, category in enumerate(members)]
    shards = split(items, lanes)
    overall: Counter[int] = Counter(dict.fromkeys(range(lanes), 0))
    for category in CATEGORIES:
        sizes = [len(shards[category, lane]) for lane in range(lanes)]
        assert max(sizes) - min(sizes) <= 1
        overall.update(dict(enumerate(sizes)))
    assert max(overall.values()) - min(overall.values()) <= 1


@settings(max_examples=50)
@given(categories, st.integers(1, 5), st.randoms())
def test_every_item_is_in_exactly_one_shard_whatever_the_order(members, lanes, random) -> None:
    items = [item(number, category, cost=1 + number % 3) for number, category in enumerate(members)]
    shards = split(items, lanes)
    placed = [entry for shard in shards.values() for entry in shard]
    assert sorted(entry.item_id for entry in placed) == sorted(entry.item_id for entry in items)
    assert all(entry.category == category for (category, _), shard in shards.items() for entry in shard)
    random.shuffle(items)
    assert split(items, lanes) == shards


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(CATEGORIES), st.floats(0.5, 1.0)), max_size=60), st.integers(1, 9))
def test_each_round_goes_to_the_emptiest_lanes_and_shards_are_sorted(members, lanes) -> None:
    items = [item(number * 7919 % 1000, category, cost) for number, (category, cost) in enumerate(members)]
    shards = split(items, lanes)
    assert shards == dealt_by_hand(items, lanes)
    assert list(shards) == [(category, lane) for category in CATEGORIES for lane in range(lanes)]


def test_dear_items_are_spread() -> None:
    items = [item(n, "物理", cost=10.0 if n < 3 else 1.0) for n in range(9)]
    shards = split(items, 3)
    assert [sum(entry.cost for entry in shards["物理", lane]) for lane in range(3)] == [12.0, 12.0, 12.0]


def make_chain(name: str, turns: int, cost: float = 1.0) -> list[Item]:
    ids = [f"{name}-turn{number}" for number in range(1, turns + 1)]
    former = [None, *ids[:-1]]
    return [replace(item(0, "物理", cost), item_id=one, after=after) for one, after in zip(ids, former, strict=True)]


@settings(max_examples=50)
@given(st.lists(st.integers(1, 12), max_size=20), st.integers(1, 5), st.randoms())
def test_a_chain_stays_in_one_lane_and_is_dealt_by_the_costs_of_all_its_turns(lengths, lanes, random) -> None:
    chains = [make_chain(f"链{number:02}", turns) for number, turns in enumerate(lengths)]
    items = [one for chain in chains for one in chain]
    random.shuffle(items)
    shards = split(items, lanes)
    lane_of = {one.item_id: lane for (_, lane), shard in shards.items() for one in shard}
    assert len(lane_of) == len(items)
    assert all(len({lane_of[one.item_id] for one in chain}) == 1 for chain in chains)
    whole = [replace(item(0, "物理", float(len(chain))), item_id=chain[0].item_id) for chain in chains]
    dealt = {one.item_id: lane for (_, lane), shard in split(whole, lanes).items() for one in shard}
    assert all(lane_of[name] == lane for name, lane in dealt.items())
