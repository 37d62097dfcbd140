"""Processes that simulate: lent, watched, killed; and the frames between."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from reaching import reach, run

from editlane.core.errors import UserError
from editlane.robots.simulators import Simulator, SimulatorFailed, Simulators, UnknownTask, check_memory
from editlane.simulators.reach import Reach
from editlane.simulators.wire import HEAD, Act, EpisodeTask, Hello, frame, unpack_answer, unpack_request

ROOT = Path(__file__).parents[3]
TASK = EpisodeTask("reach", 0)


def find_session(session: int) -> list[int]:
    """Return the processes of a session that are no zombies."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(folder.name))
    return found


def wait_for_end(session: int) -> None:
    until = time.monotonic() + 2
    while find_session(session):
        assert time.monotonic() < until, "a process is left"
        time.sleep(0.02)


@given(
    arrays.arrays(
        dtype=st.one_of(
            arrays.integer_dtypes(), arrays.unsigned_integer_dtypes(), arrays.floating_dtypes(sizes=(32, 64))
        ),
        shape=arrays.array_shapes(min_dims=0, max_dims=4, min_side=0),
    )
)
def test_arrays_come_over_as_they_were(value: np.ndarray) -> None:
    come = unpack_request(frame(Act(value))[HEAD:])
    assert isinstance(come, Act) and come.actions.dtype == value.dtype and come.actions.shape == value.shape
    assert come.actions.tobytes() == value.tobytes()


@pytest.mark.parametrize(
    ("dtype", "shape", "content"),
    [
        ("|O", [1], bytes(8)),
        ("|V8", [1], bytes(8)),
        ("u1,O", [1], bytes(9)),
        ("<U4", [1], bytes(16)),
        ("no dtype", [1], bytes(8)),
        ("<f8", [2], bytes(8)),
        ("<f8", [-1], bytes(8)),
        ("|u1", [1] * 40, bytes(1)),
        ("<f8", "1", bytes(8)),
    ],
)
def test_an_array_that_is_none_is_refused(dtype: str, shape: Any, content: bytes) -> None:
    array = msgspec.msgpack.Ext(1, msgspec.msgpack.encode((dtype, shape, content)))
    with pytest.raises(ValueError):
        unpack_request(msgspec.msgpack.encode({"type": "Act", "actions": array, "look": True}))


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x91" * 100_000, msgspec.msgpack.encode({"type": "Exec"})])
def test_a_frame_that_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        unpack_answer(body)


def test_objects_do_not_get_into_a_frame() -> None:
    with pytest.raises(TypeError, match="cannot hold ndarray"):
        frame(Act(np.array([object()])))


def test_a_simulators_environment_needs_nothing_of_editlanes() -> None:
    heavy = {"pydantic", "pyarrow", "pandas", "torch", "PIL", "requests", "yaml", "editlane.core"}
    code = f"import sys, simulate_episodes, editlane.simulators.libero; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_an_episode_of_reach_is_the_same_each_time_and_another_by_seed() -> None:
    env = Reach()
    words = [env.reset(EpisodeTask("reach", 3, seed=seed)) for seed in (7, 7, 8)]
    assert words[0] == words[1] != words[2]
    seen = env.observe(["goal", "colour"])
    assert seen["observation/state"].shape == (8,) and seen["observation/image"].shape == (224, 224, 3)
    assert list(seen["privileged"]) == ["goal"]
    assert "privileged" not in env.observe([])


def test_a_process_is_started_when_it_is_needed_and_used_again() -> None:
    async def body(simulators: Simulators) -> None:
        assert simulators.describe()["processes"][0]["pid"] is None
        pids = []
        for _ in range(2):
            async with simulators.lease(TASK) as simulator:
                began = await simulator.reset(TASK)
                seen = began.observation | {"prompt": began.instruction}
                acted = await simulator.act(reach(seen)[:5].astype(float))
                assert acted.steps == 5 and acted.observation is not None
                pids.append(simulator.describe()["pid"])
        assert pids[0] == pids[1]
        told = simulators.describe()
        assert (told["playing"], told["waiting"], told["processes"][0]["episodes"]) == (0, 0, 2)
        assert told["versions"] == {"reach": "1", "numpy": np.__version__}

    run(body)


def test_the_simulator_that_has_built_a_task_gets_it_again() -> None:
    async def play(simulators: Simulators, number: int) -> Simulator:
        task = EpisodeTask("reach", number)
        async with simulators.lease(task) as simulator:
            await simulator.reset(task)
            await asyncio.sleep(0.1)
            return simulator

    async def body(simulators: Simulators) -> None:
        first = await asyncio.gather(play(simulators, 0), play(simulators, 1))
        assert first[0] is not first[1]
        assert [await play(simulators, number) for number in (0, 1, 0)] == [first[0], first[1], first[0]]

    run(body, 2)


