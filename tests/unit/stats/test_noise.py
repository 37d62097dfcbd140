"""The judge's noise and drift, with every number worked out by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.errors import MergeError

from editlane.stats.noise import MOVED, compare_canaries, measure_noise

NAN = float("nan")


def answers(of_item: dict[str, list[float]]) -> pd.DataFrame:
    rows = [{"item": item, "score": score} for item, scores in of_item.items() for score in scores]
    return pd.DataFrame(rows, columns=["item", "score"]).astype({"score": float})


def test_the_spread_inside_items_and_between_them() -> None:
    found = measure_noise(answers({"甲": [1.0, 3.0], "乙": [8.0, 8.0, 8.0, 10.0, 11.0]}), "sampled")
    assert found == {
        "kind": "sampled",
        "items": 2,
        "repeats": 5,
        "within_sd": pytest.approx(((2 + 8) / (1 + 4)) ** 0.5),  # squares around 2 and around 9
        "between_sd": pytest.approx((9 - 2) / 2**0.5),
        "largest": 3.0,
    }


def test_the_pooled_sd_is_that_of_the_noise() -> None:
    rng = np.random.default_rng(0)
    items, noise = rng.normal(5, 2, (2000, 1)), rng.normal(0, 0.3, (2000, 4))
    found = measure_noise(answers({str(n): list(row) for n, row in enumerate(items + noise)}), "sampled")
    assert found["within_sd"] == pytest.approx(0.3, rel=0.03)
    assert found["between_sd"] == pytest.approx(2.0, rel=0.05)


def test_the_order_of_the_answers_does_not_matter() -> None:
    table = answers({"1": [1.0, 3.0], "2": [8.0, 7.5], "3": [0.1, 0.2]})
    assert measure_noise(table.sample(frac=1, random_state=0), "batch_order") == measure_noise(table, "batch_order")


def test_a_judge_without_noise() -> None:
    found = measure_noise(answers({"1": [7.3] * 4, "2": [1.1] * 4}), "batch_order")
    assert (found["within_sd"], found["largest"]) == (pytest.approx(0, abs=1e-9), 0.0)


def test_items_with_one_score_are_left_out() -> None:
    found = measure_noise(answers({"1": [5.0, NAN], "2": [6.0], "3": [2.0, 4.0, NAN], "4": [NAN]}), "sampled")
    assert (found["items"], found["repeats"]) == (1, 2)
    assert found["within_sd"] == pytest.approx(2**0.5)
    assert found["between_sd"] is None


@pytest.mark.parametrize("of_item", [{}, {"1": [5.0]}, {"1": [NAN, NAN]}], ids=["empty", "one score", "all NaN"])
def test_no_repeats_no_noise(of_item: dict[str, list[float]]) -> None:
    nothing = {"items": 0, "repeats": 0, "within_sd": None, "between_sd": None, "largest": None}
    assert measure_noise(answers(of_item), "sampled") == {"kind": "sampled", **nothing}


def canaries(scores: list[float], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {"item_id": [f"c{n}" for n in range(len(scores))], "judge_key": "k", "edited_sha256": "e", "score": scores}
        | columns
    )


SCORES = [1.0, 2, 3, 4, 5, 6, 7, 8, 9, 3]


def test_a_judge_that_moved() -> None:
    higher = [score + change for score, change in zip(SCORES, [0.4, 0.5, 0.6] * 3 + [0.5], strict=True)]
    found = compare_canaries(canaries(higher), canaries(SCORES), "last-week")
    assert found["moved"] is True
    assert (found["n"], found["reference_run"]) == (10, "last-week")
    assert found["difference"] == pytest.approx(0.5)
    assert found["mean"] == pytest.approx(5.3)
    assert found["p"] == pytest.approx(2 / 2**10)
    assert found["interval"] is not None
    assert 0.4 < found["interval"][0] < 0.5 < found["interval"][1] < 0.6


def test_a_judge_that_did_not_move() -> None:
    found = compare_canaries(canaries(SCORES), canaries(SCORES), "r")
    assert (found["difference"], found["p"], found["moved"]) == (0.0, 1.0, False)
    up_and_down = [score + change for score, change in zip(SCORES, [0.5, -0.5] * 5, strict=True)]
    assert compare_canaries(canaries(up_and_down), canaries(SCORES), "r")["moved"] is False


def test_a_change_too_small_to_matter_is_no_move() -> None:
    for change, moved in [(MOVED * 0.9, False), (MOVED * 1.1, True)]:
        found = compare_canaries(canaries([score + change for score in SCORES]), canaries(SCORES), "r")
        assert found["p"] == pytest.approx(2 / 2**10)
        assert found["moved"] is moved


def test_canaries_are_paired_by_item_judge_and_image() -> None:
    this = canaries([score + 1 for score in SCORES[:8]])
    reference = canaries(SCORES).sample(frac=1, random_state=0)
    found = compare_canaries(this, reference, "r")
    assert (found["n"], found["difference"], found["moved"]) == (8, pytest.approx(1.0), True)
    for other in ({"judge_key": "another checkpoint"}, {"edited_sha256": "another image"}):
        assert compare_canaries(this, canaries(SCORES, **other), "r")["difference"] is None


def test_canaries_without_a_score_are_left_out() -> None:
    found = compare_canaries(canaries([NAN, *SCORES[1:]]), canaries([*SCORES[:-1], NAN]), "r")
    assert (found["n"], found["difference"], found["p"]) == (9, 0.0, 1.0)
    assert found["mean"] == pytest.approx(np.mean(SCORES[1:]))


@pytest.mark.parametrize("scores", [[], [NAN, NAN]])
def test_without_scores_nothing_moved(scores: list[float]) -> None:
    found = compare_canaries(canaries(scores).astype({"score": float}), canaries(SCORES), "r")
    assert found == {
        "n": 0,
        "mean": None,
        "reference_run": "r",
        "difference": None,
        "interval": None,
        "p": None,
        "moved": False,
    }


def test_the_first_run_has_nothing_to_compare_with() -> None:
    found = compare_canaries(canaries(SCORES), canaries(SCORES).iloc[:0], None)
    assert (found["mean"], found["reference_run"], found["difference"], found["moved"]) == (4.8, None, None, False)


def test_a_few_canaries_cannot_show_a_move() -> None:
    found = compare_canaries(canaries([9.0] * 5), canaries([1.0] * 5), "r")
    assert (found["difference"], found["p"], found["moved"]) == (8.0, None, False)


def test_a_canary_that_occurs_twice_is_refused() -> None:
    twice = pd.concat([canaries(SCORES), canaries(SCORES)])
    with pytest.raises(MergeError):
        compare_canaries(twice, canaries(SCORES), "r")
