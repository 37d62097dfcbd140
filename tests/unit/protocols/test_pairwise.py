"""The protocol that compares two edits: its file, its question, its answer."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from editlane.core.errors import JudgeFailed, UserError
from editlane.core.types import Item, Question, Readout
from editlane.judges.fake import FakeJudge, FakeJudgeParams
from editlane.models.fake_signals import make_signature
from editlane.protocols.asking import prepare
from editlane.protocols.pairwise import (
    BETTER,
    PairwiseProtocol,
    build_comparison,
    compare,
    load_pairwise,
    read_comparison,
)

FILE = Path("resources/protocols/pairwise.yaml")
PROTOCOL = load_pairwise(FILE)
ITEM = Item(
    item_id="一", category="物理", instruction="让它下雨", language="zh", source_path="s", source_sha256="0",
    width=16, height=16, cost=1.0, description="一只猫",
)  # fmt: skip
SOURCE = Image.new("RGB", (16, 16), (9, 9, 9))


def make_edit(red: int, instruction: str | None = "让它下雨") -> Image.Image:
    """An edit that the fake judge takes for one of this instruction; unsigned without one."""
    image = Image.new("RGB", (16, 16), (red, 0, 0))
    if instruction:
        image.paste(make_signature(instruction))
    return image


def ask(first: Image.Image, second: Image.Image, **params: Any) -> dict[str, Any]:
    judge = FakeJudge(model=None, revision=None, params=FakeJudgeParams(**params))
    question = build_comparison(PROTOCOL, ITEM, SOURCE, first, second)
    return compare(PROTOCOL, judge, prepare(judge, [question]))[0]


def test_the_question_shows_the_source_and_both_edits_in_order_under_their_labels() -> None:
    first, second = make_edit(1), make_edit(2)
    question = build_comparison(PROTOCOL, ITEM, SOURCE, first, second)[BETTER]
    texts = [part for part in question.parts if isinstance(part, str)]
    assert [part for part in question.parts if not isinstance(part, str)] == [SOURCE, first, second]
    assert [text.strip() for text in texts[:3]] == ["Source image:", "Edit A:", "Edit B:"]
    assert "让它下雨" in texts[3] and "一只猫" in texts[3] and "{" not in texts[3]
    assert texts[4].startswith("Question: which edit") and "{rubric}" not in question.system
    assert "obeys physics" in question.system
    other = load_pairwise(FILE).prompt
    assert other.list_without_rubric(["subject-add"]) == []


def test_an_answer_is_four_probabilities_with_mode_entropy_and_mass() -> None:
    row = read_comparison(PROTOCOL, {BETTER: Readout(probabilities=(0.1, 0.6, 0.2, 0.1), mass=0.9)})
    assert (row["p_a"], row["p_b"], row["p_tie"], row["p_both_bad"]) == (0.1, 0.6, 0.2, 0.1)
    assert (row["mode"], row["state"], row["mass"]) == ("B", "scored", 0.9)
    assert row["entropy"] == pytest.approx(1.0889)


def test_no_mass_at_all_is_never_an_answer() -> None:
    protocol = PairwiseProtocol(replace(PROTOCOL.prompt, answer=replace(PROTOCOL.prompt.answer, min_mass=0.0)))
    row = read_comparison(protocol, {BETTER: Readout(probabilities=(0.25,) * 4, mass=0.0)})
    assert (row["state"], row["error_kind"], "p_a" in row) == ("judge_unreadable", "mass", False)


@pytest.mark.parametrize(
    ("readout", "state", "kind"),
    [
        (Readout(probabilities=(0.1, 0.6, 0.2, 0.1), mass=0.49), "judge_unreadable", "mass"),
        (Readout(probabilities=(float("nan"), 0.6, 0.2, 0.2), mass=0.9), "judge_failed", "nonfinite"),
    ],
)
def test_an_answer_without_mass_or_with_numbers_that_are_none_is_no_answer(readout, state, kind) -> None:
    row = read_comparison(PROTOCOL, {BETTER: readout})
    assert (row["state"], row["error_kind"]) == (state, kind)
    assert not any(name.startswith("p_") for name in row)


def test_the_fake_judge_prefers_an_edit_to_the_source_and_to_a_blank_in_both_orders() -> None:
    edit, blank = make_edit(200), Image.new("RGB", (16, 16), "white")
    for other in (SOURCE, blank, make_edit(100, "别的")):
        assert ask(edit, other)["mode"] == "A"
        assert ask(other, edit)["mode"] == "B"
    itself = ask(edit, edit)
    assert itself["mode"] == "tie" and itself["p_a"] == itself["p_b"]
    assert ask(SOURCE, blank)["mode"] == "both_bad"


def test_a_blind_fake_judge_names_the_same_place_in_both_orders() -> None:
    one, two = make_edit(200), make_edit(20)
    assert ask(one, two, behaviour="ignores_images") == ask(two, one, behaviour="ignores_images")
    assert ask(one, two, behaviour="constant")["mode"] == "tie"


def test_a_pair_that_fails_leaves_the_others_of_its_batch_their_answers() -> None:
    class Broken(FakeJudge):
        def read_out(self, batch: list[list[Question]], answers: Any) -> Any:
            if any(part is bad for questions in batch for question in questions for part in question.parts):
                raise JudgeFailed("no", kind="model")
            return super().read_out(batch, answers)

    bad, judge = make_edit(3), Broken(model=None, revision=None, params=FakeJudgeParams())
    pairs = [(make_edit(200), SOURCE), (bad, SOURCE), (SOURCE, make_edit(200))]
    asked = [build_comparison(PROTOCOL, ITEM, SOURCE, *pair) for pair in pairs]
    rows = compare(PROTOCOL, judge, prepare(judge, asked))
    assert [row["state"] for row in rows] == ["scored", "judge_failed", "scored"]
    assert [rows[0]["mode"], rows[2]["mode"]] == ["A", "B"]


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"images": [{"show": "source"}, {"show": "edit_a"}]},
        r"images shows .*; show each of source, edit_a, edit_b once",
    ),
    ({"images": [{"show": "edited"}]}, r"Unknown images\.0\.show 'edited'"),
    (
        {"answer": {"a": "A", "b": "A", "tie": "C", "both_bad": "D", "min_mass": 0.5}},
        "use texts that are all different",
    ),
    ({"answer": {"a": "A", "b": "B", "tie": "C", "min_mass": 0.5}}, r"answer\.both_bad is missing"),
    ({"criteria": {}}, "Unknown key 'criteria'"),
    ({"kind": "pointwise"}, "scores one edit"),
    ({"rubrics": {}}, "`rubrics:` needs {rubric}"),
    ({"question": " "}, "question: it is empty"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_a_wrong_file_is_refused_with_what_and_where(tmp_path, changes, message) -> None:
    data = yaml.safe_load(FILE.read_text(encoding="utf-8")) | changes
    path = tmp_path / "比较.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        load_pairwise(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
