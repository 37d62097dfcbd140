"""What makes an editor faster, each on tiny checkpoints: what it changes, and what it must not."""

import logging
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from adapters import built, checked
from test_editors import GUIDANCE, NO_GUIDANCE, TWO_STEPS, digest, one_thread, photo, request

from editlane.core.errors import EditFailed, OutOfMemory, PassingError, UserError
from editlane.editors.diffusers_pipeline import DiffusersEditor
from editlane.editors.optimizations import fp8
from editlane.editors.optimizations.apply import AttentionBackend, set_attention_backend
from editlane.editors.optimizations.compilation import warm_up
from editlane.editors.optimizations.real_rope import use_real_positions
from editlane.editors.qwen_image_edit import QwenImageEditor
from editlane.lanes.editor_spec import EditorSpec
from editlane.models.lora import check_lora, fetch_lora, fingerprint_lora, parse_hub_file
from editlane.models.tiny.qwen_image_edit import save_deeper, save_lightning_lora

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings(
    # diffusers' EulerAncestralDiscreteScheduler, numpy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

TinyModel = Callable[[str], Path]
Build = Callable[..., QwenImageEditor]
SIX = GUIDANCE | {"num_inference_steps": 6}
CACHES: list[Any] = [
    pytest.param({"kind": "first_block", "threshold": 0.5}, id="first_block"),
    pytest.param({"kind": "taylor_seer", "cache_interval": 2, "disable_cache_before_step": 2}, id="taylor_seer"),
    pytest.param({"kind": "taylor_seer", "disable_cache_before_step": 2, "use_lite_mode": True}, id="taylor_seer-lite"),
    pytest.param({"kind": "mag", "mag_ratios": [1, 1, 1], "threshold": 0.5}, id="mag"),
]
LIGHTNING = NO_GUIDANCE | {"num_inference_steps": 4, "scheduler": "lightning"}

assert one_thread  # for this module, too


@pytest.fixture(scope="module", autouse=True)
def small_reference() -> Iterator[None]:
    """The pipeline shows the model its source at one megapixel, which is all that a tiny model's edit takes."""
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as pipeline

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "VAE_IMAGE_SIZE", 128 * 128)
        yield


@pytest.fixture
def build(tiny_model: TinyModel) -> Build:
    """`build(params)`: a Qwen editor."""
    model = str(tiny_model("qwen-image-edit-plus"))
    return lambda params, kind="": built(QwenImageEditor, model=str(tiny_model(kind)) if kind else model, params=params)


@pytest.fixture(scope="module")
def plain(tiny_model: TinyModel) -> QwenImageEditor:
    """Six steps with guidance and no optimization."""
    return built(QwenImageEditor, model=str(tiny_model("qwen-image-edit-plus")), params=SIX)


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("适配") / "Tiny-Lightning-4steps-V1.0.safetensors"
    save_lightning_lora(file)
    return file


def pixels(editor: Any, **options: Any) -> np.ndarray:
    return np.asarray(editor.edit(request(**options)).image, dtype=np.int16)


# Step caches


@pytest.mark.parametrize("cache", CACHES)
def test_a_step_cache_skips_work_and_remembers_no_other_image(
    cache: dict[str, Any], build: Build, plain: QwenImageEditor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "editlane.editors.optimizations.step_cache")
    editor = build(SIX | {"cache": cache})
    first = pixels(editor)
    told = re.fullmatch(r"cache \w+: skipped (\d+) of (\d+) block calls \(\d+%\)", caplog.messages[-1])
    assert told
    assert 0 < int(told[1]) < int(told[2])
    assert (first != pixels(plain)).any()
    assert (pixels(editor, seed=9, source=photo(48, 80)) != first).any()
    assert np.array_equal(pixels(editor), first)

    def on_step(step: int, steps: int) -> None:
        if step == 3:
            raise EditFailed("stopped in the middle", kind="timeout")

    with pytest.raises(EditFailed):
        editor.edit(request(on_step=on_step))
    assert np.array_equal(pixels(editor), first)


def test_a_step_cache_keeps_both_prompts_of_guidance_apart(build: Build) -> None:
    editor = build(SIX | {"cache": {"kind": "first_block", "threshold": 0.5}})
    head = editor.pipe.transformer.transformer_blocks[0]._diffusers_hook.hooks["fbc_leader_block_hook"]
    seen: list[dict[str, Any]] = []

    def on_step(step: int, steps: int) -> None:
        states = head.state_manager._state_cache
        seen.append({name: state.head_block_residual.clone() for name, state in states.items()})

    editor.edit(request(on_step=on_step))
    assert [set(states) for states in seen] == [{"cond", "uncond"}] * 6
    assert not any(torch.equal(states["cond"], states["uncond"]) for states in seen)
    assert head.state_manager._state_cache == {}, "nothing of this image stays in memory"


