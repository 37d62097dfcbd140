"""The tables of `serve_fleet.py status`, in a narrow and in a wide terminal."""

from io import StringIO

import pytest
from rich.console import Console

from editlane.core.fleet_accounts import Ledger
from editlane.core.fleet_state import NodeState, ServerState
from editlane.fleet.status import make_tables

NEW, OLD, KIND = "严格@3f2a9c01b7de", "严格@111111111111", "kind@79bb7ac2fdcb"
LONG = "it generated nothing for 60 s (`answer_seconds`): /v1/completions: no answer within 5 s, and so on and on"


def node(*, name: str = "vm", adapters: tuple[str, ...] = (NEW, KIND), error: str = "") -> NodeState:
    servers = [
        ServerState(
            number=number, port=8001 + number, url=f"http://127.0.0.1:{8001 + number}", state="ready", gpu="cpu"
        )
        for number in range(2)
    ]
    for server in servers:
        server.adapters = list(adapters)
    servers[1].error = error
    return NodeState(
        fleet="f", node=name, pid=1, beat=1, model=None, published={"严格": NEW, "kind": KIND},
        served=[NEW, KIND], groups={"严格": "A", "kind": None}, affinity="soft", routers={"": "http://127.0.0.1:8000"},
        metrics="", token_env=None, servers=servers,
    )  # fmt: skip


def show(*nodes: NodeState, width: int = 80) -> str:
    out = StringIO()
    Console(file=out, width=width).print(*make_tables(nodes, Ledger().summarise()), sep="\n")
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 160])
def test_no_name_is_broken(width: int) -> None:
    lines = show(node(), width=width).splitlines()
    assert sum("严格, kind" in line for line in lines) == 2
    for name in (NEW, KIND):
        assert sum(name in line for line in lines) == 1
    assert max(map(len, lines)) <= width


def test_versions_are_counted_and_the_older_ones_named_once() -> None:
    shown = show(node(adapters=(OLD, NEW, KIND)))
    assert shown.count("严格 (2 versions), kind") == 2
    assert shown.count(OLD) == shown.count("older version") == 1
    assert "older" not in show(node())


def test_errors_stand_below_in_full() -> None:
    shown = show(node(error=f"{LONG} \x1b[31m"), width=80)
    assert f"server 1, last error: {LONG}" in " ".join(shown.split())
    assert "\x1b" not in shown
    assert "server 0, last" not in shown
    assert "b/1, last error: bad" in show(node(name="a"), node(name="b", error="bad"))
