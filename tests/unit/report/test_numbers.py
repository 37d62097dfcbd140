"""From tables to the object of report.json, with every number worked out by hand."""

from typing import Any

import pandas as pd
import pytest
from score_rows import failed, frame, item, row

from editlane.core.errors import UserError
from editlane.report.numbers import Inputs, compute_numbers

ITEMS = pd.DataFrame([item("1", "物理"), item("2", "环境"), item("3", "物理")])


def inputs(rows: list[dict[str, Any]], **more: Any) -> Inputs:
    options = {"controls": None, "preservation": None, "earlier": []} | more
    return Inputs(scores=frame(rows).drop(columns="cluster"), items=ITEMS, **options)


def numbers_of(rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    return compute_numbers(inputs(rows), ["a", "b"], ["j"], run="demo", **options)


def full_rows() -> list[dict[str, Any]]:
    rows = [row("1", 4.0), row("2", 8.0, category="环境"), row("3", 6.0)]
    return rows + [entry | {"editor": "b"} for entry in rows]


def test_a_full_report_has_items_times_editors_times_judges_rows() -> None:
    numbers = numbers_of(full_rows())
    assert (numbers["run"], numbers["items"], numbers["rows"], numbers["missing"]) == ("demo", 3, 6, 0)
    cell = numbers["editors"]["a"]["j"]
    assert list(cell["categories"]) == ["物理", "环境"]
    assert cell["overall"]["mean"] == 6.0
    assert (cell["categories"]["物理"]["mean"], cell["categories"]["物理"]["n"]) == (5.0, 2)


def test_categories_come_in_the_order_of_the_config_also_those_without_items() -> None:
    numbers = numbers_of(full_rows(), categories=["指代", "环境"])
    categories = numbers["editors"]["b"]["j"]["categories"]
    assert [(name, s["n"]) for name, s in categories.items()] == [("指代", 0), ("环境", 1), ("物理", 2)]


def test_a_partial_report_says_where_rows_are_missing() -> None:
    numbers = numbers_of(full_rows()[:4])
    assert (numbers["rows"], numbers["missing"]) == (4, 2)
    missing = {name: s["missing"] for name, s in numbers["editors"]["b"]["j"]["categories"].items()}
    assert missing == {"物理": 1, "环境": 1}
    assert numbers["editors"]["a"]["j"]["overall"]["missing"] == 0


def test_criteria_are_summed_up_over_scored_rows_only() -> None:
    rows = full_rows()
    rows[0] |= {"score_instruction": 1.0}
    rows[1] |= {"score_instruction": 3.0}
    rows[2] |= {"state": "judge_failed", "score": None, "score_instruction": 9.0}
    spread_of = numbers_of(rows, criteria=["instruction"])["editors"]["a"]["j"]["criteria"]["instruction"]
    assert (spread_of["mean"], spread_of["scored"], spread_of["n"]) == (2.0, 2, 3)
    assert spread_of["bounds"] == (pytest.approx(4 / 3), pytest.approx(14 / 3))


def test_a_judge_has_the_criteria_that_it_answered_and_no_others() -> None:
    rows = [entry | {"mode_correct": None, "score_correct": None} for entry in full_rows()]
    rows[3:] = [failed(entry["item_id"], "edit_failed", category=entry["category"], editor="b") for entry in rows[3:]]
    unread = {"judge": "k", "score": None, "state": "judge_unreadable", "score_instruction": None}
    rows += [entry | unread | {"mode_correct": "Yes"} for entry in rows[:3]]
    numbers = compute_numbers(inputs(rows), ["a", "b"], ["j", "k"], run="demo", criteria=["instruction", "correct"])
    criteria = {judge: list(cell["criteria"]) for judge, cell in numbers["editors"]["a"].items()}
    assert criteria == {"j": ["instruction"], "k": ["correct"]}
    spread_of = numbers["editors"]["b"]["j"]["criteria"]["instruction"]
    assert (spread_of["scored"], spread_of["n"], spread_of["bounds"]) == (0, 3, (0.0, 10.0)), "asked, but all failed"


def test_error_kinds_are_counted_by_state() -> None:
    rows = [
        failed("1", "edit_failed", "oom"),
        failed("2", "edit_failed", "oom", category="环境"),
        failed("3", "judge_unreadable"),
    ]
    errors = numbers_of(rows)["editors"]["a"]["j"]["errors"]
    assert errors == {"edit_failed": {"oom": 2}, "judge_unreadable": {"not given": 1}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"item_id": "3"}, "more than one row"),
        ({"item_id": "9"}, "no such item"),
        ({"category": "环境"}, "no such item in category '环境'"),
        ({"editor": "c"}, "not part of this run"),
        ({"state": "edited", "score": None}, "state 'edited' is unknown"),
        ({"state": "edit_failed"}, "contradict"),
        ({"score": None}, "contradict"),
        ({"score": 10.5}, "outside 0..10"),
        ({"score": float("nan")}, "contradict"),
    ],
)
def test_a_row_that_must_not_be_counted_ends_the_report(change: dict[str, Any], problem: str) -> None:
    rows = full_rows()
    rows[0] |= change
    with pytest.raises(UserError, match=problem):
        numbers_of(rows)


