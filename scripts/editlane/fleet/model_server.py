"""Look after one model server: start it, know whether it works, keep its adapters as wished, start it again."""

import logging
import threading
import time
from contextlib import suppress

from editlane.core.fleet_state import ServerState
from editlane.fleet.adapter_sync import AdapterSync, Foreign, Unfit
from editlane.fleet.catalogue import Catalogue
from editlane.fleet.commands import environment, server_command, takes_adapters
from editlane.fleet.liveness import Liveness
from editlane.fleet.ports import is_free
from editlane.fleet.process import GuardedProcess
from editlane.fleet.rests import Rests
from editlane.fleet.site import Site
from editlane.fleet.vllm_api import ServerError, VllmServer

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
DRAIN_LOOK_SECONDS = 0.1


class Ended(Exception):
    """The server has to be started again; says why."""


class ModelServer:
    """One model server and the thread that looks after it."""

    def __init__(self, number: int, site: Site, catalogue: Catalogue, group: str | None) -> None:
        port = site.config.base_port + number
        self.state = ServerState(number=number, port=port, url=site.url(port), group=group)
        self.site = site
        self.api = VllmServer(self.state.url, site.token or None)
        self._stopping, self._draining = threading.Event(), threading.Event()
        self.sync = AdapterSync(self.api, site, catalogue, group, self._stopping)
        self._process: GuardedProcess | None = None
        self.left_router = threading.Event()
        """Set by the supervisor when no router sends it anything any more."""
        self._rests = Rests()
        self._thread = threading.Thread(target=self._run, name=f"server {number}", daemon=True)

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def drain(self) -> None:
        """Have it taken out of the router, finish its work, and start again."""
        if self.state.state in ("ready", "silent", "wrong"):
            self._draining.set()

    def stop(self) -> None:
        """Have it finish its work and end for good."""
        self._stopping.set()
        process = self._process
        if process is not None and self.state.state not in ("ready", "silent", "draining"):
            process.ask_to_end()  # it has no work, and its thread may wait for an answer

    def kill(self) -> None:
        """End its processes at once, if there are any."""
        process = self._process
        if process is not None:
            process.kill()

    @property
    def is_living(self) -> bool:
        """Return whether its thread still runs, and perhaps its process."""
        return self._thread.is_alive()

    @property
    def is_routed(self) -> bool:
        """Return whether routers should send it requests."""
        return self.state.state == "ready" and not self._draining.is_set() and not self._stopping.is_set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            reason = self._live()
            self._set("resting", reason)
            if reason:
                log.warning("server %d: %s", self.state.number, reason)
                self._stopping.wait(self._rests.choose())

    def _live(self) -> str:
        """Run the server once, and return why it ended; "" if that was wished."""
        self._rests.begin()
        try:
            self._start()
            self._wait_until_answering()
            self._check_adapters()
            self._serve()
        except Ended as ended:
            return str(ended)
        except OSError as error:  # a disk that is full, no more processes
            return f"cannot be started: {error}"
        except Exception as error:
            log.exception("server %d", self.state.number)
            return f"{type(error).__name__}: {error}; see the supervisor's log"
        finally:
            self._end()
        return ""

    def _start(self) -> None:
        site = self.site
        if not is_free(site.config.host, self.state.port):
            raise Ended(f"port {self.state.port} is taken by another program; free it, or choose another `base_port`")
        self.left_router.clear()
        self._process = GuardedProcess(
            server_command(site.config, port=self.state.port, names=site.base_names),
            environment(site.token, lora=takes_adapters(site.config), on_cpu=site.on_cpu),
            site.paths.logs / f"{site.node}-server{self.state.number}.log",
            site.paths.sessions(site.node),
            leased=True,
        )
        self.state.pid = self._process.pid
        self.state.starts += 1
        self._set("waiting")

    def _set(self, state: str, error: str = "") -> None:
        if state != self.state.state:
            log.info("server %d: %s", self.state.number, state)
        self.state.state, self.state.error = state, error or self.state.error

    def _wait_until_answering(self) -> None:
        process = self._look()
        while process.is_waiting():
            process = self._look()
        self.state.gpu = process.read_device()
        self._set("starting")
        until = time.monotonic() + self.site.config.start_seconds
        while not self.api.is_healthy():
            if time.monotonic() > until:
                raise Ended(f"it did not answer within {self.site.config.start_seconds:g} s (`start_seconds`)")
            self._look()

    def _look(self) -> GuardedProcess:
        """Return the process after a moment. Raises Ended if it has ended, or should."""
        assert self._process is not None
        if self._process.wait(LOOK_SECONDS):
            raise Ended(self._process.explain_end())
        if self._stopping.is_set():
            raise Ended("")
        return self._process

    def _check_adapters(self) -> None:
        """Load the adapters and prove that they act; as long as they do not, the server gets no requests."""
        while True:
            self._set("checking")
            try:
                self.sync.start()
                while self.sync.is_changed():  # while it was at that
                    self.sync.catch_up()
                break
            except Foreign as foreign:
                raise Ended(str(foreign)) from foreign
            except Unfit as unfit:
                self._set("wrong", str(unfit))
                log.warning("server %d is wrong: %s", self.state.number, unfit)
                while not self.sync.is_changed() and not self._draining.is_set():
                    self._look()
                if self._draining.is_set():
                    raise Ended("") from None
            except ServerError as error:
                self._look()  # it may have ended meanwhile, which tells more
                raise Ended(f"it fails while its adapters are checked: {error}") from error
        self._tell_adapters()
        self._set("ready")

    def _serve(self) -> None:
        liveness = Liveness(self.api, self.site, self.state)
        while not self._draining.is_set():
            try:
                self._look()
            except Ended as ended:
                if self._stopping.is_set():
                    break
                raise ended
            if reason := liveness.look():
                raise Ended(reason)
            if liveness.is_sound:
                self._sync()
            self._set("ready" if liveness.is_sound else "silent", liveness.error)
        self._finish(liveness)

    def _sync(self) -> None:
        try:
            self.sync.catch_up()
        except Unfit as unfit:
            raise Ended(str(unfit)) from unfit
        except ServerError as error:
            log.warning("server %d: its adapters could not be changed: %s", self.state.number, error)
            self.state.error = str(error)
        self._tell_adapters()

    def _tell_adapters(self) -> None:
        self.state.adapters, self.state.aliases = sorted(self.sync.verified), self.sync.aliases
        if self.sync.rejected:
            self.state.error = " ".join(self.sync.rejected.values())

    def _finish(self, liveness: Liveness) -> None:
        """Leave the router, and wait until the work at hand is done, or for the grace."""
        self.left_router.clear()
        self._set("draining")
        until = time.monotonic() + self.site.config.grace
        self.left_router.wait(max(0.0, until - time.monotonic()))
        while time.monotonic() < until and liveness.is_working():
            time.sleep(DRAIN_LOOK_SECONDS)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(OSError):
                process.end(self.site.config.grace if self.state.state == "draining" else 0)
        self.sync.forget()
        self._tell_adapters()
        self._draining.clear()
        self.state.pid, self.state.running, self.state.waiting = None, 0, 0
        self.state.busy, self.state.full = [], False
