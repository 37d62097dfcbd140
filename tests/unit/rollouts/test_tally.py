"""Success rates of robot roll-outs: what is counted together, and what never is."""

from typing import Any

import pytest

from editlane.rollouts.tally import Tally
from editlane.stats.intervals import rate_interval


def make_row(
    solved: bool | None, task: int = 0, suite: str = "reach", policy: str = "a", **more: Any
) -> dict[str, Any]:
    kind = "deadline" if solved is None else None
    row = {"solved": solved, "suite": suite, "task_id": task, "policy": policy, "versions": {"reach": "1"}}
    return row | {"error_kind": kind} | more


def test_a_total_counts_every_episode_of_a_suite_once() -> None:
    tally = Tally([make_row(True), make_row(False, task=1), make_row(False, task=1), make_row(True, suite="other")])
    tally.add(make_row(True, task=2))
    other, reach = tally.list_totals()
    assert (other["suite"], other["solved"], other["played"]) == ("other", 1, 1)
    assert (reach["solved"], reach["played"], reach["rate"]) == (2, 4, 0.5)
    assert reach["interval"] == rate_interval(2, 4)


def test_failures_are_no_episodes_of_the_policy() -> None:
    tally = Tally([make_row(True), make_row(None), make_row(None, task=1), make_row(None, task=1, error_kind="crash")])
    (total,) = tally.list_totals()
    assert (total["solved"], total["played"], total["failed"]) == (1, 1, {"crash": 1, "deadline": 2})
    assert [row["failed"] for row in tally.list_rates()] == [{"deadline": 1}, {"crash": 1, "deadline": 1}]


def test_a_suite_without_a_played_episode_has_no_rate() -> None:
    (total,) = Tally([make_row(None)]).list_totals()
    assert (total["rate"], total["interval"], total["played"]) == (None, None, 0)


@pytest.mark.parametrize("other", [{"policy": "b"}, {"versions": {"reach": "2"}}, {"versions": {}}])
def test_policies_and_versions_of_a_simulator_are_never_joined(other: dict[str, Any]) -> None:
    totals = Tally([make_row(True), make_row(False) | other]).list_totals()
    assert sorted((total["solved"], total["played"]) for total in totals) == [(0, 1), (1, 1)]


def test_nothing_played_is_no_total() -> None:
    assert Tally([]).list_totals() == []
