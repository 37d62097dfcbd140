"""Load a diffusers pipeline and run it for one item: the code that all model families share.

It changes no pixel: no resizing, no cropping, no filter.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from editlane.core.errors import EditFailed, EditRefused, UserError, one_line
from editlane.core.params import AllowPickle, Dtype
from editlane.core.types import EditRequest, Item
from editlane.editors.optimizations.apply import OptimizationParams, apply_optimizations, starts_on_cpu
from editlane.editors.optimizations.step_cache import StepCache, check_cache
from editlane.editors.signatures import UnknownClass
from editlane.editors.step_reports import report_steps
from editlane.models import checkpoints, load_times
from editlane.models.devices import convert_model_errors, pick_device, pick_dtype, set_allocator
from editlane.models.library_logs import quiet_model_libraries
from editlane.models.no_torchvision import drop_video_processors
from editlane.models.weight_formats import check_formats

Side = Annotated[int, Field(ge=16)]


class PipelineParams(OptimizationParams):
    """Settings that mean the same for every pipeline. diffusers' default applies if one is null."""

    dtype: Dtype | None = None
    """Number format of weights and activations; null is bfloat16 on a GPU and float32 on the CPU."""
    num_inference_steps: Annotated[int, Field(ge=1)] | None = None
    """Denoising steps."""
    height: Side | None = None
    """Pixels; null leaves the size to the model. Give both or none."""
    width: Side | None = None
    """Like `height`."""
    allow_pickle: AllowPickle = False

    @model_validator(mode="after")
    def _check_together(self) -> "PipelineParams":
        for name, other in (("height", "width"), ("width", "height")):
            if getattr(self, name) is not None and getattr(self, other) is None:
                raise ValueError(f"{name} is given without {other}; give both, or none and the model chooses.")
        if self.cache is not None:
            check_cache(self.cache, steps=self.num_inference_steps, compiled=bool(self.compile))
        return self


def find_pipeline_class(name: Any) -> Any:
    """Return the pipeline class `name` of the installed diffusers. Raises UnknownClass if there is none."""
    set_allocator()
    os.environ.setdefault("HF_ENABLE_PARALLEL_LOADING", "1")  # diffusers reads the shards of a model side by side
    with load_times.measure_phase("imports"):
        import diffusers

        quiet_model_libraries()
        drop_video_processors()
        found = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline | diffusers.ModularPipeline)):
        raise UnknownClass(name)
    return found


def fetch_checkpoint(pipeline: Any, model: str, revision: str | None, *, allow_pickle: bool) -> Path:
    """Return the folder of the checkpoint. For a hub id, download the files that the class `pipeline` needs.

    Raises UserError if the hub or the id cannot be reached, if the cached copy is incomplete, or if weights are
    pickles and `allow_pickle` does not allow them.
    """
    if not checkpoints.is_hub_id(model):
        check_formats(model, allow_pickle=allow_pickle)
        return Path(model)
    only = None if allow_pickle else True
    try:
        folder = Path(pipeline.download(model, revision=revision, use_safetensors=only, trust_remote_code=False))
    except (OSError, ValueError) as error:
        raise checkpoints.make_hub_error(model, revision, str(error)) from error
    problem = checkpoints.find_problem(folder)
    if problem:
        raise checkpoints.make_hub_error(model, revision, f"its copy in the cache is incomplete, {problem}.")
    check_formats(str(folder), allow_pickle=allow_pickle)
    return folder


def load_pipeline(
    pipeline: Any, folder: Path, params: PipelineParams, dtypes: Mapping[str, str] | None = None
) -> tuple[Any, StepCache | None]:
    """Load a pipeline of the class `pipeline` on this process's device and apply the optimizations in `params`.

    Return it and its step cache. `params.dtype` is that of weights and activations; None is bfloat16 on a GPU and
    float32 on the CPU, except for the components in `dtypes`. Weights go straight to the device, unless an
    optimization needs them in host memory first. Raises UserError if the checkpoint cannot be loaded, for instance
    because it needs code of its own, and if an optimization is not available here.

    Components load one after the other, because loading changes global state of torch (default dtype, module
    initialisation). Two threads could leave it changed.
    """
    device = pick_device()
    straight = {} if starts_on_cpu(dict(params)) else {"device_map": device}
    try:
        with load_times.measure_phase("transfer"):
            loaded: Any = pipeline.from_pretrained(
                folder,
                dtype=_pick_dtypes(params.dtype, device, dtypes or {}),
                use_safetensors=None if params.allow_pickle else True,
                trust_remote_code=False,
                **straight,
            )
    except (OSError, ValueError) as error:
        raise UserError(f"The checkpoint {folder} cannot be loaded: {one_line(error)}") from error
    loaded.set_progress_bar_config(disable=True)
    return loaded, apply_optimizations(loaded, params, device, params.num_inference_steps)


