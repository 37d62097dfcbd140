"""The editors on a CUDA device, on tiny random models: python -m pytest -m gpu tests/gpu/test_editors_gpu.py"""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapters import built
from PIL import Image

from editlane.core.errors import OutOfMemory, UserError
from editlane.core.types import EditRequest, Item
from editlane.editors import pipelines
from editlane.editors.diffusers_pipeline import DiffusersEditor
from editlane.editors.qwen_image_edit import QwenImageEditor
from editlane.models.tiny.qwen_image_edit import save_deeper, save_lightning_lora

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # diffusers' EulerAncestralDiscreteScheduler, numpy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

TinyModel = Callable[[str], Path]
SCRIPTS = Path(pipelines.__file__).parents[2]
HELPERS = Path(__file__).parents[1] / "helpers"
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
    loaded = built(editor, model=str(tiny_model(kind)), params=params)
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
    on_gpu = pixels(built(editor, model=model, params=params))
    monkeypatch.setattr(pipelines, "pick_device", lambda: "cpu")
    on_cpu = pixels(built(editor, model=model, params=params))
    assert np.abs(on_gpu - on_cpu).mean() < 2


def test_too_little_memory_ends_one_item_and_gives_back_what_it_took(tiny_model: TinyModel) -> None:
    editor = built(QwenImageEditor, model=str(tiny_model("qwen-image-edit-plus")), params=QWEN)
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


NEEDS_FP8 = pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 9), reason="has no fp8"
)
LIGHTNING: dict[str, Any] = {
    "num_inference_steps": 4,
    "true_cfg_scale": 1.0,
    "negative_prompt": None,
    "scheduler": "lightning",
}


def qwen(tiny_model: TinyModel, **params: Any) -> QwenImageEditor:
    return built(QwenImageEditor, model=str(tiny_model("qwen-image-edit-2511")), params=QWEN | params)


@pytest.mark.parametrize("offload", ["model", "blocks"])
def test_weights_that_wait_in_the_hosts_memory_give_the_same_pixels(offload: str, tiny_model: TinyModel) -> None:
    here, away = qwen(tiny_model), qwen(tiny_model, offload=offload)
    assert np.array_equal(pixels(away), pixels(here))
    assert np.array_equal(pixels(away), pixels(here)), "also the second time"
    assert {weight.device.type for weight in away.pipe.transformer.transformer_blocks.parameters()} == {"cpu"}


@pytest.mark.parametrize("backend", ["native", "_native_efficient", "_native_flash", "_native_cudnn"])
def test_attention_backends_agree(backend: str, tiny_model: TinyModel) -> None:
    try:
        editor = qwen(tiny_model, attention_backend=backend)
    except UserError as error:
        pytest.skip(str(error))
    assert np.abs(pixels(editor) - pixels(qwen(tiny_model))).mean() < 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # torch's own, while it compiles
