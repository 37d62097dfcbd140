"""The Grafana dashboard shows figures that a reward server has."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboards import check_places
from reward_page import draw
from reward_server import RewardServer

DASHBOARD = Path(__file__).parents[3] / "resources/grafana/rewards.json"
METRIC = re.compile(r"\beditlane_\w+")
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@pytest.fixture(scope="module")
def board() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The figures of a server that has scored, known, failed and refused."""
    with RewardServer(tmp_path_factory.mktemp("server")) as server:
        images = {name: base64.b64encode(draw(number)).decode() for number, name in enumerate(("source", "edited"))}
        edit = images | {"instruction": "make it rain", "category": "物理"}
        for _ in range(2):
            server.post("/v1/score", json={"items": [edit, edit | {"edited": ""}]})
        server.post("/v1/score", data=b"{")
        yield server.get("/metrics").text


def list_expressions(board: dict[str, Any]) -> list[str]:
    """Every query of the dashboard."""
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return queries + [one["definition"] for one in board["templating"]["list"] if "definition" in one]


def test_every_metric_of_the_dashboard_is_one_of_the_server(board: dict[str, Any], figures: str) -> None:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", figures, re.MULTILINE))
    known = {name + suffix for name, kind in kinds.items() for suffix in SUFFIXES[kind]}
    named = {name for query in list_expressions(board) for name in METRIC.findall(query)}
    assert len(named) > 15
    assert named <= known
    served = {name for name in kinds if not name.endswith("_created")}
    shown = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in named}
    assert shown == served, "a figure that no panel shows"


def test_the_dashboard_groups_by_labels_that_the_figures_have(board: dict[str, Any], figures: str) -> None:
    samples = re.findall(r"^(editlane_\w+)\{(.*)\} ", figures, re.MULTILINE)
    labels = {name: {"instance", *re.findall(r"(\w+)=\"", listed)} for name, listed in samples}
    for query in list_expressions(board):
        for name in set(METRIC.findall(query)) & labels.keys():
            used = {one for listed in re.findall(r"by \(([^)]*)\)", query) for one in listed.split(", ")}
            filters = re.findall(rf"{name}\{{([^}}]*)\}}", query)
            used |= {one for listed in filters for one in re.findall(r"(\w+)(?:=~|!=|=)", listed)}
            if len(set(METRIC.findall(query))) == 1:
                assert used <= labels[name], query


def test_panels_have_ids_of_their_own_and_the_data_source_that_is_chosen(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert board["schemaVersion"] >= 39
    charts = [panel for panel in board["panels"] if panel["type"] != "row"]
    sources = [one["datasource"] for panel in charts for one in (panel, *panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    assert board["templating"]["list"][0]["type"] == "datasource"


def test_panels_do_not_overlap(board: dict[str, Any]) -> None:
    check_places(board)
