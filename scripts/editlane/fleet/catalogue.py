"""Keep which adapters the servers should have, and under which names."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from editlane.fleet.adapters import Adapter


class Wanted(NamedTuple):
    """What a server should have."""

    adapters: Mapping[str, str]
    """Name or alias -> folder."""
    published: Sequence[str]
    """Those of the names that are no alias."""
    aliases: Mapping[str, str]
    """Alias -> published name."""


@dataclass(frozen=True, slots=True)
class _Entry:
    adapter: Adapter
    group: str | None
    is_trial: bool
    """True until every server has it: it has no alias yet, and nobody is told of it."""


class Catalogue:
    """The versions of every adapter. Thread-safe: the servers are looked after by threads of their own."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def add(self, adapter: Adapter, group: str | None, *, is_trial: bool = False) -> None:
        """Add a version of an adapter, which is from now on the newest of its name unless it is on trial."""
        with self._lock:
            self._entries.pop(adapter.published, None)
            self._entries[adapter.published] = _Entry(adapter, group, is_trial)

    def remove(self, *published: str) -> None:
        """Remove versions. The one before them, if there is one, becomes the newest."""
        with self._lock:
            for one in published:
                self._entries.pop(one, None)

    def served(self) -> list[str]:
        """Return the published names of all versions that clients may ask for."""
        with self._lock:
            return [name for name, entry in self._entries.items() if not entry.is_trial]

    def adapters(self) -> list[Adapter]:
        """Return every version of every adapter."""
        with self._lock:
            return [entry.adapter for entry in self._entries.values()]

    def versions(self, name: str) -> list[str]:
        """Return the published names of an adapter, the newest last. `name` may be one of these itself."""
        with self._lock:
            return [one for one, entry in self._entries.items() if name in (one, entry.adapter.name)]

    def newest(self) -> dict[str, tuple[str, str | None]]:
        """Return adapter -> published name of its newest version, and its group."""
        with self._lock:
            entries = [entry for entry in self._entries.values() if not entry.is_trial]
            return {entry.adapter.name: (entry.adapter.published, entry.group) for entry in entries}

    def wanted(self, group: str | None) -> Wanted:
        """Return what a server of this group should have; None is a server of all groups."""
        with self._lock:
            entries = [entry for entry in self._entries.values() if group in (None, entry.group)]
        folders = {entry.adapter.published: str(entry.adapter.path) for entry in entries}
        aliases = {entry.adapter.name: entry.adapter.published for entry in entries if not entry.is_trial}
        return Wanted(folders | {name: folders[own] for name, own in aliases.items()}, list(folders), aliases)