def _pick_dtypes(name: str | None, device: str, dtypes: Mapping[str, str]) -> Any:
    """Return the dtype of all components, or a dict with `default` if some have another."""
    dtype = pick_dtype(name, device)
    if name or not dtypes:
        return dtype
    return {"default": dtype} | {part: pick_dtype(own, device) for part, own in dtypes.items()}


def run_pipeline(
    pipe: Any, request: EditRequest, arguments: Mapping[str, Any], around: AbstractContextManager[Any] | None = None
) -> Image.Image:
    """Call `pipe` for one item with the item's seed, within the context `around`. Return the first image, or the last
    frame of the first video, 8 bits per channel.

    The noise is drawn on the CPU, so it is the same on every GPU. Some pipelines draw part of it from the global
    generator, which gets the same seed.

    Raises OutOfMemory, EditRefused if the safety checker flags the image, and EditFailed of kind `nonfinite` for an
    image with NaN. Any other error that concerns this item only is an EditFailed. An error that leaves the GPU unusable
    passes through, because every later item would fail, too.
    """
    import torch

    torch.manual_seed(request.seed)
    generator = torch.Generator("cpu").manual_seed(request.seed)
    watched = nullcontext() if "callback_on_step_end" in arguments else report_steps(pipe, request)
    with convert_model_errors(EditFailed), _tiled_vae(pipe, request.tiled_vae), watched, around or nullcontext():
        output = pipe(**arguments, generator=generator, output_type="np")
    if any(getattr(output, "nsfw_content_detected", None) or ()):
        raise EditRefused("the model's safety checker refused the edit")
    return to_image(np.asarray(_find_pixels(output)))


def _find_pixels(output: Any) -> Any:
    """Return the first image of a pipeline's output, or the last frame of its first video."""
    if hasattr(output, "frames"):
        return output.frames[0][-1]
    return (output.images if hasattr(output, "images") else output.image)[0]  # Kandinsky's field is `image`


def make_trial_request(width: int, height: int) -> EditRequest:
    """Return a request with a grey image of this size, to try a pipeline on."""
    item = Item(
        item_id="trial",
        category="trial",
        instruction="Make the sky red.",
        language="en",
        source_path="",
        source_sha256="",
        width=width,
        height=height,
        cost=1.0,
    )
    source = Image.new("RGB", (width, height), "grey")
    return EditRequest(item=item, source=source, given=None, seed=0, on_step=lambda step, steps: None)


def make_step_callback(request: EditRequest) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    """Return a diffusers `callback_on_step_end` that reports each step to the request."""

    def on_step_end(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        request.on_step(step + 1, pipe.num_timesteps)
        return tensors

    return on_step_end


def to_image(pixels: np.ndarray) -> Image.Image:
    """Convert `pixels`, (height, width, channels) in 0..1, to an image: RGB, or RGBA if there are 4 channels. Round as
    diffusers' `numpy_to_pil` does.

    Raises EditFailed of kind `nonfinite` if a pixel is NaN or infinite, because the cast to bytes would hide it.
    """
    if not np.isfinite(pixels).all():
        share = 1 - np.isfinite(pixels).mean()
        raise EditFailed(f"{share:.1%} of the image's values are not finite numbers", kind="nonfinite")
    return Image.fromarray((pixels * 255).round().astype("uint8"))


@contextmanager
def _tiled_vae(pipe: Any, tiled: bool) -> Iterator[None]:
    vae: Any = getattr(pipe, "vae", None)
    if not tiled or not hasattr(vae, "use_tiling"):
        yield
        return
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()
