"""The plan of the arena: balanced, by content, within its budget; and rounds that ask what is still open."""

import random
from collections import Counter
from itertools import combinations, permutations
from typing import Any

import pyarrow as pa
import pytest

from editlane.core.schemas import ITEMS
from editlane.core.types import EDITED, PairControl
from editlane.protocols.pair_intervals import find_differences, find_unseparated
from editlane.protocols.pair_others import OtherItems
from editlane.protocols.pair_plan import ArenaPlan, Edits, PairQuestion, share_out

EDITORS = ["甲", "乙", "丙"]
CATEGORIES = ["物理", "因果"]


def make_items(count: int, photos: int = 1_000) -> pa.Table:
    rows = [
        {
            "item_id": f"项-{n:03}", "category": CATEGORIES[n % 2], "instruction": f"做 {n}", "language": "zh",
            "source_path": f"{n % photos}", "source_sha256": f"{n % photos}", "width": 8, "height": 8, "cost": 1.0,
            "tags": [],
        }
        for n in range(count)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=ITEMS)


def make_plan(items: pa.Table, editors=EDITORS, **settings: Any) -> ArenaPlan:
    return ArenaPlan(items, editors, **{"seed": 1, "rounds": 1, "budget": None} | settings)


def name_all(items: pa.Table, questions: list[PairQuestion]) -> set[tuple]:
    ids = items["item_id"].to_pylist()
    return {(ids[one.place], *one[1:5], None if one.other is None else ids[one.other]) for one in questions}


def test_without_a_budget_every_pair_of_every_item_is_asked_in_both_orders() -> None:
    items = make_items(10)
    asked = name_all(items, make_plan(items).plan_pairs(1, []))
    every = {
        (item, *pair, None, None, None) for item in items["item_id"].to_pylist() for pair in permutations(EDITORS, 2)
    }
    assert asked == every


@pytest.mark.parametrize("budget", [1, 7, 12, 30])
def test_a_budget_is_spread_over_categories_pairs_and_items(budget: int) -> None:
    items = make_items(24)
    planned = make_plan(items, budget=budget).plan_pairs(1, [])
    assert len(planned) == 2 * budget
    category = items["category"].to_pylist()
    one_order = [one for one in planned if one.editor_a < one.editor_b]
    assert len(one_order) == budget
    for counts, parts in (
        (Counter(category[one.place] for one in one_order), 2),
        (Counter((one.editor_a, one.editor_b) for one in one_order), 3),
        (Counter(one.place for one in one_order), 24),
    ):
        assert max(counts.values()) - (min(counts.values()) if len(counts) == parts else 0) <= 1


def test_neither_the_order_of_items_nor_of_editors_changes_the_choice() -> None:
    items = make_items(20)
    shuffled = items.take(random.Random(3).sample(range(20), 20))
    plans = [(items, EDITORS), (shuffled, EDITORS), (items, EDITORS[::-1])]
    chosen = [name_all(table, make_plan(table, names, budget=9).plan_pairs(1, [])) for table, names in plans]
    assert chosen[0] == chosen[1] == chosen[2]
    assert name_all(items, make_plan(items, budget=9, seed=2).plan_pairs(1, [])) != chosen[0]


def test_a_larger_budget_keeps_what_a_smaller_one_chose() -> None:
    items = make_items(20)
    small, large = (name_all(items, make_plan(items, budget=budget).plan_pairs(1, [])) for budget in (8, 20))
    assert small < large


def test_rounds_share_the_budget_and_never_ask_twice() -> None:
    items = make_items(20)
    plan = make_plan(items, rounds=4, budget=50)
    answers: list[dict[str, Any]] = []
    for number in range(1, 5):
        asked = plan.plan_pairs(number, answers)
        assert len(asked) == 2 * plan.count_in_round(number)
        answers += answer(items, asked, lambda first, second, item: 0.0)
    assert sum(map(plan.count_in_round, range(1, 5))) == 50
    assert len({(row["item_id"], row["editor_a"], row["editor_b"]) for row in answers}) == 100


