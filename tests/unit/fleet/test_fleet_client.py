"""The client of a fleet: each task ends in one state, is asked once, and is counted once."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from endpoint_double import Double, serving
from fleet_double import BASE, LENIENT, PUBLISHED, STRICT, make_node, tell, write_fleet

from editlane.core import fleet_accounts as accounts
from editlane.core.errors import UserError
from editlane.core.fleet_accounts import read_accounts
from editlane.core.fleets import FleetDown
from editlane.core.paths import FleetPaths
from editlane.endpoint import http as endpoints
from editlane.fleet import Fleet, TaskDefinition, TaskResult, TaskState
from editlane.fleet import client as fleet_client

ACCOUNTS = FleetPaths("judges").accounts


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(endpoints, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(accounts, "_LEDGERS", {})


@pytest.fixture
def double() -> Iterator[Double]:
    with serving() as server:
        server.models = [*PUBLISHED.values()]
        answer_all(server)
        yield server


def answer_all(double: Double) -> None:
    """Answer with the model's name and the prompt."""

    def answer(body: dict[str, Any], _: int) -> bytes:
        text = f"{body['model']}: {body['messages'][0]['content']}"
        return json.dumps(double.completion(body, text, None)).encode()

    double.trouble = answer


def task(number: int | str, **changes: Any) -> TaskDefinition:
    return TaskDefinition(**{"task_id": f"t{number}", "prompt": f"Say {number}.", "model": "strict"} | changes)


def run(fleet: Fleet, *tasks: TaskDefinition, names: tuple[str, ...] = ("strict", "lenient")) -> list[TaskResult]:
    """Submit all at once."""

    async def submit() -> list[TaskResult]:
        async with fleet:
            for name in names:
                fleet.register_model(name)
            return list(await asyncio.gather(*map(fleet.submit_task, tasks)))

    return asyncio.run(submit())


def test_a_task_is_answered_by_the_published_model_and_counted(double: Double) -> None:
    fleet = Fleet(write_fleet(Path(), make_node(double.url)))
    one, other = run(fleet, task(1), task(2, model="lenient", temperature=0.0, max_tokens=7))
    assert (one.state, one.text, one.error) == (TaskState.ANSWERED, f"{STRICT}: Say 1.", None)
    assert (one.model, one.group, one.attempts, other.model, other.group) == (STRICT, "A", 1, LENIENT, "B")
    assert 0 < one.seconds < 10
    bodies = {body["model"]: body for body in double.asked}
    assert (bodies[LENIENT]["max_tokens"], bodies[LENIENT]["temperature"]) == (7, 0.0)
    assert "seed" not in bodies[LENIENT]
    assert {headers["X-Session-ID"] for headers in double.headers} == {STRICT, LENIENT}
    found = fleet.get_statistics()
    assert (found["total_calls"], found["success_calls"], found["error_calls"], found["success_rate"]) == (2, 2, 0, 1.0)
    assert found["average_response_time"] > 0
    assert {name: one["total_calls"] for name, one in found["groups"].items()} == {"A": 1, "B": 1}
    assert set(found["models"][STRICT]) >= {"total_calls", "p50", "p99"}
    assert found["gpu_distribution"] == {f"{socket.gethostname()}/1": 7}, "of all clients, as the supervisors tell"
    kept = read_accounts(ACCOUNTS)
    assert (kept.groups["A"].success_calls, kept.models[LENIENT].total_calls) == (1, 1)


def test_before_the_first_task_there_is_no_rate(double: Double) -> None:
    fleet = Fleet(base_url=double.url)
    assert run(fleet) == []
    found = fleet.get_statistics()
    assert (found["total_calls"], found["success_rate"], found["average_response_time"], found["p99"]) == (
        0,
        None,
        None,
        None,
    )
    assert found["gpu_distribution"] == found["groups"] == {}


def test_a_server_without_a_fleet_needs_its_address_alone(double: Double) -> None:
    double.models = ["m"]

    async def submit() -> TaskResult:
        async with Fleet(base_url=f"{double.url}/") as fleet:
            assert fleet.register_model("m", group="X") and not fleet.register_model("m")
            found = await fleet.submit_task(task(1, model=None))
            assert fleet.get_statistics()["groups"]["X"]["success_calls"] == 1
            return found

    found = asyncio.run(submit())
    assert (found.state, found.model, found.group, found.text) == ("answered", "m", "X", "m: Say 1.")
    assert not Path("results").exists()


# --- failures are states


