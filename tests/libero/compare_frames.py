"""Compare frames that are drawn when somebody looks with those of a loop that draws every step, as openpi's does.

Runs in the simulator's environment, and prints JSON.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import numpy as np

from editlane.simulators.libero import CAMERAS, Libero, resize
from editlane.simulators.wire import EpisodeTask

CHUNKS, STEPS = 6, 5
TASK = EpisodeTask("libero_spatial", 0, seed=7, init_state=3)


def main() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (CHUNKS, STEPS, 7))
    own, own_cpu = play_own(actions)
    theirs, their_cpu = play_theirs(actions)
    equal = [
        all(np.array_equal(mine[key], resize(frame[f"{camera}_image"][::-1, ::-1])) for key, camera in CAMERAS.items())
        and np.array_equal(mine["observation/state"][:3], frame["robot0_eef_pos"])
        for mine, frame in zip(own, theirs, strict=True)
    ]
    print(json.dumps({"equal": equal, "own_cpu": own_cpu, "their_cpu": their_cpu}), file=answers, flush=True)


def play_own(actions: np.ndarray) -> tuple[list[dict[str, Any]], float]:
    env = Libero()
    env.reset(TASK)
    seen, begin = [env.observe(())], time.process_time()
    for chunk in actions:
        for number, action in enumerate(chunk, 1):
            env.step(action, look=number == len(chunk))
        seen.append(env.observe(()))
    return seen, time.process_time() - begin


def play_theirs(actions: np.ndarray) -> tuple[list[dict[str, Any]], float]:
    from libero.libero import benchmark, get_libero_path
    from libero.libero.envs import OffScreenRenderEnv

    suite = benchmark.get_benchmark(TASK.suite)()
    task = suite.get_task(TASK.task_id)
    path = Path(get_libero_path("bddl_files"), task.problem_folder, task.bddl_file)
    env = OffScreenRenderEnv(bddl_file_name=str(path), camera_heights=256, camera_widths=256)
    env.seed(TASK.seed)
    env.env.reset()
    env.set_init_state(suite.get_task_init_states(TASK.task_id)[TASK.init_state])
    for _ in range(10):
        last = env.step([0, 0, 0, 0, 0, 0, -1])[0]
    frames, begin = [last], time.process_time()
    for chunk in actions:
        for action in chunk:
            last = env.step(action)[0]
        frames.append(last)
    return frames, time.process_time() - begin


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # LIBERO prints
    main()
    os._exit(0)