def test_an_unknown_task_leaves_the_process_as_it_is() -> None:
    async def body(simulators: Simulators) -> None:
        async with simulators.lease() as simulator:
            for task in (EpisodeTask("reach", 99), EpisodeTask("libero_10", 0)):
                with pytest.raises(UnknownTask, match="tasks 0 to 9"):
                    await simulator.reset(task)
            assert (await simulator.reset(TASK)).max_steps == 60
            assert simulator.ends == 0

    run(body)


@pytest.mark.parametrize(
    ("number", "why"), [(signal.SIGKILL, "its process ended: SIGKILL"), (signal.SIGSTOP, "did not answer within 0.5 s")]
)
def test_a_dead_or_hung_process_is_found_and_replaced(number: int, why: str) -> None:
    async def body(simulators: Simulators) -> None:
        with pytest.raises(SimulatorFailed, match=why):
            async with simulators.lease() as simulator:
                await simulator.reset(TASK)
                session = simulator.describe()["pid"]
                (worker,) = set(find_session(session)) - {session}
                os.kill(worker, number)
                await simulator.act(np.zeros((1, 7)))
        wait_for_end(session)
        async with simulators.lease() as simulator:
            await simulator.reset(TASK)

    run(body, step_seconds=0.5)


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("print('hello, I am no frame')", "no message|ended"),
        ("import sys; sys.stdout.buffer.write(bytes([0, 0, 0, 2, 0xC1, 0xC1]))", "no message"),
        ("import sys, time; sys.stdout.buffer.write(bytes([255] * 4)); sys.stdout.flush(); time.sleep(9)", "too large"),
        (f"import sys; sys.stdout.buffer.write({frame(Act([1.0]))!r})", "no message"),
        (f"import sys; sys.stdout.buffer.write({frame(Hello({})) * 2!r})", "Hello instead of Began"),
        ("raise SystemExit(3)", "exit code 3"),
    ],
)
def test_garbage_from_a_process_is_no_answer(program: str, why: str) -> None:
    async def body() -> None:
        simulator = Simulator([sys.executable, "-c", program], os.environ, 5.0, 5.0)
        try:
            with pytest.raises(SimulatorFailed, match=why):
                await simulator.reset(TASK)
        finally:
            await simulator.close()

    asyncio.run(body())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_process_that_ended_between_two_steps_has_failed_whatever_the_event_loop(loop: Any) -> None:
    """The server runs on uvloop, which raises RuntimeError for a closed pipe."""

    async def body() -> None:
        simulators = Simulators("reach", 1)
        with pytest.raises(SimulatorFailed, match="ended"):
            async with simulators.lease(TASK) as simulator:
                await simulator.reset(TASK)
                process = simulator._process
                assert process is not None
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
                await asyncio.sleep(0.1)
                await simulator.act(np.zeros((1, 7)))
        await simulators.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(body())


def test_what_a_simulator_raises_is_told_and_ends_it() -> None:
    async def body(simulators: Simulators) -> None:
        with pytest.raises(SimulatorFailed, match="ValueError"):
            async with simulators.lease() as simulator:
                await simulator.reset(TASK)
                await simulator.act(np.zeros((1, 2, 2, 2)))
        assert "ValueError" in simulators.describe()["processes"][0]["last_error"]

    run(body)


PARENT = """
import asyncio, sys
from editlane.robots.simulators import Simulators
from editlane.simulators.wire import EpisodeTask

async def main():
    simulators = Simulators("reach", 1)
    async with simulators.lease() as simulator:
        await simulator.reset(EpisodeTask("reach", 0))
        print(simulator.describe()["pid"], flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("is_hung", [False, True])
def test_no_process_is_left_after_the_parent_was_killed(is_hung: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT / "scripts", stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        session = int(parent.stdout.readline())
        (worker,) = set(find_session(session)) - {session}
        if is_hung:
            os.kill(worker, signal.SIGSTOP)
        parent.kill()
        wait_for_end(session)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(UserError, match=r"Unknown simulator 'gazebo'\. Available: libero, reach"):
        check_memory("gazebo", 1)
    with pytest.raises(UserError, match=r"each takes 2 GB, and \d+\.\d GB are available\. Set 1 to \d+"):
        check_memory("libero", 100_000)
    with pytest.raises(UserError, match="Set 1 to"):
        check_memory("reach", 0)
    with pytest.raises(UserError, match=r"There is no /no/python\. Name the Python"):
        Simulators("reach", 1, python="/no/python")
