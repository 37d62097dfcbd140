"""Bring one server's adapters to what the catalogue wants, and prove that each acts before anybody is told of it."""

import threading
import time
from collections.abc import Sequence
from http import HTTPStatus

from editlane.fleet.catalogue import Catalogue, Wanted
from editlane.fleet.site import Site
from editlane.fleet.smoke import run_smoke_test
from editlane.fleet.vllm_api import ServerError, VllmServer

LOAD_SECONDS = 120.0
"""Time to load an adapter, which comes from the fleet's folder."""

FULL_SECONDS = 60.0
"""Time for a server that is full to take the smoke test's requests."""

LOOK_SECONDS = 10.0
"""Time between two looks at what a server lists, because everybody who can reach it can change that."""


class Unfit(Exception):
    """The server does not serve what it should; says what is wrong."""


class Foreign(Unfit):
    """What answers at the port is no server of this fleet."""


class AdapterSync:
    """The adapters of one server. Used by the thread that looks after it; others read `verified` and `rejected`."""

    def __init__(
        self, api: VllmServer, site: Site, catalogue: Catalogue, group: str | None, stopping: threading.Event
    ) -> None:
        self._api, self._site, self._catalogue, self._group = api, site, catalogue, group
        self._stopping = stopping
        self._seen: Wanted | None = None
        self._looked_at = 0.0
        self.verified: set[str] = set()
        """Published names of the adapters that were proved to act here."""
        self.rejected: dict[str, str] = {}
        """Published name -> why it was unloaded again."""
        self._silence: ServerError | None = None
        """Why the server gave no answer to the smoke test."""
        self.aliases: dict[str, str] = {}
        """Plain name -> published name that it means here."""

    def forget(self) -> None:
        """Note that the server has ended."""
        self._seen, self.verified, self.rejected, self.aliases = None, set(), {}, {}

    def is_changed(self) -> bool:
        """Return whether the catalogue wants something else than at the last look."""
        return self._catalogue.wanted(self._group) != self._seen

    def is_for(self, published: str) -> bool:
        """Return whether this server should have the adapter."""
        return published in self._catalogue.wanted(self._group).published

    def start(self) -> None:
        """Load and prove everything. Raises Unfit, and ServerError if the server fails."""
        self._seen = wanted = self._catalogue.wanted(self._group)
        self.verified = set()
        self._load(wanted)
        problems = self._prove(wanted.published, base=self._site.base_names[0])
        if problems:
            raise Unfit(" ".join(problems))
        self.verified, self.aliases = set(wanted.published), dict(wanted.aliases)

    def catch_up(self) -> None:
        """Load what is new and prove it beside what is there; unload it again if it does not act.

        Now and then also put right what somebody else changed. Raises Unfit if the server lacks the base model, and
        ServerError if it fails.
        """
        wanted = self._catalogue.wanted(self._group)
        if wanted == self._seen and time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        # A base that is not served may be wrong beside the adapters, which are being asked.
        base = self._site.base_names[0] if self._site.config.serve_base else None
        self.rejected = {name: why for name, why in self.rejected.items() if name in wanted.published}
        new = [name for name in wanted.published if name not in self.verified | self.rejected.keys()]
        try:
            self._load(wanted)
            problems = self._prove(wanted.published, base=base) if new else []
        except Unfit as unfit:
            if not new:
                raise
            problems = [str(unfit)]
        if problems:
            self._reject(new, " ".join(problems))
        self.verified = {name for name in wanted.published if name not in self.rejected}
        self.aliases = dict(wanted.aliases)
        self._seen, self._looked_at = wanted, time.monotonic()

    def _reject(self, names: Sequence[str], problem: str) -> None:
        listed = self._api.list_models()
        for name in names:
            self.rejected[name] = problem
            if name in listed:
                self._api.unload_adapter(name)

    def _load(self, wanted: Wanted) -> None:
        listed = self._api.list_models()
        base = set(self._site.base_names)
        missing = base - listed.keys()
        if missing:
            raise Foreign(f"it does not serve {', '.join(sorted(missing))}: another program has its port.")
        for name in listed.keys() - base - wanted.adapters.keys():
            self._api.unload_adapter(name)
        for name, folder in wanted.adapters.items():
            if name not in self.rejected and listed.get(name) != folder:
                self._load_one(name, folder, replace=name in listed)

    def _load_one(self, name: str, folder: str, *, replace: bool) -> None:
        try:
            self._api.load_adapter(name, folder, replace=replace, seconds=LOAD_SECONDS)
        except ServerError as error:
            if not self._api.is_healthy():
                raise
            raise Unfit(f"vLLM does not load the adapter {name}: {error}") from error

    def _prove(self, names: Sequence[str], *, base: str | None) -> Sequence[str]:
        """Return what is wrong with the adapters. Asking nothing but the base proves nothing."""
        if not names:
            return []
        self._silence = None
        found = run_smoke_test(self._ask, sorted(names), base=base, serve_base=self._site.config.serve_base)
        if self._silence is not None:  # the server has failed, whatever its adapters do
            raise self._silence
        return found.problems

    def _ask(self, model: str, prompt: str, count: int) -> list[dict[str, float]]:
        """Ask once more as long as the server is full of others' requests."""
        until, seconds = time.monotonic() + FULL_SECONDS, self._site.config.answer_seconds
        while True:
            if self._silence is not None:  # once is enough to know, and each further request would wait as long
                raise self._silence
            try:
                return self._api.first_tokens(model, prompt, count, seconds=seconds)
            except ServerError as error:
                if error.status is None or self._stopping.is_set():
                    self._silence = error
                    raise
                if error.status != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > until:
                    raise
            time.sleep(0.5)