def answer(items: pa.Table, asked: list[PairQuestion], margin, bias: float = 0.0) -> list[dict[str, Any]]:
    """The rows of pairs.parquet: `margin(a, b, item)` is how much more probable A is than B."""
    rows = items.to_pylist()
    found = []
    for one in asked:
        item = rows[one.place]
        won = margin(one.editor_a, one.editor_b, item) + bias
        probabilities = {"p_a": (1 + won) / 2, "p_b": (1 - won) / 2, "p_tie": 0.0, "p_both_bad": 0.0}
        names = {"editor_a": one.editor_a, "editor_b": one.editor_b, "control": one.control, "state": "scored"}
        found.append({"item_id": item["item_id"], "source_sha256": item["source_sha256"]} | names | probabilities)
    return found


STRENGTH = {"甲": 0.9, "乙": 0.0, "丙": 0.0}


def beat(first: str, second: str, item: dict[str, Any]) -> float:
    noise = random.Random(f"{sorted((first, second))}{item['item_id']}").uniform(-0.4, 0.4)
    return max(-1.0, min(1.0, STRENGTH[first] - STRENGTH[second] + (noise if first < second else -noise)))


def test_the_best_editor_is_not_asked_about_any_more_once_it_is_separated() -> None:
    items = make_items(60)
    plan = make_plan(items, rounds=4, budget=120)
    answers = answer(items, plan.plan_pairs(1, []), beat, bias=0.1)
    later = plan.plan_pairs(2, answers)
    assert {one.editor_a for one in later} == {"乙", "丙"}
    assert len(later) == 2 * plan.count_in_round(2)


def test_no_round_asks_anything_once_all_pairs_are_separated() -> None:
    items = make_items(60)
    plan = make_plan(items, rounds=3)
    order = {"甲": 2, "乙": 1, "丙": 0}
    answers = answer(items, plan.plan_pairs(1, []), lambda a, b, item: 0.8 if order[a] > order[b] else -0.8)
    assert plan.plan_pairs(2, answers) == [] == plan.plan_pairs(3, answers)


def test_a_bias_for_one_place_separates_nobody() -> None:
    items = make_items(60)
    plan = make_plan(items, rounds=2)
    answers = answer(items, plan.plan_pairs(1, []), lambda *_: 0.0, bias=0.9)
    assert all(found.mean == pytest.approx(0) for found in find_differences(answers, 3, 1).values())
    assert find_unseparated(plan.pairs, find_differences(answers, 3, 1)) == plan.pairs


def test_few_photos_separate_nobody_however_many_items_they_have() -> None:
    items = make_items(100, photos=3)
    plan = make_plan(items, rounds=2)
    answers = answer(items, plan.plan_pairs(1, []), beat)
    found = find_differences(answers, 3, 1)
    assert {one.photos for one in found.values()} == {3}
    assert not any(one.is_separated for one in found.values())


def test_an_item_without_an_answer_in_both_orders_does_not_count() -> None:
    items = make_items(20)
    plan = make_plan(items, ["甲", "乙"])
    answers = answer(items, plan.plan_pairs(1, []), beat)
    answers[0]["state"] = "judge_failed"
    assert next(iter(find_differences(answers, 1, 1).values())).items == 19


@pytest.mark.parametrize(
    ("photos", "others", "separated"),
    [(7, 0, False), (8, 0, True), (10, 0, True), (10, 1, False), (30, 3, True), (30, 9, False)],
)
def test_equal_answers_separate_where_a_coin_would_not_give_them(photos: int, others: int, separated: bool) -> None:
    """`others`: photos of the opposite answer. A level of 0.05 for 6 looks; a coin gives 8 equal answers in 0.8 %."""
    items = make_items(photos)
    lost = {row["item_id"] for row in items.to_pylist()[:others]}
    asked = make_plan(items, ["甲", "乙"]).plan_pairs(1, [])

    def beaten(first: str, second: str, item: dict[str, Any]) -> float:
        return 1.0 if (first == "甲") != (item["item_id"] in lost) else -1.0

    (found,) = find_differences(answer(items, asked, beaten), 3, 2).values()
    assert found.is_separated == separated
    assert abs(found.mean) == pytest.approx(1 - 2 * others / photos)


