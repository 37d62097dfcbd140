"""The Qwen3-VL judge on a CUDA device, on tiny random models: python -m pytest -m gpu tests/gpu/test_judge_gpu.py"""

import itertools
import random
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from adapters import built
from PIL import Image

from editlane.core.errors import OutOfMemory
from editlane.core.types import Question
from editlane.judges.qwen3_vl import uploads
from editlane.judges.qwen3_vl.prefill import multiply_in_float32
from editlane.judges.qwen3_vl.transformers_engine import Qwen3VLJudge
from editlane.lanes.prefetch import prefetched

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DIGITS = tuple("0123456789")
KINDS = ["qwen3-vl", "qwen3-vl-moe"]
SCRIPTS = Path(__file__).parents[2] / "scripts"


def picture(seed, size):
    return Image.frombytes("RGB", size, random.Random(seed).randbytes(3 * size[0] * size[1]))


def edit(seed, size, ends=("Rubric, 0 to 9?", "Instruction, 0 to 9?")):
    """The questions about one edit."""
    parts = (
        "Source:\n",
        picture(seed, size),
        "\nEdited:\n",
        picture(seed + 100, size),
        f"\n\n把第 {seed} 个杯子移走\n\n",
    )
    return [Question(system="You are a careful judge of edits. " * 3, parts=(*parts, end)) for end in ends]


MIXED = [edit(1, (96, 64)), edit(2, (256, 192)), edit(3, (64, 200))]


def load(folder, **params):
    return built(Qwen3VLJudge, model=str(folder), params={"max_image_side": 256} | params)


def read_out(judge, asked):
    return judge.read_out(judge.prepare(asked), DIGITS)


def forget_images(judge):
    judge.prefill.vision.features.clear()


def largest_difference(readouts, others):
    pairs = zip(itertools.chain(*readouts), itertools.chain(*others), strict=True)
    return max(abs(x - y) for one, other in pairs for x, y in zip(one.probabilities, other.probabilities, strict=True))


def plainly(judge, asked):
    """The same distributions by transformers' own forward over each whole prompt."""
    questions = judge.prepare(asked).questions
    with torch.inference_mode():
        whole = judge.prefill.pad_whole_prompts(questions.trees, judge.processor.tokenizer.pad_token_id)
        logits = judge.model(**whole, logits_to_keep=1, use_cache=False).logits[:, -1].float()
    return questions.group_by_edit(logits[:, judge.find_answer_ids(DIGITS)].softmax(-1).tolist())


@contextmanager
def no_waiting_for_the_device():
    """An operation in here that makes the CPU wait for the GPU raises RuntimeError."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("kind", KINDS)
def test_float32_on_the_gpu_agrees_with_the_cpu(tiny_model, kind, monkeypatch):
    on_gpu = load(tiny_model(kind), dtype="float32")
    assert on_gpu.model.device.type == "cuda"
    monkeypatch.setattr("editlane.judges.qwen3_vl.transformers_engine.pick_device", lambda: "cpu")
    on_cpu = load(tiny_model(kind))
    assert largest_difference(read_out(on_gpu, MIXED), read_out(on_cpu, MIXED)) < 2e-3


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_the_default_and_a_batch_equals_its_edits(tiny_model, kind):
    judge = load(tiny_model(kind))
    assert judge.model.dtype == torch.bfloat16
    batched = read_out(judge, MIXED)
    alone = [read_out(judge, [one])[0] for one in MIXED]
    assert largest_difference(batched, alone) < 0.1
    forget_images(judge)
    assert batched == read_out(judge, MIXED)


def test_bfloat16_logits_are_summed_and_kept_in_float32(tiny_model):
    judge = load(tiny_model("qwen3-vl"))
    hidden, weight = torch.randn(8, judge.model.lm_head.in_features), judge.model.lm_head.weight
    hidden = hidden.to("cuda", torch.bfloat16)
    found = multiply_in_float32(hidden, weight)
    exact = hidden.double() @ weight.double().T
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 1e-4 * exact.abs().max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.1)])
def test_the_fast_path_agrees_with_transformers_own_forward(tiny_model, kind, dtype, tolerance, monkeypatch):
    """One prefill for both criteria, the system text kept, patches normalised on the device."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # the plain path's convolution of patches
    judge = load(tiny_model(kind), dtype=dtype)
    read_out(judge, MIXED)  # the system text's keys and values are kept from now on
    forget_images(judge)
    found = read_out(judge, MIXED)
    assert judge.prefill._prefixes
    pairs = zip(itertools.chain(*found), itertools.chain(*plainly(judge, MIXED)), strict=True)
    assert max(abs(x - y) for one, plain in pairs for x, y in zip(one.probabilities, plain, strict=True)) < tolerance


def test_batches_prepared_beside_the_model_give_the_numbers_of_batches_prepared_before_it(tiny_model):
    """They travel on a stream of their own, while the model computes on the one before."""
    judge = load(tiny_model("qwen3-vl"))
    batches = [[edit(10 * number + one, (256, 192)) for one in range(4)] for number in range(24)]
    waited = []
    for batch in batches:
        prepared = judge.prepare(batch)
        torch.cuda.synchronize()
        waited.append(judge.read_out(prepared, DIGITS))
    for _ in range(3):
        forget_images(judge)
        beside = [judge.read_out(ready.result(), DIGITS) for _, ready in prefetched(judge.prepare, batches, depth=2)]
        assert beside == waited


def test_arrays_are_sent_from_pinned_memory_without_waiting_for_the_device(tiny_model, monkeypatch):
    judge = load(tiny_model("qwen3-vl"))
    read_out(judge, MIXED)
    pinned = []
    pin = torch.Tensor.pin_memory
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(pin(tensor)) or pinned[-1])
    busy = torch.randn(4096, 4096, device="cuda")
    for _ in range(20):
        busy = busy @ busy.softmax(-1)
    with no_waiting_for_the_device():
        staged = judge.prepare([edit(7, (128, 96))]).staged
    assert len(pinned) >= 4 and all(tensor.is_pinned() for tensor in pinned)
    staged.upload.wait()
    for image in staged.images:
        assert torch.equal(staged.upload.patches[image.digest].cpu(), torch.from_numpy(image.values))


def test_an_upload_is_whole_once_it_is_received():
    way = uploads.Uploads("cuda")
    for size in (3, 5_000_000):
        upload = way.begin()
        values = torch.arange(size)
        with upload:
            sent = upload.send(values.numpy())
        upload.wait()
        assert torch.equal((sent + 1).cpu(), values + 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", [MIXED[:1], [MIXED[0], edit(4, (96, 64))], MIXED], ids=["one", "two", "padded"])
def test_the_model_is_given_a_batch_without_waiting_for_the_device(tiny_model, kind, asked):
    """Or the GPU stands still while Python finds out what comes next."""
    judge = load(tiny_model(kind))
    read_out(judge, asked)  # layouts of the images' sizes, the prefix: once for a lane
    forget_images(judge)
    staged = judge.prepare(asked).staged
    with no_waiting_for_the_device():
        logits = judge.prefill.compute_logits(staged)
    assert torch.isfinite(logits).all()


def test_after_running_out_of_memory_a_smaller_batch_works(tiny_model):
    judge = load(tiny_model("qwen3-vl"), attn_implementation="eager")
    read_out(judge, MIXED[:1])
    many = judge.prepare([edit(seed, (256, 256)) for seed in range(64)])
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
from editlane.models.devices import convert_model_errors
from editlane.core.errors import ItemError, JudgeFailed
try:
    with convert_model_errors(JudgeFailed):
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
