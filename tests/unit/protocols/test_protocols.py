"""Protocol files: the shipped ones are complete, and a bad file is refused with what, where and what to write."""

import unicodedata
from pathlib import Path

import pytest
import yaml

from editlane.core.errors import UserError
from editlane.protocols.load import find_generally_judged, list_fitting, load_protocol
from editlane.protocols.protocol import Combination, GeneratedAnswer, ReadoutAnswer, ShownImage

PROTOCOLS = Path(__file__).parents[3] / "resources" / "protocols"
CATEGORIES = ("物理", "环境", "社会", "因果", "指代")


def valid():
    """The contents of a small file that has every key."""
    return {
        "name": "small",
        "version": "1",
        "description": "for tests",
        "system": "Judge.\n{rubric}",
        "rubrics": {"物理": "Gravity.", "指代": "Reference."},
        "images": [{"show": "source", "label": "Before:"}, {"show": "edited", "label": "After:"}],
        "item": {"instruction": "Asked: {instruction}", "rationale": "Hard: {rationale}"},
        "criteria": {"a": {"question": "A?"}, "b": {"question": "B?"}, "c": {"question": "C?", "optional": True}},
        "answer": {"kind": "readout", "answers": ["1", "2", "3"], "values": [1, 2, 3], "min_mass": 0.5},
        "score": {"min": ["a", "b"]},
    }


GENERATE = {"kind": "generate", "max_new_tokens": 8, "pattern": r"(\d+)", "range": [1, 5]}


def load(tmp_path, data):
    path = tmp_path / "protocol.yaml"
    path.write_text(
        data if isinstance(data, str) else yaml.safe_dump(data, allow_unicode=True, sort_keys=False), encoding="utf-8"
    )
    return load_protocol(path)


def test_a_rubric_that_is_there_twice_is_refused(tmp_path):
    text = yaml.safe_dump(valid(), allow_unicode=True).replace("rubrics:\n", "rubrics:\n  物理: Light.\n")
    with pytest.raises(UserError, match=r"it has the key '物理' twice, in lines [0-9]+ and [0-9]+; keep one"):
        load(tmp_path, text)


@pytest.mark.parametrize("name", ["rubric", "yesno", "legacy"])
def test_the_shipped_protocols_cover_the_five_categories(name):
    protocol = load_protocol(PROTOCOLS / f"{name}.yaml")
    assert protocol.name == name
    assert tuple(protocol.rubrics) == CATEGORIES
    protocol.check_categories(CATEGORIES)
    assert len(set(protocol.rubrics.values())) == 5


def test_the_default_protocol():
    protocol = load_protocol(PROTOCOLS / "rubric.yaml")
    assert protocol.answers == tuple("0123456789")
    assert protocol.answer.values[0] == 0 and protocol.answer.values[9] == 10
    assert protocol.answer.values[3] == pytest.approx(10 / 3)
    assert protocol.max_new_tokens == 1
    assert protocol.score == Combination(how="min", parts=("category", "instruction"))
    assert protocol.select_criteria() == ("category", "instruction")
    assert protocol.select_criteria(["preservation"]) == ("category", "instruction", "preservation")
    assert [shown.show for shown in protocol.images] == ["source", "edited"]


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_rubric_has_a_gate_and_five_anchor_points(category):
    rubric = load_protocol(PROTOCOLS / "rubric.yaml").rubrics[category]
    assert "Gate: the answer is 0 if the instruction was not carried out" in rubric
    assert [line[0] for line in rubric.splitlines() if line[1:4] == " = "] == ["0", "3", "5", "7", "9"]


def test_yes_is_ten_and_no_is_zero():
    answer = load_protocol(PROTOCOLS / "yesno.yaml").answer
    assert dict(zip(answer.answers, answer.values, strict=True)) == {"Yes": 10.0, "No": 0.0}


def test_the_legacy_protocol_shows_the_edited_image_only():
    protocol = load_protocol(PROTOCOLS / "legacy.yaml")
    assert [shown.show for shown in protocol.images] == ["edited"]
    assert protocol.answers == ()
    assert protocol.max_new_tokens == 64


def test_viescore_asks_two_questions_for_four_scores():
    protocol = load_protocol(PROTOCOLS / "viescore.yaml")
    assert protocol.select_criteria() == ("success", "overediting", "naturalness", "artefacts")
    assert protocol.group_questions(protocol.select_criteria()) == {
        "success": ("success", "overediting"),
        "naturalness": ("naturalness", "artefacts"),
    }
    assert protocol.score.criteria == protocol.select_criteria()
    assert (protocol.system, protocol.rubrics, protocol.answers) == ("", {}, ())
    protocol.check_categories(["subject-add", "物理"])
    assert "random" in protocol.description and "has no score" in protocol.description


