"""What ends the start of vLLM, and whether another try may help. The engine is a double."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from editlane.core.errors import PassingError, UserError
from editlane.judges.vllm_runs import VllmParams, make_engine

pytest.importorskip("torch")

HUB_ID, FOLDER = "Qwen/Qwen3-VL-Nowhere", "/models/qwen"

MEMORY = [
    "Free memory on device cuda:0 (3.25/79.1 GiB) on startup is less than desired GPU memory utilization (0.9, 71.19 "
    "GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
    "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",
    "To serve at least one request with the models's max seq len (16384), (2.25 GiB KV cache is needed, which is "
    "larger than the available KV cache memory (1.1 GiB). Try increasing `gpu_memory_utilization` or decreasing "
    "`max_model_len` when initializing the engine.",
]
"""As vLLM says it."""


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`start(model, error)`: start an engine that raises, and return what `make_engine` makes of it."""

    def start(model: str, error: Exception) -> Exception:
        def fail(arguments: object) -> None:
            raise error

        double = SimpleNamespace(EngineArgs=dict, LLMEngine=SimpleNamespace(from_engine_args=fail))
        monkeypatch.setitem(sys.modules, "vllm", double)
        with pytest.raises(Exception) as raised:
            make_engine(model, None, VllmParams(), {})
        return raised.value

    return start


@pytest.mark.parametrize("model", [HUB_ID, FOLDER])
@pytest.mark.parametrize("reason", MEMORY)
def test_too_little_free_memory_may_pass(start: Any, model: str, reason: str) -> None:
    found = start(model, ValueError(reason))
    assert type(found) is PassingError
    assert str(found).startswith(f"The judge's model {model} finds too little free memory on its GPU: {reason}")


@pytest.mark.parametrize("model", [HUB_ID, FOLDER])
def test_settings_that_the_engine_refuses_are_no_matter_of_the_hub(start: Any, model: str) -> None:
    found = start(model, ValueError("User-specified max_model_len (16384) is greater than the derived max_model_len"))
    assert type(found) is UserError
    assert str(found).startswith(f"The judge's model {model} cannot be loaded: User-specified max_model_len")


def test_weights_that_cannot_be_fetched_are(start: Any) -> None:
    found = start(HUB_ID, OSError("We couldn't connect to the hub."))
    assert type(found) is PassingError
    assert f"hf download {HUB_ID}" in str(found)
    assert type(start(FOLDER, OSError("no file named model.safetensors"))) is UserError


def test_a_missing_package_passes_through(start: Any) -> None:
    missing = ModuleNotFoundError("No module named 'xgrammar'", name="xgrammar")
    assert start(FOLDER, missing) is missing
