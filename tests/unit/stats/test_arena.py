"""Strengths of editors: the model, its intervals, ranks, and what makes a fit impossible."""

import evalica
import numpy as np
import pandas as pd
import pytest

from editlane.stats.arena import decide, distrust, fit_duels
from editlane.stats.strengths import PRIOR, add_wins, fit_many, fit_strengths, make_pseudo_values, score_difference


def duels(*rows: tuple[str, str, float, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["a", "b", "win", "cluster"])


def many(wins: dict[tuple[str, str], float], photos: int = 30, spread: float = 0.2) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        (a, b, float(np.clip(win + rng.normal(0, spread), 0, 1)), photo)
        for photo in range(photos)
        for (a, b), win in wins.items()
    ]
    return duels(*rows)


def ranked(frame: pd.DataFrame, editors: list[str]):
    fit = fit_duels(frame, editors)
    decide([fit])
    return fit.ranking


def test_a_tie_is_half_a_win_for_each_and_the_fit_is_that_of_evalica() -> None:
    one = add_wins(np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([0.8, 0.5, 0.3]), np.array([0, 1, 1]), 3)
    total = one.sum(axis=0)
    assert total[0, 2] == total[2, 0] == 0.5
    found = fit_strengths(total)
    assert fit_many(total[None], np.zeros(3))[0] == pytest.approx(found, abs=1e-6)
    pairs = [(i, j, total[i, j] + PRIOR) for i in range(3) for j in range(3) if i != j]
    first, second, weights = map(list, zip(*pairs, strict=True))
    scores = evalica.bradley_terry(first, second, [evalica.Winner.X] * 6, weights=weights).scores.sort_index()
    logs = np.log(scores.to_numpy())
    assert found == pytest.approx(logs - logs.mean(), abs=1e-4)


def test_two_editors_have_the_odds_of_their_wins() -> None:
    found = ranked(many({("x", "y"): 0.75}, 400, 0), ["x", "y"])
    gap = found["differences"][0]["difference"]
    assert gap == pytest.approx(np.log((300 + PRIOR) / (100 + PRIOR)))
    assert found["editors"]["x"]["strength"] == pytest.approx(gap / 2)


def test_the_mean_of_the_pseudo_values_is_the_strength() -> None:
    frame = many({("x", "y"): 0.7, ("y", "z"): 0.6})
    codes = {name: at for at, name in enumerate("xyz")}
    wins = add_wins(*(frame[side].map(codes).to_numpy() for side in "ab"), frame["win"], frame["cluster"], 3)
    strengths = fit_strengths(wins.sum(axis=0))
    assert make_pseudo_values(wins, strengths).mean(axis=0) == pytest.approx(strengths)


def test_ranks_are_ranges_where_differences_do_not_separate() -> None:
    found = ranked(many({("x", "y"): 0.8, ("x", "z"): 0.8, ("y", "z"): 0.5}), ["z", "y", "x"])
    assert {name: one["rank"] for name, one in found["editors"].items()} == {"x": (1, 1), "y": (2, 3), "z": (2, 3)}
    verdicts = {(one["a"], one["b"]): one["verdict"] for one in found["differences"]}
    assert verdicts["z", "x"] == verdicts["y", "x"] == "b_better"
    assert verdicts["z", "y"] in ("not_separable", "too_few")


def test_a_clean_sweep_is_finite_and_has_no_interval_but_a_verdict() -> None:
    found = ranked(many({("x", "y"): 1.0}, 30, 0), ["x", "y"])
    assert np.isfinite(found["editors"]["x"]["strength"]) and found["open_ended"] == ["x", "y"]
    assert found["editors"]["x"]["interval"] is None and found["differences"][0]["verdict"] == "a_better"


def test_an_editor_that_loses_one_duel_of_many_is_still_found_stronger() -> None:
    frame = many({("x", "y"): 1.0, ("x", "z"): 1.0, ("y", "z"): 0.5}, 30, 0)
    frame.loc[0, "win"] = 0.0
    found = ranked(frame, list("xyz"))
    assert found["open_ended"] == ["x"] and found["editors"]["x"]["rank"] == (1, 1)
    assert [one["verdict"] for one in found["differences"]] == ["a_better", "a_better", "not_separable"]


def test_the_score_of_two_editors_is_that_of_their_win_rate() -> None:
    frame = many({("x", "y"): 0.7}, 40, 0.2)
    wins = add_wins(np.zeros(40, int), np.ones(40, int), frame["win"].to_numpy(), frame["cluster"].to_numpy(), 2)
    scores = score_difference(wins, fit_strengths(wins.sum(axis=0)), 0, 1)
    expected = frame["win"].to_numpy() - 0.5
    assert scores / scores.mean() == pytest.approx(expected / expected.mean())


def test_too_few_photos_give_nothing_but_the_reason() -> None:
    frame = many({("x", "y"): 0.9}, 5)
    found = ranked(pd.concat([frame] * 20), ["x", "y"])
    assert (found["why"], found["editors"], found["n"], found["clusters"]) == ("too_few_photos", {}, 100, 5)
    assert ranked(frame.iloc[:0], ["x", "y"])["why"] == "too_few_photos"


def test_editors_that_no_duel_connects_are_not_compared() -> None:
    found = ranked(many({("w", "x"): 0.6, ("y", "z"): 0.6}), list("wxyz"))
    assert found["why"] == "not_connected" and found["groups"] == [["w", "x"], ["y", "z"]]


def test_an_editor_without_duels_is_left_out() -> None:
    assert list(ranked(many({("x", "y"): 0.6}), ["x", "q", "y"])["editors"]) == ["x", "y"]


def test_pairs_asked_unequally_often_keep_their_strengths() -> None:
    """The stronger opponents of an editor do not make it look weaker."""
    odds = {"x": 0.0, "y": 1.0, "z": 2.0}
    chance = {(a, b): 1 / (1 + np.exp(odds[b] - odds[a])) for a, b in (("x", "y"), ("y", "z"), ("x", "z"))}
    even = ranked(many(chance, 400, 0), list("xyz"))
    frame = many(chance, 400, 0)
    uneven = ranked(frame[(frame["b"] == "z") | (frame["cluster"] < 50)], list("xyz"))
    for name in "xyz":
        assert uneven["editors"][name]["strength"] == pytest.approx(even["editors"][name]["strength"], abs=0.02)


def test_a_judge_that_is_not_believed_ranks_nobody() -> None:
    found = ranked(many({("x", "y"): 0.8, ("x", "z"): 0.8, ("y", "z"): 0.5}), list("xyz"))
    distrust(found, ["x", "y"])
    assert [one["verdict"] for one in found["differences"]] == ["a_better", "not_believed", "not_believed"]
    assert found["editors"]["z"]["rank"] is None and found["editors"]["x"]["rank"] is not None


def test_two_edits_of_one_photo_count_for_less_than_two_photos() -> None:
    frame = many({("x", "y"): 0.6}, 40, 0.3)
    apart = ranked(pd.concat([frame, frame.assign(cluster=frame["cluster"] + 40)]), ["x", "y"])
    together = ranked(pd.concat([frame, frame]), ["x", "y"])
    width = [np.ptp(found["editors"]["x"]["interval"]) for found in (apart, together)]
    assert width[1] > 1.2 * width[0]