@pytest.mark.parametrize("answers_of_judge", [[-1.0, 0.2, 0.2, 0.2, 0.2, 0.2], [-1.0, 1.0], [-1.0, 1.0, 0.0, 0.0, 0.0]])
def test_editors_without_a_difference_are_rarely_separated(answers_of_judge: list[float]) -> None:
    """In about ALPHA of the runs at most, over all pairs and looks; answers with a mean of 0, 400 runs."""
    draw, wrong = random.Random(5), 0
    for _ in range(400):
        answers = []
        for pair in combinations(EDITORS, 2):
            for photo in range(20):
                won = draw.choice(answers_of_judge)
                for names in (pair, pair[::-1]):
                    p_a = (1 + (won if names == pair else -won)) / 2
                    answers.append(
                        {"item_id": str(photo), "source_sha256": str(photo), "editor_a": names[0], "state": "scored",
                         "editor_b": names[1], "control": None, "p_a": p_a, "p_b": 1 - p_a}
                    )  # fmt: skip
        wrong += any(one.is_separated for one in find_differences(answers, 3, 3).values())
    assert wrong / 400 <= 0.05


def make_edits(count: int, missing: set[int] = frozenset(), equal: bool = False) -> Edits:
    states = ["edit_failed" if n in missing else EDITED for n in range(count)]
    return Edits(states, [None if n in missing else "same" if equal else f"sha{n}" for n in range(count)])


def test_controls_are_asked_in_both_orders_about_edits_that_exist() -> None:
    items = make_items(20)
    edits = {name: make_edits(20, missing={0, 1}) for name in EDITORS}
    planned = make_plan(items, budget=10).plan_controls(edits, share=0.1, least=84)
    counts = Counter((one.control, one.control_side) for one in planned)
    assert counts == {
        (control, side): 12
        for control in PairControl
        for side in ((None,) if control == PairControl.ITSELF else ("a", "b"))
    }
    assert all(one.editor_a == one.editor_b and one.place not in (0, 1, one.other) for one in planned)
    category = items["category"].to_pylist()
    others = [one for one in planned if one.control == PairControl.OTHER_ITEM]
    assert all(one.other not in (None, 0, 1) and category[one.other] == category[one.place] for one in others)
    assert all(26 <= count <= 30 for count in Counter(one.editor_a for one in planned).values())


def test_without_a_share_there_are_no_controls_and_never_more_than_edits() -> None:
    items = make_items(4)
    edits = {name: make_edits(4) for name in EDITORS}
    plan = make_plan(items)
    assert plan.plan_controls(edits, share=0, least=100) == []
    assert len(plan.plan_controls(edits, share=6, least=1000)) == 7 * 4 * 3
    alike = plan.plan_controls({name: make_edits(4, equal=True) for name in EDITORS}, share=6, least=0)
    assert PairControl.OTHER_ITEM not in {one.control for one in alike}


