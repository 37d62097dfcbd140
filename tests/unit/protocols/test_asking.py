"""Asking a judge about edits, without a lane, a file or a journal: the way a server asks, too."""

import ast
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from editlane.core.errors import EditFailed, ItemError, JudgeFailed, OutOfMemory
from editlane.core.types import Item, Question, Readout
from editlane.protocols import asking
from editlane.protocols.asking import ask, make_failed_columns, prepare
from editlane.protocols.load import load_protocol
from editlane.protocols.scoring import build_questions

PROTOCOLS = Path(__file__).parents[3] / "resources/protocols"
RUBRIC = load_protocol(PROTOCOLS / "rubric.yaml")
ITEM = Item(
    item_id="a", category="物理", instruction="让它下雨", language="zh", source_path="s", source_sha256="0",
    width=8, height=8, cost=1.0,
)  # fmt: skip


class RedJudge:
    """Answers with the red value of the last image; fails on the values in `deadly`."""

    def __init__(self, deadly: Sequence[int] = (), error: ItemError | None = None) -> None:
        self.deadly, self.error = deadly, error or JudgeFailed("no", kind="model")
        self.seeds: list[int] = []

    def prepare(self, asked: Sequence[Sequence[Question]]) -> list[list[int]]:
        return [[question.parts[-3].getpixel((0, 0))[0] for question in of_edit] for of_edit in asked]

    def _see(self, batch: list[list[int]]) -> None:
        if any(value in self.deadly for of_edit in batch for value in of_edit):
            raise self.error

    def read_out(self, batch: list[list[int]], answers: Sequence[str]) -> list[list[Readout]]:
        self._see(batch)
        distribution = {value: tuple(float(n == value) for n in range(len(answers))) for value in range(10)}
        return [[Readout(probabilities=distribution[value], mass=1.0) for value in of_edit] for of_edit in batch]

    def generate(self, batch: list[list[int]], max_new_tokens: int, seeds: Sequence[Sequence[int]]) -> list[list[str]]:
        self._see(batch)
        self.seeds += [own[0] for own in seeds]
        return [[f"Score: {value}" for value in of_edit] for of_edit in batch]


def asked_about(red: int, protocol=RUBRIC) -> dict[str, Question]:
    source, edited = (Image.new("RGB", (8, 8), (value, 0, 0)) for value in (99, red))
    return build_questions(protocol, ITEM, source, edited, protocol.select_criteria())


def test_every_edit_gets_its_own_answer_in_order() -> None:
    judge = RedJudge()
    rows = ask(RUBRIC, judge, prepare(judge, [asked_about(red) for red in (3, 9, 0)]), [1, 2, 3])
    assert [row["mode_category"] for row in rows] == ["3", "9", "0"]
    assert [row["state"] for row in rows] == ["scored"] * 3


def test_an_edit_without_questions_is_a_row_in_its_place() -> None:
    judge = RedJudge()
    missing = JudgeFailed("the edited image is gone", kind="missing")
    rows = ask(RUBRIC, judge, prepare(judge, [asked_about(3), missing, asked_about(5)]), [1, 2, 3])
    assert [(row["state"], row["error_kind"]) for row in rows] == [
        ("scored", None), ("judge_failed", "missing"), ("scored", None),
    ]  # fmt: skip
    assert rows[1]["score"] is None
    assert rows[2]["mode_category"] == "5"


def test_nothing_to_ask_asks_nothing() -> None:
    rows = ask(RUBRIC, RedJudge(), prepare(RedJudge(), [JudgeFailed("gone")]), [1])
    assert [row["state"] for row in rows] == ["judge_failed"]
    assert ask(RUBRIC, RedJudge(), prepare(RedJudge(), []), []) == []


@pytest.mark.parametrize("place", range(5))
def test_one_bad_edit_costs_no_other_its_score_nor_its_seed(place: int) -> None:
    legacy = load_protocol(PROTOCOLS / "legacy.yaml")
    judge = RedJudge(deadly=[place])
    rows = ask(legacy, judge, prepare(judge, [asked_about(red, legacy) for red in range(5)]), range(100, 105))
    assert [row["state"] for row in rows] == ["judge_failed" if red == place else "scored" for red in range(5)]
    assert [row["score"] for row in rows] == [None if red == place else float(red) for red in range(5)]
    assert sorted(judge.seeds) == [100 + red for red in range(5) if red != place]


def test_a_batch_that_cannot_be_prepared_is_halved_too() -> None:
    class Unprepared(RedJudge):
        def prepare(self, asked: Sequence[Sequence[Question]]) -> list[list[int]]:
            prepared = super().prepare(asked)
            self._see(prepared)
            return prepared

    judge = Unprepared(deadly=[2])
    rows = ask(RUBRIC, judge, prepare(judge, [asked_about(red) for red in range(4)]), range(4))
    assert [row["state"] for row in rows] == ["scored", "scored", "judge_failed", "scored"]


def test_an_error_that_is_no_items_own_is_raised() -> None:
    class Broken(RedJudge):
        def read_out(self, batch: list[list[int]], answers: Sequence[str]) -> list[list[Readout]]:
            raise RuntimeError("device-side assert")

    with pytest.raises(RuntimeError, match="device-side assert"):
        ask(RUBRIC, Broken(), prepare(Broken(), [asked_about(1)]), [1])


def test_what_fails_while_judging_is_the_judges_failure() -> None:
    assert make_failed_columns(OutOfMemory("full"))["state"] == "judge_failed"
    assert make_failed_columns(OutOfMemory("full"))["error_kind"] == "oom"
    assert make_failed_columns(EditFailed("no"))["state"] == "judge_failed"


def test_asking_knows_no_lane_no_file_and_no_journal() -> None:
    imported = {
        node.module
        for node in ast.walk(ast.parse(Path(asking.__file__).read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    assert not {name for name in imported if name.startswith(("editlane.lanes", "editlane.images", "pathlib"))}
