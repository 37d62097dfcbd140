"""Variants of making an edit: diffusers alone, and each optimization of the project's editor."""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from ladder import Way, best_of, free_memory, seconds_of
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from editlane.editors import pipelines
from editlane.editors.optimizations.real_rope import use_real_positions
from editlane.editors.qwen_image_edit import QwenImageEditor, QwenImageEditParams
from editlane.models import load_times

FEW, MORE = 2, 6
"""Steps of the two edits from which the time of a step follows."""
BACKENDS = ("_native_cudnn", "_native_flash", "_native_efficient", "flash", "_flash_3", "sage")
GUIDED = {"true_cfg_scale": 4.0, "negative_prompt": " "}
LIGHTNING = {"scheduler": "lightning", "true_cfg_scale": 1.0}
CACHES: dict[str, dict[str, Any]] = {
    "first_block": {"kind": "first_block", "threshold": 0.1},
    "taylor_seer": {"kind": "taylor_seer", "cache_interval": 3, "use_lite_mode": True},
}
COMPILING = 60.0
"""Seconds that compiling is taken to need, for the forecast of a way's time."""
OFFLOADING = 90.0
"""The same for what offloading copies between the host and the GPU."""
WEIGHTS = {"_parameters", "_buffers", "_modules"}
"""Of a module's attributes, those that `undone` leaves as they have become."""

Seconds = Callable[[QwenImageEditor], float]


