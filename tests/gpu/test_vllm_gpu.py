"""The judge in vLLM on a CUDA device, on tiny random models: python -m pytest -m gpu tests/gpu/test_vllm_gpu.py

On a GPU vLLM runs models by other code (its model runner V2) than on the CPU, where `make test-vllm` runs. Each engine
is a process of its own, because vLLM reads its environment when it is imported.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_judge_gpu import DIGITS, KINDS, MIXED, SCRIPTS, load, read_out

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM"),
]

HELPERS = Path(__file__).parents[1] / "helpers"
READ_OUT = """
import json, sys
from adapters import built
from editlane.judges.qwen3_vl.vllm_engine import VllmJudge
from test_judge_gpu import DIGITS, MIXED
judge = built(VllmJudge, model=sys.argv[1], params={"max_image_side": 256, "gpu_memory_utilization": 0.3})
found = judge.read_out(judge.prepare(MIXED), DIGITS)
print(json.dumps([[[*one.probabilities, one.mass] for one in questions] for questions in found]))
"""


def read_out_in_vllm(folder, **environment):
    paths = os.pathsep.join(map(str, (SCRIPTS, HELPERS, Path(__file__).parent)))
    run = subprocess.run(
        [sys.executable, "-c", READ_OUT, str(folder)],
        env=os.environ | {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("runner", [{}, {"VLLM_USE_V2_MODEL_RUNNER": "0"}], ids=["default", "v1"])
@pytest.mark.parametrize("kind", KINDS)
def test_vllm_agrees_with_transformers(tiny_model, kind, runner):
    """In bfloat16, so both round."""
    folder = tiny_model(kind)
    found = read_out_in_vllm(folder, **runner)
    wanted = [[[*one.probabilities, one.mass] for one in questions] for questions in read_out(load(folder), MIXED)]
    assert [len(questions) for questions in found] == [len(questions) for questions in wanted]
    assert all(len(one) == len(DIGITS) + 1 for questions in found for one in questions)
    assert torch.tensor(found).sub(torch.tensor(wanted)).abs().max() < 0.1
