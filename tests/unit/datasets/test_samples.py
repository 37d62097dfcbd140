"""Several samples of each item: names, order, and what stays as with one."""

from editlane.core.types import Item
from editlane.datasets.item_ids import MAX_BYTES, name_samples, name_turns, number_turn
from editlane.datasets.prepare import repeat_items


def make_item(item_id: str) -> Item:
    return Item(
        item_id=item_id, category="物理", instruction="让它下雨", language="zh", source_path="sources/a.png",
        source_sha256="a", width=8, height=8, cost=1.0,
    )  # fmt: skip


def test_the_first_sample_is_the_item_itself_and_the_others_follow_it() -> None:
    items = repeat_items([make_item("图-1"), make_item("图-2")], 3)
    names = ["图-1", "图-1-seed2", "图-1-seed3", "图-2", "图-2-seed2", "图-2-seed3"]
    assert [item.item_id for item in items] == names
    assert [item.sample_of for item in items] == [None, "图-1", "图-1", None, "图-2", "图-2"]
    assert repeat_items([make_item("图-1")], 1) == [make_item("图-1")]


def test_names_are_unique_also_where_an_item_has_the_name_of_a_sample_or_two_names_are_cut() -> None:
    long = ["长" * 39 + end for end in ("aa", "ab", "b")]
    ids = ["图", "图-seed2", *long]
    names = name_samples(ids, 3)
    every = [*ids, *(name for more in names.values() for name in more)]
    assert len(set(every)) == len(every) == 3 * len(ids)
    assert all(len(name.encode()) <= MAX_BYTES for name in every)
    assert name_samples(ids[::-1], 3) == names, "the order of the dataset changes no name"
    assert name_samples(ids, 2) == {item_id: more[:1] for item_id, more in names.items()}


def test_the_names_of_long_ids_do_not_depend_on_the_other_items() -> None:
    """As with `limit`, or with other categories."""
    long = ["长" * 39 + end for end in ("aa", "ab")]
    alone, together = name_samples(long[:1], 3), name_samples(long, 3)
    assert alone[long[0]] == together[long[0]]
    assert name_turns({long[0]: 2}, long[:1])[long[0]] == name_turns(dict.fromkeys(long, 2), long)[long[0]]
    assert number_turn(long[0], 2) == name_turns({long[0]: 2}, long)[long[0]][1], "a folder of edits names files so"
