"""The editors on a CUDA device, on tiny random models: python -m pytest -m gpu tests/gpu/test_editors_gpu.py"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from editlane import pipelines
from editlane.editors.diffusers_pipeline import DiffusersEditor
from editlane.editors.qwen_image_edit import QwenImageEditor
from editlane.errors import OutOfMemory
from editlane.types import EditRequest, Item

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # diffusers' EulerAncestralDiscreteScheduler, numpy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

TinyModel = Callable[[str], Path]
SCRIPTS = Path(pipelines.__file__).parents[1]
QWEN = {"num_inference_steps": 2, "true_cfg_scale": 4.0, "negative_prompt": " ", "height": 256, "width": 256}
KONTEXT = {"num_inference_steps": 2, "height": 256, "width": 256, "max_area": 256 * 256, "_auto_resize": False}
EDITORS: list[Any] = [
    pytest.param(QwenImageEditor, "qwen-image-edit", QWEN, id="qwen-image-edit"),
    pytest.param(QwenImageEditor, "qwen-image-edit-plus", QWEN, id="qwen-image-edit-plus"),
    pytest.param(QwenImageEditor, "qwen-image-edit-2511", QWEN, id="qwen-image-edit-2511"),
    pytest.param(DiffusersEditor, "instruct-pix2pix", {"num_inference_steps": 2}, id="instruct-pix2pix"),
    pytest.param(DiffusersEditor, "flux-kontext", KONTEXT, id="flux-kontext"),
    pytest.param(DiffusersEditor, "flux2-klein", {"num_inference_steps": 2}, id="flux2-klein"),
]


def request(*, seed: int = 3, tiled_vae: bool = False) -> EditRequest:
    noise = np.random.default_rng(5).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    item = Item(
        item_id="a",
        category="环境",
        instruction="把背景换成雪天",
        language="zh",
        source_path="sources/a.png",
        source_sha256="0" * 64,
        width=256,
        height=256,
        cost=1.0,
    )
    source = Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC)
    return EditRequest(
        item=item, source=source, given=None, seed=seed, on_step=lambda step, steps: None, tiled_vae=tiled_vae
    )


def pixels(editor: Any, **options: Any) -> np.ndarray:
    return np.asarray(editor.edit(request(**options)).image, dtype=np.int16)


@pytest.mark.parametrize(("editor", "kind", "params"), EDITORS)
def test_weights_are_bfloat16_on_the_gpu_and_edits_repeat(
    editor: Any, kind: str, params: dict[str, Any], tiny_model: TinyModel
) -> None:
    loaded = editor(model=str(tiny_model(kind)), revision=None, params=params)
    models = [part for part in loaded.pipe.components.values() if isinstance(part, torch.nn.Module)]
    assert {(part.device.type, part.dtype) for part in models} == {("cuda", torch.bfloat16)}
    first = pixels(loaded)
    assert first.shape == (256, 256, 3)
    assert np.array_equal(pixels(loaded), first)
    assert not np.array_equal(pixels(loaded, seed=4), first)
    pixels(loaded, tiled_vae=True)
    assert loaded.pipe.vae.use_tiling is False


@pytest.mark.parametrize(("editor", "kind", "params"), EDITORS)
def test_float32_on_the_gpu_agrees_with_the_cpu(
    editor: Any, kind: str, params: dict[str, Any], tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The noise is drawn on the CPU, so only rounding differs."""
    model, params = str(tiny_model(kind)), params | {"dtype": "float32"}
    on_gpu = pixels(editor(model=model, revision=None, params=params))
    monkeypatch.setattr(pipelines, "pick_device", lambda: "cpu")
    on_cpu = pixels(editor(model=model, revision=None, params=params))
    assert np.abs(on_gpu - on_cpu).mean() < 2


def test_too_little_memory_ends_one_item_and_gives_back_what_it_took(tiny_model: TinyModel) -> None:
    editor = QwenImageEditor(model=str(tiny_model("qwen-image-edit-plus")), revision=None, params=QWEN)
    first = pixels(editor)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_reserved() / total)
    try:
        with pytest.raises(OutOfMemory, match="out of memory") as caught:
            pixels(editor)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.cuda.memory_allocated() <= before
    assert caught.value.kind == "oom"
    assert np.array_equal(pixels(editor), first)


BREAK_THE_DEVICE = """
import sys, torch
from test_editors_gpu import *
editor = DiffusersEditor(model=sys.argv[1], revision=None, params={"num_inference_steps": 2})
def call(**_):
    torch.zeros(1, device="cuda")[torch.tensor([5], device="cuda")]
    raise ValueError("seen before the device's own error")
editor.pipe = call
try:
    editor.edit(request())
except torch.AcceleratorError as error:
    print("passed through:", str(error).splitlines()[0])
"""


def test_a_broken_device_ends_the_lane_not_the_item(tiny_model: TinyModel) -> None:
    run = subprocess.run(
        [sys.executable, "-c", BREAK_THE_DEVICE, str(tiny_model("instruct-pix2pix"))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(SCRIPTS), str(Path(__file__).parent)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.startswith("passed through: CUDA error: device-side assert triggered"), run.stderr
