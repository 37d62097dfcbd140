"""What is checked and told of an editor behind a server before a run, and what it asks of the server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_double import STRICT, make_node, write_fleet
from images_double import MODEL, ImagesDouble, serving_images
from preflight_project import fake_config, levels, make_context, write_project

from editlane.core import fleets
from editlane.core.errors import UserError
from editlane.preflight.config import check_config
from editlane.preflight.endpoints import check_endpoints
from editlane.preflight.memory import check_memory
from editlane.preflight.models import check_models
from editlane.preflight.rule_params import RuleParams


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    yield
    fleets._VERSIONS.clear()


@pytest.fixture
def double() -> Iterator[ImagesDouble]:
    with serving_images() as server:
        yield server


def config_with(params: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return fake_config(editors={"远方": {"adapter": "served", "model": MODEL, "params": params} | changed})


def at(url: str, **params: Any) -> dict[str, Any]:
    return {"dialect": "vllm-omni", "base_url": url} | params


def test_a_server_that_has_the_model_passes_and_is_asked_for_no_edit(double: ImagesDouble) -> None:
    context = make_context(config_with(at(double.url)))
    (found,) = check_endpoints(context)
    assert (found.level, found.text) == ("pass", f"editor 远方: {double.url} serves {MODEL}")
    assert levels(list(check_models(context))) == ["pass", "pass"]
    assert not any("远方" in one.text for one in check_memory(context))
    assert (double.listed, double.fields) == (1, [])


def test_a_server_without_the_model_fails_and_one_that_is_down_is_warned_of(double: ImagesDouble) -> None:
    (found,) = check_endpoints(make_context(config_with(at(double.url), model="别的")))
    assert found.level == "fail" and "does not serve this model" in found.text
    (found,) = check_endpoints(make_context(config_with(at("http://127.0.0.1:9/v1"))))
    assert found.level == "warn" and "The editor's server http://127.0.0.1:9/v1" in found.text


@pytest.mark.parametrize(("most", "levels"), [(8, ["warn", "pass"]), (9, ["pass"]), (None, ["pass"])])
def test_a_budget_that_the_tests_may_use_up_is_warned_of(
    double: ImagesDouble, most: int | None, levels: list[str]
) -> None:
    found = list(check_endpoints(make_context(config_with(at(double.url, max_requests=most)))))
    assert [one.level for one in found] == levels
    if levels[0] == "warn":
        assert "each lane tests the server with up to 4 edits each time it starts: 8 requests before" in found[0].text


def test_its_lanes_hold_no_gpu_and_run_in_a_small_environment(double: ImagesDouble) -> None:
    config = check_config(config_with(at(double.url)))
    rules = RuleParams(config, lambda path, name: name)
    assert rules.count_gpus("editor", "远方") == 0
    assert rules.find_env("editor", "远方").endswith("envs/workflow.yaml")
    assert rules.make_model_flags("editor", "远方")[:2] == ["--adapter", "served/openai"]
    other = check_config(config_with(at(double.url), env="envs/edit.yaml", engine="openai"))
    assert other["editors"]["远方"]["env"] == "envs/edit.yaml"
    assert RuleParams(check_config(fake_config()), lambda path, name: name).count_gpus("editor", "a") == 1


def test_a_fleets_model_has_the_name_that_changes_with_its_weights(double: ImagesDouble) -> None:
    fleet = write_fleet(Path(), make_node(double.url))
    config = check_config(config_with({"dialect": "vllm-omni", "fleet": str(fleet)}, model="strict"))
    flags = RuleParams(config, lambda path, name: name).make_model_flags("editor", "远方")
    assert flags[flags.index("--model") + 1] == STRICT


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": None}, "needs a `model`: the name under which the endpoint serves it"),
        ({"revision": "main"}, "takes no `revision`"),
        ({"engine": "vllm"}, "engine"),
        ({"params": {"dialect": "openai", "base_url": "http://h/v1", "guidance_scale": 1}}, "has no guidance_scale"),
        ({"adapter": "fake", "engine": "openai"}, "adapter 'fake' has no engines; leave `engine` out"),
    ],
)
def test_wrong_settings_are_named_before_the_run(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^config: .*{message}"):
        check_config(config_with(**{"params": at("http://127.0.0.1:9/v1")} | changed))
