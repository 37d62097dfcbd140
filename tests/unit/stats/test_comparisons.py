"""Comparisons of editors: worked examples, false positives and power on scores like a judge's."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from editlane.stats import comparisons
from editlane.stats.comparisons import Comparison, compare, compare_all, sign_flip_p

NAN = float("nan")
CATEGORIES = ["物理", "环境", "社会"]


def scores_like_a_judges(level: np.ndarray, fails: float = 0.35) -> np.ndarray:
    """Bounded 0..10, skewed, tied to half points, a share `fails` at 0."""
    passed = 10 * stats.beta.ppf(np.clip((level - fails) / (1 - fails), 0, 1), 2, 1.5)
    return np.where(level < fails, 0.0, np.round(2 * passed) / 2)


def paired_levels(cases: int, items: int, rng: np.random.Generator, photos: np.ndarray | None = None) -> np.ndarray:
    """Quantile levels (2, cases, items) of two editors that find the same items hard (correlation 0.5)."""
    shared = rng.standard_normal((1, cases, items))
    if photos is not None:
        shared = shared[:, :, photos]
    return stats.norm.cdf(np.sqrt(0.5) * shared + np.sqrt(0.5) * rng.standard_normal((2, cases, items)))


def share_found(differences: np.ndarray, photos: np.ndarray) -> float:
    """Share of the cases (rows) with p < 0.05, each with signs of its own."""
    return float(np.mean([sign_flip_p(row, photos, seed=case) < 0.05 for case, row in enumerate(differences)]))


def test_false_positives_come_in_5_of_100_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "FLIPS", 400)
    a, b = scores_like_a_judges(paired_levels(2000, 50, np.random.default_rng(0)))
    assert 0.04 <= share_found(a - b, np.arange(50)) <= 0.06


def test_and_where_the_items_of_a_photo_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "FLIPS", 400)
    photos = np.arange(50) // 2
    a, b = scores_like_a_judges(stats.norm.cdf(np.random.default_rng(1).standard_normal((2, 2000, 25))[:, :, photos]))
    assert 0.04 <= share_found(a - b, photos) <= 0.06
    assert share_found((a - b)[:300], np.arange(50)) > 0.1  # flipped one by one, far too many would be found


def test_the_detectable_difference_is_found_in_80_of_100_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "FLIPS", 1000)
    monkeypatch.setattr(comparisons, "mean_interval", lambda *_: None)
    a, b = scores_like_a_judges(paired_levels(700, 50, np.random.default_rng(2)))
    share = 0.0
    for _ in range(5):  # a gains a share of what it lacks, until its gain is the difference that 50 items can show
        better = a + share * (10 - a)
        share = 0.4043 * (better - b).std() / (10 - a).mean()
    found = [compare(*pair, np.arange(50), seed=case) for case, pair in enumerate(zip(better, b, strict=True))]
    stated = np.mean([result["detectable"] for result in found])
    assert stated == pytest.approx((better - b).mean(), rel=0.03)
    assert 0.75 <= np.mean([result["verdict"] == "a_better" for result in found]) <= 0.85


def test_the_exact_p_counts_every_sign_pattern() -> None:
    differences = np.array([1.0, 2.0, 3.0, 4.0, 5.0, -1.5])
    sums = np.array([np.dot(signs, differences) for signs in product([1, -1], repeat=6)])
    assert sign_flip_p(differences, np.arange(6)) == pytest.approx((np.abs(sums) >= differences.sum()).mean())


def test_the_random_p_comes_near_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.array([1.0, 2.0, -3.0, 4.0, 5.0, -1.5, 2.0, 3.0, 1.0, -2.0, 4.0, 1.0, 0.5])
    exact = sign_flip_p(differences, np.arange(13))
    monkeypatch.setattr(comparisons, "FLIPS", 8191)  # one less than there are patterns
    random = sign_flip_p(differences, np.arange(13))
    assert random != exact
    assert random == pytest.approx(exact, abs=0.01)


def test_the_p_above_many_clusters_is_the_limit_of_the_random_one(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = scores_like_a_judges(paired_levels(1, 3000, np.random.default_rng(1)))
    differences = (a - b)[0] + 0.1
    limit = sign_flip_p(differences, np.arange(3000))
    monkeypatch.setattr(comparisons, "MANY_CLUSTERS", 3000)
    assert 0.001 < limit < 0.5
    assert limit == pytest.approx(sign_flip_p(differences, np.arange(3000)), rel=0.1, abs=0.005)


def test_many_differences_that_are_all_alike_have_a_p() -> None:
    assert sign_flip_p(np.full(2001, 0.1), np.arange(2001)) < 1e-100
    assert sign_flip_p(np.zeros(2001), np.arange(2001)) == 1.0


def test_only_items_scored_for_both_are_compared() -> None:
    a = [8.0, 9, 7, 9, 8, 7, 9, 8, NAN, 10, NAN]
    b = [2.0, 3, 1, 4, 2, 2, 3, 1, 5, NAN, NAN]
    found = compare(a, b, np.arange(11))
    assert (found["n"], found["left_out"], found["clusters"]) == (8, 3, 8)
    assert found["difference"] == pytest.approx(np.mean([6, 6, 6, 5, 6, 5, 6, 7]))
    assert found["p"] == pytest.approx(2 / 2**8)
    assert found["verdict"] == "a_better"
    assert found["interval"] is not None
    assert 5 < found["interval"][0] < 5.875 < found["interval"][1] < 7
    mirrored = compare(b, a, np.arange(11))
    assert mirrored["verdict"] == "b_better"
    assert mirrored["difference"] == -found["difference"]
    assert mirrored["p"] == found["p"]


def test_the_detectable_difference_of_a_known_spread() -> None:
    """sd 2 and 50 pairs: 2 * 0.404 by the tables of the paired t test (80 % power, two-sided 5 %)."""
    difference = np.tile([2.0, -2.0], 25) * np.sqrt(49 / 50)
    found = compare(5 + difference, np.full(50, 5.0), np.arange(50))
    assert found["detectable"] == pytest.approx(2 * 0.4043, abs=0.002)
    assert found["verdict"] == "not_separable"


def test_more_items_of_the_same_photos_show_nothing_more() -> None:
    a, b = scores_like_a_judges(paired_levels(1, 30, np.random.default_rng(5)))[:, 0]
    alone = compare(a, b, np.arange(30))
    doubled = compare(np.repeat(a, 2), np.repeat(b, 2), np.repeat(np.arange(30), 2))
    assert doubled["clusters"] == 30
    for key in ("difference", "p", "detectable"):
        assert doubled[key] == pytest.approx(alone[key])


@pytest.mark.parametrize(
    ("a", "b", "clusters", "expected"),
    [
        ([], [], [], {"n": 0, "left_out": 0, "difference": None, "verdict": "no_common_items"}),
        ([NAN, 1.0], [2.0, NAN], [0, 1], {"n": 0, "left_out": 2, "difference": None, "verdict": "no_common_items"}),
        ([9.0], [1.0], [0], {"n": 1, "difference": 8.0, "p": None, "interval": None, "verdict": "too_few"}),
        ([9.0] * 5, [1.0] * 5, range(5), {"difference": 8.0, "p": None, "detectable": None, "verdict": "too_few"}),
        ([9.0] * 8, [1.0] * 8, [0] * 8, {"clusters": 1, "p": None, "interval": None, "verdict": "too_few"}),
        ([9.0] * 8, [1.0] * 8, range(8), {"p": 2 / 2**8, "interval": None, "detectable": None, "verdict": "a_better"}),
        (
            [4.0] * 50,
            [4.0] * 50,
            range(50),
            {"difference": 0.0, "p": 1.0, "interval": None, "verdict": "not_separable"},
        ),
    ],
    ids=["empty", "no common item", "one item", "five photos", "one photo", "all differ alike", "identical"],
)
def test_what_cannot_be_said_is_not_made_up(a: Any, b: Any, clusters: Any, expected: dict[str, Any]) -> None:
    found = compare(a, b, np.asarray(clusters))
    assert {key: found[key] for key in expected} == expected  # type: ignore[literal-required]


def test_arrays_of_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1 scores with 2 clusters"):
        compare([1.0, 2.0], [1.0], [0, 1])


def frame(of_editor: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """Long table; the items of a category are numbered, each with its own photo."""
    rows = [
        {"item_id": f"{category}{n}", "category": category, "cluster": 100 * CATEGORIES.index(category) + n}
        | {"editor": editor, "score": score}
        for editor, by_category in of_editor.items()
        for category, scores in by_category.items()
        for n, score in enumerate(scores)
    ]
    return pd.DataFrame(rows, columns=["item_id", "category", "cluster", "editor", "score"])


def compared(scores: pd.DataFrame, editors: list[str], categories: list[str]) -> list[Comparison]:
    """Of the items that have a row."""
    return compare_all(scores, scores.drop_duplicates("item_id"), editors, categories)


def test_an_item_without_any_row_yet_is_left_out_and_counted() -> None:
    items = frame({"a": {"物理": [5.0] * 50}})
    done = frame({"a": {"物理": [5.0, 6.0] * 10}, "b": {"物理": [1.0, 2.0] * 10}})
    [overall, physical] = compare_all(done, items, ["a", "b"], ["物理"])
    assert [(row["n"], row["left_out"]) for row in (overall, physical)] == [(20, 30)] * 2


def test_every_pair_overall_and_by_category_in_the_given_order() -> None:
    low, high = [1.0, 2, 3, 1, 2, 3, 1, 2], [7.0, 9, 8, 6, 9, 8, 7, 9]
    table = frame(
        {
            "a": {"物理": high, "环境": low},
            "b": {"物理": low, "环境": low[:3] + [NAN] * 5},
            "c": {"物理": [NAN] * 8, "环境": high},
        }
    )
    found = compared(table.sample(frac=1, random_state=0), ["c", "a", "b"], CATEGORIES)
    assert [(row["a"], row["b"], row["category"]) for row in found] == [
        (a, b, category) for a, b in [("c", "a"), ("c", "b"), ("a", "b")] for category in [None, *CATEGORIES]
    ]
    verdicts = {(row["a"], row["b"], row["category"]): row["verdict"] for row in found}
    assert verdicts["c", "a", None] == "a_better"
    assert verdicts["c", "a", "物理"] == "no_common_items"
    assert verdicts["c", "b", "环境"] == "too_few"
    assert verdicts["a", "b", "物理"] == "a_better"
    assert verdicts["a", "b", "社会"] == "no_common_items"
    left_out = {(row["a"], row["b"], row["category"]): (row["n"], row["left_out"]) for row in found}
    assert left_out["c", "a", None] == (8, 8)
    assert left_out["a", "b", "环境"] == (3, 5)
    assert left_out["a", "b", "社会"] == (0, 0)


def test_holm_is_over_the_categories_of_a_pair_and_decides_their_verdict() -> None:
    weak = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, -0.1]  # p = 4 / 256
    none = [1.0, -1, 1, -1, 1, -1, 1.5, -1]
    zero = [0.0] * 8
    table = frame({"a": {"物理": weak, "环境": weak, "社会": none}, "b": dict.fromkeys(CATEGORIES, zero)})
    overall, physical, environmental, social = compared(table, ["a", "b"], CATEGORIES)
    assert overall["p_holm"] is None
    assert physical["p"] == environmental["p"] == pytest.approx(4 / 256)
    assert physical["p_holm"] == environmental["p_holm"] == pytest.approx(3 * 4 / 256)
    assert (physical["verdict"], social["verdict"]) == ("a_better", "not_separable")
    four = compared(
        table.assign(category=table["item_id"].str[:2] + (table["cluster"] % 2).astype(str)), ["a", "b"], []
    )
    assert [row["category"] for row in four] == [None]
    assert four[0] == overall


def test_a_correction_can_take_a_verdict_back() -> None:
    weak = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, -0.2]  # p = 4 / 128, times two categories
    none = [1.0, -1, 1, -1, 1, -1, 1.5]
    table = frame({"a": {"物理": weak, "环境": none}, "b": {"物理": [0.0] * 7, "环境": [0.0] * 7}})
    _, physical, _ = compared(table, ["a", "b"], CATEGORIES[:2])
    assert physical["p"] == pytest.approx(4 / 128)
    assert physical["p_holm"] == pytest.approx(8 / 128)
    assert physical["verdict"] == "not_separable"


def test_one_editor_or_no_rows_compare_nothing() -> None:
    assert compared(frame({"a": {"物理": [1.0]}}), ["a"], CATEGORIES) == []
    empty = compared(frame({}), ["a", "b"], CATEGORIES)
    assert [row["verdict"] for row in empty] == ["no_common_items"] * 4


def test_an_editor_without_rows_has_no_common_items() -> None:
    found = compared(frame({"a": {"物理": [1.0] * 8}}), ["a", "b"], ["物理"])
    assert [(row["verdict"], row["left_out"]) for row in found] == [("no_common_items", 8)] * 2


def test_a_second_row_of_an_item_is_refused() -> None:
    table = frame({"a": {"物理": [1.0, 2.0]}, "b": {"物理": [1.0, 2.0]}})
    with pytest.raises(ValueError, match="duplicate"):
        compared(pd.concat([table, table.iloc[:1]]), ["a", "b"], CATEGORIES)


def test_the_order_of_the_rows_and_categorical_columns_change_nothing() -> None:
    levels = paired_levels(1, 60, np.random.default_rng(8))[:, 0]
    a, b = (list(scores) for scores in scores_like_a_judges(levels))
    table = frame({"a": {"物理": a[:30], "环境": a[30:]}, "b": {"物理": b[:30], "环境": b[30:]}})
    found = compared(table, ["a", "b"], CATEGORIES)
    shuffled = table.sample(frac=1, random_state=1)
    assert compared(shuffled, ["a", "b"], CATEGORIES) == found
    categorical = shuffled.astype({"item_id": "category", "category": "category", "editor": "category"})
    assert compared(categorical, ["a", "b"], CATEGORIES) == found