def test_a_cache_that_saves_nothing_or_leaves_nothing_is_warned_of(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    build(SIX | {"cache": {"kind": "first_block", "threshold": 0}}).edit(request())
    assert "skipped 0 of 24 block calls (0%): it saves nothing here" in caplog.text
    caplog.clear()
    cache = {"kind": "taylor_seer", "cache_interval": 50, "disable_cache_before_step": 1, "use_lite_mode": True}
    build(SIX | {"cache": cache, "num_inference_steps": 24}).edit(request())
    assert "nearly everything is skipped" in caplog.text


def test_calibrating_a_mag_cache_logs_its_ratios_and_changes_nothing(
    build: Build, plain: QwenImageEditor, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "editlane.editors.optimizations.step_cache")
    editor = build(SIX | {"cache": {"kind": "mag", "calibrate": True}})
    assert np.array_equal(pixels(editor), pixels(plain))
    ratios = [text for text in caplog.messages if re.fullmatch(r"\[1\.0(?:, \d\.\d+){5}\]", text)]
    assert len(ratios) == 2, "of the instruction and of the negative prompt"
    assert not any(record.levelno > logging.INFO for record in caplog.records)

    def on_step(step: int, steps: int) -> None:
        raise EditFailed("stopped in the middle", kind="timeout")

    with pytest.raises(EditFailed):
        editor.edit(request(on_step=on_step))
    assert capsys.readouterr().out == ""
    print("heard again")
    assert capsys.readouterr().out == "heard again\n"


# torch.compile


OLDER = pytest.param("qwen-image-edit", marks=pytest.mark.runs)  # its pipeline always takes a megapixel of the source


@pytest.mark.parametrize("kind", [OLDER, "qwen-image-edit-plus", "qwen-image-edit-2511"])
def test_positions_in_real_numbers_give_the_same_bits(kind: str, build: Build) -> None:
    editor = build(GUIDANCE, kind)
    before = digest(editor.edit(request()).image)
    use_real_positions(editor.pipe.transformer)
    assert digest(editor.edit(request()).image) == before


@pytest.mark.runs
@pytest.mark.skipif(" " in torch.__file__, reason="torch gives g++ its own path without quotes")
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
def test_compiled_blocks_draw_the_same_with_a_cache_around_them_and_stay_on_the_disk(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.utils import counters

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    params = NO_GUIDANCE | {"num_inference_steps": 4, "cache": {"kind": "first_block", "threshold": 0.5}}
    counters.clear()
    editor, eager = build(params | {"compile": True}), build(params)
    assert counters["stats"]["unique_graphs"] == 1, "the same for all blocks"
    for options in ({}, {"source": photo(90, 40)}, {"instruction": "一句长得多的指令。" * 9}):
        assert np.abs(pixels(editor, **options) - pixels(eager, **options)).max() <= 2
    assert counters["stats"]["unique_graphs"] == 1, "and for all sizes and lengths"
    kept = (tmp_path / "editlane/torchinductor/fxgraph").rglob("*")
    assert any(path.is_file() for path in kept), "for the next process"


def test_what_cannot_be_compiled_stops_this_try_of_the_lane_with_advice() -> None:
    def edit() -> None:
        raise EditFailed("InvalidCxxCompiler: no compiler found")

    with pytest.raises(PassingError, match=r"compile: true: a trial edit failed: .* no compiler found.* g\+\+"):
        warm_up(edit, "compile: true")
    with pytest.raises(PassingError, match=r"^cache: a trial edit failed: .* Leave it out to run without\.$"):
        warm_up(edit, "cache")


def test_a_trial_edit_that_runs_out_of_memory_stops_no_lane(caplog: pytest.LogCaptureFixture) -> None:
    def edit() -> None:
        raise OutOfMemory("CUDA out of memory")

    warm_up(edit, "compile: true")
    assert caplog.messages == ["the trial edit ran out of memory, and items may, too: CUDA out of memory"]


# Attention


def test_the_names_of_attention_backends_are_those_of_diffusers() -> None:
    from diffusers.models.attention_dispatch import AttentionBackendName

    assert set(get_args(AttentionBackend)) == {name.value for name in AttentionBackendName}


def test_an_attention_backend_is_the_editors_own(build: Build, plain: QwenImageEditor) -> None:
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry

    before = _AttentionBackendRegistry.get_active_backend()
    editor = build(SIX | {"attention_backend": "_native_math"})
    used = {block.attn.processor._attention_backend.value for block in editor.pipe.transformer.transformer_blocks}
    assert used == {"_native_math"}
    assert _AttentionBackendRegistry.get_active_backend() == before
    assert np.abs(pixels(editor) - pixels(plain)).max() <= 2


@pytest.mark.parametrize("backend", ["_native_cudnn", "flash", "_flash_3_hub"])
def test_an_attention_backend_that_cannot_run_here_is_refused_at_once(backend: str, build: Build) -> None:
    if torch.cuda.is_available():
        pytest.skip("for machines without a GPU")
    with pytest.raises(
        UserError, match=f"attention_backend: {backend} cannot be used here: RuntimeError: .* Leave"
    ) as e:
        build(SIX | {"attention_backend": backend})
    assert e.type is UserError, "no other try has another device or more packages"


class OnOtherDevice:
    """A model whose probe of attention runs on a device that torch has no kernels for."""

    config: Any = None
    dtype = torch.float32

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def set_attention_backend(self, name: str) -> None:
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, PassingError),
        (OSError("the hub has no answer"), PassingError),
        (RuntimeError("not usable because of missing package"), UserError),
    ],
)
def test_an_attention_kernel_that_does_not_run_on_this_gpu_may_run_on_another(
    error: Exception | None, kind: type[UserError], monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.models import attention_dispatch

    def fail(*probe: Any, **named: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(attention_dispatch, "dispatch_attention_fn", fail)
    with pytest.raises(UserError, match="attention_backend: native cannot be used here") as raised:
        set_attention_backend(OnOtherDevice(error), "native", "meta")
    assert raised.type is kind


# LoRA


def test_a_lightning_lora_is_fused_and_runs_on_its_own_scheduler(build: Build, lora: Path, tmp_path: Path) -> None:
    editor = build(LIGHTNING | {"lora": str(lora)})
    first = pixels(editor)
    assert editor.pipe.scheduler.timesteps.tolist() == pytest.approx([1000, 900, 750, 500], abs=0.01)
    layers = [type(module).__name__ for module in editor.pipe.transformer.modules()]
    assert "Linear" in layers
    assert not any("lora" in name.lower() for name in layers)
    apart = build(LIGHTNING)
    assert np.abs(pixels(apart) - first).mean() > 1, "the LoRA does something"
    apart.pipe.load_lora_weights(lora.parent, weight_name=lora.name)
    assert np.abs(pixels(apart) - first).max() <= 2, "fused and unfused are the same but for rounding"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda name: name.replace("blocks.1.", "blocks.7."), r"weights for 28 layers, but only 14 of them exist"),
        (lambda name: name.replace("transformer_blocks", "blocks"), r"does not fit .*made for this release"),
        (lambda name: name.replace("lora", "bias"), r"does not fit .*made for this release"),
    ],
)
def test_a_lora_for_another_model_is_refused(
    spoil: Callable[[str], str], message: str, build: Build, lora: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    save_file({spoil(name): weight for name, weight in load_file(lora).items()}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=message):
        build(LIGHTNING | {"lora": str(tmp_path / "other.safetensors")})


def test_a_lora_is_part_of_the_key_by_its_content_not_by_its_path(
    lora: Path, tmp_path: Path, tiny_model: TinyModel
) -> None:
    def key(**params: Any) -> str:
        options = {"model": str(tiny_model("qwen-image-edit-plus")), "revision": None, "params": LIGHTNING | params}
        return EditorSpec.of(tmp_path, "a", 1, {"adapter": "qwen-image-edit"} | options).editor_key

    moved, other = tmp_path / "moved.safetensors", tmp_path / "other.safetensors"
    shutil.copy(lora, moved)
    save_lightning_lora(other, seed=1)
    assert key(lora=str(lora)) == key(lora=str(moved))
    assert len({key(), key(lora=str(lora)), key(lora=str(other)), key(quantization="fp8"), key(compile=True)}) == 5
    assert key(offload="model") == key(), "it moves weights, not pixels"


def test_the_report_names_the_lora_without_its_folder(lora: Path, tmp_path: Path, tiny_model: TinyModel) -> None:
    model = str(tiny_model("qwen-image-edit-plus"))
    options = {"adapter": "qwen-image-edit", "model": model, "revision": None}
    options["params"] = LIGHTNING | {"lora": str(lora)}
    made_by = EditorSpec.of(tmp_path, "a", 1, options).describe(options)["a"]
    assert made_by["params"]["lora"]["name"] == lora.name
    assert len(made_by["params"]["lora"]["fingerprint"]) == 16
    assert str(lora.parent) not in str(made_by)


def test_a_lora_of_a_hub_is_named_with_its_revision() -> None:
    assert parse_hub_file("hf://lightx2v/Lightning@abc1/v1/a.safetensors") == (
        "lightx2v/Lightning",
        "abc1",
        "v1/a.safetensors",
    )
    assert fingerprint_lora("hf://a/b/c.safetensors") == {"id": "a/b", "revision": None, "file": "c.safetensors"}
    assert parse_hub_file("a/b/c.safetensors") is None
    for wrong in ("hf://a/c.safetensors", "hf://a/b/c.bin", 3):
        with pytest.raises(UserError, match=r"use a \.safetensors file, or hf://org/name@revision"):
            check_lora(wrong)


def test_a_lora_that_a_hub_does_not_give_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **named: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fails)
    with pytest.raises(UserError, match=r"hf://a/b/c.safetensors could not be fetched .*no network.*hf download a/b c"):
        fetch_lora("hf://a/b/c.safetensors")


