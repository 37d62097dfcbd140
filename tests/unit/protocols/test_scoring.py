"""From an edit to questions, and from answers to score columns: exact texts, exact numbers, and never a made up one.

The prompts of the shipped protocols are kept in tests/golden. After an intended change write them anew and read the
difference:

    PYTHONPATH=scripts python tests/unit/protocols/test_scoring.py
"""

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from editlane.core.cut_replies import CutReply
from editlane.core.errors import UserError
from editlane.core.schemas import scores_schema
from editlane.core.types import Item, Readout
from editlane.protocols.load import load_protocol
from editlane.protocols.protocol import (
    Combination,
    Criterion,
    GeneratedAnswer,
    ReadoutAnswer,
    ScoringProtocol,
    ShownImage,
)
from editlane.protocols.scoring import (
    build_questions,
    fingerprint_category,
    format_system_text,
    score_readouts,
    score_replies,
)

ROOT = Path(__file__).parents[3]
PROTOCOLS = ROOT / "resources" / "protocols"
LEGACY, VIESCORE = (load_protocol(PROTOCOLS / f"{name}.yaml") for name in ("legacy", "viescore"))
GOLDEN = ROOT / "tests" / "golden"
SOURCE, EDITED = Image.new("RGB", (4, 3), "red"), Image.new("RGB", (4, 3), "blue")


def item(**changes):
    values = {
        "item_id": "i1",
        "category": "物理",
        "instruction": "把桌上的玻璃杯移到地板上",
        "language": "zh",
        "source_path": "s.png",
        "source_sha256": "0" * 64,
        "width": 4,
        "height": 3,
        "cost": 1.0,
        "description": "A glass of water on a wooden table.",
        "rationale": "The water and the shadow have to move along.",
    }
    return Item(**(values | changes))


def small(**changes):
    values = {
        "name": "small",
        "version": "1",
        "description": "for tests",
        "system": "Judge.\n{rubric}",
        "rubrics": {"物理": "Gravity.", "指代": "Reference."},
        "images": (ShownImage(show="source", label="Before:"), ShownImage(show="edited", label="After:")),
        "item_texts": {"instruction": "Asked: {instruction}", "rationale": "Hard: {rationale}"},
        "criteria": tuple(Criterion(name=n, question=f"{n}?", optional=n == "extra") for n in ("a", "b", "extra")),
        "answer": ReadoutAnswer(answers=("0", "1", "2"), values=(0.0, 5.0, 10.0), min_mass=0.5),
        "score": Combination(how="min", parts=("a", "b")),
        "sha256": "0" * 64,
        "text": "",
    }
    return ScoringProtocol(**(values | changes))


def readout(*probabilities, mass=0.9):
    return Readout(probabilities=probabilities, mass=mass)


# --- questions


def rendered(protocol, an_item):
    """All questions about one item as text."""
    names = {id(SOURCE): "<source image>", id(EDITED): "<edited image>"}
    asked = build_questions(protocol, an_item, SOURCE, EDITED, [one.name for one in protocol.criteria])
    (system,) = {question.system for question in asked.values()}
    prompts = [question.parts[:-1] for question in asked.values()]
    text = f"--- system ---\n{system}\n" if system else ""
    for number, (name, question) in enumerate(asked.items()):
        if number == 0 or prompts[number] != prompts[number - 1]:
            user = [part if isinstance(part, str) else names[id(part)] for part in prompts[number]]
            text += f"--- user ---\n{''.join(user)}"
        text += f"--- {name} ---\n{question.parts[-1]}\n"
    return text


SHIPPED = ("rubric", "yesno", "legacy", "viescore")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_prompts_of_the_shipped_protocols(name):
    wanted = (GOLDEN / f"prompt_{name}.txt").read_text(encoding="utf-8")
    assert rendered(load_protocol(PROTOCOLS / f"{name}.yaml"), item()) == wanted


def test_a_question_is_rubric_then_images_then_item_then_criterion():
    asked = build_questions(small(), item(), SOURCE, EDITED, ["a", "extra"])
    assert list(asked) == ["a", "extra"]
    assert asked["a"].system == "Judge.\nGravity."
    assert asked["a"].parts == (
        "Before:\n",
        SOURCE,
        "\nAfter:\n",
        EDITED,
        "\n\nAsked: 把桌上的玻璃杯移到地板上\nHard: The water and the shadow have to move along.\n\n",
        "a?",
    )
    assert asked["extra"].parts == (*asked["a"].parts[:-1], "extra?")


