"""Put the answer of report.json into words, the same ones on the page, in Markdown and in the terminal."""

from collections.abc import Mapping
from typing import Any

from editlane.report.cells import format_mean
from editlane.report.texts import Texts

Answer = Mapping[str, Any]
"""The entry `answer` of report.json."""


def say_claim(answer: Answer, judge: str | None, t: Texts) -> tuple[str, str]:
    """Return what a judge's scores say of the editors, and the evidence. No judge says nothing."""
    if judge is None:
        return t("answer.nothing"), t("answer.nothing_why")
    found = answer["judges"][judge]
    claim = t(f"answer.{found['kind']}", judge=judge, editor=next(iter(found["editors"]), ""))
    return claim, _say_why(found, answer["categories"], t)


def _say_why(found: Mapping[str, Any], categories: int, t: Texts) -> str:
    kind, editors, macro = found["kind"], found["editors"], found["macro"]
    if kind == "unranked":
        return ""
    if kind in ("nothing", "not_tested"):
        return t(f"answer.{kind}_why")
    if kind == "open":
        said = t("answer.open_why", n=len(editors), names=t.join(editors))
    elif kind in ("best", "best_of_ranked"):
        ahead = found["ahead"][editors[0]]
        why = f"answer.{kind}_why" if ahead else f"answer.{kind}_only"
        said = t(why, mean=format_macro(macro, t), k=ahead, all=categories)
    else:
        said = t("answer.macro", mean=format_macro(macro, t))
    left = found["not_ranked"]
    return t("page.space").join([said, t("answer.not_ranked", names=t.join(left))]) if left else said


def say_others(answer: Answer, t: Texts) -> list[str]:
    """Say in a sentence each what the accepted judges say that are not the judge of the result."""
    judges = answer["judges"]
    return [
        _say_by(answer, judge, t)
        for judge, found in judges.items()
        if found["verdict"] == "accepted" and judge != answer["judge"]
    ]


def _say_by(answer: Answer, judge: str, t: Texts) -> str:
    found, first = answer["judges"][judge], answer["judges"][answer["judge"]]
    if found["kind"] == "open" and all(found[name] == first[name] for name in ("kind", "editors", "not_ranked")):
        return t("answer.by_same", judge=judge)
    claim, evidence = say_claim(answer, judge, t)
    return t("answer.by", judge=judge, claim=claim, evidence=evidence).rstrip()


def is_wholly_accepted(found: Mapping[str, Any]) -> bool:
    """Return whether a judge is accepted, and believed in every category and about every editor."""
    return found["verdict"] == "accepted" and not found["left_out"]


def say_verdict(found: Mapping[str, Any], t: Texts) -> str:
    """Say in a few words whether a judge is accepted."""
    in_part = found["verdict"] == "accepted" and found["left_out"]
    return t("answer.accepted_in_part" if in_part else f"answer.{found['verdict']}_short")


def format_macro(macro: Mapping[str, Any], t: Texts) -> str:
    """Format a macro mean with its interval."""
    return t("page.no_data") if macro["mean"] is None else format_mean(macro["mean"], macro["interval"])