# fp8


def test_an_fp8_layer_multiplies_what_was_rounded_to_8_bits() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 32)
    x = torch.randn(2, 5, 64) * torch.tensor([1.0, 1000.0])[:, None, None]
    with torch.no_grad():
        exact = linear(x)
        rows, row_scale = fp8.round_rows(x.reshape(-1, 64))
        weight, weight_scale = fp8.round_rows(linear.weight)
        fp8.quantize(linear)
        found = linear(x)
        expected = (rows.float() * row_scale) @ (weight.float() * weight_scale).t() + linear.bias
    assert torch.allclose(found.reshape(-1, 32), expected, rtol=1e-5, atol=1e-4)
    errors = (found - exact).norm(dim=(1, 2)) / exact.norm(dim=(1, 2))
    assert all(0.005 < error < 0.06 for error in errors.tolist()), "each row has a scale of its own"


def test_fp8_leaves_the_modulation_and_all_around_the_blocks(build: Build, plain: QwenImageEditor, lora: Path) -> None:
    editor = build(SIX | {"quantization": "fp8"})
    layers = dict(editor.pipe.transformer.named_modules())
    kinds = {name: layer.weight.dtype for name, layer in layers.items() if isinstance(layer, torch.nn.Linear)}
    assert sum(kind == torch.float8_e4m3fn for kind in kinds.values()) == 2 * 12
    around = ("transformer_blocks.0.img_mod.1", "transformer_blocks.1.txt_mod.1", "img_in", "proj_out")
    assert {kinds[name] for name in around} == {torch.float32}
    assert 0 < np.abs(pixels(editor) - pixels(plain)).mean() < 4
    both = build(LIGHTNING | {"lora": str(lora), "quantization": "fp8"})
    assert np.abs(pixels(both) - pixels(build(LIGHTNING | {"lora": str(lora)}))).mean() < 4, "fused, then rounded"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
