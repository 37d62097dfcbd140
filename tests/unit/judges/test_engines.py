"""The engines of a judge: what a config may say, where they run, what the checks before a run say about them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from adapters import checked
from endpoint_double import MODEL, Double, serving
from PIL import Image
from preflight_project import fake_config, levels, make_context, write_project

from editlane.core.errors import UserError
from editlane.core.types import Question
from editlane.judges.config import ENGINE_ENVS
from editlane.judges.qwen3_vl import vllm_engine as qwen3_vl_vllm
from editlane.judges.qwen3_vl.vllm_engine import VllmJudge
from editlane.judges.vllm_runs import VllmParams
from editlane.lanes.identity import identify
from editlane.models.registry import EDITORS, JUDGES, editor_on_engine, judge_on_engine
from editlane.preflight.checks import ALL
from editlane.preflight.endpoints import check_endpoints
from editlane.preflight.models import check_models
from editlane.preflight.packages import check_missing_packages

BUILT = "resources/models/tiny-qwen3-vl"


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def double() -> Iterator[Double]:
    with serving() as server:
        yield server


def with_judge(**settings: Any) -> dict[str, Any]:
    return fake_config(judges={"评委": {"adapter": "qwen3-vl"} | settings})


def asking(url: str, **settings: Any) -> dict[str, Any]:
    return with_judge(engine="openai", params={"base_url": url}, **({"model": MODEL} | settings))


def settled(config: dict[str, Any]) -> dict[str, Any]:
    """The judge's settings once the config was checked."""
    found: dict[str, Any] = make_context(config).config["judges"]["评委"]
    return found


def test_an_engine_decides_the_adapter_and_the_environment() -> None:
    found = [settled(with_judge(model=BUILT)), settled(with_judge(engine="vllm", model=BUILT))]
    found.append(settled(asking("http://host/v1")))
    assert [(one["adapter"], one["env"]) for one in found] == [
        ("qwen3-vl", "envs/qwen3.yaml"),
        ("qwen3-vl/vllm", "envs/qwen3-vllm.yaml"),
        ("qwen3-vl/openai", "envs/workflow.yaml"),
    ]
    assert settled(with_judge(engine="vllm", model=BUILT, env="envs/edit.yaml"))["env"] == "envs/edit.yaml"


def test_every_adapter_has_an_environment_for_its_engine() -> None:
    assert {name.partition("/")[2] or "transformers" for name in JUDGES} == set(ENGINE_ENVS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"adapter": "fake", "engine": "vllm"},
            r"adapter 'fake' does not run on the engine 'vllm'; leave `engine` out",
        ),
        ({"engine": "vllm"}, r"adapter 'qwen3-vl/vllm' needs a `model`: a checkpoint folder or a hub id"),
        ({"engine": "vllm", "model": "./none"}, r"The model ./none is missing"),
        ({"engine": "openai", "model": "m"}, r"params of the judge qwen3-vl on openai: neither `base_url` nor `fleet`"),
        ({"engine": "openai", "params": {"base_url": "http://h/v1"}}, r"needs a `model`: the name under which the"),
        (
            {"engine": "openai", "model": "m", "revision": "main", "params": {"base_url": "http://h/v1"}},
            r"takes no `revision`: the endpoint chooses it",
        ),
    ],
)
def test_wrong_settings_of_an_engine_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^config: judges.评委: .*{message}"):
        settled(with_judge(**settings))


def test_an_engine_that_an_adapter_lacks_names_those_that_it_has() -> None:
    with pytest.raises(UserError, match="engine 'onnx'; use transformers or openai or vllm"):
        judge_on_engine("qwen3-vl", "onnx")


def test_an_editor_with_one_engine_needs_not_name_it() -> None:
    assert editor_on_engine("served", None) == editor_on_engine("served", "openai") == "served/openai"
    for name in (name for name in EDITORS if "/" not in name):
        assert editor_on_engine(name, None) == name
        with pytest.raises(UserError, match=f"adapter '{name}' has no engines; leave `engine` out"):
            editor_on_engine(name, "openai")
    with pytest.raises(UserError, match="does not run on the engine 'vllm'; use openai"):
        editor_on_engine("served", "vllm")
    with pytest.raises(UserError, match=r"Unknown editor 'serve'. Did you mean 'served'"):
        editor_on_engine("serve", None)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"batch_tokens": 1}, r"Unknown parameter .*'batch_tokens'. Did you mean 'batch_size'\?"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_image_side": 8}, "max_image_side is 8"),
        ({"max_model_len": 0}, "max_model_len is 0"),
        ({"gpu_memory_utilization": 1.5}, "gpu_memory_utilization is 1.5; use a number from 0.01 to 1"),
        ({"enforce_eager": "yes"}, "enforce_eager is 'yes'; use true or false"),
        ({"dtype": "int8"}, "Unknown dtype 'int8'"),
        ({"optional_criteria": "x"}, "optional_criteria is 'x'"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
    ],
)
def test_wrong_params_of_vllm_are_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked(VllmJudge, params)