@pytest.mark.parametrize(
    ("total", "sizes", "shares"),
    [
        (7, {"a": 9, "b": 9}, {"a": 4, "b": 3}),
        (10, {"a": 2, "b": 9, "c": 9}, {"a": 2, "b": 4, "c": 4}),
        (100, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
        (0, {"a": 2}, {"a": 0}),
        (3, {}, {}),
    ],
)
def test_a_number_is_shared_out_equally(total, sizes, shares) -> None:
    assert share_out(total, sizes) == shares


def repeat_items(count: int, samples: int) -> pa.Table:
    """`count` items, each followed by its further samples."""
    rows = make_items(count).to_pylist()
    further = [
        row | {"item_id": f"{row['item_id']}-seed{number}", "sample_of": row["item_id"]}
        for row in rows
        for number in range(2, samples + 1)
    ]
    return pa.Table.from_pylist(sorted(rows + further, key=lambda row: row["item_id"]), schema=ITEMS)


def test_no_control_shows_another_sample_of_its_own_item_or_asks_about_one() -> None:
    items = repeat_items(12, samples=3)
    edits = {name: make_edits(len(items)) for name in EDITORS}
    planned = make_plan(items).plan_controls(edits, share=6, least=1000)
    once = make_items(12)
    expected = make_plan(once).plan_controls({name: make_edits(12) for name in EDITORS}, share=6, least=1000)
    assert name_all(items, planned) == name_all(once, expected)
    first, contents = items["sample_of"].to_pylist(), items["instruction"].to_pylist()
    for one in planned:
        assert first[one.place] is None
        if one.other is not None:
            assert first[one.other] is None and contents[one.other] != contents[one.place]


def test_another_item_of_the_same_photo_and_instruction_is_no_wrong_edit() -> None:
    rows = make_items(12).to_pylist()
    twins = [row | {"item_id": f"{row['item_id']}-again"} for row in rows]
    items = pa.Table.from_pylist(rows + twins, schema=ITEMS)
    edits = {name: make_edits(len(items)) for name in EDITORS}
    planned = make_plan(items).plan_controls(edits, share=6, least=1000)
    others = [one for one in planned if one.other is not None]
    assert len(others) == 24 * 3 * 2
    assert all(one.other is not None and one.place % 12 != one.other % 12 for one in others)


def test_a_budget_asks_about_all_items_before_it_asks_about_further_samples() -> None:
    items = repeat_items(30, samples=11)
    plan = make_plan(items, budget=60)
    first = items["sample_of"].to_pylist()
    ids = items["item_id"].to_pylist()
    asked = [one.place for one in plan.plan_pairs(1, []) if one.editor_a < one.editor_b]
    assert sum(first[place] is None for place in asked) == 30
    assert {ids[place].rpartition("-")[2] for place in asked if first[place]} == {"seed2"}


def test_a_control_is_found_where_nearly_all_edits_have_the_same_bytes() -> None:
    """The next item around the ring, as if all others were looked at."""
    draw = random.Random(2)
    for _ in range(200):
        size = draw.randint(1, 9)
        marks = [[draw.choice("ab") for _ in range(size)], [draw.choice("xyz") for _ in range(size)]]
        ring = draw.sample(range(50), size)
        others = OtherItems(ring, marks)
        for start, place in enumerate(ring):
            around = [(start + step) % size for step in range(1, size)]
            fitting = (ring[at] for at in around if all(values[at] != values[start] for values in marks))
            assert others.find(place) == next(fitting, None)


@pytest.mark.parametrize(("photos", "apart"), [(3, True), (1, False)])
def test_another_item_is_no_other_turn_of_the_same_chain_where_there_is_any_other(photos: int, apart: bool) -> None:
    rows = [
        row | {"item_id": f"{row['item_id']}-{turn}", "instruction": f"到第 {turn} 轮", "category": "物理"}
        | {"after": f"{row['item_id']}-{turn - 1}" if turn > 1 else None}
        for row in make_items(photos).to_pylist()
        for turn in range(1, 8)
    ]  # fmt: skip
    items = pa.Table.from_pylist(rows, schema=ITEMS)
    edits = {name: make_edits(len(items)) for name in EDITORS}
    planned = make_plan(items).plan_controls(edits, share=6, least=1000)
    others = [one for one in planned if one.control == PairControl.OTHER_ITEM]
    assert len(others) == len(items) * len(EDITORS) * 2
    photo = items["source_sha256"].to_pylist()
    assert {photo[one.place] != photo[one.other] for one in others} == {apart}
