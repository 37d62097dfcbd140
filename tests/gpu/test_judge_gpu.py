"""The Qwen3-VL judge on a CUDA device, on tiny random models: python -m pytest -m gpu tests/gpu/test_judge_gpu.py"""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from editlane.errors import OutOfMemory
from editlane.judges.qwen3_vl import Qwen3VLJudge
from editlane.types import Question

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DIGITS = tuple("0123456789")
SCRIPTS = Path(__file__).parents[2] / "scripts"


def question(seed, size):
    pixels = [random.Random(seed + offset).randbytes(3 * size[0] * size[1]) for offset in (0, 100)]
    source, edited = (Image.frombytes("RGB", size, data) for data in pixels)
    parts = ("Source:\n", source, "\nEdited:\n", edited, f"\n\n把第 {seed} 个杯子移到地板上\n\n", "0 to 9?")
    return Question(system="Judge.", parts=parts)


MIXED = [question(1, (96, 64)), question(2, (256, 192)), question(3, (64, 200))]


def load(folder, **params):
    return Qwen3VLJudge(model=str(folder), revision=None, params={"max_image_side": 256} | params)


def read_out(judge, asked):
    return judge.read_out(judge.prepare(asked), DIGITS)


def largest_difference(readouts, others):
    pairs = zip(readouts, others, strict=True)
    return max(abs(x - y) for one, other in pairs for x, y in zip(one.probabilities, other.probabilities, strict=True))


@pytest.mark.parametrize("kind", ["qwen3-vl", "qwen3-vl-moe"])
def test_float32_on_the_gpu_agrees_with_the_cpu(tiny_model, kind, monkeypatch):
    on_gpu = load(tiny_model(kind), dtype="float32")
    assert on_gpu.model.device.type == "cuda"
    monkeypatch.setattr("editlane.judges.qwen3_vl.pick_device", lambda: "cpu")
    on_cpu = load(tiny_model(kind))
    assert largest_difference(read_out(on_gpu, MIXED), read_out(on_cpu, MIXED)) < 2e-3


@pytest.mark.parametrize("kind", ["qwen3-vl", "qwen3-vl-moe"])
def test_bfloat16_is_the_default_and_a_batch_equals_its_questions(tiny_model, kind):
    judge = load(tiny_model(kind))
    assert judge.model.dtype == torch.bfloat16
    batched = read_out(judge, MIXED)
    alone = [read_out(judge, [one])[0] for one in MIXED]
    assert largest_difference(batched, alone) < 0.1
    assert batched == read_out(judge, MIXED)


def test_after_running_out_of_memory_a_smaller_batch_works(tiny_model):
    judge = load(tiny_model("qwen3-vl"), attn_implementation="eager")
    read_out(judge, MIXED[:1])
    many = judge.prepare([question(seed, (256, 256)) for seed in range(64)])
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 32 * 2**20) / total)
    try:
        with pytest.raises(OutOfMemory):
            judge.read_out(many, DIGITS)
        assert len(read_out(judge, MIXED[:1])) == 1
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


BROKEN_CONTEXT = """
import sys
import torch
from editlane.errors import ItemError
from editlane.judges.qwen3_vl import _batch_errors
try:
    with _batch_errors():
        table = torch.zeros(3, device="cuda")
        table[torch.tensor([7], device="cuda")].cpu()
except ItemError:
    sys.exit("taken for an item's failure")
except RuntimeError:
    print("passed through")
"""


def test_a_broken_cuda_context_passes_through():
    done = subprocess.run([sys.executable, "-c", BROKEN_CONTEXT], capture_output=True, text=True, cwd=SCRIPTS)
    assert done.stdout.strip() == "passed through", done.stderr
