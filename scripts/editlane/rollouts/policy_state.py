"""What the supervisor of a machine's policy servers tells: `results/servers/<server>/policies/state.json`."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from rich.table import Table
from rich.text import Text

from editlane.core.errors import UserError
from editlane.core.paths import SERVERS
from editlane.core.printable import escape
from editlane.fleet.node_lock import is_locked, read_holder

STYLES = {"ready": "green", "resting": "red"}


class PolicyPaths:
    """Where a supervisor keeps what it needs; `server`: the key of the config."""

    def __init__(self, server: str) -> None:
        self.folder = SERVERS / server / "policies"
        """Has the logs, too."""
        self.state = self.folder / "state.json"
        self.lock = self.folder / "lock"
        """Holds the process id of the supervisor."""
        self.sessions = self.folder / "sessions"
        self.supervisor_log = self.folder / "supervisor.log"

    def log(self, number: int) -> Path:
        """Return the log of a server."""
        return self.folder / f"server{number}.log"


@dataclass(slots=True, kw_only=True)
class PolicyServerState:
    """One policy server."""

    number: int
    port: int
    state: str = "resting"
    """waiting (for a GPU), starting, ready or resting (until the next start)."""
    gpu: str = ""
    pid: int | None = None
    """Its guard's, with which it ends."""
    starts: int = 0
    error: str = ""
    """The last error, also of a server that works again."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What it announced of its policy; empty before."""


@dataclass(slots=True, kw_only=True)
class PoliciesState:
    """All policy servers of a machine."""

    server: str
    pid: int
    """The supervisor's."""
    servers: list[PolicyServerState]

    @property
    def is_ready(self) -> bool:
        """Return whether every server is ready."""
        return all(one.state == "ready" for one in self.servers)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, with whether all are ready."""
        return {"ready": self.is_ready} | asdict(self)


_FORMAT = TypeAdapter(dict[str, Any])
_SERVERS = TypeAdapter(list[PolicyServerState])


def read_state(server: str) -> PoliciesState:
    """Return what the living supervisor told last. Raises UserError if there is none."""
    paths = PolicyPaths(server)
    holder = read_holder(paths.lock)
    try:
        if holder is not None and is_locked(paths.lock):
            told = _FORMAT.validate_json(paths.state.read_bytes())
            found = PoliciesState(
                server=told["server"], pid=told["pid"], servers=_SERVERS.validate_python(told["servers"])
            )
            if found.pid == holder.pid:  # else it is an earlier supervisor's
                return found
    except (OSError, ValueError, KeyError):
        pass
    raise UserError(
        f"No policy server of {server} is up. Start them: python scripts/serve_policies.py up --configfile <this one>. "
        f"If that was done, they begin just now, or {paths.supervisor_log} says why they ended."
    )


def make_table(state: PoliciesState) -> Iterator[Any]:
    """Yield what `status` prints."""
    table = Table(box=None, pad_edge=False)
    for name in ("server", "GPU", "port", "state"):
        table.add_column(name, overflow="fold")
    table.add_column("starts", justify="right")
    table.add_column("policy", overflow="fold")
    for one in state.servers:
        words = Text(one.state, STYLES.get(one.state, "yellow"))
        about = ", ".join(f"{name} {value}" for name, value in one.metadata.items() if isinstance(value, str | int))
        table.add_row(str(one.number), escape(one.gpu), str(one.port), words, str(one.starts), Text(escape(about)))
    yield table
    if any(one.state == "waiting" for one in state.servers):
        yield Text(
            "waiting: for a GPU, or without one for a core, that another program has leased; "
            "python scripts/gpulease.py --show says which"
        )
    for one in state.servers:
        if one.error:
            yield Text(f"server {one.number}, last error: {escape(one.error)}", STYLES.get(one.state, ""))