def test_what_an_item_does_not_have_is_left_out():
    asked = build_questions(small(), item(rationale=None), SOURCE, EDITED, ["a"])
    assert asked["a"].parts[-2] == "\n\nAsked: 把桌上的玻璃杯移到地板上\n\n"


def test_braces_in_an_instruction_stay_as_they_are():
    asked = build_questions(small(), item(instruction="{rationale} {0} {rubric}"), SOURCE, EDITED, ["a"])
    assert "Asked: {rationale} {0} {rubric}\nHard: The water" in asked["a"].parts[-2]


def test_viescore_shows_both_images_with_the_instruction_and_the_edit_alone_without_it():
    asked = build_questions(VIESCORE, item(), SOURCE, EDITED, VIESCORE.select_criteria())
    consistency, quality = asked["success"], asked["naturalness"]
    assert list(asked) == ["success", "naturalness"]
    assert consistency.parts[:2] == (SOURCE, EDITED) and quality.parts[:1] == (EDITED,)
    assert [len(question.parts) for question in asked.values()] == [3, 2]
    assert consistency.parts[2].endswith("\n\nInstruction: 把桌上的玻璃杯移到地板上")
    assert not any(text in quality.parts[1] for text in ("玻璃杯", "nstruction", "glass"))


def test_a_question_with_its_own_images_has_the_other_texts_of_its_item():
    own = Criterion(
        name="a", question="{instruction}? {0}", optional=False, images=(ShownImage(show="edited", label=""),)
    )
    asked = build_questions(
        small(criteria=(own, *small().criteria[1:])), item(rationale=None), SOURCE, EDITED, ["a", "b"]
    )
    assert asked["a"].parts == (EDITED, "\n\nAsked: 把桌上的玻璃杯移到地板上\n\n", "把桌上的玻璃杯移到地板上? {0}")
    assert asked["b"].parts[:4] == ("Before:\n", SOURCE, "\nAfter:\n", EDITED)


def test_an_image_that_is_not_shown_is_not_in_the_question():
    protocol = small(images=(ShownImage(show="edited", label="Image:"),))
    parts = build_questions(protocol, item(), SOURCE, EDITED, ["a"])["a"].parts
    assert [part for part in parts if not isinstance(part, str)] == [EDITED]


# --- fingerprints


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("rubric", "af0397f6155e1445ede18634eb0e17d6e48d4d1b47dd0fe5ea1a7f429b6b0651"),
        ("yesno", "765c2ae8c3b12b6232f8c94af5094406ec4e721e15617d21dab6f6a1cfddbf04"),
        ("legacy", "cf7088ea6f9a112c5f14a134184c6bd110477558b0ab7551071cf3ac92878ea9"),
    ],
)
def test_scores_that_are_in_a_journal_stay_found(name, wanted):
    """Another value here judges everything anew. Right after a changed text, wrong after a changed program."""
    protocol = load_protocol(PROTOCOLS / f"{name}.yaml")
    found = "".join(fingerprint_category(protocol, category) for category in protocol.rubrics)
    assert hashlib.sha256(found.encode()).hexdigest() == wanted


def test_one_rubric_changes_one_category_only():
    before, after = small(), small(rubrics={"物理": "Gravity and light.", "指代": "Reference."})
    assert fingerprint_category(before, "物理") != fingerprint_category(after, "物理")
    assert fingerprint_category(before, "指代") == fingerprint_category(after, "指代")


@pytest.mark.parametrize(
    "change",
    [
        {"system": "Judge well.\n{rubric}"},
        {"images": (ShownImage(show="edited", label="After:"), ShownImage(show="source", label="Before:"))},
        {"item_texts": {"rationale": "Hard: {rationale}", "instruction": "Asked: {instruction}"}},
        {"criteria": (Criterion(name="a", question="A?", optional=False), *small().criteria[1:])},
        {"answer": replace(small().answer, min_mass=0.4)},
        {"answer": replace(small().answer, values=(10.0, 5.0, 0.0))},
        {"score": Combination(how="min", parts=("a",))},
        {"score": Combination(how="geometric_mean", parts=("a", "b"))},
        {"score": Combination(how="min", parts=(Combination(how="min", parts=("a", "b")),))},
        {"criteria": (replace(small().criteria[0], images=()), *small().criteria[1:])},
        {"criteria": (*small().criteria[:2], replace(small().criteria[2], reply_of="a"))},
    ],
)
def test_everything_that_decides_a_score_changes_every_category(change):
    for category in ("物理", "指代"):
        assert fingerprint_category(small(), category) != fingerprint_category(small(**change), category)