@pytest.mark.parametrize("offload", [None, "blocks"])
def test_compiled_blocks_agree_with_and_without_a_cache(
    offload: str | None, tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    for more in ({}, {"cache": {"kind": "first_block", "threshold": 0.5}, "num_inference_steps": 6}):
        eager = pixels(qwen(tiny_model, **more))
        compiled = qwen(tiny_model, compile=True, offload=offload, **more)
        assert np.abs(pixels(compiled) - eager).mean() < 2
        assert np.array_equal(pixels(compiled), pixels(compiled))
    assert list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    "params",
    [{"attention_backend": "_native_cudnn"}, pytest.param({"quantization": "fp8"}, marks=NEEDS_FP8)],
    ids=["cudnn", "fp8"],
)
def test_twelve_blocks_are_compiled_once(
    params: dict[str, Any], tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.utils import counters

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    torch._dynamo.reset()
    counters.clear()
    model = save_deeper(tiny_model("qwen-image-edit-2511"), tmp_path / "deeper", blocks=12)
    compiled, eager = (
        built(QwenImageEditor, model=str(model), params=QWEN | params | {"compile": on}) for on in (True, False)
    )
    assert np.abs(pixels(compiled) - pixels(eager)).mean() < 2
    assert counters["stats"]["unique_graphs"] == 1


CACHES: list[Any] = [
    pytest.param({"kind": "taylor_seer", "cache_interval": 2, "disable_cache_before_step": 2}, id="taylor_seer"),
    pytest.param({"kind": "taylor_seer", "disable_cache_before_step": 2, "use_lite_mode": True}, id="taylor_seer-lite"),
    pytest.param({"kind": "mag", "mag_ratios": [1, 1, 1], "threshold": 0.5}, id="mag"),
]


@pytest.mark.parametrize("offload", [None, "model", "blocks"])
@pytest.mark.parametrize("cache", CACHES)
def test_step_caches_skip_work_and_repeat(
    cache: dict[str, Any], offload: str | None, tiny_model: TinyModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "editlane.editors.optimizations.step_cache")
    cached = qwen(tiny_model, num_inference_steps=6, cache=cache, offload=offload)
    first = pixels(cached)
    told = re.fullmatch(r"cache \w+: skipped (\d+) of (\d+) block calls \(\d+%\)", caplog.messages[-1])
    assert told
    assert 0 < int(told[1]) < int(told[2])
    assert (first != pixels(qwen(tiny_model, num_inference_steps=6))).any()
    assert np.array_equal(pixels(cached), first)
    if offload:
        assert np.array_equal(pixels(qwen(tiny_model, num_inference_steps=6, cache=cache)), first)


def test_calibrating_a_mag_cache_logs_its_ratios_and_changes_nothing(
    tiny_model: TinyModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "editlane.editors.optimizations.step_cache")
    calibrating = qwen(tiny_model, num_inference_steps=6, cache={"kind": "mag", "calibrate": True})
    assert np.array_equal(pixels(calibrating), pixels(qwen(tiny_model, num_inference_steps=6)))
    assert sum(text.startswith("[1.0, ") for text in caplog.messages) == 2, "of both prompts"


@NEEDS_FP8
def test_fp8_agrees_roughly_and_takes_less_memory(tiny_model: TinyModel) -> None:
    eager = pixels(qwen(tiny_model))
    rounded = qwen(tiny_model, quantization="fp8")
    assert np.abs(pixels(rounded) - eager).mean() < 6
    layer = rounded.pipe.transformer.transformer_blocks[0].attn.to_q
    assert (layer.weight.dtype, layer.weight.device.type) == (torch.float8_e4m3fn, "cuda")


@NEEDS_FP8
@pytest.mark.parametrize("offload", ["model", "blocks"])
def test_fp8_weights_that_wait_in_the_hosts_memory_give_the_same_pixels(offload: str, tiny_model: TinyModel) -> None:
    here, away = qwen(tiny_model, quantization="fp8"), qwen(tiny_model, quantization="fp8", offload=offload)
    assert np.array_equal(pixels(away), pixels(here))
    assert np.array_equal(pixels(away), pixels(here)), "also the second time"
    assert away.pipe.transformer.transformer_blocks[0].attn.to_q.weight.device.type == "cpu"


@pytest.mark.skipif(torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 9), reason="has fp8")
def test_fp8_is_refused_by_gpus_without_it(tiny_model: TinyModel) -> None:
    with pytest.raises(UserError, match=r"fp8 needs a GPU of compute capability 8\.9"):
        qwen(tiny_model, quantization="fp8")


def test_a_lora_gives_the_same_pixels_wherever_the_weights_wait(tiny_model: TinyModel, tmp_path: Path) -> None:
    lora = tmp_path / "Tiny-Lightning-4steps-V1.0.safetensors"
    save_lightning_lora(lora)
    fused, plain = qwen(tiny_model, **LIGHTNING, lora=str(lora)), qwen(tiny_model, **LIGHTNING)
    assert fused.pipe.transformer.device.type == "cuda"
    first = pixels(fused)
    assert (first != pixels(plain)).any()
    for offload in ("model", "blocks"):
        assert np.array_equal(pixels(qwen(tiny_model, **LIGHTNING, lora=str(lora), offload=offload)), first)


BREAK_THE_DEVICE = """
import sys, torch
from test_editors_gpu import *
editor = built(DiffusersEditor, model=sys.argv[1], params={"num_inference_steps": 2})
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
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (SCRIPTS, HELPERS, Path(__file__).parent)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.startswith("passed through: CUDA error: device-side assert triggered"), run.stderr