def test_a_failure_is_a_state_and_never_a_text(double: Double) -> None:
    double.trouble = lambda body, attempt: 500
    fleet = Fleet(write_fleet(Path(), make_node(double.url)), attempts=3)
    (found,) = run(fleet, task(1))
    assert (found.state, found.text, found.attempts, found.model) == ("failed", None, 3, STRICT)
    assert found.error is not None and "HTTP 500" in found.error
    assert (fleet.get_statistics()["error_calls"], fleet.get_statistics()["success_rate"]) == (1, 0.0)
    assert read_accounts(ACCOUNTS).models[STRICT].error_calls == 1


def test_a_request_that_failed_at_first_counts_once(double: Double) -> None:
    answer: Any = double.trouble
    double.trouble = lambda body, attempt: 503 if attempt < 3 else answer(body, attempt)
    fleet = Fleet(write_fleet(Path(), make_node(double.url)))
    (found,) = run(fleet, task(1))
    assert (found.state, found.attempts) == ("answered", 3)
    assert [headers["X-Session-ID"] for headers in double.headers] == [STRICT, f"{STRICT}/1", f"{STRICT}/2"]
    assert (fleet.get_statistics()["total_calls"], fleet.get_statistics()["error_calls"]) == (1, 0)


@pytest.mark.parametrize("trouble", [b'{"choices": []}', b"<html>", "cut"])
def test_an_answer_that_is_no_completion_is_a_failure(double: Double, trouble: Any) -> None:
    double.trouble = lambda body, attempt: trouble
    (found,) = run(Fleet(base_url=double.url, attempts=1), task(1, model=STRICT), names=(STRICT,))
    assert (found.state, found.text) == ("failed", None)


def test_what_a_server_rejects_is_refused_at_once(double: Double) -> None:
    double.trouble = lambda body, attempt: 400
    (found,) = run(Fleet(write_fleet(Path(), make_node(double.url))), task(1))
    assert (found.state, found.attempts) == ("refused", 1) and "HTTP 400" in str(found.error)


def test_a_server_that_hangs_is_given_up_at_the_deadline(double: Double) -> None:
    double.trouble = lambda body, attempt: "hang"
    fleet = Fleet(write_fleet(Path(), make_node(double.url)), deadline=0.3)
    began = time.monotonic()
    (found,) = run(fleet, task(1))
    assert (found.state, found.text) == ("deadline", None) and time.monotonic() - began < 5
    assert fleet.get_statistics()["error_calls"] == 1


def test_pauses_between_attempts_end_at_the_deadline(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "FIRST_PAUSE", 20)
    double.trouble = lambda body, attempt: 500
    began = time.monotonic()
    (found,) = run(Fleet(base_url=double.url), task(1, model=STRICT, deadline=0.5), names=(STRICT,))
    assert found.state == "deadline" and "HTTP 500" in str(found.error) and time.monotonic() - began < 5


def test_a_task_that_waits_for_others_beyond_its_deadline_is_not_asked(double: Double) -> None:
    double.seconds = lambda body: 0.5
    fleet = Fleet(write_fleet(Path(), make_node(double.url)), concurrency=1)
    first, late = run(fleet, task(1), task(2, deadline=0.1))
    assert (first.state, late.state, late.attempts) == ("answered", "deadline", 0)
    assert len(double.asked) == 1 and fleet.get_statistics()["total_calls"] == 1


def test_tasks_that_cannot_be_asked_are_refused(double: Double) -> None:
    fleet = Fleet(write_fleet(Path(), make_node(double.url)))
    found = run(fleet, task(1, model="base"), task(2, prompt=None), names=("strict",))
    assert [one.state for one in found] == ["refused", "refused"]
    assert "Unknown model 'base'" in str(found[0].error) and "neither a `prompt`" in str(found[1].error)
    assert "closed" in str(asyncio.run(fleet.submit_task(task(3))).error)
    nothing = run(Fleet(base_url=double.url), task(1, model=None), names=())
    assert "register_model" in str(nothing[0].error) and double.asked == []


