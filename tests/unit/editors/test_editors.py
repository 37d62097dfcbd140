"""The editors of real models, driven on tiny checkpoints with the released classes."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import built, checked
from PIL import Image

from editlane.core.errors import EditFailed, EditRefused, OutOfMemory, Stopped, UnknownName, UserError
from editlane.core.types import EditRequest, Item
from editlane.editors import pipelines
from editlane.editors.diffusers_pipeline import (
    DiffusersEditor,
    check_arguments,
    check_pipeline,
    make_item_arguments,
    make_size_arguments,
)
from editlane.editors.families import find_family
from editlane.editors.qwen_image_edit import QwenImageEditor
from editlane.editors.signatures import Signature, read_signature

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings(
    # diffusers' EulerAncestralDiscreteScheduler, numpy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

TinyModel = Callable[[str], Path]
SCRIPTS = Path(pipelines.__file__).parents[2]
HELPERS = Path(__file__).parents[2] / "helpers"
NO_GUIDANCE: dict[str, Any] = {"num_inference_steps": 2, "true_cfg_scale": 1.0, "height": 64, "width": 64}
GUIDANCE = NO_GUIDANCE | {"true_cfg_scale": 4.0, "negative_prompt": " "}
KONTEXT_64 = {"num_inference_steps": 2, "height": 64, "width": 64, "max_area": 64 * 64, "_auto_resize": False}
TWO_STEPS = {"num_inference_steps": 2}
REFERENCE = 320 * 320
"""Pixels at which the newer pipelines show the model its source here: more than one tile of the VAE."""


def photo(width: int = 64, height: int = 64) -> Image.Image:
    noise = np.random.default_rng(5).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def request(
    instruction: str = "移除前景中的汽车",
    *,
    seed: int = 3,
    source: Image.Image | None = None,
    on_step: Callable[[int, int], None] = lambda step, steps: None,
    tiled_vae: bool = False,
) -> EditRequest:
    image = source or photo()
    item = Item(
        item_id="a",
        category="物理",
        instruction=instruction,
        language="zh",
        source_path="sources/a.png",
        source_sha256=digest(image),
        width=image.width,
        height=image.height,
        cost=1.0,
    )
    return EditRequest(item=item, source=image, given=None, seed=seed, on_step=on_step, tiled_vae=tiled_vae)


def digest(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.size}{image.mode}".encode() + image.tobytes()).hexdigest()


class CallRecorder:
    """Stands before a pipeline, keeps the arguments of its last call, and may do something else instead."""

    def __init__(self, pipe: Any, instead: Callable[..., Any] | None = None) -> None:
        self.pipe, self.instead, self.arguments = pipe, instead, {}

    def __call__(self, **arguments: Any) -> Any:
        self.arguments = arguments
        return (self.instead or self.pipe)(**arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipe, name)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make tiny models slow where other work runs on the same cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def smaller_reference() -> Iterator[None]:
    """A megapixel is most of the work of an edit; `qwen-image-edit`, the older pipeline, still takes it."""
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as pipeline

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "VAE_IMAGE_SIZE", REFERENCE)
        yield


@pytest.fixture(scope="module")
def qwen_plus(tiny_model: TinyModel) -> QwenImageEditor:
    return built(QwenImageEditor, model=str(tiny_model("qwen-image-edit-plus")), params=NO_GUIDANCE)


@pytest.fixture(scope="module")
def plain(qwen_plus: QwenImageEditor) -> str:
    """The digest of `qwen_plus.edit(request())`: two steps, no guidance."""
    return digest(qwen_plus.edit(request()).image)


@pytest.fixture(scope="module")
def pix2pix(tiny_model: TinyModel) -> DiffusersEditor:
    return built(DiffusersEditor, model=str(tiny_model("instruct-pix2pix")), params=TWO_STEPS)


@pytest.fixture
def replace_call(monkeypatch: pytest.MonkeyPatch, pix2pix: DiffusersEditor) -> Iterator[Callable[..., CallRecorder]]:
    """`replace_call(function)`: the pipeline of `pix2pix` does `function` instead of its work."""

    def replace(instead: Callable[..., Any]) -> CallRecorder:
        recorder = CallRecorder(pix2pix.pipe, instead)
        monkeypatch.setattr(pix2pix, "pipe", recorder)
        return recorder

    return replace


# Qwen-Image-Edit


@pytest.mark.parametrize("kind", ["qwen-image-edit", "qwen-image-edit-plus", "qwen-image-edit-2511"])
def test_every_qwen_checkpoint_edits_with_guidance(kind: str, tiny_model: TinyModel, plain: str) -> None:
    editor = built(QwenImageEditor, model=str(tiny_model(kind)), params=GUIDANCE)
    passes: list[Any] = []
    editor.pipe.transformer.register_forward_hook(lambda *call: passes.append(call[0]))
    steps: list[tuple[int, int]] = []
    edit = editor.edit(request(on_step=lambda step, count: steps.append((step, count))))
    assert steps == [(1, 2), (2, 2)]
    assert len(passes) == 4, "with guidance every step runs the model twice"
    assert edit.requested_size == edit.image.size == (64, 64)
    assert edit.image.mode == "RGB"
    assert digest(edit.image) != plain


ANOTHER_PROCESS = """
import sys, torch
torch.set_num_threads(1)
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as pipeline
from test_editors import NO_GUIDANCE, REFERENCE, QwenImageEditor, built, digest, request
pipeline.VAE_IMAGE_SIZE = REFERENCE
editor = built(QwenImageEditor, model=sys.argv[1], params=NO_GUIDANCE)
print(digest(editor.edit(request()).image))
"""


@pytest.mark.runs
def test_a_qwen_edit_is_the_same_in_another_process(plain: str, tiny_model: TinyModel) -> None:
    run = subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS, str(tiny_model("qwen-image-edit-plus"))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (SCRIPTS, HELPERS, Path(__file__).parent)))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [plain]
    assert run.stderr == "", "no progress bars, no advice"


def test_a_qwen_edit_depends_on_seed_instruction_and_source(qwen_plus: QwenImageEditor, plain: str) -> None:
    others = {
        digest(qwen_plus.edit(request(seed=4)).image),
        digest(qwen_plus.edit(request("移除前景中的汽车。")).image),
        digest(qwen_plus.edit(request(source=photo(90, 40))).image),
    }
    assert len(others | {plain}) == 4


def test_qwen_gets_one_image_and_only_what_was_set(qwen_plus: QwenImageEditor, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = CallRecorder(qwen_plus.pipe, lambda **_: output(np.zeros((1, 64, 64, 3), np.float32)))
    monkeypatch.setattr(qwen_plus, "pipe", recorder)
    source = photo(33, 21)
    qwen_plus.edit(request("把因果关系画出来", source=source))
    arguments = recorder.arguments
    assert arguments.pop("image") is source
    assert arguments.pop("generator").initial_seed() == 3
    assert callable(arguments.pop("callback_on_step_end"))
    assert arguments == NO_GUIDANCE | {"prompt": "把因果关系画出来", "negative_prompt": None, "output_type": "np"}


def test_a_qwen_plus_edit_of_several_images_depends_on_each(qwen_plus: QwenImageEditor) -> None:
    several = replace(request(), references=(photo(20, 40),))
    other = replace(several, references=(Image.new("RGB", (20, 40), "purple"),))
    edits = [qwen_plus.edit(one) for one in (several, several, other)]
    assert [edit.image.size for edit in edits] == [(64, 64)] * 3
    first, again, changed = (digest(edit.image) for edit in edits)
    assert first == again != changed


def test_qwen_takes_sizes_from_the_model_where_none_is_asked(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(tiny_model("qwen-image-edit"))
    editor = built(QwenImageEditor, model=model, params={"true_cfg_scale": 1})
    recorder = CallRecorder(editor.pipe, lambda **_: output(np.zeros((1, 48, 80, 3), np.float32)))
    monkeypatch.setattr(editor, "pipe", recorder)
    edit = editor.edit(request())
    assert edit.requested_size is None
    assert edit.image.size == (80, 48), "the model's size, not the source's"
    assert not {"height", "width"} & recorder.arguments.keys()


def test_qwen_plus_sees_all_images_of_an_item_and_keeps_the_shape_of_its_source(
    qwen_plus: QwenImageEditor, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = CallRecorder(qwen_plus.pipe, lambda **_: output(np.zeros((1, 64, 64, 3), np.float32)))
    monkeypatch.setattr(qwen_plus, "pipe", recorder)
    both = replace(request(source=photo(90, 60)), references=(photo(30, 60),))
    qwen_plus.edit(both)
    assert recorder.arguments["image"] == [both.source, *both.references]
    monkeypatch.setattr(qwen_plus, "params", checked(QwenImageEditor, {"true_cfg_scale": 1}))
    assert qwen_plus.edit(both).requested_size == (1248, 832)
    assert (recorder.arguments["width"], recorder.arguments["height"]) == (1248, 832)
    first = built(QwenImageEditor, model=str(tiny_model("qwen-image-edit")), params=NO_GUIDANCE)
    with pytest.raises(EditFailed, match="takes one image, and this item has 2") as caught:
        first.edit(both)
    assert caught.value.kind == "images"


def test_a_tiled_vae_is_for_one_call_only(qwen_plus: QwenImageEditor, plain: str) -> None:
    tiled = digest(qwen_plus.edit(request(tiled_vae=True)).image)
    assert tiled != plain
    assert qwen_plus.pipe.vae.use_tiling is False
    torch.rand(7)  # nothing that happened before an item matters
    assert digest(qwen_plus.edit(request()).image) == plain


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"num_inference_step": 2},
            r"of the adapter QwenImageEditor 'num_inference_step'. Did you mean 'num_inf",
        ),
        ({}, r"true_cfg_scale is 4 without a negative_prompt.*silently run without guidance"),
        ({"true_cfg_scale": 1.5}, r"true_cfg_scale is 1.5 without a negative_prompt.*set true_cfg_scale: 1"),
        ({"negative_prompt": 3}, r"negative_prompt is 3; use a text in quotes, or null"),
        ({"negative_prompt": " ", "true_cfg_scale": "4"}, r"true_cfg_scale is '4'; use a number"),
        ({"negative_prompt": " ", "num_inference_steps": 1}, r"num_inference_steps is 1; use a whole number of 2"),
        ({"negative_prompt": " ", "num_inference_steps": True}, r"num_inference_steps is True"),
        ({"negative_prompt": " ", "dtype": "bf16"}, r"Unknown dtype 'bf16'.*bfloat16"),
        ({"negative_prompt": " ", "height": 64}, r"height is given without width"),
        (
            {"negative_prompt": " ", "height": 64, "width": 100},
            r"width is 100; use .*, a multiple of 16",
        ),
        ({"negative_prompt": " ", "height": -64, "width": 64}, r"height is -64; use a whole number of 16"),
        (
            {"negative_prompt": " ", "max_sequence_length": 2048},
            r"max_sequence_length is 2048; .* from 1 to 1024",
        ),
        ({"negative_prompt": " ", "guidance_scale": "7"}, r"guidance_scale is '7'"),
    ],
)
def test_qwen_params_are_checked_without_a_model(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked(QwenImageEditor, params)


def test_guidance_scale_is_refused_where_it_has_no_effect(tiny_model: TinyModel, tmp_path: Path) -> None:
    model = str(tiny_model("qwen-image-edit-plus"))
    with pytest.raises(UserError, match="guidance_scale has no effect"):
        built(QwenImageEditor, model=model, params=NO_GUIDANCE | {"guidance_scale": 7.0})
    distilled = tmp_path / "distilled"
    shutil.copytree(model, distilled)
    config = distilled / "transformer" / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"guidance_embeds": false', '"guidance_embeds": true'))
    with pytest.raises(UserError, match=r"is guidance-distilled\. Set guidance_scale"):
        built(QwenImageEditor, model=str(distilled), params=NO_GUIDANCE)


def test_qwen_refuses_other_pipelines_by_name(tiny_model: TinyModel) -> None:
    with pytest.raises(
        UserError, match=r"pipeline class 'FluxKontextPipeline'; the adapter .* Use `adapter: diffusers`"
    ):
        built(QwenImageEditor, model=str(tiny_model("flux-kontext")), params=NO_GUIDANCE)


# Any pipeline


@pytest.mark.parametrize(
    ("kind", "params"), [("instruct-pix2pix", TWO_STEPS), ("flux-kontext", KONTEXT_64), ("flux2-klein", TWO_STEPS)]
)
def test_other_pipelines_edit_by_seed_instruction_and_source(
    kind: str, params: dict[str, Any], tiny_model: TinyModel
) -> None:
    editor = built(DiffusersEditor, model=str(tiny_model(kind)), params=params)
    steps: list[tuple[int, int]] = []
    first = editor.edit(request(on_step=lambda step, count: steps.append((step, count))))
    assert steps == [(1, 2), (2, 2)]
    assert first.image.size == (64, 64)
    assert first.requested_size == ((64, 64) if "width" in params else None)
    assert digest(editor.edit(request()).image) == digest(first.image)
    for other in (request(seed=4), request("添加一只红色的狗"), request(source=photo().rotate(180))):
        assert digest(editor.edit(other).image) != digest(first.image)
    tiled = editor.edit(request(source=photo(128, 96), tiled_vae=True))
    assert editor.pipe.vae.use_tiling is False
    assert "width" in params or tiled.image.size == (128, 96), "sources of other sizes follow each other"


def test_kontext_keeps_the_aspect_ratio_of_the_source(tiny_model: TinyModel) -> None:
    params = {"num_inference_steps": 1, "max_area": 256 * 144, "_auto_resize": False}
    editor = built(DiffusersEditor, model=str(tiny_model("flux-kontext")), params=params)
    edit = editor.edit(request(source=photo(640, 360)))
    assert (edit.image.size, edit.requested_size) == ((256, 144), None)


def test_a_pipeline_is_told_the_shape_of_the_source_unless_a_size_was_asked() -> None:
    one = request(source=photo(64, 36))
    kontext, omnigen = (
        Signature("Some", dict.fromkeys(names))
        for names in (["max_area", "width", "height"], ["width", "height", "use_input_image_size_as_output"])
    )
    assert make_size_arguments(kontext, {"max_area": 4096}, one) == {"width": 64, "height": 36}
    assert make_size_arguments(omnigen, {}, one) == {"use_input_image_size_as_output": True}
    for accepted in (kontext, omnigen):
        assert make_size_arguments(accepted, {"width": 64, "height": 64}, one) == {}
    assert make_size_arguments(Signature("Some", dict.fromkeys(["width", "height"])), {}, one) == {}
    assert "use_input_image_size_as_output" in read_signature(diffusers.OmniGenPipeline).defaults
    assert set(kontext.names) <= read_signature(diffusers.FluxKontextPipeline).defaults.keys()


def test_a_prompt_that_was_cut_is_told_in_the_log(pix2pix: DiffusersEditor, caplog: pytest.LogCaptureFixture) -> None:
    pix2pix.edit(request("Make the sky red."))
    assert caplog.text == ""
    pix2pix.edit(request("Make the sky red. " * 40))
    assert "was truncated because CLIP can only handle sequences up to 77 tokens" in caplog.text


def test_nothing_is_resized_and_the_requested_size_is_told(replace_call: Any, pix2pix: DiffusersEditor) -> None:
    source = photo(50, 30)
    recorder = replace_call(lambda **_: output(np.full((1, 24, 40, 3), 0.5, np.float32)))
    edit = pix2pix.edit(request(source=source))
    assert recorder.arguments["image"] is source
    assert edit.image.size == (40, 24)
    assert edit.requested_size is None


class TakesImages:
    def __call__(self, images: Any, prompt: str, steps: int = 3) -> None: ...


class TakesInputImages:
    def __call__(
        self, prompt: str, input_images: Any = None, callback_on_step_end: Any = None, **rest: Any
    ) -> None: ...


class TakesNoImage:
    def __call__(self, prompt: str) -> None: ...


def test_the_source_goes_where_the_signature_has_a_place() -> None:
    one = request("改成雪天")
    images, inputs, none = (read_signature(kind) for kind in (TakesImages, TakesInputImages, TakesNoImage))
    assert make_item_arguments(images, find_family(images), one) == {"images": [one.source], "prompt": "改成雪天"}
    with_callback = make_item_arguments(inputs, find_family(inputs), one)
    assert with_callback.pop("callback_on_step_end")
    assert with_callback == {"input_images": [one.source], "prompt": "<img><|image_1|></img> 改成雪天"}
    check_arguments(images, {"steps": 2})
    with pytest.raises(UnknownName, match=r"Unknown parameter of TakesImages 'step'. Did you mean 'steps'\?"):
        check_arguments(images, {"step": 2})
    with pytest.raises(UnknownName, match="'rest'"):
        check_arguments(inputs, {"rest": 1})
    with pytest.raises(UserError, match="TakesNoImage does not accept an image with a prompt"):
        check_pipeline(none, find_family(none))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"prompt": "x"}, "params of the adapter DiffusersEditor: prompt is set for every item"),
        ({"generator": 1, "image": 1}, "generator is set for every item"),
        ({"dtype": "half"}, "params of the adapter DiffusersEditor: Unknown dtype 'half'"),
        ({"width": 64}, "width is given without height"),
    ],
)
def test_general_params_are_checked_without_a_model(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked(DiffusersEditor, params)


def test_params_that_the_pipeline_lacks_stop_before_weights_are_loaded(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "load_pipeline", lambda *_: pytest.fail("the weights were loaded"))
    model = str(tiny_model("instruct-pix2pix"))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"height": 64, "width": 64}, r"Unknown parameter of StableDiffusionInstructPix2PixPipeline 'height'"),
        ({"image_guidance": 1.5}, r"Did you mean 'image_guidance_scale'\?"),
        ({"kwargs": 1}, r"'kwargs'"),
    ]
    for params, message in wrong:
        with pytest.raises(UnknownName, match=message):
            built(DiffusersEditor, model=model, params=params)


@pytest.mark.parametrize("editor", [QwenImageEditor, DiffusersEditor])
def test_bad_folders_stop_before_weights_are_loaded(
    editor: Any, tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "load_pipeline", lambda *_: pytest.fail("the weights were loaded"))
    params = NO_GUIDANCE if editor is QwenImageEditor else {}
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model("qwen-image-edit-plus"), broken)
    shutil.rmtree(broken / "vae")
    judge = tiny_model("qwen3-vl")
    cases = [
        (tmp_path / "none", "is missing"),
        (broken, "its component vae/ is missing"),
        (judge, "no model_index.json"),
    ]
    for model, message in cases:
        with pytest.raises(UserError, match=message):
            built(editor, model=str(model), params=params)


def test_pinned_weights_are_not_rounded_up_to_powers_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `offload: blocks` a block of Qwen-Image's transformer would take 1.07 GB instead of 0.68."""
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "")
    pipelines.find_pipeline_class("QwenImageEditPlusPipeline")
    assert "pinned_max_round_threshold_mb:1" in os.environ["PYTORCH_ALLOC_CONF"].split(",")


