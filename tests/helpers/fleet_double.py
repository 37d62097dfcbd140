"""Tell of a fleet that runs, as its supervisors do: by a config and a state file. A double stands for its routers."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from editlane.core.fleet_state import NodeState, ServerState
from editlane.core.machine import read_machine
from editlane.core.paths import FLEETS

STRICT, LENIENT, BASE = "strict@3f2a9c01b7de", "lenient@00aa11bb22cc", "base@999999999999"
PUBLISHED = {"base": BASE, "strict": STRICT, "lenient": LENIENT}


def make_node(url: str = "http://127.0.0.1:8000", **changes: Any) -> NodeState:
    """The state of this machine's supervisor, which is this process; `url`: of the router, with or without /v1."""
    server = ServerState(number=1, port=8001, url="http://127.0.0.1:8001", state="ready", gpu="GPU-1")
    server.adapters, server.requests = [STRICT, LENIENT], 7
    server.aliases = {"strict": STRICT, "lenient": LENIENT}
    told: dict[str, Any] = {
        "fleet": "judges",
        "node": socket.gethostname(),
        "pid": os.getpid(),
        "beat": 1,
        "model": "base",
        "published": PUBLISHED,
        "served": [STRICT, LENIENT],
        "groups": {"base": None, "strict": "A", "lenient": "B"},
        "affinity": "soft",
        "routers": {"": url.removesuffix("/v1")},
        "metrics": "http://127.0.0.1:8090",
        "token_env": None,
        "servers": [server],
        "machine": read_machine(),
    }
    return NodeState(**told | changes)


def tell(node: NodeState, folder: Path = Path()) -> Path:
    """Write a state file into this working folder."""
    path = folder / FLEETS / node.fleet / "nodes" / f"{node.node}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(node.to_json())
    return path


def write_fleet(folder: Path, node: NodeState, **keys: Any) -> str:
    """Write the config and the state of a fleet into a working folder; return the config's name there."""
    tell(node, folder)
    config: Mapping[str, Any] = {"fleet": node.fleet, "model": "models/base", "token_env": node.token_env} | keys
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config/fleet.yaml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    return "config/fleet.yaml"
