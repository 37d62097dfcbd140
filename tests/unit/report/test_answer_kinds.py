"""Which judges' scores are read from probabilities, and which from replies: in report.json, the facts, and a notice."""

from pathlib import Path
from typing import Any

import pytest
from made_report import made_report

from editlane.protocols.answer_kind import find_answer_kind
from editlane.report.answer_kinds import compute_answer_kinds, name_answer_kind
from editlane.report.notices import find_notices
from editlane.report.texts import load_texts

PROTOCOLS = Path(__file__).parents[3] / "resources" / "protocols"


def record(protocol: str, **params: Any) -> dict[str, Any]:
    text = (PROTOCOLS / f"{protocol}.yaml").read_text(encoding="utf-8")
    return {"protocol": {"name": protocol, "text": text}, "params": params}


PROVENANCE = {
    "judges": {"概率": record("rubric"), "一": record("viescore"), "五": record("viescore", replies=5), "坏": "?"}
}


def test_the_kind_comes_from_the_protocol_and_the_params() -> None:
    found = compute_answer_kinds(["概率", "一", "五", "坏", "panel"], PROVENANCE)
    assert {judge: (one["kind"], one["replies"]) for judge, one in found.items()} == {
        "概率": ("readout", None),
        "一": ("generate", 1),
        "五": ("generate", 5),
        "坏": (None, None),
        "panel": (None, None),
    }
    assert {one["definition_version"] for one in found.values()} == {1}
    assert compute_answer_kinds(["a"], {}) == {"a": {"definition_version": 1, "kind": None, "replies": None}}


@pytest.mark.parametrize("text", ["", "[1", "a: b", "answer: 3", "answer: {kind: other}"])
def test_a_text_that_is_no_protocol_has_no_kind(text: str) -> None:
    assert find_answer_kind(text) is None


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["scores read from probabilities", "scores read from one reply", "scores are means of 5 replies"]),
        ("zh", ["得分由概率读出", "得分取自一条回复", "得分为 5 条回复的均值"]),
    ],
)
def test_it_is_said_in_words(language: str, words: list[str]) -> None:
    t = load_texts(language)
    found = compute_answer_kinds(["概率", "一", "五", "坏"], PROVENANCE)
    assert [name_answer_kind(one, t) for one in found.values()] == [*words, None]


def test_samples_have_a_notice() -> None:
    t = load_texts("en")
    report = made_report()
    assert not any(one.title == t("notice.sampled") for one in find_notices(report))
    report.numbers["judge_answers"]["j"] = {"definition_version": 1, "kind": "generate", "replies": 5}
    (notice,) = [one for one in find_notices(report) if one.title == t("notice.sampled")]
    assert len(notice.lines) == 1
    assert notice.lines[0].startswith("j: each score is the mean of 5 replies. Other replies to the same question may")