def test_a_model_that_the_fleet_gave_up_is_refused_and_a_newer_version_is_asked(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_client, "_FRESH_SECONDS", 0.0)
    newer = "strict@222222222222"
    double.models.append(newer)

    async def submit() -> list[TaskResult]:
        async with Fleet(write_fleet(Path(), make_node(double.url))) as fleet:
            fleet.register_model("strict"), fleet.register_model("lenient")
            found = [await fleet.submit_task(task(1))]
            tell(make_node(double.url, published={"strict": newer}))
            found += [await fleet.submit_task(task(2)), await fleet.submit_task(task(3, model="lenient"))]
            for path in Path("results").rglob("*.json"):
                path.unlink()
            return [*found, await fleet.submit_task(task(4))]

    found = asyncio.run(submit())
    assert [one.state for one in found] == ["answered", "answered", "refused", "failed"]
    assert [one.model for one in found] == [STRICT, newer, None, None]
    assert "does not run" in str(found[3].error)


# --- one task, one request


def test_a_task_that_is_submitted_again_is_asked_once(double: Double) -> None:
    double.seconds = lambda body: 0.2

    async def submit() -> list[TaskResult]:
        async with Fleet(write_fleet(Path(), make_node(double.url))) as fleet:
            fleet.register_model("strict")
            at_work = await asyncio.gather(*(fleet.submit_task(task(1)) for _ in range(5)))
            other = await asyncio.gather(fleet.submit_task(task(2)), fleet.submit_task(task(2, prompt="Other.")))
            return [*at_work, await fleet.submit_task(task(1)), await fleet.submit_task(task(1, max_tokens=5)), *other]

    *same, other, mine, others = asyncio.run(submit())
    assert len(same) == 6 and all(one is same[0] for one in same)
    assert other.state == others.state == "refused" and "another task has this `task_id`" in str(other.error)
    assert mine.state == "answered" and len(double.asked) == 2


def test_a_task_that_failed_may_be_submitted_again(double: Double) -> None:
    answer = double.trouble
    double.trouble = lambda body, attempt: 500

    async def submit() -> list[TaskResult]:
        async with Fleet(base_url=double.url, attempts=1) as fleet:
            fleet.register_model(STRICT)
            found = [await fleet.submit_task(task(1, model=STRICT))]
            double.trouble = answer
            return [*found, await fleet.submit_task(task(1, model=STRICT))]

    assert [one.state for one in asyncio.run(submit())] == ["failed", "answered"]


def test_one_caller_that_leaves_does_not_end_the_task_for_another(double: Double) -> None:
    double.seconds = lambda body: 0.3

    async def submit() -> TaskResult:
        async with Fleet(base_url=double.url) as fleet:
            fleet.register_model(STRICT)
            leaves = asyncio.create_task(fleet.submit_task(task(1, model=STRICT)))
            stays = asyncio.create_task(fleet.submit_task(task(1, model=STRICT)))
            await asyncio.sleep(0.05)
            leaves.cancel()
            return await stays

    assert asyncio.run(submit()).state == "answered" and len(double.asked) == 1


def test_answered_tasks_are_forgotten_at_some_time(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_client, "_MOST_KEPT", 3)

    async def submit() -> int:
        async with Fleet(base_url=double.url) as fleet:
            fleet.register_model(STRICT)
            for number in (1, 2, 3, 4, 4, 1):
                await fleet.submit_task(task(number, model=STRICT))
            return len(fleet._answered)

    assert asyncio.run(submit()) == 3 and len(double.asked) == 5


# --- many, and the end


def test_under_load_no_answer_is_lost_or_swapped_and_few_are_asked_at_once(double: Double) -> None:
    answer: Any = double.trouble
    double.seconds = lambda body: 0.005
    double.trouble = lambda body, attempt: (
        429 if attempt == 1 and "5" in str(body["messages"]) else answer(body, attempt)
    )
    fleet = Fleet(write_fleet(Path(), make_node(double.url)), concurrency=6)
    tasks = [task(number, model=("strict", "lenient")[number % 2]) for number in range(200)]
    for one, found in zip(tasks, run(fleet, *tasks), strict=True):
        assert found.text == f"{PUBLISHED[str(one.model)]}: {one.prompt}" and found.task_id == one.task_id
    assert double.most_at_once <= 6 and fleet.get_statistics()["total_calls"] == 200


def test_without_a_model_the_one_with_the_least_to_do_is_asked(double: Double) -> None:
    found = run(Fleet(write_fleet(Path(), make_node(double.url))), *(task(number, model=None) for number in range(4)))
    assert [one.model for one in found] == [STRICT, LENIENT, STRICT, LENIENT]


def list_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("fleet")}


def test_no_thread_stays_behind(double: Double) -> None:
    before = threading.active_count()
    run(Fleet(write_fleet(Path(), make_node(double.url))), *map(task, range(30)))
    assert list_threads() == set()
    double.close_connections()
    until = time.monotonic() + 5
    while threading.active_count() > before:  # those of the double
        assert time.monotonic() < until
        time.sleep(0.01)