class EditWays:
    """All ways for one set of parts."""

    def __init__(self, parts: dict[str, Any], args: Any, folder: Path) -> None:
        self.parts, self.args, self.folder = parts, args, folder
        self.request = pipelines.make_trial_request(args.side, args.side)
        self.numbers = itertools.count()
        self.work = {guided: self._count(guided) for guided in (True, False)}
        self.floor = self._flops(args.steps)
        """FLOPs of an edit of `args.steps` steps with guidance."""

    def about(self) -> str:
        """What is edited."""
        weights = ", ".join(
            f"{name} {sum(weight.numel() for weight in part.parameters()) / 1e9:.2f} B"
            for name, part in self.parts.items()
            if hasattr(part, "parameters")
        )
        side = self.args.side
        return (
            f"{weights}; source and edit {side} x {side}; {self.args.steps} steps with guidance unless said otherwise"
        )

    def warm_up_seconds(self) -> float:
        return load_times.get_seconds()["warm-up"]

    def exact(self) -> Iterator[Way]:
        """The plain one first."""
        yield self._way("plain: diffusers, eager")
        yield self._way(f"the same, all {self.args.steps} steps timed", seconds=self._whole(self.args.steps))
        for backend in BACKENDS:
            yield self._way(f"attention_backend: {backend}", attention_backend=backend)
        yield self._way("positions in real numbers, eager", seconds=self._real_positions)
        yield self._way("compile: true", compile=True)
        yield self._way(
            "compile: true, attention_backend: _native_cudnn", compile=True, attention_backend="_native_cudnn"
        )
        yield self._way("+ the source known from another item", seconds=self._of_steps(known=True), compile=True)
        yield from self._pieces()

    def inexact(self) -> Iterator[Way]:
        """With the plain one for comparison."""
        yield self._way("plain: diffusers, eager")
        yield self._way("compile: true", compile=True)
        steps, note = self.args.steps, "random weights: what is skipped means nothing"
        for name, cache in CACHES.items():
            way = self._way(f"compile, cache: {name}", seconds=self._whole(steps), compile=True, cache=cache)
            yield replace(way, note=note, less=True, known=False)
        calibrate = {"kind": "mag", "calibrate": True}
        yield self._way("cache: mag, its calibration", seconds=self._whole(steps), cache=calibrate)
        ratios = {"kind": "mag", "mag_ratios": [1.0] * (2 * steps)}
        way = self._way("compile, cache: mag", seconds=self._whole(steps), compile=True, cache=ratios)
        yield replace(way, note=note, less=True, known=False)
        for few in (8, 4):
            name = f"Lightning's scheduler, {few} steps, no guidance, compile"
            way = self._way(name, steps=few, seconds=self._whole(few), guided=False, compile=True, **LIGHTNING)
            yield replace(way, less=True)
        way = self._way("quantization: fp8, compile", quantization="fp8", compile=True)
        yield replace(way, note="floor and rate are those of the other ways' dtype")  # the last: its weights stay

    def offload(self) -> Iterator[Way]:
        """With the plain one for comparison."""
        yield self._way("plain: diffusers, eager")
        yield self._way("offload: model", offload="model")
        yield self._way("offload: blocks", offload="blocks")

    def _pieces(self) -> Iterator[Way]:
        """What an edit does once, by itself."""
        vae, device = self.parts["vae"], self.args.device
        pixels = torch.zeros(1, 3, 1, self.args.side, self.args.side, device=device, dtype=vae.dtype)
        with torch.inference_mode():
            latents = vae.encode(pixels).latent_dist.mode()
        editor = self._editor(GUIDED)
        small = self.request.source.resize((384, 384))
        pieces: dict[str, Callable[[], object]] = {
            "VAE: the source encoded": lambda: vae.encode(pixels),
            "VAE: the edit decoded": lambda: vae.decode(latents),
            "text encoder: one prompt with the source": lambda: editor.pipe.encode_prompt(
                prompt="Make the sky red.", image=[small], device=torch.device(device)
            ),
        }
        for name, piece in pieces.items():
            yield Way(
                name=name, measure=lambda piece=piece: self._alone(piece), work=counted(piece), units=3, whole=False
            )

    def _alone(self, piece: Callable[[], object]) -> float:
        with torch.inference_mode():
            piece()
            return best_of(self.args.turns, piece, self.args.device)

    def _way(
        self, name: str, *, seconds: Seconds | None = None, steps: int | None = None, guided: bool = True, **params: Any
    ) -> Way:
        """An editor with these params, timed by `seconds`."""
        timed = seconds or self._of_steps()

        def measure() -> float:
            with self._editing(GUIDED | params if guided else params) as editor:
                free_memory()  # the peak is that of edits, not of what offload found on the GPU
                return timed(editor)

        work = self._flops(steps or self.args.steps, guided)
        units = 1.0 if seconds else (self.args.turns + 1) * (FEW + MORE) / self.args.steps
        waits = COMPILING * bool(params.get("compile")) + OFFLOADING * bool(params.get("offload"))
        return Way(name=name, measure=measure, work=work, units=units, waits=waits)

    @contextmanager
    def _editing(self, params: dict[str, Any]) -> Iterator[QwenImageEditor]:
        """An editor around the parts, which are as before afterwards, but for the weights that fp8 rounded."""
        parts = [part for part in self.parts.values() if isinstance(part, torch.nn.Module)]
        processors = [block.attn.processor for block in self.parts["transformer"].transformer_blocks]
        backends = [processor._attention_backend for processor in processors]
        try:
            with undone(parts):
                yield self._editor(params)
        finally:
            for processor, backend in zip(processors, backends, strict=True):
                processor._attention_backend = backend
            for part in parts:
                part.to(self.args.device)  # from where offload left them
            if params.get("compile"):
                torch._dynamo.reset()  # the next way is compiled as in a process of its own

    def _editor(self, params: dict[str, Any]) -> QwenImageEditor:
        from diffusers import QwenImageEditPlusPipeline

        def around(folder: Path, **options: Any) -> Any:
            return QwenImageEditPlusPipeline(**self.parts)

        size = {"width": self.args.side, "height": self.args.side, "num_inference_steps": self.args.steps}
        if params.get("scheduler") == "lightning":
            size["num_inference_steps"] = 4
        with self._patched(), patch.object(QwenImageEditPlusPipeline, "from_pretrained", around):
            given = QwenImageEditParams(**size | params)
            return QwenImageEditor(model=str(self.folder), revision=None, params=given)

    @contextmanager
    def _patched(self) -> Iterator[None]:
        """The reference as large as asked for, and numbers that random weights made infinite let through."""
        from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as plus

        to_image = pipelines.to_image
        with ExitStack() as stack:
            stack.enter_context(patch.object(plus, "VAE_IMAGE_SIZE", self.args.side**2))
            stack.enter_context(patch.object(pipelines, "to_image", lambda pixels: to_image(np.nan_to_num(pixels))))
            yield

    def _edit(self, editor: QwenImageEditor, steps: int, known: bool = False) -> None:
        """Of a source that no edit had before, unless it is `known`."""
        number = 0 if known else next(self.numbers) + 1
        item = replace(self.request.item, source_sha256=f"{number:064}")
        with self._patched():
            editor._run(replace(self.request, item=item), steps)

    def _of_steps(self, known: bool = False) -> Seconds:
        """Of all steps, from what few and some more take."""

        def seconds(editor: QwenImageEditor) -> float:
            self._edit(editor, FEW, known)
            few, more = (
                best_of(self.args.turns, lambda steps=steps: self._edit(editor, steps, known), self.args.device)
                for steps in (FEW, MORE)
            )
            return few + (more - few) / (MORE - FEW) * (self.args.steps - FEW)

        return seconds

    def _whole(self, steps: int) -> Seconds:
        def seconds(editor: QwenImageEditor) -> float:
            if steps <= 2 * MORE:
                self._edit(editor, steps)  # more steps leave little of what the first edit takes longer
            return seconds_of(lambda: self._edit(editor, steps), self.args.device)

        return seconds

    def _real_positions(self, editor: QwenImageEditor) -> float:
        use_real_positions(editor.pipe.transformer)
        return self._of_steps()(editor)

    def _count(self, guided: bool) -> tuple[float, float]:
        """FLOPs of an edit without its steps, and of a step."""
        with self._editing(GUIDED if guided else {"true_cfg_scale": 1.0}) as editor:
            few, more = (counted(lambda steps=steps: self._edit(editor, steps)) for steps in (FEW, MORE))
        step = (more - few) / (MORE - FEW)
        return few - FEW * step, step

    def _flops(self, steps: int, guided: bool = True) -> float:
        fixed, step = self.work[guided]
        return fixed + steps * step


@contextmanager
def undone(parts: Sequence[torch.nn.Module]) -> Iterator[None]:
    """Restore the parts afterwards, except weights and their device: optimizations change forwards, hooks, caches and
    offloading, all of which are attributes of modules."""

    def attributes(module: torch.nn.Module) -> dict[str, Any]:
        found = {name: value for name, value in vars(module).items() if name not in WEIGHTS}
        return {name: value.copy() if type(value) is OrderedDict else value for name, value in found.items()}

    before = [(module, attributes(module)) for part in parts for module in part.modules()]
    try:
        yield
    finally:
        for module, attributes_before in before:
            for name in vars(module).keys() - attributes_before.keys() - WEIGHTS:
                del vars(module)[name]
            vars(module).update(attributes_before)


def counted(call: Callable[[], object]) -> float:
    """FLOPs of the products, convolutions and attention of a call."""
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # torch leaves it out
    of_the_cpu = {attention: lambda query, key, value, *others, **named: sdpa_flop_count(query, key, value)}
    with FlopCounterMode(display=False, custom_mapping=of_the_cpu) as counter, torch.no_grad():
        call()
    return float(counter.get_total_flops())
