"""Lends simulators to episodes: processes of another environment, started on demand, ended as a whole."""

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from editlane.core.errors import ItemError, UserError
from editlane.core.printable import escape
from editlane.models.host_memory import read_available_memory
from editlane.simulators.wire import (
    HEAD,
    LONGEST_FRAME,
    Act,
    Acted,
    Answer,
    Began,
    EpisodeTask,
    Failed,
    Hello,
    Request,
    Reset,
    frame,
    unpack_answer,
)

log = logging.getLogger(__name__)

MEMORY_GB = {"libero": 2.0, "reach": 0.05}
"""Of one process, measured."""
END_SECONDS = 5.0
"""Time for a killed process to be gone; only a driver or a disk that hangs takes longer."""

_PROGRAMS = Path(__file__).parents[2]
_NOT_PASSED_ON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP")
"""Variables of this environment, which is not the simulator's."""
_Kind = TypeVar("_Kind", Hello, Began, Acted)


class SimulatorFailed(Exception):
    """A simulator ended, did not answer in time, or answered nonsense. Another one may play the episode."""


class UnknownTask(ItemError):
    """The simulator has no such task, and goes on."""

    kind = "unknown_task"


class Simulator:
    """One process that plays episodes, started when the first one begins."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], reset_s: float, step_s: float) -> None:
        self._command, self._environment = list(command), dict(environment)
        self._reset_s, self._step_s = reset_s, step_s
        self._process: asyncio.subprocess.Process | None = None
        self._ending: asyncio.subprocess.Process | None = None
        self.versions: Mapping[str, str] = {}
        self.built: tuple[str, int] | None = None
        """The task that it has built."""
        self.episodes = self.ends = 0
        self.last_error: str | None = None

    @property
    def is_running(self) -> bool:
        """Return whether its process is there."""
        return self._process is not None and self._process.returncode is None

    def describe(self) -> dict[str, Any]:
        """Return what /pool_status says of it."""
        pid = self._process.pid if self._process and self.is_running else None
        return {"pid": pid, "episodes": self.episodes, "ends": self.ends, "last_error": self.last_error}

    async def reset(self, task: EpisodeTask, needs: Sequence[str] = ()) -> Began:
        """Begin an episode. Raises UnknownTask, and SimulatorFailed."""
        if not self.is_running:
            await self._start()
        self.episodes += 1
        self.built = None
        began = await self._ask(Reset(task, tuple(needs)), Began, self._reset_s)
        self.built = (task.suite, task.task_id)
        return began

    async def act(self, actions: np.ndarray, look: bool = True) -> Acted:
        """Take steps until one solves the task. Raises SimulatorFailed.

        `actions`: float [steps, 7]; `look`: whether to return what the last step shows.
        """
        acted = await self._ask(Act(actions, look), Acted, self._step_s)
        is_whole = acted.steps == len(actions) and (acted.observation is not None or not look)
        if not (is_whole or (acted.solved and 1 <= acted.steps <= len(actions))):
            raise self._fail("it took other steps than it was asked for")
        return acted

    async def _start(self) -> None:
        if self._ending is not None:  # its memory must be free before
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), END_SECONDS)
            self._ending = None
        await self._spawn()
        self.versions = (await self._ask(None, Hello, self._reset_s)).versions

    async def _spawn(self) -> None:
        """Start the process; a cancelled caller waits for it, too, or it would be lost. Raises SimulatorFailed."""
        guard = [sys.executable, str(_PROGRAMS / "guard.py"), "--with-parent", str(os.getpid()), "--"]
        options: dict[str, Any] = {"env": self._environment, "start_new_session": True}
        options["limit"] = LONGEST_FRAME  # reading never pauses, so that a killed process is seen to end at once
        pipe = asyncio.subprocess.PIPE
        spawning = asyncio.create_task(
            asyncio.create_subprocess_exec(*guard, *self._command, stdin=pipe, stdout=pipe, **options)
        )
        cancelled: asyncio.CancelledError | None = None
        while not spawning.done():
            try:
                await asyncio.wait([spawning])
            except asyncio.CancelledError as error:
                cancelled = error
        try:
            self._process = spawning.result()
        except OSError as error:
            raise self._fail(f"it cannot be started: {error}") from error
        if cancelled:
            raise cancelled

    async def _ask(self, message: Request | None, kind: type[_Kind], seconds: float) -> _Kind:
        """Send a message and return the answer, which has to be of this kind. Raises UnknownTask, SimulatorFailed."""
        try:
            async with asyncio.timeout(seconds):
                answer = await self._exchange(message)
        except TimeoutError:
            raise self._fail(f"it did not answer within {seconds:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise self._fail(f"its process ended: {await self._explain_end()}") from None
        except ValueError as error:
            raise self._fail(f"it sent what is no message: {error}") from error
        if isinstance(answer, Failed):
            if answer.kind == UnknownTask.kind:
                raise UnknownTask(escape(answer.message))
            raise self._fail(escape(answer.message))
        if not isinstance(answer, kind):
            raise self._fail(f"it sent {type(answer).__name__} instead of {kind.__name__}")
        return answer

    async def _exchange(self, message: Request | None) -> Answer:
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        if message is not None:
            try:
                self._process.stdin.write(frame(message))
                await self._process.stdin.drain()
            except RuntimeError as error:  # uvloop's, where asyncio raises a ConnectionError
                raise ConnectionResetError(str(error)) from error
        size = int.from_bytes(await self._process.stdout.readexactly(HEAD), "big")
        if size > LONGEST_FRAME:
            raise ValueError("a frame too large")
        return unpack_answer(await self._process.stdout.readexactly(size))

    def _fail(self, why: str) -> SimulatorFailed:
        self.last_error = escape(why)
        log.warning("simulator: %s", self.last_error)
        return SimulatorFailed(self.last_error)

    async def _explain_end(self) -> str:
        assert self._process is not None
        with suppress(TimeoutError):
            code = await asyncio.wait_for(self._process.wait(), 1.0)
            number = -code if code < 0 else code - 128  # guard.py's code for a signal
            return signal.Signals(number).name if number in set(signal.Signals) else f"exit code {code}"
        return "its output is closed"

    def kill(self) -> None:
        """End the process and all that it started; the next episode starts another one."""
        process, self._process, self.built = self._process, None, None
        if process is None:
            return
        self.ends += 1
        self._ending = process
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """End the process, and wait for its end."""
        self.kill()
        if self._ending is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), END_SECONDS)


class Simulators:
    """A fixed number of simulators of one kind."""

    def __init__(
        self,
        name: str,
        count: int,
        *,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        reset_seconds: float = 300.0,
        step_seconds: float = 120.0,
    ) -> None:
        """Check what is asked for; no process is started yet.

        `name`: `reach` or `libero`. `python`: that of the simulator's environment. `environment`: variables for it,
        such as MUJOCO_GL. `reset_seconds`, `step_seconds`: how long the begin of an episode and one chunk of steps may
        take. Raises UserError.
        """
        if shutil.which(python) is None:
            raise UserError(f"There is no {escape(python)}. Name the Python of the simulator's environment.")
        check_memory(name, count)
        kept = {key: value for key, value in os.environ.items() if key not in _NOT_PASSED_ON}
        variables = kept | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"} | dict(environment or {})
        command = [python, str(_PROGRAMS / "simulate_episodes.py"), name]
        self.name = name
        self._all = [Simulator(command, variables, reset_seconds, step_seconds) for _ in range(count)]
        self._idle = list(self._all)
        self._free = asyncio.Semaphore(count)
        self._waiting = 0

    @property
    def count(self) -> int:
        """Return how many there are."""
        return len(self._all)

    @property
    def versions(self) -> Mapping[str, str]:
        """Return the versions of the first one that told them; empty before that."""
        return next((one.versions for one in self._all if one.versions), {})

    @asynccontextmanager
    async def lease(self, task: EpisodeTask | None = None) -> AsyncIterator[Simulator]:
        """Lend a simulator, in the order of asking; the one that has built this task, if it is idle.

        If the body raises or is cancelled, the simulator is killed: nobody may get one in the middle of an episode.
        """
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        simulator = self._choose(task)
        try:
            yield simulator
        except BaseException:
            simulator.kill()
            raise
        finally:
            self._idle.append(simulator)
            self._free.release()

    def _choose(self, task: EpisodeTask | None) -> Simulator:
        """Take an idle simulator: the built one, or a running one, or any; of these the one used last."""
        key = None if task is None else (task.suite, task.task_id)
        best = max(
            range(len(self._idle)),
            key=lambda place: (
                key is not None and self._idle[place].built == key,
                self._idle[place].is_running,
                place,
            ),
        )
        return self._idle.pop(best)

    def describe(self) -> dict[str, Any]:
        """Return what /pool_status says of them."""
        return {
            "simulator": self.name,
            "count": len(self._all),
            "playing": len(self._all) - len(self._idle),
            "waiting": self._waiting,
            "versions": dict(self.versions),
            "processes": [one.describe() for one in self._all],
        }

    async def close(self) -> None:
        """End all processes."""
        for simulator in self._all:
            simulator.kill()
        await asyncio.gather(*(simulator.close() for simulator in self._all))


def check_memory(name: str, count: int) -> None:
    """Check that so many simulators fit into the memory that is available here. Raises UserError."""
    if name not in MEMORY_GB:
        raise UserError(f"Unknown simulator {escape(repr(name))}. Available: {', '.join(sorted(MEMORY_GB))}.")
    available = read_available_memory() / 1e9
    most = int(available / MEMORY_GB[name])
    if not 1 <= count <= most:
        raise UserError(
            f"There cannot be {count} simulators of {name}: each takes {MEMORY_GB[name]:g} GB, and {available:.1f} GB "
            f"are available. Set 1 to {most}, or free memory."
        )