def test_a_valid_file_becomes_a_protocol(tmp_path):
    protocol = load(tmp_path, valid())
    assert protocol.answer == ReadoutAnswer(answers=("1", "2", "3"), values=(0.0, 5.0, 10.0), min_mass=0.5)
    assert protocol.item_texts == {"instruction": "Asked: {instruction}", "rationale": "Hard: {rationale}"}
    assert len(protocol.sha256) == 64
    generated = load(
        tmp_path, valid() | {"criteria": {"a": {"question": "A?"}}, "answer": GENERATE, "score": {"min": ["a"]}}
    )
    assert generated.answer == GeneratedAnswer(max_new_tokens=8, pattern=r"(\d+)", low=1.0, high=5.0)


def two_replies():
    """The contents of a file with two questions, each of which is answered with two numbers."""
    data = valid() | {"answer": GENERATE | {"pattern": r"(\d+), (\d+)"}}
    data["criteria"] = {
        "a": {"question": "A {instruction}?"},
        "b": {"question": "B?", "images": [{"show": "edited"}], "optional": True},
        "b2": {"reply_of": "b"},
        "a2": {"reply_of": "a"},
    }
    data["score"] = {"geometric_mean": ["a", {"min": ["a", "a2"]}]}
    del data["item"], data["system"], data["rubrics"]
    return data


def test_criteria_that_share_a_reply(tmp_path):
    protocol = load(tmp_path, two_replies())
    assert protocol.select_criteria() == ("a", "a2")
    assert protocol.select_criteria(["b"]) == protocol.select_criteria(["b2"]) == ("a", "b", "b2", "a2")
    assert protocol.group_questions(("a", "b", "b2", "a2")) == {"a": ("a", "a2"), "b": ("b", "b2")}
    assert protocol.group_questions(("a", "a2")) == {"a": ("a", "a2")}
    assert [one.images for one in protocol.criteria][1] == (ShownImage(show="edited", label=""),)
    assert (protocol.item_texts, protocol.system) == ({}, "")


def test_a_combination_of_scores(tmp_path):
    combination = load(tmp_path, two_replies()).score
    assert combination.criteria == ("a", "a2")
    assert combination.combine({"a": 9.0, "a2": 4.0}) == 6.0
    assert combination.combine({"a": 9.0, "a2": 0.0}) == 0.0


def test_category_names_are_compared_in_nfc(tmp_path):
    data = valid() | {"rubrics": {unicodedata.normalize("NFD", "café"): "Coffee."}}
    load(tmp_path, data).check_categories([unicodedata.normalize("NFC", "café")])


def test_a_category_without_a_rubric_is_refused(tmp_path):
    with pytest.raises(UserError, match="'small' has no rubric for 环境, 因果; it has 物理, 指代"):
        load(tmp_path, valid()).check_categories((*CATEGORIES[:2], "因果"))


def test_the_protocols_of_editlane_that_fit_any_category_are_known():
    own = [f"resources/protocols/{path.name}" for path in sorted(PROTOCOLS.glob("*.yaml"))]
    own.remove("resources/protocols/pairwise.yaml")  # it scores no edit
    assert list_fitting(CATEGORIES) == own
    fitting = list_fitting(["subject-add", "物理"])
    assert set(own) > set(fitting) >= {"resources/protocols/rubric.yaml", "resources/protocols/viescore.yaml"}
    for name in fitting:
        load_protocol(PROTOCOLS / Path(name).name).check_categories(["subject-add", "物理"])


def test_a_category_without_a_rubric_is_judged_by_the_general_one(tmp_path):
    data = valid()
    data["general_rubric"] = "Is it good?"
    protocol = load(tmp_path, data)
    protocol.check_categories(["物理", "style", "general"])
    assert [protocol.find_rubric(name) for name in ("style", "general")] == ["Is it good?"] * 2
    assert protocol.find_rubric("物理") == data["rubrics"]["物理"]
    assert protocol.list_generally_judged(["物理", "style", "general"]) == ["style", "general"]
    assert find_generally_judged(protocol.text, ["物理", "style"]) == ["style"]
    assert find_generally_judged(load(tmp_path, valid()).text, ["物理", "style"]) == []


def test_a_general_rubric_alone_is_refused(tmp_path):
    data = valid() | {"system": "Judge.", "general_rubric": "Is it good?"}
    del data["rubrics"]
    with pytest.raises(UserError, match="`general_rubric:` needs `rubrics:`"):
        load(tmp_path, data)


def test_a_protocol_without_rubrics_takes_every_category(tmp_path):
    data = valid() | {"system": "Judge."}
    del data["rubrics"]
    load(tmp_path, data).check_categories(["anything"])


def test_an_unknown_criterion_is_refused(tmp_path):
    with pytest.raises(UserError, match="criterion of the protocol 'small' 'cc'"):
        load(tmp_path, valid()).select_criteria(["cc"])


