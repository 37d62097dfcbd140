"""What the supervisors of a fleet tell everybody who asks it: `results/fleets/<fleet>/nodes/<machine>.json`.

Each machine's supervisor writes its own file, whole, every second or so. The one that runs the routers says where they
are. Names are published with a fingerprint (`strict@3f2a9c01b7de`), so that new weights under an old name are never
taken for the old ones; the plain name is an alias of the newest.
"""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

VERSION = 1
"""Bump when a reader of the old format would go wrong."""


@dataclass(slots=True, kw_only=True)
class ServerState:
    """One model server."""

    number: int
    port: int
    url: str
    """Its address, as the routers reach it."""
    state: str = "resting"
    """waiting (for a GPU), starting, checking, ready, silent, draining, wrong or resting (until the next start)."""
    group: str | None = None
    """With hard affinity the group whose adapters it has."""
    gpu: str = ""
    pid: int | None = None
    starts: int = 0
    running: int = 0
    waiting: int = 0
    adapters: list[str] = field(default_factory=list)
    """Published names of the adapters that it has."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Plain name -> published name that it means there."""
    busy: list[str] = field(default_factory=list)
    """Those that it works for now."""
    full: bool = False
    """True if it has as many requests as it works on at once, or more."""
    error: str = ""
    """The last error, also of a server that works again."""
    requests: int = 0
    failures: int = 0
    p50: float | None = None
    """Seconds within which half of its answers were given."""
    p99: float | None = None


@dataclass(slots=True, kw_only=True)
class NodeState:
    """The supervisor of one machine."""

    fleet: str
    node: str
    pid: int
    beat: int
    """Grows with every write, so that a reader sees that the supervisor lives whatever the clocks say."""
    model: str | None
    """Name of the base model, or None if it is not served."""
    published: dict[str, str]
    """Plain name of the base model and of each adapter -> published name of its newest version."""
    served: list[str]
    """Published names of all versions of the adapters; the older ones are for clients that began with them."""
    groups: dict[str, str | None]
    """Plain name -> group, or None."""
    affinity: str
    routers: dict[str, str]
    """Group -> address of its router, such as `http://127.0.0.1:8000`; with soft or no affinity the one group is "".
    Empty on machines that run none."""
    metrics: str
    """Address of the supervisor's own metrics."""
    token_env: str | None
    servers: list[ServerState]
    machine: str = ""
    """Where its process id means that process, as `read_machine` has it."""
    version: int = VERSION

    def to_json(self) -> bytes:
        """Return the content of the state file."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1).encode()


_LARGEST = 16 * 2**20
_FORMAT = TypeAdapter(NodeState)


def read_node(path: Path) -> NodeState | None:
    """Read a state file; None if it is missing, half copied, of another version, or anything else than its format.

    Neither links nor other users' files are believed: whoever asks a fleet sends its token to where they point.
    """
    try:
        state = _FORMAT.validate_json(_read_own(path), strict=True)
    except (OSError, ValueError, RecursionError):
        return None
    return state if state.version == VERSION and path.name == f"{state.node}.json" else None


def _read_own(path: Path) -> bytes:
    """Return the content of a file of this user, or of root. Raises OSError."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.getuid()) or found.st_size > _LARGEST:
            raise PermissionError(f"{path} is no state file of this user")
        return file.read()


def read_nodes(folder: Path) -> Iterator[NodeState]:
    """Yield the state of every machine's supervisor, in order of the machines' names; `folder`: `FleetPaths.nodes`."""
    for path in sorted(folder.glob("*.json")):
        state = read_node(path)
        if state is not None:
            yield state
