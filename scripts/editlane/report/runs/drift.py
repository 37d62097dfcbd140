"""Compare what one judge said in two runs of the very same question: edits, controls, canaries."""

from typing import TypedDict

import pandas as pd

from editlane.core.types import Control
from editlane.report.runs.load import FinishedRun
from editlane.report.runs.matching import SameJudge
from editlane.stats.comparisons import compare
from editlane.stats.intervals import ALPHA, Interval, rate_interval
from editlane.stats.noise import MOVED

SAME = [
    *("control", "repeat", "source_sha256", "instruction", "edited_sha256"),
    *("judge_key", "description", "rationale", "references"),
]
"""What makes two questions the same."""

KINDS = ("edits", "controls", "canary")


class Drift(TypedDict):
    """The answers of one judge to questions that it got in both runs."""

    kind: str
    """One of KINDS."""
    n: int
    """Questions scored in both runs."""
    equal: int
    """Those with exactly the same score."""
    equal_interval: Interval | None
    """95 % Wilson interval of equal / n."""
    difference: float | None
    """Mean of the run - the reference; null if there are none."""
    interval: Interval | None
    """95 % interval, by source image; by pair for the canary set."""
    p: float | None
    largest: float | None
    """Largest difference of one question, without its sign."""
    moved: bool
    """p < 0.05 and a difference of at least MOVED, as for the canaries of a report."""


def measure_drift(reference: FinishedRun, run: FinishedRun, judge: SameJudge) -> list[Drift]:
    """Measure the drift of one judge by each kind of question that both runs asked."""
    first, second = _list_answers(reference, judge.reference), _list_answers(run, judge.run)
    both = first.merge(second, on=["kind", *SAME], suffixes=("_reference", "_run")).sort_values(["kind", *SAME])
    return [_measure(kind, both[both["kind"] == kind]) for kind in KINDS if (both["kind"] == kind).any()]


def _list_answers(run: FinishedRun, judge: str) -> pd.DataFrame:
    """Return each scored question once: `kind`, SAME and score. Repeats are answers to one question, so not here."""
    texts = run.items.set_index("item_id")[["description", "rationale", "references"]]
    asked = run.scores.assign(kind="edits", control="", repeat=0).join(texts, on="item_id")
    extra = run.controls[run.controls["control"] != str(Control.REPEAT)]
    is_canary = extra["control"] == str(Control.CANARY)
    extra = extra.assign(kind=is_canary.map({True: "canary", False: "controls"}), description="", rationale="")
    extra = extra.assign(references=extra["item_id"].map(texts["references"]).where(~is_canary, ""))
    # A canary is known by its name, too; a blank image has no content hash.
    extra = extra.assign(description=extra["item_id"].where(is_canary, ""))
    rows = [one[(one["judge"] == judge) & one["score"].notna()][["kind", *SAME, "score"]] for one in (asked, extra)]
    answers = pd.concat([one.astype(dict.fromkeys(["kind", *SAME], object)) for one in rows], ignore_index=True)
    return (
        answers.fillna({"edited_sha256": ""}).astype({"score": float, "repeat": int}).drop_duplicates(["kind", *SAME])
    )


def _measure(kind: str, both: pd.DataFrame) -> Drift:
    of_one = "description" if kind == "canary" else "source_sha256"
    a, b = both["score_run"].to_numpy(), both["score_reference"].to_numpy()
    change = compare(a, b, both[of_one].to_numpy(dtype=str), scale=None)
    equal, difference, p = int((a == b).sum()), change["difference"], change["p"]
    return {
        "kind": kind,
        "n": len(both),
        "equal": equal,
        "equal_interval": rate_interval(equal, len(both)),
        "difference": difference,
        "interval": change["interval"],
        "p": p,
        "largest": float(abs(a - b).max()),
        "moved": p is not None and difference is not None and p < ALPHA and abs(difference) >= MOVED,
    }
