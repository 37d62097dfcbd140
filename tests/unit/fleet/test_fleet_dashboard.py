"""The Grafana dashboard of a fleet shows figures that its supervisor, its router and vLLM have."""

import json
import os
import re
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from dashboards import check_places
from fleet_run import FleetRun

from editlane.core.fleet_accounts import Ledger

DASHBOARD = Path(__file__).parents[3] / "resources/grafana/fleet.json"
METRIC = re.compile(r"\b(?:editlane_|vllm_router_|vllm:)\w+")
UNITS = {"s", "short", "bytes", "reqps", "ops", "percentunit", "dateTimeFromNow"}
SUFFIXES = {"counter": ("", "_total"), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@pytest.fixture(scope="module")
def board() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a fleet that has answered, and lost a server, tells Prometheus, by who tells it."""
    fleet = FleetRun(tmp_path_factory.mktemp("fleet"), groups={"A": ["kind"]})
    ledger = Ledger(fleet.results / "accounts")
    ledger.record("kind@000000000000", "A", 0.5, True)
    ledger.record("kind@000000000000", "A", 0.5, False)
    try:
        fleet.start().wait_ready()
        ledger.write()
        for turn in range(40):
            assert fleet.ask("kind", f"{turn}")[0] == 200
            if turn == 10:
                os.kill(fleet.server_pid(0), signal.SIGKILL)
        port = fleet.config["metrics_port"]
        living = fleet.config["base_port"] + 1
        ports = {"supervisor": port, "router": port + 1, "server": living}
        read = {
            whose: fleet.pool.request("GET", f"http://127.0.0.1:{one}/metrics").data.decode()
            for whose, one in ports.items()
        }
    finally:
        fleet.stop()
    yield read


def list_expressions(board: dict[str, Any]) -> list[str]:
    """Every query of the dashboard."""
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return queries + [one["definition"] for one in board["templating"]["list"] if "definition" in one]


def find_named(board: dict[str, Any]) -> set[str]:
    return {name for query in list_expressions(board) for name in METRIC.findall(query)}


@pytest.mark.runs
def test_every_metric_of_the_dashboard_is_one_of_the_fleet(board: dict[str, Any], figures: dict[str, str]) -> None:
    named = find_named(board)
    own = dict(re.findall(r"^# TYPE (\S+) (\S+)$", figures["supervisor"], re.MULTILINE))
    exposed = {name + suffix for name, kind in own.items() for suffix in SUFFIXES[kind]}
    samples = re.findall(r"^([\w:]+)(?:{| )", "\n".join(figures.values()), re.MULTILINE)
    assert "vllm_router_retries_total" in samples, "the dead server cost a retry"
    router = find_spec("vllm_router_rs")
    assert router is not None and router.origin is not None
    code = Path(router.origin).read_bytes()
    unseen = {name for name in named - exposed - set(samples) if name.encode() not in code}
    assert not unseen
    assert len(named) > 25
    shown = {name.removesuffix("_total") for name in named if name.startswith("editlane_")}
    assert shown == {name.removesuffix("_total") for name in own}, "a figure that no panel shows"


@pytest.mark.runs
def test_the_dashboard_uses_labels_that_the_figures_have(board: dict[str, Any], figures: dict[str, str]) -> None:
    labels: dict[str, set[str]] = {}
    for name, listed in re.findall(r"^([\w:]+)\{(.*)\} ", "\n".join(figures.values()), re.MULTILINE):
        labels.setdefault(name, {"instance"}).update(re.findall(r"(\w+)=\"", listed))
    for target in [target for panel in board["panels"] for target in panel.get("targets", ())]:
        query = target["expr"]
        (name,) = set(METRIC.findall(query))
        used = {one for listed in re.findall(r"by \(([^)]*)\)", query) for one in listed.split(", ")}
        used |= {one for listed in re.findall(r"\{([^}]*)\}", query) for one in re.findall(r"(\w+)(?:=~|!=|=)", listed)}
        used |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        if name in labels:
            assert used <= labels[name], query


def test_the_dashboard_asks_each_source_of_its_own_variable(board: dict[str, Any]) -> None:
    variables = {"editlane_": "$instance", "vllm_router_": "$router", "vllm:": "$server"}
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            (name,) = set(METRIC.findall(target["expr"]))
            prefix = re.match(r"editlane_|vllm_router_|vllm:", name)
            assert prefix and f'instance=~"{variables[prefix.group()]}"' in target["expr"]


def test_panels_have_ids_units_and_the_data_source_that_is_chosen(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    charts = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in charts} <= UNITS
    assert all(panel["description"].endswith(".") for panel in charts)
    sources = [one["datasource"] for panel in charts for one in (panel, *panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)


def test_panels_of_the_fleet_do_not_overlap(board: dict[str, Any]) -> None:
    check_places(board)