def test_after_an_exception_nothing_more_is_asked(double: Double) -> None:
    double.seconds = lambda body: 0.2

    async def submit() -> None:
        async with Fleet(base_url=double.url, concurrency=2) as fleet:
            fleet.register_model(STRICT)
            for number in range(50):
                asyncio.create_task(fleet.submit_task(task(number, model=STRICT)))  # noqa: RUF006
            await asyncio.sleep(0.05)
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(submit())
    assert len(double.asked) <= 2 and list_threads() == set()


# --- what is refused before the first task


def test_a_fleet_that_is_not_there_is_an_error_of_the_program(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_fleet(Path(), make_node(double.url))
    for wrong in ({}, {"configfile": config, "base_url": double.url}, {"base_url": "127.0.0.1:8000"}):
        with pytest.raises(UserError, match=r"base_url"):
            Fleet(**wrong)
    fleet = Fleet(config)
    with pytest.raises(UserError, match=r"Did you mean 'strict'\?"):
        fleet.register_model("strikt")
    with pytest.raises(UserError, match="strict is in the group A, not in B"):
        fleet.register_model("strict", group="B")
    assert fleet.register_model("strict", group="A") and fleet.register_model(BASE, group="my own")
    asyncio.run(fleet.close())
    write_fleet(Path(), make_node(double.url, token_env="FLEET_TOKEN"))
    with pytest.raises(UserError, match="token_env names the environment variable FLEET_TOKEN, which is not set"):
        Fleet(config)
    tell(replace(make_node(), pid=2**22 + 1))
    with pytest.raises(FleetDown):
        Fleet(config)


def test_the_token_is_sent_and_shown_nowhere(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_TOKEN", "geheim-geheim-1")
    fleet = Fleet(write_fleet(Path(), make_node(double.url, token_env="FLEET_TOKEN")), attempts=1)
    double.trouble = lambda body, attempt: 500
    double.excuse = "you sent geheim-geheim-1"
    (found,) = run(fleet, task(1))
    assert {headers["Authorization"] for headers in double.headers} == {"Bearer geheim-geheim-1"}
    assert "geheim" not in str(found) and "***" in str(found.error)


# --- the example of the guide that this class answers


def test_two_groups_of_four_adapters_submit_tasks_step_by_step(double: Double) -> None:
    """As in the 8-GPU guide and its demo: register models in two groups, submit at once, look at the statistics."""
    names = [f"lora{number}" for number in range(1, 9)]
    published = {name: f"{name}@{number:012x}" for number, name in enumerate(names)}
    groups: dict[str, str | None] = {name: "TRUMP" if number < 4 else "BIDEN" for number, name in enumerate(names)}
    double.models = [*published.values()]
    answer: Any = double.trouble
    double.trouble = lambda body, attempt: 400 if body["model"].startswith("lora8@") else answer(body, attempt)
    node = make_node(double.url, published=published, groups=groups, model=None)
    node.servers[0].requests = 24

    async def simulate() -> dict[str, Any]:
        async with Fleet(write_fleet(Path(), node)) as scheduler:
            for name in names:
                assert scheduler.register_model(name, group=groups[name])
            for step in range(3):
                tasks = [
                    TaskDefinition(
                        task_id=f"step{step}-{name}",
                        task_type="推理任务",
                        complexity=0.8,
                        required_capabilities=["reasoning", "creativity"],
                        model=name,
                    )
                    for name in names
                ]
                results = await asyncio.gather(*map(scheduler.submit_task, tasks))
                assert [one.state for one in results] == ["answered"] * 7 + ["refused"]
                text = "Task: 推理任务\nComplexity: 0.8\nCapabilities: reasoning, creativity"
                assert [one.text for one in results[:7]] == [f"{published[name]}: {text}" for name in names[:7]]
            return scheduler.get_statistics()

    stats = asyncio.run(simulate())
    assert (stats["total_calls"], stats["success_calls"], stats["error_calls"]) == (24, 21, 3)
    assert stats["success_rate"] == pytest.approx(21 / 24) and stats["average_response_time"] > 0
    assert list(stats["gpu_distribution"].values()) == [24]
    assert {name: one["success_calls"] for name, one in stats["groups"].items()} == {"TRUMP": 12, "BIDEN": 9}
    assert stats["models"][published["lora8"]]["average_response_time"] is None
