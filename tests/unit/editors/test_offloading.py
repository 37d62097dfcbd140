"""`offload: blocks` on the CPU, where a weight that was not brought to the device would not show: here it is NaN."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import built
from test_editors import KONTEXT_64, NO_GUIDANCE, TWO_STEPS, one_thread, request
from test_optimizations import small_reference

from editlane.editors.diffusers_pipeline import DiffusersEditor
from editlane.editors.optimizations.apply import find_denoiser
from editlane.editors.optimizations.offloading import offload_blocks
from editlane.editors.qwen_image_edit import QwenImageEditor

torch = pytest.importorskip("torch")
group_offloading = pytest.importorskip("diffusers.hooks.group_offloading")

pytestmark = pytest.mark.filterwarnings(
    # diffusers' EulerAncestralDiscreteScheduler, numpy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

EDITORS: list[Any] = [
    pytest.param(QwenImageEditor, "qwen-image-edit-2511", NO_GUIDANCE, id="qwen-image-edit-2511"),
    pytest.param(DiffusersEditor, "instruct-pix2pix", TWO_STEPS, id="instruct-pix2pix"),
    pytest.param(DiffusersEditor, "flux-kontext", KONTEXT_64, id="flux-kontext"),
    pytest.param(DiffusersEditor, "flux2-klein", TWO_STEPS, id="flux2-klein"),
]

assert one_thread and small_reference  # for this module, too


class Traffic:
    """Replaces diffusers' copies between host and device: weights are NaN while they wait in the host's memory."""

    def __init__(self) -> None:
        self.waiting: dict[Any, Any] = {}
        self.here = self.most = 0
        """Bytes on the device, of weights that come and go: now, and at most so far."""

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(group_offloading.ModuleGroup, "onload_", lambda group: self.bring(group))
        monkeypatch.setattr(group_offloading.ModuleGroup, "offload_", lambda group: self.take_away(group))

    def bring(self, group: Any) -> None:
        for weight in weights(group):
            if weight in self.waiting:
                weight.data = self.waiting.pop(weight)
                self.here += weight.nbytes
                self.most = max(self.most, self.here)

    def take_away(self, group: Any) -> None:
        for weight in weights(group):
            if weight not in self.waiting:
                self.waiting[weight] = weight.data
                self.here -= weight.nbytes
                weight.data = torch.full_like(weight.data, torch.nan)


def weights(group: Any) -> list[Any]:
    """Its parameters and buffers, but for integers, which have no NaN."""
    found = [*group.parameters, *group.buffers]
    for module in group.modules:
        found += [*module.parameters(), *module.buffers()]
    return [weight for weight in found if weight.is_floating_point()]


def pixels(editor: Any) -> np.ndarray:
    return np.asarray(editor.edit(request()).image)


@pytest.mark.parametrize(("editor", "kind", "params"), EDITORS)
def test_every_weight_that_computes_is_on_the_device(
    editor: Any,
    kind: str,
    params: dict[str, Any],
    tiny_model: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, away = (built(editor, model=str(tiny_model(kind)), params=params) for _ in range(2))
    traffic = Traffic()
    traffic.patch(monkeypatch)
    offload_blocks(away.pipe, find_denoiser(away.pipe), "cpu", use_stream=False)
    assert traffic.waiting
    assert np.array_equal(pixels(away), pixels(here))
    assert np.array_equal(pixels(away), pixels(here)), "also the second time"


def test_a_text_encoder_comes_layer_by_layer_not_whole(
    tiny_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = built(QwenImageEditor, model=str(tiny_model("qwen-image-edit-2511")), params=NO_GUIDANCE)
    traffic = Traffic()
    traffic.patch(monkeypatch)
    offload_blocks(editor.pipe, find_denoiser(editor.pipe), "cpu", use_stream=False)
    assert all(weight in traffic.waiting for weight in editor.pipe.text_encoder.parameters())
    traffic.here = traffic.most = 0
    with torch.inference_mode():
        editor.pipe.text_encoder(input_ids=torch.arange(8)[None])
    largest = max(weight.nbytes for weight in editor.pipe.text_encoder.parameters())
    whole = sum(weight.nbytes for weight in editor.pipe.text_encoder.parameters())
    assert traffic.most < 2 * largest < whole