def test_a_pipeline_class_that_diffusers_lacks_is_named(tiny_model: TinyModel, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model("instruct-pix2pix"), model)
    index = json.loads((model / "model_index.json").read_text(encoding="utf-8"))
    (model / "model_index.json").write_text(json.dumps(index | {"_class_name": "Tomorrow3Pipeline"}))
    with pytest.raises(UserError, match=r"'Tomorrow3Pipeline', which diffusers \d.* does not have"):
        built(DiffusersEditor, model=str(model), params={})


def test_hub_ids_come_from_the_cache_where_the_hub_cannot_be_reached(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789" * 4
    cached = tmp_path / "models--acme--tiny-edit"
    shutil.copytree(tiny_model("instruct-pix2pix"), cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    editor = built(DiffusersEditor, model="acme/tiny-edit", params=TWO_STEPS)
    assert editor.edit(request()).image.size == (64, 64)
    (cached / "snapshots" / commit / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"cache is incomplete, unet/ has no weights.*`hf download acme/tiny-edit`"):
        built(DiffusersEditor, model="acme/tiny-edit", params=TWO_STEPS)
    with pytest.raises(UserError, match=r"acme/other is not a folder on this machine"):
        built(DiffusersEditor, model="acme/other", params=TWO_STEPS)


# How one item can end


def output(pixels: np.ndarray, **more: Any) -> types.SimpleNamespace:
    return types.SimpleNamespace(images=pixels, **more)


def fails(error: BaseException) -> Callable[..., Any]:
    def call(**_: Any) -> Any:
        raise error

    return call


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore advice"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_ends_one_item_as_oom(error: Exception, replace_call: Any, pix2pix: DiffusersEditor) -> None:
    replace_call(fails(error))
    with pytest.raises(OutOfMemory) as caught:
        pix2pix.edit(request())
    assert caught.value.kind == "oom"
    assert str(caught.value) == (str(error).splitlines() or ["out of memory"])[0]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), ValueError("no")])
