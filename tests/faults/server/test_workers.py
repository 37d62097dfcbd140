"""Workers that die, hang, or talk nonsense: the edits that they had are judged by others."""

import os
import signal
from typing import Any

import pytest
from onslaught import Attack, Onslaught
from rewards import make_edit

READ_OUT = "editlane.judges.fake:FakeJudge.read_out"


def read_out(name: str, do: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "at": READ_OUT, "program": "judge_worker", "do": do} | more


def pids(onslaught: Onslaught) -> list[int]:
    return [one["pid"] for one in onslaught.workers() if one["pid"]]


@pytest.mark.runs
def test_a_worker_is_killed_under_load(attack: Attack) -> None:
    onslaught = attack()
    first = pids(onslaught)[0]
    onslaught.strike_under_load(
        range(240), lambda: os.kill(first, signal.SIGKILL), lambda: first not in pids(onslaught)
    )
    assert not onslaught.failures() and not onslaught.refused, "retried on the other worker"
    assert onslaught.metric("editlane_items_retried_total") > 0
    onslaught.wait_until_noticed(lambda: all(one["state"] == "ready" for one in onslaught.workers()))
    onslaught.finish("a worker is killed (SIGKILL) under load")


@pytest.mark.runs
def test_a_worker_hangs(attack: Attack) -> None:
    onslaught = attack(limits={"attempt_seconds": 2})
    first = pids(onslaught)[0]
    onslaught.strike_under_load(
        range(240), lambda: os.kill(first, signal.SIGSTOP), lambda: first not in pids(onslaught)
    )
    assert not onslaught.failures() and onslaught.slowest < 20
    onslaught.finish("a worker stands still (SIGSTOP) under load")


@pytest.mark.runs
def test_every_worker_is_killed(attack: Attack) -> None:
    onslaught = attack()
    all_of_them = pids(onslaught)
    onslaught.strike_under_load(
        range(240),
        lambda: [os.kill(pid, signal.SIGKILL) for pid in all_of_them],
        lambda: not set(all_of_them) & set(pids(onslaught)),
    )
    assert not onslaught.failures()
    onslaught.finish("every worker is killed under load")


@pytest.mark.runs
def test_an_edit_that_kills_its_worker_fails_alone(attack: Attack) -> None:
    onslaught = attack(read_out("poison", "kill", signal="SIGSEGV", match="poison", times=9, onwards=True))
    edits = [make_edit(number) for number in range(10)]
    edits[4]["instruction"] += " poison"
    onslaught.strike(lambda: None)
    answers = onslaught.ask(edits)
    assert [one["error"] and one["error"]["kind"] for one in answers] == [None] * 4 + ["crash"] + [None] * 5
    deaths = onslaught.metric("editlane_worker_restarts_total")
    assert deaths == 2, "the first time with others, the second time alone"
    (again,) = onslaught.ask([edits[4]])
    assert again["error"]["kind"] == "crash"
    assert onslaught.metric("editlane_worker_restarts_total") == deaths, "not asked again at once"
    onslaught.finish("an edit kills every worker that is asked about it (SIGSEGV), among 10")


@pytest.mark.runs
def test_a_bug_in_the_judge_at_one_edit(attack: Attack) -> None:
    onslaught = attack(read_out("bug", "device", match="bug!", times=9, onwards=True))
    edits = [make_edit(number, category="物理") for number in range(16)]
    edits[7]["instruction"] += " bug!"
    onslaught.strike(lambda: None)
    answers = onslaught.ask(edits)
    assert [place for place, one in enumerate(answers) if one["error"]] == [7]
    onslaught.finish("a bug (RuntimeError) at one edit of 16")


def test_the_judge_fails_on_a_share_of_the_edits(attack: Attack) -> None:
    onslaught = attack(judge={"failure_rate": 0.3, "unreadable_rate": 0.2})
    onslaught.strike(lambda: None)
    onslaught.ask_all(range(80))
    assert set(onslaught.failures()) == {"fake", "mass"}
    onslaught.finish("the judge fails on 30 % and gives no legal answer on 20 %", failure_rate=0.3, unreadable_rate=0.2)


@pytest.mark.runs
def test_a_worker_that_talks_nonsense(attack: Attack) -> None:
    at = {"at": "editlane.server.worker:Wire.send", "program": "judge_worker"}
    onslaught = attack({"name": "nonsense", "do": "nonsense", "nth": 6, "times": 2} | at)
    onslaught.strike(lambda: None)
    onslaught.ask_all(range(80))
    assert not onslaught.failures()
    assert onslaught.metric("editlane_worker_restarts_total") >= 1
    onslaught.finish("a worker writes garbage instead of an answer")


@pytest.mark.runs
def test_a_judge_that_never_starts(attack: Attack) -> None:
    fault = {"name": "slow", "at": "editlane.judges.fake:FakeJudge.__init__", "program": "judge_worker", "do": "hang"}
    onslaught = attack(fault, limits={"start_seconds": 2}, workers=1, ready=False)
    onslaught.strike(lambda: None)
    onslaught.wait_until_noticed(lambda: onslaught.workers()[0]["restarts"] == 1)
    assert onslaught.server.get("/ready").status_code == 503 and onslaught.server.get("/health").status_code == 200
    onslaught.ask([make_edit(1)])
    assert onslaught.refused[503] > 0
    onslaught.finish("a judge hangs while it loads")


@pytest.mark.runs
def test_a_worker_that_idles_gives_its_device_back_and_comes_again(attack: Attack) -> None:
    onslaught = attack(limits={"idle_seconds": 1})
    onslaught.ask_all(range(8))
    onslaught.strike(lambda: None)
    onslaught.wait_until_noticed(lambda: {one["state"] for one in onslaught.workers()} == {"idle"})
    assert pids(onslaught) == [] and onslaught.server.get("/ready").status_code == 200
    onslaught.ask_all(range(100, 108))
    assert not onslaught.refused and not onslaught.failures()
    onslaught.finish("all workers gave their device back (idle)")


def test_a_judge_that_cannot_be_loaded_ends_the_server_with_one_paragraph(attack: Attack) -> None:
    fault = {"name": "broken", "at": "editlane.judges.fake:FakeJudge.__init__", "program": "judge_worker", "do": "fail"}
    onslaught = attack(fault | {"words": "The checkpoint 甲 is damaged. Copy it again.", "times": 9}, ready=False)
    assert onslaught.server.process.wait(20) == 2
    assert onslaught.server.stderr.endswith("error: The checkpoint 甲 is damaged. Copy it again.\n")
    assert "Traceback" not in onslaught.server.stderr