def test_name_version_and_description_do_not_change_the_fingerprint():
    other = small(name="other", version="2", description="said differently", sha256="1" * 64)
    assert fingerprint_category(other, "物理") == fingerprint_category(small(), "物理")


# --- read-outs


def test_the_numbers_of_a_readout():
    columns = score_readouts(small(), {"a": readout(0.1, 0.2, 0.7), "b": readout(0.0, 1.0, 0.0, mass=0.8123456789)})
    assert columns == {
        "state": "scored",
        "error_kind": None,
        "error": None,
        "score": 5.0,
        "score_a": 8.0,
        "mode_a": "2",
        "entropy_a": 0.8018,
        "mass_a": 0.9,
        "score_b": 5.0,
        "mode_b": "1",
        "entropy_b": 0.0,
        "mass_b": 0.812346,
        "entropy": 0.8018,
        "mass": 0.812346,
        "reply": "a 2, b 1",
    }
    assert set(columns) <= set(scores_schema(["a", "b"]).names)


def test_an_optional_criterion_has_columns_but_no_say_in_the_score():
    readouts = {"a": readout(0, 0, 1), "b": readout(0, 0, 1), "extra": readout(0.5, 0.5, 0, mass=0.6)}
    columns = score_readouts(small(), readouts)
    assert (columns["score"], columns["score_extra"]) == (10.0, 2.5)
    assert (columns["entropy"], columns["mass"]) == (0.0, 0.9)
    assert columns["entropy_extra"] == round(math.log(2), 4)


def test_digits_0_to_9_are_stretched_to_0_to_10():
    protocol = load_protocol(PROTOCOLS / "rubric.yaml")
    nine, three = ([float(digit == peak) for digit in range(10)] for peak in (9, 3))
    columns = score_readouts(protocol, {"category": readout(*nine), "instruction": readout(*three)})
    assert (columns["score_category"], columns["score_instruction"], columns["score"]) == (10.0, 3.3333, 3.3333)


def test_p_yes_times_ten():
    columns = score_readouts(load_protocol(PROTOCOLS / "yesno.yaml"), {"correct": readout(0.73, 0.27)})
    assert (columns["score"], columns["mode_correct"]) == (7.3, "Yes")


def test_too_little_mass_is_unreadable_but_can_be_looked_into_and_an_optional_criterion_is_null_by_itself():
    columns = score_readouts(small(), {"a": readout(0, 0, 1), "b": readout(0.5, 0.5, 0, mass=0.41)})
    assert (columns["state"], columns["error_kind"]) == ("judge_unreadable", "mass")
    assert columns["error"] == "too little probability on legal answers: b 0.41; the protocol asks for 0.5"
    assert [columns[name] for name in ("score", "score_a", "score_b", "reply")] == [None] * 4
    assert (columns["mode_b"], columns["mass_b"], columns["mass"]) == ("0", 0.41, 0.41)
    extra = {"a": readout(0, 0, 1), "b": readout(0, 0, 1), "extra": readout(0, 0, 1, mass=0.1)}
    columns = score_readouts(small(), extra)
    assert (columns["state"], columns["score"], columns["score_extra"], columns["mass_extra"]) == (
        "scored",
        10,
        None,
        0.1,
    )
    assert score_readouts(small(), {"a": readout(0, 0, 1), "b": readout(0, 0, 1, mass=0.5)})["state"] == "scored"


def test_no_mass_at_all_is_never_a_score():
    protocol = small(answer=replace(small().answer, min_mass=0.0))
    none, little = readout(1 / 3, 1 / 3, 1 / 3, mass=0.0), readout(0, 0, 1, mass=1e-9)
    columns = score_readouts(protocol, {"a": little, "b": none, "extra": none})
    assert (columns["state"], columns["error_kind"], columns["score"]) == ("judge_unreadable", "mass", None)
    assert columns["error"].endswith("b 0; the protocol asks for more than 0")
    columns = score_readouts(protocol, {"a": little, "b": little, "extra": none})
    assert (columns["state"], columns["score"], columns["score_extra"]) == ("scored", 10.0, None)


