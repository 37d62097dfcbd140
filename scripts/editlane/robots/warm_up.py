"""Begin one episode before any counts: is there a simulator, and does it draw what policies were trained on?"""

from dataclasses import dataclass

import numpy as np

from editlane.core.errors import UserError
from editlane.core.printable import escape
from editlane.robots.episodes import PICTURE
from editlane.robots.simulators import SimulatorFailed, Simulators, UnknownTask
from editlane.simulators.wire import EpisodeTask


@dataclass(frozen=True, slots=True)
class Brightness:
    """The mean grey level of a task's first picture, as a policy gets it."""

    low: float
    high: float
    cause: str
    """The package whose versions draw differently."""
    remedy: str


@dataclass(frozen=True, slots=True)
class Reference:
    """An episode that is known."""

    task: EpisodeTask
    brightness: Brightness | None = None


REFERENCES = {
    "reach": Reference(EpisodeTask("reach", 0)),
    # Measured on the 224 px that a policy gets, drawn on the CPU: 138.76 with MuJoCo 3.3.2, by EGL and by OSMesa alike,
    # and 102.48 with 3.17.0 by EGL.
    "libero": Reference(
        EpisodeTask("libero_object", 0, seed=7, init_state=0),
        Brightness(135, 143, "mujoco", "install mujoco==3.3.2 into the simulator's environment (envs/libero.yaml)"),
    ),
}
"""By simulator."""


async def warm_up(simulators: Simulators) -> None:
    """Begin a known episode, after which `simulators.versions` is known.

    Raises SimulatorFailed if none begins, and UserError if its picture is not as bright as the known one: a policy
    then sees what it was not trained on, and fails more often.
    """
    reference = REFERENCES[simulators.name]
    try:
        async with simulators.lease(reference.task) as simulator:
            began = await simulator.reset(reference.task)
    except UnknownTask as error:
        raise SimulatorFailed(f"it does not know the episode that it is tried with: {error}") from error
    if reference.brightness:
        mean = float(np.asarray(began.observation[PICTURE]).mean())
        _check_brightness(simulators, reference.task, reference.brightness, mean)


def _check_brightness(simulators: Simulators, task: EpisodeTask, known: Brightness, mean: float) -> None:
    """Raise UserError if a mean grey level is not the known one."""
    if known.low <= mean <= known.high:
        return
    version = escape(simulators.versions.get(known.cause, "of an unknown version"))
    raise UserError(
        f"The simulator {simulators.name} draws pictures unlike those that policies were trained on: the mean grey "
        f"level of {task.suite}, task {task.task_id}, is {mean:.1f} instead of {known.low:g} to {known.high:g}, with "
        f"{known.cause} {version}. Rewards would be too low; {known.remedy}."
    )
