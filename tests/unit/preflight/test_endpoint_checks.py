"""The check of judges that servers and fleets answer for, and what the rules are told of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from endpoint_double import Double, serving
from fleet_double import PUBLISHED, STRICT, make_node, tell, write_fleet
from preflight_project import fake_config, levels, make_context, write_project

from editlane.core import fleets
from editlane.core.errors import UserError
from editlane.preflight.config import check_config
from editlane.preflight.endpoints import check_endpoints
from editlane.preflight.models import check_models
from editlane.preflight.rule_params import RuleParams


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    yield
    fleets._VERSIONS.clear()


@pytest.fixture
def double() -> Iterator[Double]:
    with serving() as server:
        server.models = [*PUBLISHED, *PUBLISHED.values()]
        yield server


def config_with(model: str = "strict", **params: Any) -> dict[str, Any]:
    return fake_config(judges={"j": {"adapter": "qwen3-vl", "engine": "openai", "model": model, "params": params}})


def check(config: dict[str, Any]) -> list[Any]:
    return list(check_endpoints(make_context(config)))


def test_a_fleet_that_serves_the_model_passes(double: Double) -> None:
    config = config_with(fleet=write_fleet(Path(), make_node(double.url)))
    (found,) = check(config)
    assert (found.level, found.text) == ("pass", f"judge j: the fleet of config/fleet.yaml serves {STRICT}")
    assert levels(list(check_models(make_context(config)))) == ["pass", "pass"]


def test_a_fleet_that_does_not_run_may_be_started_later(double: Double) -> None:
    config = config_with(fleet=write_fleet(Path(), make_node(double.url, pid=2**22 + 1)))
    (found,) = check(config)
    assert found.level == "warn" and "serve_fleet.py up" in found.text
    for path in Path("results/fleets").rglob("*.json"):
        path.unlink()
    assert levels(check(config)) == ["warn"]
    tell(make_node("http://127.0.0.1:9"))  # its router has not begun to listen
    (found,) = check(config)
    assert found.level == "warn" and "does not answer" in found.text


def test_a_name_that_the_fleet_lacks_and_a_config_that_is_wrong_fail(double: Double) -> None:
    fleet = write_fleet(Path(), make_node(double.url))
    (found,) = check(config_with("strikt", fleet=fleet))
    assert found.level == "fail" and "Did you mean 'strict'?" in found.text
    (found,) = check(config_with(fleet="config/flet.yaml"))
    assert found.level == "fail" and "config/flet.yaml, cannot be read" in found.text


def test_the_plain_name_at_the_address_of_a_fleet_is_warned_of(double: Double) -> None:
    passed, warned = check(config_with(base_url=double.url))
    assert (passed.level, passed.text) == ("pass", f"judge j: {double.url} serves strict")
    assert warned.level == "warn" and f"`model: {STRICT}`, or `fleet:`" in warned.remedy
    assert levels(check(config_with(STRICT, base_url=double.url))) == ["pass"]
    double.models = ["strict", "strict@main"]
    assert levels(check(config_with(base_url=double.url))) == ["pass"]


def test_a_config_names_one_place() -> None:
    for params in ({}, {"base_url": "http://host/v1", "fleet": "config/fleet.yaml"}):
        with pytest.raises(UserError, match=r"judges\.j: params of .*`base_url`.*`fleet`"):
            check_config(config_with(**params))


def test_other_weights_rerun_the_rule(double: Double) -> None:
    config = check_config(config_with(fleet=write_fleet(Path(), make_node(double.url))))

    def make_flags() -> list[str]:
        fleets._VERSIONS.clear()  # as another start of the workflow
        return RuleParams(config, lambda path, name: name).make_model_flags("judge", "j")

    first = make_flags()
    assert first[first.index("--model") + 1] == STRICT
    tell(make_node(double.url, pid=2**22 + 1))
    assert make_flags() == first  # without the fleet a finished run stays finished
    tell(make_node(double.url, published=PUBLISHED | {"strict": "strict@222222222222"}))
    assert "strict@222222222222" in make_flags()
    for path in Path("results/fleets").rglob("*.json"):
        path.unlink()
    assert "strict" in make_flags()
    plain = RuleParams(check_config(config_with(base_url=double.url)), lambda path, name: name)
    assert "strict" in plain.make_model_flags("judge", "j")


def test_a_server_without_a_list_of_models_is_not_said_to_serve_one(double: Double) -> None:
    double.answer_models = lambda: {"detail": "Not Found"}
    (found,) = check(config_with(base_url=double.url))
    assert found.level == "warn" and "does not say whether it serves strict" in found.text


def test_an_answer_that_may_take_longer_than_a_lane_is_warned_of(double: Double) -> None:
    found = check(config_with("strict@" + STRICT.partition("@")[2], base_url=double.url, timeout=3600))
    assert found[0].level == "warn"
    assert "may take 3630 s (`timeout` and 30), but a lane is ended after 1800 s" in found[0].text
