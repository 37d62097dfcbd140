"""What makes a CPU wait for a GPU is not done while the judge's model is given a batch; seen here without one."""

import random

import pytest
import torch
from adapters import built
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from editlane.core.types import Question
from editlane.judges.qwen3_vl.transformers_engine import Qwen3VLJudge

aten = torch.ops.aten
READ_BACK = (aten.nonzero.default, aten._local_scalar_dense.default, aten.masked_select.default)
"""Their result tells Python a number or a shape that only the device knows."""


class Watch(TorchDispatchMode):
    """Notes the operations that would wait for the device."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        indices = args[1] if function in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default) else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if function in READ_BACK or by_mask:
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))


def edit(seed):
    pictures = [Image.frombytes("RGB", (96, 64), random.Random(seed + more).randbytes(3 * 96 * 64)) for more in (0, 50)]
    parts = ("Source:\n", pictures[0], "\nEdited:\n", pictures[1], "\n\n把杯子移走\n\n")
    return [Question(system="You are a careful judge. " * 3, parts=(*parts, end)) for end in ("Rubric?", "Done?")]


@pytest.mark.parametrize("asked", [[edit(1)], [edit(1), edit(2)]], ids=["one", "two"])
def test_a_batch_is_computed_without_asking_the_device_for_numbers(tiny_model, asked):
    judge = built(Qwen3VLJudge, model=str(tiny_model("qwen3-vl")), params={"max_image_side": 256})
    judge.read_out(judge.prepare(asked), ("0", "1"))  # layouts of the images' sizes, the prefix: once for a lane
    judge.prefill.vision.features.clear()
    staged = judge.prepare(asked).staged
    with Watch() as watch:
        judge.prefill.compute_logits(staged)
    assert watch.found == []


def test_the_watch_sees_what_waits():
    values, mask = torch.arange(4), torch.tensor([True, False, True, False])
    with Watch() as watch:
        bool(mask.all())
        values[mask]
        values[mask] = 0
        mask.nonzero()
    assert len(watch.found) >= 4