@pytest.mark.parametrize(
    "broken", [readout(math.nan, 0.5, 0.5), readout(0, 0, 1, mass=math.nan), readout(math.inf, 0, 0)]
)
def test_numbers_that_are_not_finite_are_the_judges_failure(broken):
    columns = score_readouts(small(), {"a": readout(0, 0, 1), "b": broken})
    assert (columns["state"], columns["error_kind"]) == ("judge_failed", "nonfinite")
    assert columns["error"] == "the judge's probabilities for b are not finite"
    assert [value for value in columns.values() if isinstance(value, float)] == []


def test_a_readout_of_the_wrong_length_is_a_bug_and_not_a_score():
    with pytest.raises(ValueError, match="zip"):
        score_readouts(small(), {"a": readout(1.0), "b": readout(1.0)})


@given(st.lists(st.lists(st.floats(0.001, 1), min_size=3, max_size=3), min_size=2, max_size=2), st.floats(0.5, 1))
def test_every_number_is_in_its_range(weights, mass):
    a, b = (readout(*(weight / sum(row) for weight in row), mass=mass) for row in weights)
    columns = score_readouts(small(), {"a": a, "b": b})
    assert 0 <= columns["score"] <= 10
    assert columns["score"] == min(columns["score_a"], columns["score_b"])
    assert 0 <= columns["entropy"] <= round(math.log(3), 4)
    assert columns["entropy"] >= columns["entropy_a"] and columns["mass"] <= columns["mass_a"]


def test_a_readout_can_be_combined_in_other_ways():
    combined = small(score=Combination(how="geometric_mean", parts=("a", Combination(how="min", parts=("a", "b")))))
    columns = score_readouts(combined, {"a": readout(0, 0, 1), "b": readout(0.2, 0.8, 0, mass=0.7)})
    assert (columns["score"], columns["score_a"], columns["score_b"]) == (6.3246, 10, 4)
    assert (columns["entropy"], columns["mass"]) == (columns["entropy_b"], 0.7)


# --- replies


def score_reply(protocol, reply):
    (question,) = protocol.group_questions(protocol.select_criteria())
    return score_replies(protocol, {question: reply})


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Score: 7.125", 7.125),
        ("score：8", 8.0),
        ("**Score: 7.5**", 7.5),
        ("**Score:** 0.000", 0.0),
        ("The light fits.\nScore: 10.000\n", 10.0),
        ("Score: 7.5.", 7.5),
        ("Score: 7/10", 7.0),
        ("Score: 3\n1. The final Score: 3.000 is fair.", 3.0),
        ("评分如下 Score: 6.5。", 6.5),
        ("Score: 8 out of 10", 8.0),
        ("Score: 8/10", 8.0),
        ("Score: 8.000 / 10.000", 8.0),
        ("Score: 8分", 8.0),
        ("Score: 8分（满分10分）", 8.0),
        ("**Score: 7.250**", 7.25),
        ("Score: 8 because of a missing shadow", 8.0),
        ("Score: 8.\nOne of 3 lamps is on; 5 stars.", 8.0),
    ],
)
def test_a_reply_with_one_number_is_scored(reply, score):
    columns = score_reply(LEGACY, reply)
    assert (columns["state"], columns["score"], columns["score_overall"]) == ("scored", score, score)
    assert columns["reply"] == reply
    assert set(columns) <= set(scores_schema(["overall"]).names)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("", "no_number"),
        ("I cannot rate this image.", "no_number"),
        ("Score: X.XXX", "no_number"),
        ("I would say 7 of 10.", "no_number"),
        ("Score: nan", "no_number"),
        ("Score: 4/5", "no_number"),
        ("Score: 70/100", "no_number"),
        ("Score: 75%", "no_number"),
        ("Score: 4 out of 5", "no_number"),
        ("Score: 4 of 5", "no_number"),
        ("Score: 4 (out of 5)", "no_number"),
        ("Score: 4 out of a possible 5", "no_number"),
        ("**Score: 4** out of 5", "no_number"),
        ("**Score: 4**/5", "no_number"),
        ("Score: 4/10.5", "no_number"),
        ("Score: 4 分/5", "no_number"),
        ("Score: 4分（满分5分）", "no_number"),
        ("Score: 4 on a scale of 1 to 5", "no_number"),
        ("Score: 4 (1-5)", "no_number"),
        ("Score: 5 stars out of 5", "no_number"),
        ("Score: 8 ± 1", "no_number"),
        ("Score: 8 +/- 1", "no_number"),
        ("Score: 5-7", "no_number"),
        ("Score: 5 or 6", "no_number"),
        ("Score: 8,5", "no_number"),
        ("Score: 7e3", "no_number"),
        ("Score: 7.5.3", "no_number"),
        ("Score: 11", "out_of_range"),
        ("Score: -1", "out_of_range"),
        ("Score: 7\nScore: 700", "out_of_range"),
        ("Score: 3.0\n... or rather Score: 4.0", "contradiction"),
    ],
)
def test_a_reply_without_one_legal_number_has_no_score(reply, kind):
    columns = score_reply(LEGACY, reply)
    assert (columns["state"], columns["error_kind"], columns["score"]) == ("judge_unreadable", kind, None)
    assert columns["reply"] == reply and columns["error"]
    assert "score_overall" not in columns