def test_twelve_blocks_in_fp8_are_compiled_once(
    build: Build, tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # all but the kernels
    params = NO_GUIDANCE | {"num_inference_steps": 2, "quantization": "fp8"}
    model = save_deeper(tiny_model("qwen-image-edit-plus"), tmp_path / "deeper", blocks=12)
    compiled, eager = (
        built(QwenImageEditor, model=str(model), params=params | {"compile": on}) for on in (True, False)
    )
    assert len(compiled.pipe.transformer.transformer_blocks) == 12
    assert np.abs(pixels(compiled) - pixels(eager)).max() <= 2
    pixels(compiled, source=photo(90, 40), instruction="一句长得多的指令。" * 9)
    assert counters["stats"]["unique_graphs"] == 1


# What one photo gives to several items


def test_a_tiled_vae_gets_latents_of_its_own(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as pipeline

    monkeypatch.setattr(pipeline, "VAE_IMAGE_SIZE", 320 * 320)  # more than one tile
    editor = build(GUIDANCE)
    plain, tiled = pixels(editor), pixels(editor, tiled_vae=True)
    assert (plain != tiled).any()
    assert np.array_equal(tiled, pixels(build(GUIDANCE), tiled_vae=True))
    assert np.array_equal(plain, pixels(editor))


# Any pipeline


@pytest.mark.runs
def test_other_pipelines_have_the_same_optimizations(tiny_model: TinyModel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "editlane.editors.optimizations.step_cache")
    params = {"num_inference_steps": 4, "attention_backend": "native", "quantization": "fp8", "offload": "model"}
    klein = str(tiny_model("flux2-klein"))
    cache = {"kind": "taylor_seer", "disable_cache_before_step": 1, "cache_interval": 2}
    editor = built(DiffusersEditor, model=klein, params=params | {"cache": cache})
    first = pixels(editor)
    assert "skipped" in caplog.text
    assert np.array_equal(pixels(editor), first)
    assert (pixels(built(DiffusersEditor, model=klein, params=params)) != first).any()


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("flux-kontext", {"cache": {"kind": "mag", "calibrate": True}}, r"no step cache for FluxKontextPipeline"),
        (
            "instruct-pix2pix",
            {"cache": {"kind": "first_block"}},
            r"no step cache for StableDiffusionInstructPix2PixPipeline",
        ),
        ("instruct-pix2pix", {"attention_backend": "native"}, r"has no effect on UNet2DConditionModel"),
        ("flux2-klein", {"cache": {"kind": "first_block"}}, r"cache: a trial edit failed: TypeError"),
    ],
)
def test_a_lever_that_a_model_does_not_have_is_refused(
    kind: str, params: dict[str, Any], message: str, tiny_model: TinyModel
) -> None:
    with pytest.raises(UserError, match=message):
        built(DiffusersEditor, model=str(tiny_model(kind)), params=TWO_STEPS | params)


