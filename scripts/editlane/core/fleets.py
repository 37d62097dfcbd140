"""Find a fleet of model servers by its config: where it answers, and under which names it serves its models.

Reads what the supervisors tell (fleet_state.py) and asks no server. A name without a fingerprint means the newest
version of that model.
"""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from editlane.core.errors import PassingError, UnknownName, UserError
from editlane.core.fleet_state import NodeState, read_node, read_nodes
from editlane.core.machine import is_here
from editlane.core.paths import FleetPaths
from editlane.core.published_names import is_published, strip_fingerprint
from editlane.core.urls import check_variable
from editlane.core.yaml_files import read_yaml

_BEAT_SECONDS = 10.0
"""Time in which another machine's supervisor has to show that it lives: it writes every second or so."""
_CONNECT_SECONDS = 2.0


class FleetDown(PassingError):
    """The fleet does not run."""


class Route(NamedTuple):
    """Where and by which name a model is asked for."""

    base_url: str
    """Address of the router, with `/v1`."""
    model: str
    """Published name."""
    group: str | None
    session: str | None = None
    """Sent as `X-Session-ID`, so that the router sends an adapter's requests to one server. None where that would only
    keep others from working: for a base model, which all of them have, and without soft affinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """A fleet as its config and its supervisors describe it."""

    name: str
    configfile: Path
    token_env: str | None
    """Environment variable that holds the token of its routers."""
    base_name: str | None
    """Name of the base model in the config, whether it is served or not."""
    state: NodeState

    def resolve(self, name: str) -> Route:
        """Return where to ask for a model. `name`: plain, or published (`strict@3f2a9c01b7de`).

        Raises UserError if the fleet does not serve it.
        """
        plain, newest = self._find(name)
        if name not in (plain, newest) and not any(name in server.adapters for server in self.state.servers):
            raise UserError(f"{self} serves {newest}, and no longer {name}. Ask for that, or start again what asks.")
        group, routers = self.state.groups.get(plain), self.state.routers
        router = routers.get(group or "") or next(iter(routers.values()))
        model = newest if name == plain else name
        session = model if self.state.affinity == "soft" and plain != self.state.model else None
        return Route(f"{router.rstrip('/')}/v1", model, group, session)

    def find_version(self, name: str) -> str:
        """Return the published name of a model's newest version. Raises UserError if the fleet does not serve it."""
        return self._find(name)[1]

    def _find(self, name: str) -> tuple[str, str]:
        """Return the plain name of a model and its newest published one."""
        plain = strip_fingerprint(name)
        if plain in self.state.published:
            return plain, self.state.published[plain]
        if plain == self.base_name and self.state.model is None:
            adapters = ", ".join(sorted(self.state.published))
            raise UserError(
                f"{self} does not answer for its base model {plain} (`serve_base: false`). Set `model` to one of its "
                f"adapters: {adapters}."
            )
        raise UserError(f"{self} does not serve this model. {UnknownName('model', plain, self.state.published)}")

    def __str__(self) -> str:
        return f"The fleet {self.name} ({self.configfile})"


def find_fleet(configfile: str | Path) -> FleetView:
    """Return the fleet of a config. Raises FleetDown if it does not run, UserError for a config that is wrong."""
    views = list(_read_views(Path(configfile)))
    for view in views:
        if _is_alive(view):
            return view
    view = views[0]
    raise FleetDown(
        f"{view} does not run: the process that led it on {view.state.node} has ended. {_make_remedy(view.configfile)}"
    )


def read_fleet(configfile: str | Path) -> FleetView:
    """Return the fleet of a config as it is, or was when it ended. Raises like find_fleet."""
    return next(_read_views(Path(configfile)))


_VERSIONS: dict[tuple[str, str], str] = {}


def fix_version(configfile: str | Path, name: str) -> str:
    """Return the published name of a model; in this process always the same, although a newer one may come.

    So the key of a score and the request for it name the same weights. The fleet need not run any more. Raises like
    find_fleet.
    """
    if is_published(name):
        return name
    key = (str(Path(configfile).absolute()), name)
    return _VERSIONS.get(key) or _VERSIONS.setdefault(key, read_fleet(configfile).find_version(name))


def _read_views(configfile: Path) -> Iterator[FleetView]:
    """Yield what each machine with routers tells, that of the newest file first; at least one."""
    config = _read_config(configfile)
    base = config.get("name") or str(config.get("model") or "").rstrip("/").rpartition("/")[2] or None
    paths = FleetPaths(config["fleet"])
    states = [state for state in read_nodes(paths.nodes) if state.routers]
    if not states:
        raise FleetDown(
            f"The fleet {config['fleet']} ({configfile}) does not run: {paths.nodes} names no router. "
            f"{_make_remedy(configfile)}"
        )
    for state in sorted(states, key=lambda state: -_changed_at(paths.state(state.node))):
        yield FleetView(
            name=config["fleet"],
            configfile=configfile,
            token_env=config.get("token_env"),
            base_name=base,
            state=state,
        )


def _make_remedy(configfile: Path) -> str:
    return f"Start it in this folder: `python scripts/serve_fleet.py up --configfile {configfile}`."


def _read_config(configfile: Path) -> dict[str, Any]:
    """Return the keys of a config as they are written. Raises UserError if one that is needed here is wrong."""
    try:
        config = read_yaml(configfile)
    except OSError as error:
        raise UserError(
            f"The config of the fleet, {configfile}, cannot be read: {error.strerror}. Paths are relative to the "
            "folder in which the command is started."
        ) from error
    name = config.get("fleet") if isinstance(config, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[^\W_][\w.-]*", name):
        raise UserError(
            f"{configfile} is no config of a fleet: the key `fleet` has to be its name; see config/fleet.md."
        )
    try:
        check_variable(config.get("token_env"))
    except ValueError as error:
        raise UserError(f"{configfile}: token_env: {error}") from error
    return dict(config)


def _changed_at(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _is_alive(view: FleetView) -> bool:
    """Return whether the supervisor of the routers lives.

    On this machine its process tells. Of another one, or of another container of this one, the beat has to grow, or the
    router has to take a connection, because a shared folder may show old content for a minute.
    """
    state = view.state
    if is_here(state.machine):
        return _is_process(state.pid)
    path, until = FleetPaths(view.name).state(state.node), time.monotonic() + _BEAT_SECONDS
    while time.monotonic() < until:
        found = read_node(path)
        if found is not None and (found.beat, found.pid) != (state.beat, state.pid):
            return True
        time.sleep(0.1)
    return any(map(_takes_connection, state.routers.values()))


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _takes_connection(url: str) -> bool:
    try:
        parts = urlsplit(url)
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True
