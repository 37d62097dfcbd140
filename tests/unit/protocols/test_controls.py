"""Which controls are asked, and what each of them shows the judge."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from editlane.core.errors import UserError
from editlane.core.schemas import EDITS, ITEMS, PLAN, controls_schema
from editlane.core.tables import from_rows, item_row, read_plan, write_table
from editlane.core.types import ACCEPTANCE, SAME_FOR_ALL, Control, Item
from editlane.protocols.controls import (
    check_complete,
    make_canary_rows,
    make_question_row,
    plan_controls,
    select_lane_questions,
    sort_controls,
)

CATEGORIES = ["物理", "环境", "社会", "因果", "指代"]
CELLS = pa.schema([controls_schema([]).field(name) for name in ("judge", "editor", "control", "item_id", "repeat")])


def items(per_category: int, instruction: str = "第 {} 次") -> list[Item]:
    return [
        Item(
            item_id=f"{category}-{number}", category=category, instruction=instruction.format(number), language="zh",
            source_path=f"sources/{number}.png", source_sha256=f"source {number}", width=8, height=8, cost=1.0,
            description=f"照片 {number}", rationale=f"难点 {number}",
        )
        for category in CATEGORIES
        for number in range(per_category)
    ]  # fmt: skip


def edit_row(item: Item, state: str = "edited") -> dict[str, Any]:
    edited = state == "edited"
    return dict.fromkeys(EDITS.names) | item_row(item) | {
        "editor": "a", "editor_key": "k", "seed": 1, "state": state, "unchanged": False if edited else None,
        "error_kind": None if edited else "oom", "error": None if edited else "too large",
        "edited_path": f"a/images/{item.item_id}.png" if edited else None,
        "edited_sha256": f"edit of {item.item_id}" if edited else None,
    }  # fmt: skip


def plan(
    share: float,
    repeats: float = 0.0,
    *,
    of: list[Item] | None = None,
    seed: int = 42,
    least: int = 0,
    editors: str = "ab",
) -> list[dict[str, Any]]:
    table = from_rows(map(item_row, of or items(50)), ITEMS)
    return plan_controls(table, list(editors), share=share, least=least, repeats=repeats, seed=seed).to_pylist()


def test_a_tenth_more_questions_evenly_over_categories_and_controls() -> None:
    rows = plan(0.1, editors="a")
    assert len(rows) == 24  # 16 that differ between editors and 8 of the others, both rounded down
    assert set(Counter(row["category"] for row in rows).values()) <= {4, 5, 6}
    assert set(Counter(row["control"] for row in rows).values()) == {4}


@pytest.mark.parametrize(("share", "count"), [(0, 0), (0.01, 1), (0.099, 24), (1, 249), (6, 1500), (9, 1500)])
def test_the_budget_is_kept_and_no_control_is_asked_twice(share: float, count: int) -> None:
    rows = plan(share, editors="a")
    assert len(rows) == count
    assert len({(row["item_id"], row["control"]) for row in rows}) == count


def list_same(rows: list[dict[str, Any]], editor: str) -> list[tuple[str, str]]:
    return [
        (row["item_id"], row["control"]) for row in rows if row["editor"] == editor and row["control"] in SAME_FOR_ALL
    ]


def test_questions_that_are_the_same_for_all_editors_are_about_the_same_items_and_count_once() -> None:
    rows = plan(0.1)
    assert list_same(rows, "a") == list_same(rows, "b")
    asked = {(row["item_id"], row["control"], "" if row["control"] in SAME_FOR_ALL else row["editor"]) for row in rows}
    assert 48 <= len(asked) <= 54  # rounding
    kinds = Counter(control for _, control, _ in asked)
    assert all(6 <= count <= 10 for count in kinds.values()) and len(kinds) == 6


def count_different(rows: list[dict[str, Any]]) -> int:
    return len(
        {(row["item_id"], row["control"], "" if row["control"] in SAME_FOR_ALL else row["editor"]) for row in rows}
    )


def test_a_small_dataset_gets_the_least_number_in_all_in_each_category_and_about_each_editor() -> None:
    for editors, count in (("a", 150), ("ab", 150), ("abc", 150), ("abcdef", 270)):
        rows = plan(0.01, least=150, editors=editors)
        assert count - 5 <= count_different(rows) <= count
        in_category = Counter(row["category"] for row in rows)
        assert min(in_category.values()) >= 30
    one = [item for item in items(50) if item.category == "因果"]
    assert count_different(plan(0.01, least=150, editors="a", of=one)) == 150
    assert count_different(plan(0.01, least=150, editors="a", of=one[:10])) == 60  # all that there are
    assert plan(0, least=150) == []


def test_uneven_categories_share_by_size() -> None:
    few = [item for item in items(50) if item.category == "物理" or item.item_id.endswith("-7")]
    counts = Counter(row["category"] for row in plan(0.2, of=few, editors="a"))
    assert counts["物理"] == 10 and sum(counts.values()) == 10  # 54 items, 4 of them alone in their category


def list_cells(rows: list[dict[str, Any]], editor: str = "") -> list[tuple[str, str, str]]:
    return [(row["editor"], row["item_id"], row["control"]) for row in rows if row["editor"] == editor or not editor]


def test_the_choice_depends_on_seed_and_editor_but_not_on_the_order_or_on_other_editors() -> None:
    chosen = plan(0.1)
    assert sorted(list_cells(chosen)) == sorted(list_cells(plan(0.1, of=items(50)[::-1])))
    assert set(list_cells(plan(0.1, editors="b"))) <= set(list_cells(chosen, "b"))  # some more are the same for both
    assert list_cells(chosen) != list_cells(plan(0.1, seed=43))
    own = [[cell[1:] for cell in list_cells(chosen, editor) if cell[2] not in SAME_FOR_ALL] for editor in "ab"]
    assert own[0] != own[1]
    fewer, more = plan(0.01, least=150), plan(0.01, least=150, editors="abc")
    mine = [{cell for cell in list_cells(rows, "a") if cell[2] not in SAME_FOR_ALL} for rows in (fewer, more)]
    assert mine[0] > mine[1]  # another editor needs no new questions about the others


def test_another_instruction_comes_from_the_same_category_and_the_description_stays_with_the_photo() -> None:
    for row in plan(6):
        if row["control"] != "other_instruction":
            assert row["other_item_id"] is None
            continue
        number = row["item_id"].split("-")[1]
        category, other = row["other_item_id"].split("-")
        assert category == row["category"] and other != number
        assert (row["instruction"], row["rationale"]) == (f"第 {other} 次", f"难点 {other}")
        assert row["description"] == f"照片 {number}"


def test_a_category_with_one_instruction_has_no_other_one_to_ask_under() -> None:
    rows = plan(6, of=items(3, instruction="一样"))
    assert Counter(row["control"] for row in rows) == {
        "source_as_edit": 30, "blank_edit": 30, "swapped": 30, "half_blended": 30, "blurred": 30,
    }  # fmt: skip


def test_a_larger_share_only_adds() -> None:
    def cells(share: float) -> set[tuple[str, str, str]]:
        return {(row["editor"], row["item_id"], row["control"]) for row in plan(share)}

    assert cells(0.05) < cells(0.1) < cells(0.5) < cells(1) < cells(2)


def test_repeats_are_a_subset_of_the_items() -> None:
    rows = plan(0, 0.1)
    assert {row["control"] for row in rows} == {"repeat"}
    assert Counter((row["editor"], row["category"]) for row in rows) == {
        (editor, category): 5 for editor in "ab" for category in CATEGORIES
    }


def shown(control: str, state: str = "edited") -> dict[str, Any]:
    item = items(2)[0]
    [planned] = [row for row in plan(6, of=items(2)) if (row["item_id"], row["editor"], row["control"]) == (
        item.item_id, "a", control,
    )]  # fmt: skip
    return make_question_row(planned, edit_row(item, state))


def test_what_each_control_shows() -> None:
    edit = edit_row(items(2)[0])
    source, edited = ("sources/0.png", "source 0"), (edit["edited_path"], edit["edited_sha256"])
    seen = {}
    for control in ACCEPTANCE:
        row = shown(control)
        assert row["state"] == "edited"
        seen[str(control)] = (
            (row["source_path"], row["source_sha256"]), (row["edited_path"], row["edited_sha256"]), row["instruction"],
        )  # fmt: skip
    assert seen == {
        "source_as_edit": (source, source, "第 0 次"),
        "other_instruction": (source, edited, "第 1 次"),
        "blank_edit": (source, (None, None), "第 0 次"),
        "swapped": (edited, source, "第 0 次"),
        "half_blended": (source, edited, "第 0 次"),  # the pictures are made when the judge is asked
        "blurred": (source, edited, "第 0 次"),
    }


@pytest.mark.parametrize("control", ["other_instruction", "swapped", "half_blended", "blurred"])
def test_a_control_that_needs_an_edit_hands_on_why_there_is_none(control: str) -> None:
    row = shown(control, "edit_failed")
    assert (row["state"], row["error_kind"], row["edited_path"]) == ("edit_failed", "oom", None)


@pytest.mark.parametrize("control", ["source_as_edit", "blank_edit"])
def test_a_control_that_needs_no_edit_is_asked_where_it_failed_but_not_without_a_source(control: str) -> None:
    assert shown(control, "edit_failed")["state"] == "edited"
    assert shown(control, "edit_failed")["error"] is None
    assert shown(control, "source_unreadable")["state"] == "source_unreadable"


def test_a_lane_asks_about_its_own_edits_and_lane_0_of_the_first_editor_about_the_canaries() -> None:
    every = items(4)
    canary = replace(every[0], item_id="canary-1", given_path="sources/given.png", given_sha256="given")
    planned = plan(1, 0.5, of=every) + make_canary_rows([canary], "a", CATEGORIES)
    edits = [edit_row(item) for item in every]
    lanes = [select_lane_questions(planned, edits[half::2], "a", half, samples=1) for half in (0, 1)]
    asked = [(row["control"], row["item_id"], row["repeat"]) for lane in lanes for row in lane]
    assert Counter(asked) == Counter(
        (row["control"], row["item_id"], int(row["control"] == "repeat")) for row in planned if row["editor"] == "a"
    )
    [row] = [row for row in lanes[0] if row["control"] == "canary"]
    assert (row["edited_path"], row["edited_sha256"], row["state"]) == ("sources/given.png", "given", "edited")


def test_a_judge_that_samples_is_asked_four_times_in_an_order_of_its_own() -> None:
    edits = [edit_row(item) for item in items(50)]
    rows = select_lane_questions(plan(0, 0.1), edits, "a", 0, samples=4)
    assert Counter(row["repeat"] for row in rows) == {1: 25, 2: 25, 3: 25, 4: 25}
    orders = [[row["item_id"] for row in rows if row["repeat"] == repeat] for repeat in (1, 2)]
    assert sorted(orders[0]) == sorted(orders[1]) and orders[0] != orders[1]


def answered(planned: list[dict[str, Any]], judge: str = "j") -> list[dict[str, Any]]:
    return [{**row, "judge": judge, "repeat": int(row["control"] == "repeat")} for row in planned]


def check(rows: list[dict[str, Any]], planned: list[dict[str, Any]], judges: list[str]) -> None:
    check_complete(from_rows(rows, CELLS), from_rows(planned, PLAN), judges)


def test_a_canary_of_a_category_that_the_run_lacks_is_asked_under_one_of_its_own() -> None:
    canaries = [replace(item, given_path="p", given_sha256="s") for item in items(1)]
    rows = make_canary_rows(canaries, "a", ["社会", "style"])
    assert [row["category"] for row in rows] == ["社会", "style", "社会", "style", "社会"]
    with pytest.raises(UserError, match=r"lacks the edit of 物理-0\. Delete resources/canary/pictures"):
        make_canary_rows(items(1), "a", CATEGORIES)


def test_lost_doubled_and_foreign_controls_are_refused_by_name() -> None:
    planned = plan(0.1, 0.1, editors="a") + plan(0.1, 0.1, editors="b")
    rows = answered(planned)
    check(rows, planned, ["j"])
    with pytest.raises(UserError, match=r"1 control is lost \(control \w+ of item .*, editor a, judge j"):
        check(rows[1:], planned, ["j"])
    four = [row | {"repeat": n} for row in rows for n in ((1, 2, 3, 4) if row["control"] == "repeat" else (0,))]
    check(four, planned, ["j"])
    with pytest.raises(UserError, match="1 control is lost"):
        check([row for row in four if row != next(r for r in four if r["repeat"] == 3)], planned, ["j"])
    with pytest.raises(UserError, match="1 control is doubled"):
        check([*rows, rows[3]], planned, ["j"])
    with pytest.raises(UserError, match="not of this run"):
        check([*rows, {**rows[0], "item_id": "别的"}], planned, ["j"])
    with pytest.raises(UserError, match=r"98 controls are lost .*judge k"):
        check(rows, planned, ["j", "k"])


def test_the_table_has_one_order() -> None:
    rows = answered(plan(1, 0.1))
    ordered = sort_controls(from_rows(rows, CELLS), ["b", "a"], ["j"])
    assert ordered == sort_controls(from_rows(rows[7:] + rows[:7], CELLS), ["b", "a"], ["j"])
    kinds = list(map(str, Control))
    places = [("ba".index(row["editor"]), kinds.index(row["control"]), row["item_id"]) for row in ordered.to_pylist()]
    assert places == sorted(places)


def test_a_lane_reads_of_the_plan_its_own_items_and_the_canaries_of_its_editor(tmp_path: Path) -> None:
    every = items(10)
    canary = replace(every[0], item_id="canary-1", given_path="p", given_sha256="s")
    planned = plan(1, 0.5, of=every) + make_canary_rows([canary], "a", CATEGORIES)
    write_table(tmp_path / "plan.parquet", planned, PLAN)
    own = {item.item_id for item in every[::3]}
    assert read_plan(tmp_path / "plan.parquet", "a", own) == [
        row for row in planned if row["editor"] == "a" and (row["item_id"] in own or row["control"] == "canary")
    ]
    assert all(row["item_id"] in own for row in read_plan(tmp_path / "plan.parquet", "b", own))
    write_table(tmp_path / "edits.parquet", [], EDITS)
    with pytest.raises(UserError, match=r"edits\.parquet has no column control, other_item_id; it is not the table"):
        read_plan(tmp_path / "edits.parquet", "a", own)


def test_further_samples_of_an_item_add_no_controls() -> None:
    first = items(20)
    more = [replace(item, item_id=f"{item.item_id}-seed2", sample_of=item.item_id) for item in first]
    assert plan(1.0, 0.2, of=[*first, *more]) == plan(1.0, 0.2, of=first)


def chain(item: Item, turns: int) -> list[Item]:
    ids = [f"{item.item_id}-turn{number}" for number in range(1, turns + 1)]
    return [
        replace(item, item_id=name, instruction=f"{item.instruction} 到第 {number} 轮", after=after)
        for number, (name, after) in enumerate(zip(ids, [None, *ids], strict=False), 1)
    ]


def test_another_instruction_is_no_other_turn_of_the_same_chain_where_there_is_any_other() -> None:
    rows = plan(6, of=[turn for item in items(2) for turn in chain(item, 9)])
    others = [row for row in rows if row["control"] == "other_instruction"]
    assert len(others) == 2 * 2 * 9 * len(CATEGORIES)
    assert all(row["other_item_id"].split("-")[1] != row["item_id"].split("-")[1] for row in others)
    rows = plan(6, of=[turn for item in items(1) for turn in chain(item, 2)])
    others = [row for row in rows if row["control"] == "other_instruction"]
    assert {(row["item_id"], row["other_item_id"]) for row in others if row["category"] == "物理"} == {
        ("物理-0-turn1", "物理-0-turn2"), ("物理-0-turn2", "物理-0-turn1")
    }  # fmt: skip
