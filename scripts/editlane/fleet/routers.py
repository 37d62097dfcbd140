"""Run vllm-router before the servers of a group, and keep it to those that should get requests."""

import json
import logging
import time
from collections.abc import Collection
from urllib.parse import quote

from editlane.fleet.commands import environment, router_command
from editlane.fleet.process import GuardedProcess
from editlane.fleet.site import Site
from editlane.fleet.vllm_api import ServerError, VllmServer

log = logging.getLogger(__name__)

ANSWER_SECONDS = 15.0
"""A router that answers nothing for so long is started again."""
START_SECONDS = 30.0
CHANGE_SECONDS = 10.0
"""Time for the router to take a server. Longer than `GIVE_UP_SECONDS`: a change that only we gave up on comes later,
when the server may lack what it should have."""
FIRST_REST, LONGEST_REST = 0.5, 30.0


class Router:
    """One router process. Used by one thread."""

    def __init__(self, site: Site, group: str, *, port: int, metrics_port: int) -> None:
        self.url, self.metrics_url = site.url(port), f"http://127.0.0.1:{metrics_port}/metrics"
        self._api = VllmServer(self.url, site.token or None)
        self._site, self._group, self._port, self._metrics_port = site, group, port, metrics_port
        self._process: GuardedProcess | None = None
        self._is_up = False
        self._heard = self._next_start = 0.0
        self._rest = FIRST_REST
        self.error = ""
        self.starts = 0
        self.routed: set[str] = set()
        """Addresses of the servers that it sends requests to."""

    @property
    def pid(self) -> int | None:
        """Return its process id, or None."""
        return self._process.pid if self._process else None

    @property
    def is_up(self) -> bool:
        """Return whether it answers."""
        return self._is_up

    def look_after(self, wanted: Collection[str]) -> None:
        """Start it if there is a server, start it again if it ended or hangs, and tell it of servers that changed."""
        if self._process is not None and self._process.wait(0):
            self._lose(f"the router {self._process.explain_end()}")
        if self._process is None:
            if wanted and time.monotonic() >= self._next_start:
                self._start(wanted)
            return
        try:
            self._reconcile(wanted)
            self._heard, self._is_up, self._rest = time.monotonic(), True, FIRST_REST
        except ServerError as error:
            patience = ANSWER_SECONDS if self._is_up else START_SECONDS
            if time.monotonic() - self._heard > patience:
                self._lose(f"the router answered nothing for {patience:g} s: {error}")

    def _start(self, wanted: Collection[str]) -> None:
        site, name = self._site, f"-{self._group}" if self._group else ""
        ports = {"port": self._port, "metrics_port": self._metrics_port}
        words = router_command(site.config, **ports, urls=sorted(wanted), has_token=bool(site.token))
        sessions = site.paths.sessions(site.node)
        log_file = site.paths.logs / f"{site.node}-router{name}.log"
        try:
            self._process = GuardedProcess(words, environment("", lora=False), log_file, sessions, leased=False)
        except OSError as error:
            self._lose(f"the router cannot be started: {error}")
            return
        self._heard, self.starts = time.monotonic(), self.starts + 1

    def _lose(self, error: str) -> None:
        log.warning("%s", error)
        self.error = error
        self.end()
        self._next_start = time.monotonic() + self._rest
        self._rest = min(LONGEST_REST, 2 * self._rest)

    def _reconcile(self, wanted: Collection[str]) -> None:
        """Tell it of servers that came and went. Raises ServerError."""
        known = set(self._list())
        self._heard = time.monotonic()  # what follows waits for servers, too
        for url in known - set(wanted):
            self._change("remove", url)
        for url in set(wanted) - known:
            self._change("add", url)
        self.routed = set(self._list()) if known != set(wanted) else known

    def _list(self) -> list[str]:
        try:
            return [str(url) for url in json.loads(self._api.call("/list_workers", None, 3.0))["urls"]]
        except (ValueError, KeyError, TypeError):
            raise ServerError("/list_workers: the answer is no list of servers") from None

    def _change(self, what: str, url: str) -> None:
        try:
            self._api.call(f"/{what}_worker?url={quote(url, safe='')}", {}, CHANGE_SECONDS)
        except ServerError as error:
            log.info("router %s: cannot %s %s yet: %s", self.url, what, url, error)
        else:
            log.info("router %s: %s %s", self.url, what, url)

    def end(self) -> None:
        """End it. The connections of its clients break."""
        if self._process is not None:
            self._process.end(1.0)
        self._process, self._is_up, self.routed = None, False, set()