@pytest.mark.parametrize("pattern", [r"(\w+)", r"(?:x)(y)?"])
def test_a_pattern_that_finds_no_number_gives_no_score(pattern):
    protocol = small(
        criteria=small().criteria[:1],
        score=Combination(how="min", parts=("a",)),
        answer=GeneratedAnswer(max_new_tokens=4, pattern=pattern, low=0.0, high=5.0),
    )
    assert score_reply(protocol, "x seven")["error_kind"] == "no_number"
    assert score_reply(protocol, "x nan")["score"] is None


@pytest.mark.parametrize(
    "reply",
    [
        "Score: 1",
        "Score: 7.",
        "Score: 4 ou",
        "Score: 7.5",
        "so\nScore: 7.5",
        "Score: 85",
        "Let me see",
        "",
        "A first guess would be\nScore: 5\nBut the user asked for green, so",
    ],
)
def test_a_reply_that_was_cut_before_its_score_was_whole_has_none(reply):
    columns = score_reply(LEGACY, CutReply(reply))
    assert (columns["state"], columns["error_kind"], columns["score"]) == ("judge_unreadable", "cut", None)
    assert "raise `max_new_tokens`" in columns["error"]
    assert columns["reply"] == reply and type(columns["reply"]) is str


@pytest.mark.parametrize(
    ("protocol", "reply", "score"),
    [
        (LEGACY, "Score: 7.5\nThe light comes fr", 7.5),
        (VIESCORE, '{"score": [7, 7], "reasoning": "so"}\n\nThe edit', 7.0),
        (VIESCORE, '{"score": [7, 7], "reasoning": "The ed', 7.0),
        (VIESCORE, '```json\n{"reasoning": "so", "score": [7, 7]}\n```\nThe ed', 7.0),
        (VIESCORE, 'A guess first.\n{"score": [7, 7]}\n\n\n', 7.0),
        (LEGACY, "**Score: 7.5**\nThe light comes fr", 7.5),
    ],
)
def test_a_score_that_was_whole_before_a_reply_was_cut_counts(protocol, reply, score):
    replies = {question: CutReply(reply) for question in protocol.group_questions(protocol.select_criteria())}
    columns = score_replies(protocol, replies)
    assert (columns["state"], columns["score"]) == ("scored", score)


def test_a_guess_within_a_reply_that_was_cut_is_no_score():
    """A thought may have no mark at its beginning, because the template opens it."""
    guess = 'A first guess: {"score": [2, 9]}\nBut the user asked for green, so'
    replies = {question: CutReply(guess) for question in VIESCORE.group_questions(VIESCORE.select_criteria())}
    columns = score_replies(VIESCORE, replies)
    assert (columns["state"], columns["error_kind"]) == ("judge_unreadable", "cut")


@pytest.mark.parametrize(
    ("reply", "kind"), [("Score: 3\nScore: 1\nb", "contradiction"), ("Score: 85\nb", "out_of_range")]
)
def test_what_was_wrong_before_a_reply_was_cut_is_told(reply, kind):
    assert score_reply(LEGACY, CutReply(reply))["error_kind"] == kind


def test_another_range_is_brought_to_0_to_10():
    answer = GeneratedAnswer(max_new_tokens=4, pattern=r"(\d+)", low=1.0, high=5.0)
    protocol = small(criteria=small().criteria[:1], score=Combination(how="min", parts=("a",)), answer=answer)
    assert [score_reply(protocol, str(number))["score"] for number in (1, 2, 5)] == [0.0, 2.5, 10.0]
    assert score_reply(protocol, "0")["error_kind"] == "out_of_range"


# --- several numbers in a reply, several replies

GOOD = '{"score": [9, 6.5], "reasoning": "Natural, but for the hand."}'


def viescore(consistency, quality=GOOD):
    return score_replies(VIESCORE, {"success": consistency, "naturalness": quality})


