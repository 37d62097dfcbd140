"""The numbers that the old rules would have printed, beside the honest ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from editlane.protocols.load import load_protocol
from editlane.protocols.scoring import score_replies
from editlane.stats import legacy
from editlane.stats.legacy import old_score, old_scores, read_number, summarise_legacy

LEGACY = Path(__file__).parents[3] / "resources" / "protocols" / "legacy.yaml"


def frame(*rows):
    return pd.DataFrame(list(rows), columns=["state", "score", "reply", "category"])


ROWS = (
    ("scored", 8.0, "Score: 8.000", "物理"),
    ("scored", 3.0, "Score: 3.000", "物理"),
    ("judge_unreadable", None, "I would rather not say.", "物理"),
    ("judge_unreadable", None, "Score: 4/5", "因果"),
    ("judge_failed", None, None, "因果"),
    ("edit_failed", None, None, "因果"),
    ("edit_refused", None, None, "因果"),
    ("source_unreadable", None, None, "因果"),
)


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("Score: 7.125", 7.125),
        ("**score: 6.**", 6.0),
        (" 9 \n", 9.0),
        ("9.25", 9.25),
        ("评分：8.5", 8.5),
        ("总分: 3，共 2 处错误", 3.0),
        ("A mean of 4 flaws, 2.5 each", 2.5),  # a decimal anywhere goes before an integer
        ("0 = nothing, 10 = perfect; I say seven", 0.0),  # an echoed rubric is a score, too
        ("Score: 75, with 3 flaws", 5.0),  # the first integer is 75, and a second is not looked for
        ("Score: 75.5; 4 flaws", 5.0),
        ("Score: 11, 分数：6", 6.0),
        ("Score: 4/5", 4.0),
        ("Score: -3", 3.0),
        ("Score: X.XXX", 5.0),
        ("", 5.0),
    ],
)
def test_a_reply_is_read_as_it_used_to_be(reply, number):
    assert read_number(reply) == number
    assert old_score("judge_unreadable", None, reply) == number


def test_every_row_becomes_a_number():
    wanted = [8.0, 3.0, 5.0, 4.0, 5.0, 0.0, 0.0, 0.0]
    assert [old_score(state, score, reply) for state, score, reply, _ in ROWS] == wanted
    assert old_scores(frame(*ROWS)).tolist() == wanted
    assert old_scores(frame(*ROWS).astype({"state": "category", "category": "category"})).tolist() == wanted
    assert old_scores(frame(("scored", 6.5, None, "物理"))).tolist() == [6.5] == [old_score("scored", 6.5, None)]


def test_a_clear_reply_is_worth_the_same_under_both_rules():
    protocol = load_protocol(LEGACY)
    for number in np.linspace(0, 10, 41):
        columns = score_replies(protocol, {"overall": f"Score: {number:.3f}"})
        assert old_score(columns["state"], columns["score"], columns["reply"]) == columns["score"]


def test_a_cell_shows_both_means_and_what_was_replaced():
    cell = summarise_legacy(frame(*ROWS), 6.0)
    assert cell == {
        "honest": 5.5,
        "old": 25 / 8,
        "difference": 25 / 8 - 5.5,
        "old_source_judged": (25 + 3 * 6.0) / 8,
        "replaced": {"unreadable": 3, "failed": 3},
    }


def test_the_source_is_judged_only_where_it_is_known():
    assert summarise_legacy(frame(*ROWS), None)["old_source_judged"] is None
    assert summarise_legacy(frame(*ROWS[:5]), None)["old_source_judged"] == 5.0  # no edit failed
    assert summarise_legacy(frame(ROWS[0], ROWS[5]), 0.0)["old_source_judged"] == 4.0


def test_nothing_to_take_a_mean_of_is_no_number():
    nothing = {"honest": None, "old": None, "difference": None, "old_source_judged": None}
    assert summarise_legacy(frame(), 6.0) == nothing | {"replaced": {"unreadable": 0, "failed": 0}}
    failed = summarise_legacy(frame(*ROWS[4:6]), None)
    assert (failed["honest"], failed["old"], failed["difference"]) == (None, 2.5, None)


def test_a_reply_is_read_once_however_many_rows_have_it(monkeypatch):
    read = []
    monkeypatch.setattr(legacy, "read_number", lambda reply: read.append(reply) or read_number(reply))
    rows = frame(*ROWS).sample(3000, replace=True, random_state=1).reset_index(drop=True)
    cell = summarise_legacy(rows, 6.0)
    assert sorted(read) == sorted(rows["reply"].dropna().unique())
    assert cell["replaced"]["unreadable"] + cell["replaced"]["failed"] == (rows["score"].isna()).sum()
