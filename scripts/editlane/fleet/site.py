"""What one machine's part of a fleet is: its config, its folders, its names."""

import os
import secrets
import socket
from dataclasses import dataclass, field

from editlane.core.paths import FleetPaths
from editlane.fleet.config import FleetConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One machine's part of a fleet. Nothing here changes while it runs."""

    config: FleetConfig
    paths: FleetPaths
    node: str
    """Name of the machine in the fleet's folder."""
    token: str = field(repr=False)
    """What every request must bring; "" for none."""
    published: str
    """Published name of the base model."""
    on_cpu: bool = False
    """True on a machine without a GPU."""
    pid: int = field(default_factory=os.getpid)
    withheld: str = field(default_factory=lambda: f"withheld-{secrets.token_hex(8)}", repr=False)
    """Name of the base model if it is not served. It is no secret, because `/v1/models` lists it: it only keeps clients
    from asking for the base model by a name that they know."""

    @property
    def base_names(self) -> list[str]:
        """Return the names under which the base model is served."""
        return [self.config.base_name, self.published] if self.config.serve_base else [self.withheld]

    def url(self, port: int) -> str:
        """Return the address of a server or a router of this machine.

        Who listens on all of its addresses is reached by this one; on another machine it would mean that one itself.
        """
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.config.host, self.config.host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def name_node() -> str:
    """Return the name of this machine, as a file can have it."""
    return socket.gethostname().replace("/", "_") or "node"