def test_a_failed_call_gives_its_tensors_back(error: Exception, replace_call: Any, pix2pix: DiffusersEditor) -> None:
    tensors = []

    def call(**_: Any) -> Any:
        tensor = torch.zeros(8)
        tensors.append(weakref.ref(tensor))
        raise error

    replace_call(call)
    with pytest.raises(EditFailed) as caught:
        pix2pix.edit(request())
    assert [tensor() for tensor in tensors] == [None], "the second attempt needs their memory"
    assert caught.value.state == "edit_failed"


def test_tiling_ends_with_a_failed_call(replace_call: Any, pix2pix: DiffusersEditor) -> None:
    seen = []

    def call(**_: Any) -> Any:
        seen.append(pix2pix.pipe.vae.use_tiling)
        raise torch.OutOfMemoryError("CUDA out of memory")

    replace_call(call)
    with pytest.raises(OutOfMemory):
        pix2pix.edit(request(tiled_vae=True))
    assert [*seen, pix2pix.pipe.vae.use_tiling] == [True, False]


def test_an_error_of_the_model_is_one_line(replace_call: Any, pix2pix: DiffusersEditor) -> None:
    replace_call(fails(ValueError("sizes of tensors\n  must match")))
    with pytest.raises(EditFailed, match=r"^ValueError: sizes of tensors must match$") as caught:
        pix2pix.edit(request())
    assert caught.value.kind == "model"


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        KeyboardInterrupt(),
        SystemExit(3),
        Stopped("told to stop"),
        UserError("fix it"),
    ],
)
def test_what_concerns_more_than_one_item_passes_through(
    error: BaseException, replace_call: Any, pix2pix: DiffusersEditor
) -> None:
    replace_call(fails(error))
    with pytest.raises(type(error)) as caught:
        pix2pix.edit(request())
    assert caught.value is error


