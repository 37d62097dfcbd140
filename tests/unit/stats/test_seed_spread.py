"""The variance of scores, split into items, seeds and the judge."""

import numpy as np
import pandas as pd
import pytest

from editlane.stats.seeds import measure_seeds


def rows(photos: int, samples: int, item: float, seed: float, *, rng_seed: int = 0) -> pd.DataFrame:
    """Draw scores of photos with one item each, with these standard deviations."""
    rng = np.random.default_rng(rng_seed)
    means = 5 + rng.normal(0, item, photos)
    return pd.DataFrame(
        [
            {"item": f"项-{n:03}", "category": ("物理", "因果")[n % 2], "cluster": n, "score": score}
            | {"edited_sha256": f"{n}-{number}"}
            for n, mean in enumerate(means)
            for number, score in enumerate(mean + rng.normal(0, seed, samples))
        ]
    )


def test_by_hand_three_items_of_two_samples_each_in_one_category() -> None:
    scores = [4.0, 6.0, 8.0, 8.0, 1.0, 3.0]
    table = pd.DataFrame(
        {
            "item": list("aabbcc"),
            "category": "物理",
            "cluster": [0, 0, 1, 1, 2, 2],
            "score": scores,
            "edited_sha256": "x",
        }
    )
    found = measure_seeds(table, judge_sd=None)
    assert (found["items"], found["samples"], found["equal_edits"]) == (3, 6, 3)
    within = (2 + 0 + 2) / 3  # sums of squares over degrees of freedom
    between = (2 * ((5 - 5) ** 2 + (8 - 5) ** 2 + (2 - 5) ** 2) / 2 - within) / 2
    assert found["seed_sd"]["value"] == pytest.approx(within**0.5)
    assert found["item_sd"]["value"] == pytest.approx(between**0.5)
    share = within / (within + between)
    assert found["seed_share"]["value"] == pytest.approx(share)
    assert found["interval_width"]["value"] == pytest.approx((1 - share / 2) ** 0.5)
    assert found["seed_sd"]["interval"] is None
    assert "fewer than 6 source images" in (found["seed_sd"]["why"] or "")


def test_categories_that_differ_are_no_spread_of_items() -> None:
    table = rows(40, 3, 0.5, 0.2)
    shifted = table.assign(score=table["score"] + 4 * (table["category"] == "因果"))
    before, after = measure_seeds(table, None), measure_seeds(shifted, None)
    for name in ("item_sd", "seed_sd", "seed_share"):
        assert after[name]["value"] == pytest.approx(before[name]["value"])  # type: ignore[literal-required]


def test_the_judges_noise_is_not_the_seeds() -> None:
    table = rows(200, 4, 1.0, 1.0)
    apart = measure_seeds(table, judge_sd=0.6)
    assert apart["seed_sd"]["value"] == pytest.approx(0.8, abs=0.05)
    assert apart["seed_share"] == measure_seeds(table, None)["seed_share"]
    drowned = measure_seeds(table, judge_sd=2.0)["seed_sd"]
    assert (drowned["value"], drowned["interval"]) == (0.0, None)
    assert "no more than the judge's answers" in (drowned["why"] or "")


def test_missing_scores_are_left_out_and_lone_samples_with_them() -> None:
    table = rows(30, 3, 1.0, 1.0)
    table.loc[[0, 3, 4], "score"] = np.nan  # item 0 keeps two samples, item 1 one
    found = measure_seeds(table, None)
    assert (found["items"], found["samples"]) == (29, 86)


def test_without_pairs_of_samples_there_is_a_reason_and_no_number() -> None:
    found = measure_seeds(rows(30, 1, 1.0, 1.0), 0.1)
    assert found["items"] == 0
    assert found["seed_sd"] == {"value": None, "interval": None, "why": "too few items with two scored samples"}


def test_equal_scores_have_no_spread() -> None:
    found = measure_seeds(rows(30, 2, 0.0, 0.0), None)
    assert found["seed_sd"]["value"] == found["item_sd"]["value"] == 0.0
    assert found["seed_share"]["value"] is None
    assert found["seed_share"]["why"] == "all scores are equal"


@pytest.mark.runs
def test_intervals_hold_the_truth() -> None:
    truth = {"item_sd": 1.0, "seed_sd": 0.7, "seed_share": 0.49 / 1.49}
    held = dict.fromkeys(truth, 0)
    for number in range(200):
        found = measure_seeds(rows(40, 3, 1.0, 0.7, rng_seed=number), None)
        for name, value in truth.items():
            low, high = found[name]["interval"]  # type: ignore[literal-required]
            held[name] += low <= value <= high
    assert all(180 <= count <= 199 for count in held.values()), held