def test_vllm_gets_each_image_resized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many questions show it, and with other threads at work meanwhile."""
    shown: list[list[Any]] = []

    class Stub:
        tokenizer = staticmethod(lambda text, **_: {"input_ids": [1]})
        apply_chat_template = staticmethod(lambda messages, **_: ["text"])
        render_cmpl = staticmethod(lambda prompts: [shown.append(prompts[0]["multi_modal_data"].get("image", []))])

    judge = VllmJudge.__new__(VllmJudge)
    judge.params, judge.settings = VllmParams(max_image_side=64), None  # type: ignore[assignment]
    judge.processor, judge.engine, Stub.renderer = Stub, Stub, Stub  # type: ignore[attr-defined]
    judge._rendering, judge._resizers = threading.Lock(), ThreadPoolExecutor(2)
    fitted: list[Any] = []
    monkeypatch.setattr(qwen3_vl_vllm, "fit_blocks", lambda image, _: fitted.append(image.size) or image)
    source, edited = Image.new("RGB", (128, 96)), Image.new("RGB", (80, 80))
    asked = [Question(system="s", parts=(source, "a", edited, name)) for name in ("one", "two")]
    judge.prepare([[*asked, Question(system="s", parts=(edited, "three"))]])
    assert sorted(fitted) == [(64, 48), (64, 64)]
    assert [[image.size for image in images] for images in shown] == [[(64, 48), (64, 64)]] * 2 + [[(64, 64)]]
    judge._resizers.shutdown()


def test_where_a_server_is_and_how_fast_it_is_asked_are_no_part_of_a_key() -> None:
    def key(**params: Any) -> Any:
        given = {"base_url": "http://one/v1"} | params
        return identify("judge", adapter="qwen3-vl/openai", model="m", revision=None, params=given)

    assert key() == key(base_url="https://two:8000/v1", api_key_env="KEY", concurrency=2, timeout=9, attempts=1)
    assert key()["model"] == {"served": "m"}
    assert key() != key(answer_constraint=None)
    assert key() != key(max_image_side=512)


def test_a_server_that_answers_has_or_has_not_the_model(double: Double) -> None:
    (found,) = check_endpoints(make_context(asking(double.url)))
    assert (found.level, found.text) == ("pass", f"judge 评委: {double.url} serves {MODEL}")
    (found,) = check_endpoints(make_context(asking(double.url, model="other")))
    assert found.level == "fail"
    assert f"does not serve this model. Unknown model 'other'. Available: {MODEL}" in found.text
    assert double.asked == []  # it lists, it does not ask


def test_a_server_that_is_not_there_yet_is_warned_of() -> None:
    with serving() as double:
        url = double.url
    (found,) = check_endpoints(make_context(asking(url)))
    assert found.level == "warn"
    assert "does not answer" in found.text
    assert "endpoints" in ALL


def test_a_server_hides_no_model_and_needs_no_library(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context(asking(double.url))
    assert [one.text for one in check_models(context)][-1] == "judge 评委: served by an endpoint"
    monkeypatch.setattr("editlane.preflight.packages._find_version", lambda name: None)
    monkeypatch.setattr("editlane.preflight.packages.find_spec", lambda name: None if name == "torch" else True)
    assert list(check_missing_packages(context)) == []


def test_without_vllm_its_judge_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("editlane.preflight.packages._find_version", lambda name: None)
    monkeypatch.setattr("editlane.preflight.packages.find_spec", lambda name: None if name == "vllm" else True)
    assert list(check_missing_packages(make_context(with_judge(model=BUILT)))) == []
    found = list(check_missing_packages(make_context(with_judge(engine="vllm", model=BUILT))))
    assert levels(found) == ["fail"]
    assert found[0].text == "envs/qwen3-vllm.yaml (评委) is incomplete: this Python lacks vllm"