def test_an_error_from_on_step_keeps_its_kind(pix2pix: DiffusersEditor) -> None:
    def on_step(step: int, steps: int) -> None:
        raise EditFailed("took longer than 600 s", kind="timeout")

    with pytest.raises(EditFailed, match="took longer") as caught:
        pix2pix.edit(request(on_step=on_step))
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_no_edit(value: float, replace_call: Any, pix2pix: DiffusersEditor) -> None:
    pixels = np.zeros((1, 10, 10, 3), np.float32)
    pixels[0, 0, 0, 0] = value
    replace_call(lambda **_: output(pixels))
    with pytest.raises(EditFailed, match=r"0.3% of the image's values are not finite") as caught:
        pix2pix.edit(request())
    assert caught.value.kind == "nonfinite"


def test_weights_that_overflow_are_no_edit(tiny_model: TinyModel) -> None:
    editor = built(DiffusersEditor, model=str(tiny_model("instruct-pix2pix")), params=TWO_STEPS)
    with torch.no_grad():
        editor.pipe.unet.conv_in.weight.fill_(float("nan"))
    with pytest.raises(EditFailed, match=r"100.0% of the image's values") as caught:
        editor.edit(request())
    assert caught.value.kind == "nonfinite"


def test_a_hit_of_the_safety_checker_is_a_refusal(replace_call: Any, pix2pix: DiffusersEditor) -> None:
    black = np.zeros((1, 8, 8, 3), np.float32)
    replace_call(lambda **_: output(black, nsfw_content_detected=[True]))
    with pytest.raises(EditRefused) as caught:
        pix2pix.edit(request())
    assert (caught.value.state, caught.value.kind) == ("edit_refused", "refused")


