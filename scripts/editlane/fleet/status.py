"""Say what a fleet does: a table for people, JSON for programs."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from editlane.core.fleet_accounts import Accounts
from editlane.core.fleet_state import NodeState, ServerState, read_nodes
from editlane.core.paths import FleetPaths
from editlane.core.printable import escape
from editlane.fleet.node_lock import is_locked
from editlane.fleet.nodes import FRESH_SECONDS, find_missing

STYLES = {"ready": "green", "wrong": "bold red", "resting": "red", "silent": "red"}


def read_living(paths: FleetPaths, own: str) -> list[NodeState]:
    """Return the states of the supervisors that live. For those of other machines this may take a while."""
    before = {state.node: state for state in read_nodes(paths.nodes)}
    living = [state for state in before.values() if state.node == own and is_locked(paths.lock(own))]
    others = {node: state.beat for node, state in before.items() if node != own}
    until = time.monotonic() + FRESH_SECONDS
    while others and time.monotonic() < until:
        time.sleep(0.2)
        for state in read_nodes(paths.nodes):
            if state.node in others and state.beat != others[state.node]:
                living.append(state)
                del others[state.node]
    return sorted(living, key=lambda state: state.node)


def is_ready(nodes: Sequence[NodeState]) -> bool:
    """Return whether there is a router, and all servers are ready."""
    servers = [server for node in nodes for server in node.servers]
    lacking = any(find_missing(node, node, server) for node in nodes for server in node.servers)
    is_up = bool(servers) and all(one.state == "ready" for one in servers) and any(node.routers for node in nodes)
    return is_up and not lacking


def to_json(nodes: Sequence[NodeState], accounts: Accounts) -> dict[str, Any]:
    """Return the state of a fleet with the accounts of its clients, under the old names of their keys."""
    servers = [(node.node, server) for node in nodes for server in node.servers]
    total = accounts.to_json()
    return {
        "ready": is_ready(nodes),
        "routers": {group: url for node in nodes for group, url in node.routers.items()},
        "published": nodes[0].published if nodes else {},
        "servers": [_describe(node, server) for node, server in servers],
        **total["total"],
        "models": total["models"],
        "groups": total["groups"],
        "gpu_distribution": {f"{node}/{server.number}": server.requests for node, server in servers},
    }


def _describe(node: str, server: ServerState) -> dict[str, Any]:
    return {"node": node} | {name: getattr(server, name) for name in ServerState.__slots__}


def make_tables(nodes: Sequence[NodeState], accounts: Accounts) -> Iterator[Any]:
    """Yield the tables of `status`."""
    for node in nodes:
        for group, url in node.routers.items():
            yield Text.assemble(f"{group}: " if group else "", (f"{url}/v1", "bold"))
    yield _make_server_table(nodes)
    for node in nodes:
        for one in node.servers:
            if one.error:
                where = f"{node.node}/{one.number}" if len(nodes) > 1 else f"server {one.number}"
                yield Text(f"{where}, last error: {escape(one.error)}", STYLES.get(one.state, ""))
    yield ""
    yield _make_name_table(nodes)
    if accounts.models:
        yield _make_account_table(accounts)


def _make_server_table(nodes: Sequence[NodeState]) -> Table:
    table = Table(box=None, pad_edge=False)
    several, grouped = len(nodes) > 1, any(server.group for node in nodes for server in node.servers)
    columns = [*(["node"] if several else []), "server", "GPU", "port", *(["group"] if grouped else []), "state"]
    for name in columns:
        table.add_column(name, overflow="fold")
    for name in ("starts", "running", "waiting"):
        table.add_column(name, justify="right")
    table.add_column("adapters", overflow="fold")
    for node in nodes:
        for one in node.servers:
            cells = [*([node.node] if several else []), str(one.number), one.gpu, str(one.port)]
            cells += [one.group or ""] if grouped else []
            state = Text(one.state + (", full" if one.full else ""), STYLES.get(one.state, "yellow"))
            counts = [str(count) for count in (one.starts, one.running, one.waiting)]
            table.add_row(*cells, state, *counts, _list_adapters(one))
    return table


def _list_adapters(server: ServerState) -> Text:
    """Return the names of its adapters; those that it works for now stand out, so that a hot one is seen."""
    busy = {_plain(name) for name in server.busy}
    text = Text()
    for name, versions in Counter(map(_plain, server.adapters)).items():
        text.append(", " if text else "")
        text.append(escape(name), "bold yellow" if server.full and name in busy else "bold" if name in busy else "")
        text.append(f" ({versions} versions)" if versions > 1 else "")
    return text


def _plain(published: str) -> str:
    """Return the name without its fingerprint."""
    return published.rpartition("@")[0] or published


def _make_name_table(nodes: Sequence[NodeState]) -> Table:
    """Return the names to ask for; long ones stand here once, and not beside every server."""
    newest = {name: published for node in nodes for name, published in node.published.items()}
    groups = {name: group for node in nodes for name, group in node.groups.items()}
    served = sorted({one for node in nodes for server in node.servers for one in server.adapters})
    table = Table(box=None, pad_edge=False)
    older = {name: [one for one in served if _plain(one) == name and one != newest[name]] for name in newest}
    for column in ("name", *(["group"] if any(groups.values()) else []), "means"):
        table.add_column(column, overflow="fold")
    for _ in range(max(map(len, older.values()), default=0)):
        table.add_column("older version", overflow="fold")
    for name, published in newest.items():
        cells = [name, *([groups.get(name) or ""] if any(groups.values()) else []), published, *older[name]]
        table.add_row(*(Text(escape(cell)) for cell in cells))
    return table


def _make_account_table(accounts: Accounts) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("asked by Editlane", overflow="fold")
    for name in ("requests", "failures", "success", "p50", "p99"):
        table.add_column(name, justify="right")
    for name, one in [*accounts.models.items(), *((f"group {name}", one) for name, one in accounts.groups.items())]:
        success = "" if one.success_rate is None else f"{one.success_rate:.1%}"
        slow = ["" if seconds is None else f"{seconds:.3g} s" for seconds in (one.p50, one.p99)]
        table.add_row(escape(name), str(one.total_calls), str(one.error_calls), success, *slow)
    return table
