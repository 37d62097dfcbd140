"""Episodes: right answers whatever happens around them, and never an answer where there is none."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np
import pytest
from process_figures import list_children
from reaching import LIMITS, Reply, ask, make_tasks, reach, run

from editlane.core.errors import ItemError
from editlane.robots.episodes import EpisodeResult, Limits, play
from editlane.robots.simulators import Simulators
from editlane.simulators.wire import EpisodeTask

TASK = EpisodeTask("reach", 0)


def play_one(task: EpisodeTask, infer: Any = ask, limits: Limits = LIMITS, **options: Any) -> EpisodeResult:
    async def body(simulators: Simulators) -> EpisodeResult:
        result = await play(task, simulators, infer, limits)
        assert simulators.describe()["playing"] == 0
        return result

    found: EpisodeResult = run(body, **options)
    return found


def test_a_result_says_how_it_came_about() -> None:
    result = play_one(EpisodeTask("reach", 4, seed=3, init_state=2))
    assert (result.solved, result.error, result.seed, result.init_state) == (True, None, 3, 2)
    assert 0 < result.steps < LIMITS.max_steps  # type: ignore[operator]
    assert result.infers == -(-result.steps // 5)
    assert (result.retries, result.servers, result.attempts) == (0, ("here:8000",), 1)
    assert result.prompt is not None and result.prompt.startswith("reach ")
    assert result.versions == {"reach": "1", "numpy": np.__version__}


def test_three_callers_with_the_same_tasks_get_the_right_answers() -> None:
    tasks = make_tasks()

    async def body(simulators: Simulators) -> list[EpisodeResult]:
        return await asyncio.gather(*(play(task, simulators, ask, LIMITS) for _ in range(3) for task, _ in tasks))

    results = run(body, 3)
    assert [result.solved for result in results] == [is_solved for _ in range(3) for _, is_solved in tasks]
    assert [result.init_state for result in results] == [task.init_state for _ in range(3) for task, _ in tasks]
    assert (
        [one.steps for one in results[:8]]
        == [one.steps for one in results[8:16]]
        == [one.steps for one in results[16:]]
    )


def test_an_episode_that_is_never_solved_ends_at_its_limit() -> None:
    result = play_one(EpisodeTask("reach", 0, prompt="impossible"), limits=Limits(replan_steps=4))
    assert (result.solved, result.steps, result.infers) == (False, 60, 15)
    result = play_one(EpisodeTask("reach", 0, prompt="impossible"), limits=Limits(max_steps=12))
    assert (result.solved, result.steps, result.infers) == (False, 12, 3)


def test_success_counts_in_the_middle_of_a_chunk() -> None:
    async def overshoot(observation: Mapping[str, Any], deadline: float) -> Reply:
        actions = reach(observation, 32)
        return Reply(np.concatenate([actions, np.full((50, 7), 1.0)]))  # and off again

    result = play_one(TASK, overshoot, Limits(replan_steps=60))
    assert (result.solved, result.infers) == (True, 1)


def test_a_policy_sees_openpis_keys_and_what_it_needs() -> None:
    seen: list[Mapping[str, Any]] = []

    async def watch(observation: Mapping[str, Any], deadline: float) -> Reply:
        seen.append(observation)
        return await ask(observation, deadline)

    async def body(simulators: Simulators) -> None:
        await play(TASK, simulators, watch, LIMITS)
        await play(EpisodeTask("reach", 0, prompt="go there"), simulators, watch, LIMITS, ["goal"])

    run(body)
    pictures = ["observation/image", "observation/wrist_image"]
    assert sorted(seen[0]) == ["observation/image", "observation/state", "observation/wrist_image", "prompt"]
    assert all(seen[0][name].dtype == np.uint8 and seen[0][name].shape == (224, 224, 3) for name in pictures)
    assert (seen[0]["observation/state"].dtype, seen[0]["observation/state"].shape) == (np.float64, (8,))
    assert seen[-1]["prompt"] == "go there"
    assert np.array_equal(seen[-1]["privileged"]["goal"], seen[-1]["observation/state"][3:6])


def test_a_film_holds_what_the_policy_saw_in_the_last_attempt() -> None:
    seen: list[Mapping[str, Any]] = []
    film: list[np.ndarray] = [np.zeros(0)]

    async def watch(observation: Mapping[str, Any], deadline: float) -> Reply:
        seen.append(observation)
        return await ask(observation, deadline)

    async def body(simulators: Simulators) -> EpisodeResult:
        return await play(TASK, simulators, watch, LIMITS, film=film)

    result = run(body)
    assert len(film) == len(seen) == result.infers > 1
    assert all(frame is shown["observation/image"] for frame, shown in zip(film, seen, strict=True))
    assert not np.array_equal(film[0], film[-1])


def test_an_unknown_task_is_no_score() -> None:
    result = play_one(EpisodeTask("reach", 99))
    assert result.solved is None and result.error is not None and result.error.kind == "unknown_task"
    assert (result.infers, result.attempts, result.versions["reach"]) == (0, 1, "1")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_an_episode_whose_simulator_died_is_played_once_more(number: int) -> None:
    films: list[list[np.ndarray]] = [[], []]

    def harm(simulators: Simulators, times: int) -> Any:
        left = [times]

        async def infer(observation: Mapping[str, Any], deadline: float) -> Reply:
            if left[0]:
                left[0] -= 1
                (pid,) = (one["pid"] for one in simulators.describe()["processes"] if one["pid"])
                os.killpg(pid, number)
            return await ask(observation, deadline)

        return infer

    async def body(simulators: Simulators) -> list[EpisodeResult]:
        return [
            await play(TASK, simulators, harm(simulators, times), LIMITS, film=film)
            for times, film in zip((1, 2), films, strict=True)
        ]

    once, twice = run(body, 2, step_seconds=0.5)
    assert len(films[0]) == once.infers  # the attempt that died is not in it
    assert len(films[1]) == 1
    assert (once.solved, once.error, once.attempts) == (True, None, 2)
    assert once.steps == play_one(TASK).steps
    assert (twice.solved, twice.attempts) == (None, 2)
    assert twice.error.kind == "simulator" and twice.error.message.startswith("2 attempts, the last: ")


def test_a_cancelled_caller_frees_the_simulator() -> None:
    async def body(simulators: Simulators) -> EpisodeResult:
        asked = asyncio.Event()

        async def hang(observation: Mapping[str, Any], deadline: float) -> Reply:
            asked.set()
            await asyncio.sleep(60)
            raise AssertionError

        first = asyncio.create_task(play(TASK, simulators, hang, LIMITS))
        await asked.wait()
        pid = simulators.describe()["processes"][0]["pid"]
        waiting = asyncio.create_task(play(TASK, simulators, ask, LIMITS))
        dropped = asyncio.create_task(play(TASK, simulators, ask, LIMITS))
        await asyncio.sleep(0.05)
        assert simulators.describe()["waiting"] == 2
        for task in (dropped, first):
            task.cancel()
        result = await waiting
        assert simulators.describe()["processes"][0]["pid"] != pid
        assert first.cancelled() and dropped.cancelled()
        return result

    assert run(body).solved is True


@pytest.mark.parametrize("kind", ["policy_transport", "no_server"])
def test_a_policys_error_ends_the_episode_with_its_kind(kind: str) -> None:
    calls: list[None] = []

    async def fail(observation: Mapping[str, Any], deadline: float) -> Reply:
        calls.append(None)
        if len(calls) < 3:
            return Reply(reach(observation)[:1], server=f"b:{len(calls)}", retries=1)
        raise ItemError("it is gone", kind=kind)

    result = play_one(TASK, fail)
    assert result.solved is None and result.error is not None
    assert (result.error.kind, result.error.message) == (kind, "it is gone")
    assert (result.steps, result.infers, result.retries, result.servers) == (2, 2, 2, ("b:1", "b:2"))


@pytest.mark.parametrize("actions", [np.zeros((5, 6)), np.zeros(7), np.zeros((0, 7)), np.full((5, 7), np.nan)])
def test_actions_that_are_none_are_never_taken(actions: np.ndarray) -> None:
    async def babble(observation: Mapping[str, Any], deadline: float) -> Reply:
        return Reply(actions)

    result = play_one(TASK, babble)
    assert result.solved is None and result.error is not None and result.error.kind == "policy_garbage"


def test_a_deadline_ends_an_episode_and_the_wait_for_a_simulator() -> None:
    async def body(simulators: Simulators) -> None:
        deadlines = []

        async def slow(observation: Mapping[str, Any], deadline: float) -> Reply:
            deadlines.append(deadline)
            await asyncio.sleep(60)
            raise AssertionError

        async with simulators.lease(TASK) as simulator:
            await simulator.reset(TASK)
            result = await play(TASK, simulators, slow, Limits(deadline=time.monotonic() + 0.05))
            assert result.error is not None and (result.error.kind, result.attempts) == ("deadline", 0)
        until = time.monotonic() + 0.3
        result = await play(TASK, simulators, slow, Limits(deadline=until))
        assert result.error is not None and (result.error.kind, result.attempts) == ("deadline", 1)
        assert deadlines == [until]

    run(body)


def test_episodes_that_are_cancelled_at_any_moment_leave_nothing_behind() -> None:
    random, tasks, before = Random(1), make_tasks(), set(list_children())

    async def body(simulators: Simulators) -> list[EpisodeResult]:
        for _ in range(15):
            playing = [asyncio.create_task(play(task, simulators, ask, LIMITS)) for task, _ in random.sample(tasks, 4)]
            await asyncio.sleep(random.uniform(0, 0.3))
            for one in playing:
                one.cancel()
            await asyncio.gather(*playing, return_exceptions=True)
            assert (simulators.describe()["playing"], simulators.describe()["waiting"]) == (0, 0)
        return await asyncio.gather(*(play(task, simulators, ask, LIMITS) for task, _ in tasks))

    assert [one.solved for one in run(body, 2)] == [is_solved for _, is_solved in tasks]
    assert set(list_children()) <= before
