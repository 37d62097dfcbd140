"""A lane of the arena: what is asked, what the key holds, what is kept, and what merging refuses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from editlane.core import schemas, tables
from editlane.core.errors import JudgeFailed, UserError
from editlane.core.paths import RunPaths
from editlane.core.types import EDITED, Judge
from editlane.images.files import file_sha256
from editlane.judges.fake import FakeJudge, FakeJudgeParams
from editlane.lanes.comparing import CompareWork, PairSpec
from editlane.lanes.costs import lane_costs
from editlane.lanes.journal import Journal
from editlane.lanes.judging import JudgeSpec
from editlane.lanes.lane_status import read_heartbeats
from editlane.lanes.merging import Keys
from editlane.lanes.merging_pairs import check_pairs, read_answers, read_plans, sort_pairs
from editlane.lanes.runner import run_lane
from editlane.lanes.stopping import StopRequest
from editlane.models.fake_signals import make_signature
from editlane.protocols.pair_plan import ArenaPlan
from editlane.protocols.pair_table import EDIT_COLUMNS, list_edits, make_plan_table, order_edits, select_lane
from editlane.protocols.pairwise import BETTER, PairwiseProtocol, load_pairwise

PROTOCOL = load_pairwise(Path("resources/protocols/pairwise.yaml"))
EDITORS = ["乙", "甲"]
COUNT = 6


class Run:
    """Six items: 甲 carries out each instruction and 乙 one of them; one edit is missing."""

    def __init__(self, folder: Path) -> None:
        self.paths = RunPaths(folder)
        rows = []
        for number in range(COUNT):
            Image.new("RGB", (16, 16), (number, 9, 9)).save(folder / f"s{number}.png")
            rows.append(
                {
                    "item_id": f"项-{number}", "category": "物理" if number % 2 else "因果",
                    "instruction": f"做 {number}", "language": "zh", "tags": [], "cost": 1.0,
                    "source_path": f"s{number}.png",
                    "source_sha256": file_sha256(folder / f"s{number}.png"), "width": 16, "height": 16,
                }
            )  # fmt: skip
        self.items = pa.Table.from_pylist(rows, schema=schemas.ITEMS)
        self.edits = {editor: self._edit(editor) for editor in EDITORS}

    def _edit(self, editor: str) -> pa.Table:
        rows = []
        for number, item in enumerate(self.items.to_pylist()):
            image = Image.new("RGB", (16, 16), (200, number, 0))
            if editor == "甲" or number == 4:
                image.paste(make_signature(item["instruction"]))
            image.save(self.paths / f"{editor}{number}.png")
            made = {
                "state": EDITED, "edited_path": f"{editor}{number}.png", "edited_width": 16, "edited_height": 16,
                "edited_sha256": file_sha256(self.paths / f"{editor}{number}.png"), "editor_key": f"key-{editor}",
            }  # fmt: skip
            missing = {"state": "edit_refused", "error_kind": "safety", "error": "no", "editor_key": f"key-{editor}"}
            rows.append({"item_id": item["item_id"]} | (missing if (editor, number) == ("乙", 2) else made))
        table = pa.Table.from_pylist(rows, schema=pa.schema([schemas.EDITS.field(name) for name in EDIT_COLUMNS]))
        return order_edits(self.items, table.take(pa.array(range(COUNT))[::-1]), editor)

    def plan(self, number: int = 1, answers: Sequence[dict[str, Any]] = (), **settings: Any) -> pa.Table:
        plan = ArenaPlan(self.items, EDITORS, **{"seed": 1, "rounds": 1, "budget": None} | settings)
        asked = plan.plan_pairs(number, list(answers))
        if number == 1:
            asked += plan.plan_controls({name: list_edits(table) for name, table in self.edits.items()}, 6, 0)
        return make_plan_table(self.items, self.edits, asked, "j", number)

    def spec(self, protocol: PairwiseProtocol = PROTOCOL, **identity: Any) -> PairSpec:
        judge = JudgeSpec(
            judge="j", identity={"adapter": "x"} | identity, run_dir=self.paths.run_dir, protocol=protocol.prompt,
            criteria=(BETTER,), samples=1,
        )  # fmt: skip
        return PairSpec(judge, protocol)

    def ask(self, plan: pa.Table, judge: Judge | None, lane: int = 0, lanes: int = 1, number: int = 1) -> list[dict]:
        """Run a lane as compare_lane.py does; without a judge it may load none. The rows of its table."""
        spec, rows = self.spec(), select_lane(plan, lane, lanes)
        work = CompareWork(spec, lane, rows, lambda: judge or pytest.fail("a model was loaded"))
        with Journal(self.paths.pair_journal("j"), work.lane.writer, work.wanted.keys()) as journal:
            answers = run_lane(work, journal, StopRequest())
            spec.write(self.paths.lane_pairs("j", number, lane), rows, answers, {"j": {"key": spec.judge.whole_key}})
        return tables.read_rows(self.paths.lane_pairs("j", number, lane))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def make_judge(**params: Any) -> FakeJudge:
    return FakeJudge(model=None, revision=None, params=FakeJudgeParams(**{"batch_size": 4} | params))


class Counting(FakeJudge):
    """Counts the questions that it is asked."""

    asked = 0

    def read_out(self, batch: Any, answers: Any) -> Any:
        self.asked += len(batch)
        return super().read_out(batch, answers)


def by_name(rows: list[dict[str, Any]]) -> dict[tuple, dict[str, Any]]:
    names = ("item_id", "editor_a", "editor_b", "control", "control_side")
    found = {tuple(row[name] for name in names): row for row in rows}
    assert len(found) == len(rows)
    return found


def test_every_pair_is_answered_in_both_orders_and_a_missing_edit_is_a_row_and_no_question(run: Run) -> None:
    rows = by_name(run.ask(run.plan(), make_judge()))
    for number in range(COUNT):
        first, second = (rows[f"项-{number}", *pair, None, None] for pair in (EDITORS, EDITORS[::-1]))
        if number == 2:
            for row in (first, second):
                assert (row["state"], row["error_kind"], row["p_a"], row["mode"]) == (
                    "edit_refused",
                    "safety",
                    None,
                    None,
                )
            continue
        assert (first["state"], second["state"]) == ("scored", "scored")
        assert first["p_a"] == second["p_b"] and first["p_tie"] == second["p_tie"]
        if number != 4:
            assert (first["mode"], second["mode"]) == ("B", "A")
        assert sum(first[f"p_{name}"] for name in ("a", "b", "tie", "both_bad")) == pytest.approx(1)
        assert (first["a_sha256"], first["b_sha256"]) == (second["b_sha256"], second["a_sha256"])


def test_controls_show_what_their_name_says(run: Run) -> None:
    rows = [row for row in run.ask(run.plan(), make_judge()) if row["control"] is not None]
    of_good = [row for row in rows if row["editor_a"] == "甲"]
    assert all(row["editor_a"] == row["editor_b"] for row in rows)
    for row in of_good:
        expected = {"a": "B", "b": "A", None: "tie"}[row["control_side"]]
        assert row["mode"] == expected, row
    for row in rows:
        shas = row["a_sha256"], row["b_sha256"]
        shown = dict(zip("ab", shas, strict=True)).get(row["control_side"])
        match row["control"]:
            case "source":
                assert shown == row["source_sha256"]
            case "blank":
                assert shown is None
            case "itself":
                assert shas[0] == shas[1] and row["control_side"] is None
            case "other_item":
                assert shown is not None and shas[0] != shas[1]
    assert {(row["editor_a"], row["item_id"]) for row in rows if row["control"] == "itself"} == {
        (editor, f"项-{number}") for editor in EDITORS for number in range(COUNT) if (editor, number) != ("乙", 2)
    }


def test_a_finished_lane_loads_no_model_and_gets_the_same_rows(run: Run) -> None:
    plan, judge = run.plan(), Counting(model=None, revision=None, params=FakeJudgeParams(batch_size=4))
    before = run.ask(plan, judge)
    asked = judge.asked
    assert asked == len({run.spec().key(row) for row in select_lane(plan, 0, 1) if row["state"] == EDITED})
    assert run.ask(plan, None) == before
    (beat,) = read_heartbeats(run.paths)
    assert (beat.stage, beat.judge, beat.editor, beat.done, beat.editor_key) == (
        "compare",
        "j",
        None,
        asked,
        "key-乙,key-甲",
    )


def test_an_empty_plan_is_an_empty_table(run: Run) -> None:
    assert run.ask(run.plan(2, run.ask(run.plan(), make_judge())), None, number=2) == []


def test_lanes_share_the_items_whole_and_together_ask_what_one_lane_asks(run: Run) -> None:
    plan = run.plan()
    lanes = [select_lane(plan, lane, 4) for lane in range(4)]
    assert sum(map(len, lanes)) == len(plan)
    items = [{row["item_id"] for row in rows} for rows in lanes]
    assert sum(map(len, items)) == COUNT == len(set().union(*items))
    shuffled = plan.take(pa.array(range(len(plan)))[::-1])
    assert select_lane(shuffled, 1, 4) == lanes[1]


def test_a_pair_that_fails_is_a_row_with_its_reason_and_leaves_the_others(run: Run) -> None:
    class Broken(FakeJudge):
        def read_out(self, batch: Any, answers: Any) -> Any:
            if any("做 3" in str(part) for (question,) in batch for part in question.parts):
                raise JudgeFailed("broken", kind="model")
            return super().read_out(batch, answers)

    rows = run.ask(run.plan(), Broken(model=None, revision=None, params=FakeJudgeParams(batch_size=4)))
    failed = [row for row in rows if row["state"] == "judge_failed"]
    assert {row["item_id"] for row in failed} == {"项-3"}
    assert {(row["error_kind"], row["error"], row["p_a"]) for row in failed} == {("model", "broken", None)}
    silent = run.spec().make_row(select_lane(run.plan(), 0, 1)[0], {"state": "judge_unreadable", "mass": 0.1})
    assert (silent["state"], silent["p_a"], silent["mass"]) == ("judge_unreadable", None, 0.1)


def test_a_picture_that_is_not_what_was_recorded_fails_its_questions_alone(run: Run) -> None:
    Image.new("RGB", (16, 16)).save(run.paths / "甲5.png")
    rows = run.ask(run.plan(), make_judge())
    failed = {row["item_id"] for row in rows if row["state"] == "judge_failed"}
    assert "项-5" in failed
    assert all(
        row["state"] != "judge_failed"
        for row in rows
        if "甲5" not in str(row) and row["control"] is None and row["item_id"] != "项-5"
    )


def test_the_key_holds_all_that_decides_an_answer_and_nothing_else(run: Run) -> None:
    row = next(row for row in select_lane(run.plan(), 0, 1) if row["control"] is None and row["state"] == EDITED)
    key = run.spec().key(row)
    same = [{"item_id": "x"}, {"editor_a": "x"}, {"round": 9}, {"judge": "x"}, {"a_path": "x"}, {"editor_keys": "x"}]
    assert {run.spec().key(row | change) for change in same} == {key}
    swapped = {"a_sha256": row["b_sha256"], "b_sha256": row["a_sha256"]}
    others = [
        *({name: "x"} for name in ("source_sha256", "a_sha256", "b_sha256", "instruction", "description", "category")),
        swapped, {"a_sha256": None},
    ]  # fmt: skip
    assert len({run.spec().key(row | change) for change in others} | {key}) == len(others) + 1
    assert run.spec(revision="x").key(row) != key


def make_answers(run: Run) -> tuple[pa.Table, pa.Table]:
    plan = run.plan()
    tables.write_parts(run.paths.pair_plan("j", 1), [plan], schemas.PAIR_PLAN)
    for lane in range(2):
        run.ask(plan, make_judge(), lane, 2)
    return read_answers([run.paths.lane_pairs("j", 1, lane) for lane in range(2)]), read_plans(
        [run.paths.pair_plan("j", 1)]
    )


def test_merged_rows_are_those_of_the_plan_in_the_order_of_the_run(run: Run) -> None:
    answers, plan = make_answers(run)
    check_pairs(answers, plan, run.items)
    merged = sort_pairs(answers, run.items, EDITORS, ["j"])
    assert sort_pairs(answers.take(pa.array(range(len(answers)))[::-1]), run.items, EDITORS, ["j"]).equals(merged)
    rows = merged.to_pylist()
    assert [row["control"] for row in rows[: 2 * COUNT]] == [None] * (2 * COUNT)
    assert [row["item_id"] for row in rows[:4]] == ["项-0", "项-0", "项-1", "项-1"]
    assert [row["editor_a"] for row in rows[:2]] == EDITORS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda answers: answers.slice(1), r"do not fit its plans: 1 question is lost \(judge j, item 项-"),
        (
            lambda answers: pa.concat_tables([answers, answers.slice(0, 2)]),
            r"answers do not fit together: 2 questions are doubled",
        ),
        (
            lambda answers: replace(answers, "editor_a", "丙"),
            r"\d+ questions are not of this run|\d+ questions are lost",
        ),
        (lambda answers: replace(answers, "a_sha256", "x"), r"questions are about other pictures"),
        (lambda answers: replace(answers, "round", 2), r"questions are about other pictures, or of another round"),
    ],
)
def test_lost_doubled_and_foreign_rows_are_refused(run: Run, change, message: str) -> None:
    answers, plan = make_answers(run)
    with pytest.raises(UserError, match=message) as error:
        check_pairs(change(answers), plan, run.items)
    assert "delete the run's folder `arena`" in str(error.value)


def test_answers_about_items_of_another_run_are_refused(run: Run) -> None:
    answers, plan = make_answers(run)
    with pytest.raises(UserError, match=r"do not fit the items: .*other items"):
        check_pairs(answers, plan, run.items.slice(1))


def replace(table: pa.Table, name: str, value: Any) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(
        place, table.schema.field(name), pa.array([value] * len(table), table.schema.field(name).type)
    )


def test_answers_with_different_settings_are_no_table(run: Run) -> None:
    answers, _ = make_answers(run)
    keys = answers["judge_key"].to_pylist()
    mixed = replace(answers, "judge_key", "x").slice(0, 3).to_pylist() + answers.slice(3).to_pylist()
    paths = [run.paths.lane_pairs("j", 1, lane) for lane in range(2)]
    Keys().check(answers, paths)
    with pytest.raises(UserError, match="made with different settings"):
        Keys().check(pa.Table.from_pylist(mixed, schema=schemas.PAIRS), paths)
    assert len(set(keys)) == 2  # one for each category


def test_edits_that_do_not_fit_the_items_are_refused(run: Run) -> None:
    with pytest.raises(UserError, match="The edits tables of 甲 do not fit the items: there are 5 rows for 6 items"):
        order_edits(run.items, run.edits["甲"].slice(1), "甲")


def test_the_costs_of_comparing_are_rows_of_their_own(run: Run) -> None:
    run.ask(run.plan(), make_judge())
    key = run.spec().judge.whole_key
    provenance = {
        "editors": {"甲": {"key": "key-甲"}},
        "judges": {"j": {"key": "other"}},
        "comparing": {"j": {"key": key}},
    }
    rows = lane_costs(read_heartbeats(run.paths), provenance, 1)
    assert [(row["stage"], row["judge"], row["attempts"]) for row in rows] == [
        ("edit", None, 0), ("score", "j", 0), ("compare", "j", 1),
    ]  # fmt: skip
    assert rows[2]["items"] > 2 * COUNT