# Before any model is loaded


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"attention_backend": "flash3"}, r"Unknown attention_backend 'flash3'"),
        ({"compile": "yes"}, r"compile is 'yes'; use true or false"),
        ({"quantization": "int4"}, r"Unknown quantization 'int4'"),
        ({"offload": True}, r"offload is True; use `model` or `blocks`, or null"),
        ({"cache": {"kind": "first_block", "threshold": None}}, r"cache.threshold is None; use a number of 0 or more"),
        (
            {"cache": "first_block"},
            r"cache is 'first_block'; use \{kind: ...\} with one of first_block, mag, ",
        ),
        ({"cache": {"kind": "sea"}}, r"Unknown cache.kind 'sea'"),
        ({"cache": {"kind": "first_block", "treshold": 1}}, r"'treshold'. Did you mean 'threshold'"),
        ({"cache": {"kind": "first_block", "threshold": -1}}, r"cache.threshold is -1; use a number of 0 or more"),
        ({"cache": {"kind": "mag"}}, r"needs the ratios of this checkpoint.*calibrate: true"),
        (
            {"cache": {"kind": "mag", "mag_ratios": "1"}},
            r"cache.mag_ratios is '1'; use a list .*numbers that a run with",
        ),
        ({"num_inference_steps": None, "cache": {"kind": "mag", "calibrate": True}}, r"Set num_inference_steps"),
        ({"compile": True, "cache": {"kind": "taylor_seer"}}, r"compile: true compiles whole.*use_lite_mode"),
        ({"lora": "nowhere/a.safetensors"}, r"lora is nowhere/a.safetensors, which is not a file"),
        ({"scheduler": "lightening"}, r"Unknown scheduler 'lightening'. Did you mean 'lightning'"),
        ({"scheduler": "lightning", "num_inference_steps": 40}, r"models of 4 or 8 steps without guidance.* is 40"),
        ({"scheduler": "lightning", "num_inference_steps": None}, r"num_inference_steps is None"),
        (
            {"scheduler": "lightning", "num_inference_steps": 8, "true_cfg_scale": 4.0, "negative_prompt": " "},
            r"true_cfg_scale 4\. Set 4 or 8",
        ),
        ({"lora": "hf://a/b/X-Lightning-8steps-V1.safetensors"}, r"made for 8 steps\. Set scheduler: lightning"),
        (
            {"lora": "hf://a/b/X-Lightning-8steps.safetensors", "scheduler": "lightning", "num_inference_steps": 4},
            r"X-Lightning-8steps.safetensors was made for 8 steps",
        ),
    ],
)
def test_wrong_optimizations_are_rejected_without_a_model(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked(QwenImageEditor, NO_GUIDANCE | params)


def test_a_damaged_lora_is_refused_without_a_model(lora: Path, tmp_path: Path) -> None:
    cut = tmp_path / "切断.safetensors"
    cut.write_bytes(lora.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"切断.safetensors is truncated by 100 bytes. Copy"):
        checked(QwenImageEditor, LIGHTNING | {"lora": str(cut)})