def changed(**changes):
    data = valid()
    for path, value in changes.items():
        *parents, key = path.split("__")
        target = data
        for parent in parents:
            target = target[parent]
        target[key] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a: [", "cannot be read as YAML"),
        ("just a text", "the top level is 'just a text'; use a mapping with the keys name, version"),
        (
            {k: v for k, v in valid().items() if k != "score"},
            "score is missing; use a mapping with the keys min, geometric_mean",
        ),
        (changed(critera={}), "Unknown key 'critera'. Did you mean 'criteria'"),
        (changed(version=1.0), "version is 1.0; use a text in quotes"),
        (changed(system="Judge."), "{rubric}"),
        (changed(rubrics__物理=""), "rubrics.物理: it is empty; use a text"),
        (
            changed(images=[]),
            r"images is \[\]; use a list of 1 or more, each a mapping with the keys show, label",
        ),
        (changed(images=[{"show": "edit", "label": "x"}]), "Unknown images.0.show 'edit'. Did you mean 'edited'"),
        (changed(images=[{"show": "edited", "label": "x", "size": 3}]), "Unknown key in images.0: 'size'"),
        (changed(item__instruction="Asked:"), "item: instruction has no {instruction}"),
        (valid() | {"item": None}, "item is None; use a mapping with the keys instruction, description, rationale"),
        (valid() | {"item": {}}, "item: it is empty; add a line, or leave `item` out"),
        (changed(item__tags="{tags}"), "Unknown key in item: 'tags'"),
        (changed(criteria={"Kategorie 1": {"question": "?"}}), "'Kategorie 1' becomes part of a column's name"),
        (changed(criteria__a__optional="no"), "optional is 'no'; use true or false"),
        (changed(answer__kind="readut"), "Unknown answer.kind 'readut'. Did you mean 'readout'"),
        (
            changed(answer__answers=[True, False, "x"]),
            "answer.answers.0 is True; use a text in quotes that is not empty",
        ),
        (changed(answer__answers=["1", "2", "2"]), "all different"),
        (changed(answer__values=[1, 2]), "a list of 3 numbers"),
        (changed(answer__values=[1, 1, 1]), "must differ"),
        (changed(answer__values=[1, float("inf"), 1]), "answer.values.1 is inf; use a number, not inf or nan"),
        (changed(answer__values=[1, "2", 3]), "use a number"),
        (changed(answer__min_mass=1.1), "min_mass is 1.1; use a number from 0 to 1"),
        (changed(answer__range=[0, 1]), "Unknown key in answer: 'range'"),
        (changed(answer=GENERATE | {"pattern": "("}), "not a regular expression"),
        (changed(answer=GENERATE | {"pattern": r"(\d)(\d)"}), "has 2 groups; use one, .* of the reply to a, and"),
        (two_replies() | {"answer": GENERATE}, "has 1 group; use 2, one .* around each number of the reply to a, and"),
        (changed(criteria__b={"reply_of": "d"}), "Unknown criterion in criteria.b.reply_of: 'd'"),
        (
            changed(criteria__a={"reply_of": "b"}, criteria__b={"reply_of": "a"}),
            "Unknown criterion in criteria.a.reply_of: 'b'",
        ),
        (changed(criteria__b={"reply_of": "a"}), "criteria.b.reply_of: one token answers one criterion"),
        (
            changed(criteria__b={"reply_of": "a", "question": "B?"}),
            r"Unknown key in criteria.b: 'question'. Available: reply_of\.",
        ),
        (changed(criteria__b__images=[]), r"criteria.b.images is \[\]; use a list of 1 or more"),
        (changed(criteria__b__images=[{"show": "both"}]), "Unknown criteria.b.images.0.show 'both'"),
        (changed(images=[{"show": "edited", "label": ""}]), "images.0.label: it is empty; use a text"),
        (changed(system=None), "system is None; use a text"),
        (changed(answer=GENERATE | {"range": [5, 1]}), r"range is \[5.0, 1.0\]; use \[lowest, highest\]"),
        (changed(answer=GENERATE | {"max_new_tokens": 0}), "max_new_tokens is 0"),
        (changed(score={"max": ["a"]}), "Unknown key in score: 'max'"),
        (changed(score={"min": ["d"]}), "Unknown criterion in score.min: 'd'"),
        (changed(score={"min": ["a", "c"]}), "c is optional"),
        (changed(score={"min": ["a"], "geometric_mean": ["b"]}), "score: use one of min and geometric_mean"),
        (changed(score={"geometric_mean": []}), r"score.geometric_mean is \[\]; use a list of 1 or more"),
        (changed(score={"geometric_mean": ["a", {"min": ["d"]}]}), "criterion in score.geometric_mean.1.min: 'd'"),
        (changed(score={"min": ["a", {"geometric_mean": ["b", "c"]}]}), "c is optional"),
        (changed(score={"min": ["a", {"mean": ["b"]}]}), "Unknown key in score.min.1: 'mean'"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, data, message):
    with pytest.raises(UserError, match=message) as refused:
        load(tmp_path, data)
    assert str(tmp_path / "protocol.yaml") in str(refused.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"There is no protocol file .*nowhere\.yaml"):
        load_protocol(tmp_path / "nowhere.yaml")
