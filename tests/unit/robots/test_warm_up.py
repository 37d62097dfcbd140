"""The first episode of a simulator: versions are known after it, and wrong pictures are seen."""

import asyncio
import sys
from pathlib import Path

import pytest
from reaching import run

from editlane.core.errors import UserError
from editlane.robots.simulators import SimulatorFailed, Simulators
from editlane.robots.warm_up import REFERENCES, warm_up
from editlane.simulators.worker import SIMULATORS

SCRIPTS = Path(__file__).parents[3] / "scripts"

DOUBLE = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
import numpy as np
from editlane.simulators import worker
from editlane.simulators.reach import Reach

class Double(Reach):
    \"\"\"Stands for LIBERO: it knows one task, and its pictures are as bright as it is told.\"\"\"

    def __init__(self):
        self.versions = VERSIONS

    def reset(self, task):
        if "TASK" != f"{{task.suite}}/{{task.task_id}}/{{task.seed}}/{{task.init_state}}":
            raise LookupError("there is no such task")
        return "pick it up"

    def observe(self, needs):
        half = np.full((112, 224, 3), LEVEL - 10, np.uint8)  # the mean is what counts
        return {{"observation/image": np.concatenate([half, half + 20])}}

worker.build = lambda name: Double()
sys.exit(worker.serve("libero", worker.Pipes()))
"""
TASK = "libero_object/0/7/0"


def make_libero(folder: Path, level: int, task: str = TASK, versions: str = "{'mujoco': '3.17.0'}") -> Simulators:
    """Make a simulator whose Python starts the double instead."""
    program = folder / "python"
    text = DOUBLE.replace("LEVEL", str(level)).replace("TASK", task).replace("VERSIONS", versions)
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    return Simulators("libero", 1, python=str(program))


def warm_up_libero(folder: Path, level: int, **options: str) -> Simulators:
    async def body() -> Simulators:
        simulators = make_libero(folder, level, **options)
        try:
            await warm_up(simulators)
        finally:
            await simulators.close()
        return simulators

    return asyncio.run(body())


def test_every_simulator_has_an_episode_to_begin_with() -> None:
    assert REFERENCES.keys() == set(SIMULATORS)


def test_versions_are_known_afterwards_and_the_simulator_stays() -> None:
    async def body(simulators: Simulators) -> None:
        assert simulators.versions == {}
        await warm_up(simulators)
        assert simulators.versions["reach"] == "1"
        (process,) = simulators.describe()["processes"]
        assert process["pid"] is not None and process["ends"] == 0

    run(body)


@pytest.mark.parametrize("level", [136, 139, 142])
def test_pictures_of_the_known_brightness_are_right(tmp_path: Path, level: int) -> None:
    assert warm_up_libero(tmp_path, level).versions == {"mujoco": "3.17.0"}


@pytest.mark.parametrize("level", [102, 134, 144])
def test_darker_and_brighter_pictures_name_the_version_and_the_remedy(tmp_path: Path, level: int) -> None:
    with pytest.raises(UserError) as raised:
        warm_up_libero(tmp_path, level)
    told = str(raised.value)
    assert f"is {level:.1f} instead of 135 to 143, with mujoco 3.17.0" in told
    assert "install mujoco==3.3.2" in told and "envs/libero.yaml" in told


def test_a_version_that_is_not_told_is_no_other_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="with mujoco of an unknown version"):
        warm_up_libero(tmp_path, 102, versions="{}")


def test_a_simulator_that_lacks_the_episode_has_failed(tmp_path: Path) -> None:
    with pytest.raises(SimulatorFailed, match="does not know the episode"):
        warm_up_libero(tmp_path, 139, task="libero_object/1/7/0")


def test_a_simulator_that_does_not_start_has_failed() -> None:
    async def body(simulators: Simulators) -> None:
        with pytest.raises(SimulatorFailed, match="its process ended: exit code 1"):
            await warm_up(simulators)

    run(body, python="false")
