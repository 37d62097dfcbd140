"""Look after one policy server: start it, know whether it works, start it again."""

import asyncio
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from websockets.exceptions import WebSocketException

from editlane.core.errors import one_line
from editlane.fleet.ports import is_free
from editlane.fleet.process import GuardedProcess
from editlane.fleet.rests import Rests
from editlane.lanes.gpu_lease import lease_folder
from editlane.robots.addresses import PolicyAddress
from editlane.robots.dialects import Metadata, UnfitServer
from editlane.robots.policy_link import PolicyLink
from editlane.robots.wire import WireError
from editlane.rollouts.config import PORT_WORD, PolicyServersConfig
from editlane.rollouts.policy_state import PolicyPaths, PolicyServerState

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
LOOK_SECONDS = 0.5
GREETING_SECONDS = 10.0
"""Time for a server that listens to announce its policy; it is asked again until `start_seconds` are over."""


class Ended(Exception):
    """The server has to be started again; says why."""


class PolicyServer:
    """One policy server and the thread that looks after it.

    Once it has announced its policy, only its process and its port tell whether it works: openpi's own server answers
    nothing while it infers, and a busy server must not be ended.
    """

    def __init__(self, number: int, config: PolicyServersConfig, dialect: str, paths: PolicyPaths) -> None:
        self.state = PolicyServerState(number=number, port=config.base_port + number)
        self._config, self._dialect, self._paths = config, dialect, paths
        self._stopping = threading.Event()
        self._rests = Rests()
        self._process: GuardedProcess | None = None
        self._thread = threading.Thread(target=self._run, name=f"policy server {number}", daemon=True)

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Have it finish the observation at hand, and end for good."""
        self._stopping.set()

    def kill(self) -> None:
        """End its processes at once, if there are any."""
        process = self._process
        if process is not None:
            process.kill()

    @property
    def is_living(self) -> bool:
        """Return whether its thread still runs, and perhaps its process."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            reason = self._live()
            self._set("resting", reason)
            if reason:
                log.warning("policy server %d: %s", self.state.number, reason)
                self._stopping.wait(self._rests.choose())

    def _live(self) -> str:
        """Run the server once, and return why it ended; "" if that was wished."""
        self._rests.begin()
        try:
            self._start()
            self._wait_until_ready()
            self._watch()
        except Ended as ended:
            return str(ended)
        except OSError as error:  # a disk that is full, no such folder
            return f"cannot be started: {error}"
        except Exception as error:
            log.exception("policy server %d", self.state.number)
            return f"{type(error).__name__}: {error}; see the supervisor's log"
        finally:
            self._end()
        return ""

    def _start(self) -> None:
        state, config = self.state, self._config
        if not is_free(HOST, state.port):
            raise Ended(f"port {state.port} is taken by another program; free it, or choose another `base_port`")
        state.metadata, state.gpu = {}, ""
        self._process = GuardedProcess(
            make_command(config.command, state.port),
            os.environ | {"GPULEASE_DIR": str(Path(lease_folder()).absolute())},
            self._paths.log(state.number),
            self._paths.sessions,
            leased=True,
            folder=Path(config.folder) if config.folder else None,
        )
        state.pid = self._process.pid
        state.starts += 1
        self._set("waiting")

    def _set(self, name: str, error: str = "") -> None:
        if name != self.state.state:
            log.info("policy server %d: %s", self.state.number, name)
        self.state.state, self.state.error = name, error or self.state.error

    def _wait_until_ready(self) -> None:
        process = self._look()
        while process.is_waiting():
            process = self._look()
        self.state.gpu = process.read_device()
        self._set("starting")
        until, before, last = time.monotonic() + self._config.start_seconds, self.state.error, "its port is closed"
        while True:
            if not is_free(HOST, self.state.port):
                try:
                    self.state.metadata = dict(asyncio.run(self._read_metadata(until)))
                    break
                except (OSError, WebSocketException, WireError, UnfitServer) as error:
                    last = one_line(error) or "it does not answer"
                    self._set("starting", f"it announces no policy yet: {last}")
            if time.monotonic() > until:
                raise Ended(f"it announced no policy within {self._config.start_seconds:g} s (`start_seconds`): {last}")
            self._look()
        self.state.error = before
        self._set("ready")

    async def _read_metadata(self, until: float) -> Metadata:
        link = PolicyLink(PolicyAddress(HOST, self.state.port, self._dialect))
        try:
            await link.open(max(0.0, min(GREETING_SECONDS, until - time.monotonic())))
            return link.metadata
        finally:
            await link.close()

    def _look(self) -> GuardedProcess:
        """Return the process after a moment. Raises Ended if it has ended, or should."""
        assert self._process is not None
        if self._process.wait(LOOK_SECONDS):
            raise Ended(self._process.explain_end())
        if self._stopping.is_set():
            raise Ended("")
        return self._process

    def _watch(self) -> None:
        """Return never: wait until the process has ended, or its port is closed for longer than its last work takes.

        The port is tried by binding it. A connection would stand in the queue of a server that computes, fill it, and
        leave a traceback in openpi's log.
        """
        open_at = time.monotonic()
        while True:
            self._look()
            if not is_free(HOST, self.state.port):
                open_at = time.monotonic()
            elif time.monotonic() - open_at > self._config.grace:
                raise Ended(f"nothing listens at its port {self.state.port} any more")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(OSError):
                process.end(self._config.grace if self._stopping.is_set() else 0)
        self.state.pid = None


def make_command(words: list[str], port: int) -> list[str]:
    """Return the command of a server: with its port, and with this Python for `python`."""
    made = [word.replace(PORT_WORD, str(port)) for word in words]
    return [sys.executable, *made[1:]] if made[0] == "python" else made