def many(editor: str, shift: float, count: int = 24) -> list[dict[str, Any]]:
    """Two items share a photo."""
    return [
        row(str(n), 3 + shift + n % 5, editor=editor, category="物理" if n < count // 2 else "环境",
            source_sha256=str(n // 2), judge_key="k", edited_sha256=f"{editor}{n}")
        for n in range(count)
    ]  # fmt: skip


MANY = pd.DataFrame([item(str(n), "物理" if n < 12 else "环境") | {"source_sha256": str(n // 2)} for n in range(24)])


def control(kind: str, place: int, score: float | None, **more: Any) -> dict[str, Any]:
    entry = row(str(place), score, "scored" if score is not None else "judge_failed", judge_key="k", edited_sha256="x")
    return entry | {"control": kind, "repeat": 0, "category": "物理" if place < 12 else "环境"} | more


def with_controls(controls: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    given = Inputs(
        scores=frame([*many("a", 2.0), *many("b", 0.0)]).drop(columns="cluster"),
        items=MANY,
        controls=frame(controls).drop(columns="cluster") if controls else None,
        **({"preservation": None, "earlier": []} | more),
    )
    return compute_numbers(given, ["a", "b"], ["j"], run="demo", criteria=["instruction"])


KINDS = ("source_as_edit", "other_instruction", "blank_edit", "swapped", "half_blended", "blurred")


def low_controls() -> list[dict[str, Any]]:
    """Controls of every item and kind, all scored far below the real edits of both editors."""
    return [
        control(kind, place, 0.01 * place, editor=editor) for kind in KINDS for place in range(24) for editor in "ab"
    ]


def test_intervals_resample_photos_and_the_macro_mean_is_that_of_the_categories() -> None:
    numbers = with_controls([])
    cell = numbers["editors"]["a"]["j"]
    assert cell["overall"]["mean"] == pytest.approx(166 / 24)
    assert (cell["overall"]["scored"], cell["overall"]["clusters"]) == (24, 12)
    low, high = cell["overall"]["interval"]
    assert 5.5 < low < 166 / 24 < high < 8.5
    means = [s["mean"] for s in cell["categories"].values()]
    assert cell["macro"]["mean"] == pytest.approx(sum(means) / 2)
    assert (cell["macro"]["categories"], cell["macro"]["of"]) == (2, 2)
    assert cell["macro"]["interval"][0] < cell["macro"]["mean"] < cell["macro"]["interval"][1]


def test_editors_are_compared_item_by_item() -> None:
    [overall, *by_category] = with_controls([])["comparisons"]["j"]
    assert (overall["a"], overall["b"], overall["category"], overall["n"]) == ("a", "b", None, 24)
    assert (overall["difference"], overall["verdict"]) == (2.0, "too_few")
    assert [row["category"] for row in by_category] == ["物理", "环境"]
    assert [row["p"] for row in by_category] == [None] * 2, "three more photos of six could reverse a difference of 2"
    assert [row["verdict"] for row in by_category] == ["too_few"] * 2


def test_a_judge_without_controls_is_not_tested() -> None:
    numbers = with_controls([])
    assert numbers["acceptance"]["j"]["verdict"] == "not_tested"
    assert (numbers["noise"]["j"], numbers["canary"]["j"]) == (None, None)


def test_only_acceptance_controls_decide_and_are_counted() -> None:
    low, asked = low_controls(), 24 * (2 + 4 * 2)
    more = [control("repeat", 1, 5.0, repeat=1), control("canary", 3, 9.0)]
    found = with_controls(low + more)["acceptance"]["j"]
    assert (found["verdict"], found["calls"], found["share"]) == ("accepted", asked, asked / 48)
    blind = [entry | {"score": 9.0} if entry["control"] == "swapped" else entry for entry in low]
    found = with_controls(blind + more)["acceptance"]["j"]
    assert (found["verdict"], found["reasons"]) == ("not_accepted", ["swapped", "together"])
    assert found["controls"]["swapped"]["mean"] == 9.0


def test_the_headline_leaves_out_where_the_judge_is_blind() -> None:
    blind = [entry | ({"score": 7.0} if entry["category"] == "环境" else {}) for entry in low_controls()]
    numbers = with_controls(blind)
    acceptance = numbers["acceptance"]["j"]
    assert acceptance["verdict"] == "accepted"
    assert {name: found["verdict"] for name, found in acceptance["categories"].items()} == {
        "物理": "told_apart", "环境": "not_told_apart",
    }  # fmt: skip
    cell = numbers["editors"]["a"]["j"]
    assert cell["macro"]["mean"] == cell["categories"]["物理"]["mean"]
    assert (cell["macro"]["categories"], cell["macro"]["of"]) == (1, 2)
    overall, physical, other = numbers["comparisons"]["j"]
    assert (overall["n"], overall["difference"]) == (12, physical["difference"])
    assert (overall["verdict"], physical["verdict"], other["verdict"]) == ("too_few", "too_few", "not_believed")


def test_how_much_more_an_editor_gets_where_it_is_wrong_is_in_the_numbers() -> None:
    shifted = [
        entry
        | (
            {"score": entry["score"] + 1.5}
            if entry["control"] == "other_instruction" and entry["editor"] == "a"
            else {}
        )
        for entry in low_controls()
    ]
    [preference] = with_controls(shifted)["preferences"]["j"]
    assert preference["difference"] == pytest.approx(1.5)


def test_noise_pairs_a_repeat_with_the_first_answer() -> None:
    again = [control("repeat", place, 5.0 + place % 5 + 1, repeat=1) for place in range(4)]  # a's score and one more
    noise = with_controls(again)["noise"]["j"]
    assert (noise["kind"], noise["items"], noise["largest"]) == ("batch_order", 4, 1.0)
    assert noise["within_sd"] == pytest.approx(0.5**0.5)
    four = [entry | {"repeat": repeat} for entry in again for repeat in (1, 2, 3, 4)]
    assert with_controls(four)["noise"]["j"]["kind"] == "sampled"


def test_unchanged_edits_are_no_real_ones() -> None:
    rows = [*many("a", 2.0), *many("b", 0.0)]
    for entry in [*rows[:6], *rows[12:18]]:
        entry |= {"unchanged": True, "score": 0.0}
    rows[30] |= {"unchanged": None}  # not sure: it counts as a real edit
    given = Inputs(
        scores=frame(rows).drop(columns="cluster"),
        items=MANY,
        controls=frame(low_controls()),
        preservation=None,
        earlier=[],
    )
    found = compute_numbers(given, ["a", "b"], ["j"], run="demo")["acceptance"]["j"]
    assert (found["verdict"], found["real"]["scored"], found["real"]["unsure"]) == ("accepted", 36, 1)


def test_two_earlier_judges_of_one_configuration_are_one_reference() -> None:
    twice = frame([*canaries(0.0), *(entry | {"judge": "same"} for entry in canaries(0.0))])
    assert with_controls(canaries(0.3), earlier=[("first", twice)])["canary"]["j"]["moved"] is True


def canaries(shift: float, key: str = "k") -> list[dict[str, Any]]:
    return [control("canary", n, 2.0 + n / 4 + shift, judge_key=key, edited_sha256=f"c{n}") for n in range(12)]


def test_a_canary_set_that_moved_since_the_first_run_with_the_same_judge_is_flagged() -> None:
    first, other, same = (frame(rows) for rows in (canaries(0.0), canaries(5.0, key="other"), canaries(0.3)))
    earlier = [("别的", other), ("first", first), ("later", same)]
    change = with_controls(canaries(0.3), earlier=earlier)["canary"]["j"]
    assert (change["reference_run"], change["moved"], change["n"]) == ("first", True, 12)
    assert change["difference"] == pytest.approx(0.3)
    still = with_controls(canaries(0.0), earlier=earlier)["canary"]["j"]
    assert (still["difference"], still["moved"]) == (0.0, False)
    alone = with_controls(canaries(0.0))["canary"]["j"]
    assert (alone["reference_run"], alone["difference"], alone["moved"]) == (None, None, False)


def test_preservation_is_summed_up_where_it_was_measured() -> None:
    rows = [
        {"item_id": str(n), "category": "物理" if n < 12 else "环境", "editor": "a", "source_sha256": str(n),
         "state": "measured" if n else "no_edit", "ssim": n / 24 if n else None, "psnr": None, "mae": 1.0,
         "changed_share": 0.5}
        for n in range(24)
    ]  # fmt: skip
    kept = with_controls([], preservation=pd.DataFrame(rows).astype({"psnr": float}))["preservation"]
    assert (kept["a"]["overall"]["n"], kept["a"]["overall"]["measured"]) == (24, 23)
    assert kept["a"]["overall"]["ssim"]["mean"] == pytest.approx(0.5)
    assert kept["a"]["categories"]["物理"]["ssim"]["median"] == pytest.approx(0.25)
    assert kept["a"]["overall"]["psnr"] == {"mean": None, "interval": None, "median": None}
    assert kept["b"]["overall"]["measured"] == 0


def test_the_old_rules_are_shown_for_the_legacy_protocol_only() -> None:
    rows = full_rows()
    rows[0] |= {"state": "judge_unreadable", "score": None, "reply": "no number here"}
    rows[1] |= {"state": "edit_failed", "score": None, "reply": None}
    rows = [{"reply": None} | entry for entry in rows]
    provenance = {"judges": {"j": {"protocol": {"name": "legacy"}}}}
    cells = compute_numbers(inputs(rows), ["a", "b"], ["j"], run="demo", provenance=provenance)["editors"]
    old = cells["a"]["j"]["legacy"]["overall"]
    assert (old["honest"], old["old"]) == (6.0, pytest.approx((5.0 + 0.0 + 6.0) / 3))
    assert old["replaced"] == {"unreadable": 1, "failed": 1}
    assert numbers_of(full_rows())["editors"]["a"]["j"]["legacy"] is None


def test_the_rate_of_yes_answers_has_a_wilson_interval() -> None:
    rows = [entry | {"mode_instruction": "Yes" if n else "No"} for n, entry in enumerate(full_rows())]
    criteria = numbers_of(rows, criteria=["instruction"])["editors"]["a"]["j"]["criteria"]
    yes = criteria["instruction"]["yes"]
    assert (yes["count"], yes["n"]) == (2, 3)
    assert yes["interval"] == (pytest.approx(0.2077, abs=1e-4), pytest.approx(0.9385, abs=1e-4))
    digits = [entry | {"mode_instruction": "7"} for entry in full_rows()]
    assert numbers_of(digits, criteria=["instruction"])["editors"]["a"]["j"]["criteria"]["instruction"]["yes"] is None