@pytest.mark.parametrize("flags", [None, [False], False])
def test_no_hit_is_no_refusal(flags: Any, replace_call: Any, pix2pix: DiffusersEditor) -> None:
    black = np.zeros((1, 8, 8, 3), np.float32)
    replace_call(lambda **_: output(black, nsfw_content_detected=flags))
    assert pix2pix.edit(request()).image.getextrema() == ((0, 0), (0, 0), (0, 0))


def test_pixels_become_bytes_as_in_diffusers() -> None:
    from diffusers.image_processor import VaeImageProcessor

    levels = np.arange(256, dtype=np.float32) / 255
    halves = (np.arange(255, dtype=np.float32) + 0.5) / 255
    random = np.random.default_rng(0).random(3 * 32 * 32 - 511, dtype=np.float32)
    pixels = np.concatenate([levels, halves, random]).reshape(32, 32, 3)
    expected = VaeImageProcessor.numpy_to_pil(pixels)[0]
    assert pipelines.to_image(pixels).tobytes() == expected.tobytes()
    assert pipelines.to_image(pixels).mode == "RGB"


def test_importing_the_editors_loads_no_model_library() -> None:
    modules = "editlane.editors.qwen_image_edit, editlane.editors.diffusers_pipeline, editlane.models.tiny"
    code = f"import sys, {modules}; print(*sorted({{'torch', 'transformers', 'diffusers'}} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