@pytest.mark.parametrize(
    ("reply", "success", "overediting"),
    [
        ('{\n"score" : [4, 10],\n"reasoning" : "..."\n}', 4, 10),
        ('```json\n{"score": [7.5, 8], "reasoning": "Score = [7.5, 8] it is."}\n```', 7.5, 8),
        ('{"reasoning": "A cup, 3 lamps, [a, b].", "score": [10,0]}', 10, 0),
        ("{'score': [2, 3], 'reasoning': 'I put [9, 9] lamps'}", 2, 3),
        ("[6, 0]", 6, 0),
    ],
)
def test_a_reply_with_two_numbers_is_two_scores(reply, success, overediting):
    columns = viescore(reply)
    score = round(math.sqrt(min(success, overediting) * 6.5), 4)
    assert columns == {
        "state": "scored",
        "error_kind": None,
        "error": None,
        "score": score,
        "score_success": success,
        "score_overediting": overediting,
        "score_naturalness": 9,
        "score_artefacts": 6.5,
        "reply": f"success, overediting: {reply}\n\nnaturalness, artefacts: {GOOD}",
    }
    assert set(columns) <= set(scores_schema(VIESCORE.select_criteria()).names)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("", "no_number"),
        ("The edit is good.", "no_number"),
        ('{"score": [...], "reasoning": "..."}', "no_number"),
        ('{"score": 7, "reasoning": ""}', "no_number"),
        ('{"score": [7], "reasoning": ""}', "no_number"),
        ('{"score": [7, 8, 9], "reasoning": ""}', "no_number"),
        ('{"score": [7/10, 8/10]}', "no_number"),
        ('{"score": [11, 3]}', "out_of_range"),
        ('{"score": [3, -1]}', "out_of_range"),
        ('{"score": [3, 4]} or rather {"score": [4, 4]}', "contradiction"),
    ],
)
def test_one_unreadable_reply_leaves_the_item_without_a_score(reply, kind):
    for columns, which in (
        (viescore(reply), "success, overediting"),
        (viescore(GOOD, reply), "naturalness, artefacts"),
    ):
        assert (columns["state"], columns["error_kind"], columns["score"]) == ("judge_unreadable", kind, None)
        assert columns["error"].startswith(f"{which}: the reply")
        assert GOOD in columns["reply"] and f"{which}: {reply}" in columns["reply"]
        assert not [name for name in columns if name.startswith("score_")]


def test_two_unreadable_replies_are_both_named():
    columns = viescore("no", '{"score": [11, 3]}')
    assert columns["error_kind"] == "no_number"
    assert columns["error"] == (
        "success, overediting: the reply holds no score; "
        "naturalness, artefacts: the reply's score 11 and 3 is outside of 0..10"
    )


def test_a_reply_that_the_score_does_not_need_is_null_by_itself():
    answer = GeneratedAnswer(max_new_tokens=4, pattern=r"(\d+)", low=0.0, high=10.0)
    columns = score_replies(small(answer=answer), {"a": "7", "b": "8", "extra": "none"})
    assert (columns["state"], columns["score"], columns["score_b"], columns["score_extra"]) == ("scored", 7, 8, None)


def test_the_rubric_of_the_category_is_in_the_system_text():
    protocol = load_protocol(PROTOCOLS / "rubric.yaml")
    texts = [format_system_text(protocol, category) for category in protocol.rubrics]
    assert len(set(texts)) == 5
    assert not any("{rubric}" in text for text in texts)


def test_no_category_is_asked_about_with_an_empty_rubric():
    protocol = load_protocol(PROTOCOLS / "rubric.yaml")
    assert "RUBRIC: QUALITY OF THE EDIT" in format_system_text(protocol, "style")
    strict = replace(protocol, general_rubric="")
    for ask in (format_system_text, fingerprint_category):
        with pytest.raises(UserError, match="no rubric for the category style"):
            ask(strict, "style")
    assert "RUBRIC" not in format_system_text(load_protocol(PROTOCOLS / "viescore.yaml"), "style")


def test_the_gate_concerns_the_question_about_the_rubric_only():
    protocol = load_protocol(PROTOCOLS / "rubric.yaml")
    assert "Where the question is about the category's rubric, its gate comes first" in protocol.system
    assert "with the rubric below" not in protocol.system
    assert "not enforced" in protocol.description


if __name__ == "__main__":
    for name in SHIPPED:
        text = rendered(load_protocol(PROTOCOLS / f"{name}.yaml"), item())
        (GOLDEN / f"prompt_{name}.txt").write_text(text, encoding="utf-8")
