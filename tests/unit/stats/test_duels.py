"""Duels of both orders, a preference for a place, and the acceptance of a pairwise judge."""

import pandas as pd
import pytest
from made_pairs import answer, fail, made_pairs, row

from editlane.core.errors import UserError
from editlane.stats.duels import count_pairs, make_duels, measure_position
from editlane.stats.pair_acceptance import accept_pairs

ITEMS = {f"项目-{place}": ("物理", "环境")[place % 2] for place in range(40)}
PHOTOS = {item: place for place, item in enumerate(ITEMS)}


def duels_of(*rows: dict[str, object]) -> pd.DataFrame:
    return make_duels(pd.DataFrame(rows), ["x", "y"], dict.fromkeys("ij", 0))


def test_a_preference_for_the_first_picture_is_averaged_out() -> None:
    plain = duels_of(row("i", "x", "y", **answer(0.0)), row("i", "y", "x", **answer(0.0)))
    biased = duels_of(row("i", "x", "y", **answer(0.0, 2.0)), row("i", "y", "x", **answer(0.0, 2.0)))
    assert plain["win"].tolist() == biased["win"].tolist() == [0.5]
    assert plain["first"].tolist() == [0.0] and biased["first"][0] > 0.5
    assert (plain["alike"][0], biased["alike"][0]) == (False, False), "A in both orders is no agreement"


def test_both_orders_are_seen_from_the_editor_that_comes_first() -> None:
    found = duels_of(row("i", "y", "x", **answer(3.0)), row("i", "x", "y", **answer(-3.0)))
    assert found[["a", "b"]].to_numpy().tolist() == [["x", "y"]]
    assert found["win"][0] < 0.2 and found["alike"][0] and found["fate"][0] == "used"


def test_what_is_no_duel_is_counted_and_not_used() -> None:
    lost = {"state": "edit_failed", "a_sha256": None}
    found = duels_of(
        row("i", "x", "y", **answer(1.0)), row("i", "y", "x"), row("j", "x", "y", **lost), row("j", "y", "x", **lost)
    )
    assert found["fate"].tolist() == ["one_order", "failed"] and found["win"].isna().all()
    (counted,) = count_pairs(found, [("x", "y")], None)
    assert (counted["asked"], counted["n"], counted["one_order"], counted["win_rate"]) == (2, 0, 1, None)


def test_whose_edit_failed_is_told_in_either_order() -> None:
    pairs = fail(made_pairs({"x": 0, "y": 0}, {"i": "物理"}), "i", ["y"])
    found = make_duels(pairs[pairs["control"].isna()], ["x", "y"], {"i": 0})
    assert (bool(found["failed_a"][0]), bool(found["failed_b"][0])) == (False, True)


def test_a_pair_that_was_asked_twice_in_one_order_is_an_error() -> None:
    with pytest.raises(UserError, match="'x' against 'y' on item 'i' twice"):
        duels_of(row("i", "x", "y", **answer(1.0)), row("i", "x", "y", **answer(1.0)))


def test_the_preference_for_a_place_has_an_interval() -> None:
    pairs = made_pairs({"x": 0, "y": 0}, ITEMS, bias=1.0)
    duels = make_duels(pairs[pairs["control"].isna()], ["x", "y"], PHOTOS)
    found = measure_position(duels["first"], duels["cluster"])
    assert found["n"] == 40 and found["bias"]["interval"] is not None
    low, high = found["bias"]["interval"]
    assert 0.2 < low < found["bias"]["value"] < high < 0.6


def accept(**more: float):
    pairs = made_pairs({"x": 0, "y": 0.5}, ITEMS, **more)
    controls = pairs[pairs["control"].notna()]
    return accept_pairs(controls.assign(cluster=controls["item_id"].map(PHOTOS)))


def test_a_judge_that_sees_is_accepted_everywhere() -> None:
    found = accept()
    assert (found["verdict"], found["reasons"], found["too_few"]) == ("accepted", [], [])
    assert {one["verdict"] for part in ("categories", "editors", "controls") for one in found[part].values()} == {
        "told_apart"
    }
    assert found["itself_verdict"] == "told_apart"


@pytest.mark.parametrize("bias", [0.0, 6.0], ids=["blind", "always the first"])
def test_a_judge_that_does_not_see_the_controls_is_not_accepted(bias: float) -> None:
    found = accept(control=0.0, bias=bias)
    assert found["verdict"] == "not_accepted" and ("itself" if bias else "together") in found["reasons"]
    assert found["itself_verdict"] == ("not_told_apart" if bias else "told_apart")


def test_a_judge_that_sees_little_is_not_accepted_although_it_beats_chance() -> None:
    found = accept(control=-0.5, noise=0.01)
    assert found["controls"]["source"]["verdict"] == "told_apart" and found["reasons"] == ["together"]


def test_controls_on_one_side_of_the_page_prove_nothing() -> None:
    pairs = made_pairs({"x": 0, "y": 0}, ITEMS, bias=4.0, control=0.0)
    controls = pairs[pairs["control"].notna() & (pairs["control_side"] != "a")]
    found = accept_pairs(controls.assign(cluster=controls["item_id"].map(PHOTOS)))
    assert found["controls"]["source"]["verdict"] == "too_few" and found["verdict"] != "accepted"


def test_without_controls_a_judge_is_not_tested() -> None:
    pairs = made_pairs({"x": 0, "y": 0}, ITEMS)
    controls = pairs[pairs["control"].notna()].iloc[:0]
    found = accept_pairs(controls.assign(cluster=pd.Series(dtype=int)))
    assert found["verdict"] == "not_tested" and found["calls"] == 0
