"""The further images of an item in a judge's questions: after the source, with labels, and only where there are any."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from editlane.core.types import Item, Question, Reference
from editlane.judges.fake import FakeJudge, FakeJudgeParams
from editlane.judges.fake_pairs import is_comparison
from editlane.models.fake_signals import make_signature
from editlane.protocols.asking import ask, prepare
from editlane.protocols.load import load_protocol
from editlane.protocols.pairwise import BETTER, build_comparison, compare, load_pairwise
from editlane.protocols.references import INTRODUCTION, count_references, key_references, measure_references
from editlane.protocols.scoring import build_questions, prompt_parts_for_batching

PROTOCOLS = Path("resources/protocols")
RUBRIC, VIESCORE, LEGACY = (load_protocol(PROTOCOLS / f"{name}.yaml") for name in ("rubric", "viescore", "legacy"))
PAIRWISE = load_pairwise(PROTOCOLS / "pairwise.yaml")
SOURCE, EDITED, HAT, SCARF = (Image.new("RGB", (16, 16), one) for one in ("red", "blue", "green", "white"))
ITEM = Item(
    item_id="换装", category="指代", instruction="戴上图 2 的帽子", language="zh", source_path="s", source_sha256="0",
    width=16, height=16, cost=1.0,
    references=tuple(Reference(path=f"{name}.png", sha256=name, width=30, height=None) for name in ("a", "b")),
)  # fmt: skip


def images(question: Question) -> list[Image.Image]:
    return [part for part in question.parts if isinstance(part, Image.Image)]


def texts(question: Question) -> list[str]:
    return [part.strip() for part in question.parts if isinstance(part, str)]


def test_references_stand_between_source_and_edit_under_their_numbers() -> None:
    asked = build_questions(RUBRIC, ITEM, SOURCE, EDITED, RUBRIC.select_criteria(), [HAT, SCARF])
    for question in asked.values():
        assert images(question) == [SOURCE, HAT, SCARF, EDITED]
        labels = [f"{INTRODUCTION}\nReference image (image 2):", "Reference image (image 3):"]
        assert texts(question)[:4] == ["Source image:", *labels, "Edited image:"]
        assert count_references(question.parts) == 2


def test_a_question_that_shows_no_source_shows_no_reference() -> None:
    asked = build_questions(VIESCORE, ITEM, SOURCE, EDITED, VIESCORE.select_criteria(), [HAT])
    assert sorted(map(len, map(images, asked.values()))) == [1, 3]
    (question,) = build_questions(LEGACY, ITEM, SOURCE, EDITED, LEGACY.select_criteria(), [HAT]).values()
    assert images(question) == [EDITED]


@pytest.mark.parametrize("protocol", [RUBRIC, VIESCORE, LEGACY])
def test_an_item_with_one_image_is_asked_about_as_ever(protocol) -> None:
    plain = replace(ITEM, references=())
    asked = build_questions(protocol, plain, SOURCE, EDITED, protocol.select_criteria())
    assert asked == build_questions(protocol, plain, SOURCE, EDITED, protocol.select_criteria(), [])
    assert not any(count_references(question.parts) for question in asked.values())
    assert key_references(None) == key_references([]) == {}


def test_a_comparison_shows_references_once_and_the_fake_judge_tells_it_from_a_question_about_one_edit() -> None:
    good = EDITED.copy()
    good.paste(make_signature(ITEM.instruction))
    asked = build_comparison(PAIRWISE, ITEM, SOURCE, good, SOURCE, [HAT])
    assert images(asked[BETTER]) == [SOURCE, HAT, good, SOURCE]
    one = build_questions(RUBRIC, ITEM, SOURCE, EDITED, ["instruction"], [HAT])["instruction"]
    assert is_comparison(asked[BETTER]) and not is_comparison(one)
    judge = FakeJudge(model=None, revision=None, params=FakeJudgeParams())
    assert compare(PAIRWISE, judge, prepare(judge, [asked]))[0]["mode"] == "A"
    criteria = RUBRIC.select_criteria()
    shown = [build_questions(RUBRIC, ITEM, SOURCE, edit, criteria, [HAT]) for edit in (good, SOURCE)]
    scores = [row["score"] for row in ask(RUBRIC, judge, prepare(judge, shown), [0, 0])]
    assert scores[0] > 2 > scores[1], "the source, shown as its own edit, is told from one"


def test_references_count_towards_the_cost_of_a_batch() -> None:
    (shown, _), *_ = prompt_parts_for_batching(RUBRIC, ITEM, RUBRIC.select_criteria())
    assert shown == ("source", "reference_2", "reference_3", "edited")
    assert measure_references(ITEM.references) == {"reference_2": (30, 1024), "reference_3": (30, 1024)}


def test_the_key_holds_what_is_shown_in_order() -> None:
    rows = [{"path": "x.png", "sha256": sha, "width": 1, "height": 1} for sha in ("a", "b")]
    assert key_references(rows) == key_references([row | {"path": "y.png"} for row in rows])
    assert key_references(rows) != key_references(rows[::-1])
