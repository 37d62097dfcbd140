from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from editlane.lanes import split_lanes
from editlane.types import Item

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


categories = st.lists(st.sampled_from(CATEGORIES), max_size=80)


@given(categories, st.integers(1, 9))
def test_equal_costs_differ_by_at_most_one_item_in_each_category_and_overall(members, lanes) -> None:
    items = [item(number, category) for number, category in enumerate(members)]
    shards = split_lanes(items, CATEGORIES, lanes)
    overall: Counter[int] = Counter(dict.fromkeys(range(lanes), 0))
    for category in CATEGORIES:
        sizes = [len(shards[category, lane]) for lane in range(lanes)]
        assert max(sizes) - min(sizes) <= 1
        overall.update(dict(enumerate(sizes)))
    assert max(overall.values()) - min(overall.values()) <= 1


@given(categories, st.integers(1, 5), st.randoms())
def test_every_item_is_in_exactly_one_shard_whatever_the_order(members, lanes, random) -> None:
    items = [item(number, category, cost=1 + number % 3) for number, category in enumerate(members)]
    shards = split_lanes(items, CATEGORIES, lanes)
    placed = [entry for shard in shards.values() for entry in shard]
    assert sorted(entry.item_id for entry in placed) == sorted(entry.item_id for entry in items)
    assert all(entry.category == category for (category, _), shard in shards.items() for entry in shard)
    random.shuffle(items)
    assert split_lanes(items, CATEGORIES, lanes) == shards


def test_dear_items_are_spread() -> None:
    items = [item(n, "物理", cost=10.0 if n < 3 else 1.0) for n in range(9)]
    shards = split_lanes(items, CATEGORIES, 3)
    assert [sum(entry.cost for entry in shards["物理", lane]) for lane in range(3)] == [12.0, 12.0, 12.0]
