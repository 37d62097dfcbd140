"""Why a server of a fleet cannot start: the telling line of vLLM's log, and what is missing in this Python."""

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from editlane.core.errors import UserError
from editlane.fleet.commands import ON_CPU, environment
from editlane.fleet.launch import check_installed
from editlane.fleet.process import find_reason

WORKER = "(Worker pid=32302) ERROR 12-01 01:38:53 [multiproc_executor.py:1063] "
LEAKED = "resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 2 leaked shared_memory objects"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            ["usage: api_server.py [-h]", "                     [model_tag]", "api_server.py: error: unrecognized: -x"],
            "api_server.py: error: unrecognized: -x",
        ),
        (
            [
                "(APIServer pid=3) WARNING 12-01 01:38:37 [u.py:2] This can cause errors like `OSError: [Errno 24]`",
                f"{WORKER}Traceback (most recent call last):",
                f'{WORKER}  File "/site-packages/vllm/v1/worker/cpu_worker.py", line 219, in determine',
                f"{WORKER}    raise ValueError(",
                f"{WORKER}ValueError: Available memory (17.22 GiB) is less than requested (900.0 GiB).",
                '  File "/site-packages/vllm/v1/engine/utils.py", line 1431, in wait_for_engine_startup',
                "    raise RuntimeError(",
                "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
                LEAKED,
                "  warnings.warn('resource_tracker: There appear to be %d '",
            ],
            "ValueError: Available memory (17.22 GiB) is less than requested (900.0 GiB).",
        ),
        (
            [
                "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
                "  Value error, User-specified max_model_len (4000000) is  too large",
                "    For further information visit https://errors.pydantic.dev/2.14/v/value_error",
            ],
            "Value error, User-specified max_model_len (4000000) is too large",
        ),
        (
            [
                "(EngineCore pid=8) ERROR 12-01 01:54:57 [m:3] Worker proc W-0 died unexpectedly (exit code: -9)",
                "(EngineCore pid=80) ERROR 12-01 01:54:57 [core.py:1512] EngineCore encountered a fatal error.",
                "(EngineCore pid=80) ERROR 12-01 01:54:57 [core.py:1512] RuntimeError: cancelled",
                "(APIServer pid=77) ERROR 12-01 01:54:57 [a.py:9] vllm.EngineDeadError: See stack trace (above).",
                "INFO:     Finished server process [7790]",
                "nanobind: leaked 64 types!",
                ' - leaked type "triton._C.libtriton.ir.location"',
            ],
            "Worker proc W-0 died unexpectedly (exit code: -9)",
        ),
        (["torch.OutOfMemoryError: CUDA out of memory.", "INFO bye"], "torch.OutOfMemoryError: CUDA out of memory."),
        (["(APIServer pid=1) INFO 12-01 01:38:37 [u.py:1] Shutting down"], "Shutting down"),
        (["", "gpulease: leased 0"], ""),
        (["x.ValidationError: 1 validation error for A"], "x.ValidationError: 1 validation error for A"),
    ],
)
def test_the_telling_line_of_a_log_is_found(log: list[str], reason: str) -> None:
    assert find_reason(log) == reason


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def lack(*names: str) -> None:
        def find(name: str, *_: Any) -> Any:
            return None if name in names else object()

        monkeypatch.setattr(importlib.util, "find_spec", find)

    return lack


def test_what_is_missing_is_told_with_a_way_to_get_it(lacking: Callable[..., None]) -> None:
    lacking("vllm", "vllm_router")
    with pytest.raises(UserError, match=r"has no vLLM and no vllm-router\. On a machine .*`make fleet-demo`"):
        check_installed(has_routers=True)
    lacking("vllm_router")
    with pytest.raises(UserError, match=r"has no vllm-router\."):
        check_installed(has_routers=True)
    check_installed(has_routers=False)
    lacking()
    check_installed(has_routers=True)


def test_servers_share_the_cores_unless_the_user_wants_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ON_CPU:
        monkeypatch.delenv(name, raising=False)
    assert not ON_CPU.keys() & environment("", lora=False).keys()
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "40")
    found = environment("", lora=True, on_cpu=True)
    assert {name: found[name] for name in ON_CPU} == ON_CPU | {"VLLM_CPU_KVCACHE_SPACE": "40"}
