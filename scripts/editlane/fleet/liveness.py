"""Know whether a model server works: it answers, it serves what it should, and it generates."""

import time
from contextlib import suppress

from editlane.core.fleet_state import ServerState
from editlane.fleet.site import Site
from editlane.fleet.vllm_api import ServerError, VllmServer
from editlane.fleet.vllm_metrics import VllmMetrics

PROBE_SECONDS = 10.0
"""Time between two proofs that the engine generates. Tokens of others' requests are one, too."""
PROOF_SECONDS = 5.0
"""Time for a token. A server that is busy with a long prompt may need more, but then it had progress before."""
MISSES = 2
"""Looks without an answer after which a server gets no more requests."""


class Liveness:
    """What is known of one server. Used by one thread."""

    def __init__(self, api: VllmServer, site: Site, state: ServerState) -> None:
        self._api, self._site, self._state = api, site, state
        self._misses = 0
        self._tokens = -1
        self._has_progressed = False
        self._sound_at = self._proved_at = time.monotonic()
        self.error = ""

    @property
    def is_sound(self) -> bool:
        """Return whether it should get requests."""
        return self._misses < MISSES

    def look(self) -> str:
        """Look at the server once, and return why it has to be started again, or ""."""
        try:
            if not self._api.is_healthy():
                raise ServerError("GET /health does not answer 200")
            with suppress(ServerError):  # another version of vLLM may have other figures
                self._take(self._api.read_metrics())
            self._prove()
        except ServerError as error:
            self._misses += 1
            self.error = str(error)
        else:
            self._misses, self._sound_at, self.error = 0, time.monotonic(), ""
        if time.monotonic() - self._sound_at > self._site.config.answer_seconds:
            return f"it generated nothing for {self._site.config.answer_seconds:g} s (`answer_seconds`): {self.error}"
        return ""

    def _prove(self) -> None:
        """Ask for a token if no other request had one. Raises ServerError."""
        if not self._misses and time.monotonic() - self._proved_at < PROBE_SECONDS:
            return
        if not self._has_progressed:
            self._api.check_generates(self._site.base_names[0], seconds=PROOF_SECONDS)
        self._proved_at = time.monotonic()
        self._has_progressed = False

    def _take(self, found: VllmMetrics) -> None:
        state, most = self._state, self._site.config.max_num_seqs
        tokens = found.prompt_tokens + found.generated_tokens
        self._has_progressed |= 0 <= self._tokens < tokens
        self._tokens = tokens
        state.running, state.waiting, state.busy = found.running, found.waiting, sorted(found.adapters)
        state.full = found.waiting > 0 or found.running >= most
        state.requests, state.failures = found.requests, found.failures
        state.p50, state.p99 = found.find_latency(0.5), found.find_latency(0.99)

    def is_working(self) -> bool:
        """Return whether it has requests at hand; False if it does not say."""
        try:
            found = self._api.read_metrics()
        except ServerError:
            return False
        return found.running + found.waiting > 0
