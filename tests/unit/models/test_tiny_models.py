"""The tiny checkpoints: whole, equal bytes, the released classes and layout, and answers that depend on the input."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from editlane.core.errors import UnknownName, UserError
from editlane.models import checkpoints
from editlane.models import tiny as tiny_models
from editlane.models.tiny import KINDS, build_tiny_model

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings(
    # diffusers' EulerAncestralDiscreteScheduler, numpy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

TinyModel = Callable[[str], Path]
BUILD = Path(tiny_models.__file__).parents[3] / "build_tiny_model.py"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_two_builds_give_equal_bytes(kind: str, tiny_model: TinyModel, tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    build_tiny_model(kind, tmp_path / "again")
    assert torch.equal(torch.random.get_rng_state(), before), "the caller's random numbers are left alone"
    first, again = contents(tiny_model(kind)), contents(tmp_path / "again")
    assert first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []
    assert sum(map(len, first.values())) < 5_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_tiny_model_is_a_complete_checkpoint_with_a_marker(kind: str, tiny_model: TinyModel) -> None:
    folder = tiny_model(kind)
    checkpoints.check_checkpoint(str(folder))
    assert checkpoints.is_randomly_initialised(str(folder))
    marker = json.loads((folder / "editlane_random_weights.json").read_text(encoding="utf-8"))
    assert marker == {"kind": kind, "seed": 0}


@pytest.mark.parametrize(
    ("kind", "pipeline"),
    [
        ("flux-kontext", "FluxKontextPipeline"),
        ("flux2-klein", "Flux2KleinPipeline"),
        ("instruct-pix2pix", "StableDiffusionInstructPix2PixPipeline"),
        ("qwen-image-edit", "QwenImageEditPipeline"),
        ("qwen-image-edit-2511", "QwenImageEditPlusPipeline"),
        ("qwen-image-edit-plus", "QwenImageEditPlusPipeline"),
    ],
)
def test_editors_have_the_released_pipeline_class_and_a_vae_that_shrinks_by_8(
    kind: str, pipeline: str, tiny_model: TinyModel
) -> None:
    folder = tiny_model(kind)
    assert checkpoints.read_model_index(str(folder), None)["_class_name"] == pipeline
    vae = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))
    levels = vae.get("dim_mult") or vae["block_out_channels"]
    assert 2 ** (len(levels) - 1) == 8


def test_only_2511_has_its_code_path(tiny_model: TinyModel) -> None:
    zero_cond_t = {
        kind: json.loads((tiny_model(kind) / "transformer" / "config.json").read_text(encoding="utf-8"))["zero_cond_t"]
        for kind in ("qwen-image-edit", "qwen-image-edit-plus", "qwen-image-edit-2511")
    }
    assert zero_cond_t == {"qwen-image-edit": False, "qwen-image-edit-plus": False, "qwen-image-edit-2511": True}


def test_another_seed_gives_other_weights_in_equal_files(tiny_model: TinyModel, tmp_path: Path) -> None:
    build_tiny_model("qwen3-vl", tmp_path / "seed1", seed=1)
    first, other = contents(tiny_model("qwen3-vl")), contents(tmp_path / "seed1")
    different = {name for name in first if first[name] != other[name]}
    assert different == {"model.safetensors", "editlane_random_weights.json"}


def test_a_failed_build_leaves_nothing_that_looks_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from editlane.models.tiny import qwen3_vl

    def fail(folder: Path) -> None:
        (folder / "config.json").write_text("{}", encoding="utf-8")
        raise RuntimeError("disk full")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="disk full"):
        patched.setattr(qwen3_vl, "save_qwen3_vl", fail)
        build_tiny_model("qwen3-vl", tmp_path / "model")
    assert not (tmp_path / "model").exists()
    build_tiny_model("qwen3-vl", tmp_path / "model")
    checkpoints.check_checkpoint(str(tmp_path / "model"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_tiny_model_that_lacks_a_file_is_built_again_and_readers_of_it_read_on(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model("qwen3-vl"), model)
    before = contents(model)
    assert tiny_models.is_built("qwen3-vl", model, 0)
    assert not tiny_models.is_built("qwen3-vl", model, 1)
    with (model / "model.safetensors").open("rb") as reader:
        (model / "tokenizer.json").unlink()
        assert tiny_models.is_damaged(model)
        assert not tiny_models.is_built("qwen3-vl", model, 0)
        build_tiny_model("qwen3-vl", model)
        assert reader.read() == before["model.safetensors"]
    assert contents(model) == before
    assert not tiny_models.is_damaged(tmp_path)


def test_what_is_built_is_used_where_this_user_may_not_write(tiny_model: TinyModel, tmp_path: Path) -> None:
    shutil.copytree(tiny_model("qwen3-vl"), tmp_path / "model")
    (tmp_path / ".model.lock").mkdir()  # nobody could lock this
    command = [sys.executable, str(BUILD), "--kind", "qwen3-vl", "--out", str(tmp_path / "model")]
    subprocess.run(command, check=True)


def test_nothing_is_built_through_a_link(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "precious").write_text("mine")
    (tmp_path / "model.partial").symlink_to(own)
    build_tiny_model("qwen3-vl", tmp_path / "model")
    assert tiny_models.is_built("qwen3-vl", tmp_path / "model", 0)
    assert contents(own) == {"precious": b"mine"}


def test_an_earlier_tiny_model_is_replaced_and_anything_else_is_left_alone(tmp_path: Path) -> None:
    build_tiny_model("qwen3-vl", tmp_path / "model")
    build_tiny_model("instruct-pix2pix", tmp_path / "model")
    assert not (tmp_path / "model" / "config.json").exists()
    assert (tmp_path / "model" / "model_index.json").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "家.png").write_bytes(b"x")
    with pytest.raises(UserError, match="is not a tiny model, so it is not overwritten"):
        build_tiny_model("qwen3-vl", tmp_path / "photos")
    assert contents(tmp_path / "photos") == {"家.png": b"x"}


def test_an_unknown_kind_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"Unknown kind of tiny model 'qwen3vl'. Did you mean 'qwen3-vl'\?"):
        build_tiny_model("qwen3vl", tmp_path / "model")


@pytest.mark.runs
def test_the_step_program_builds_quietly_and_the_same_bytes(tiny_model: TinyModel, tmp_path: Path) -> None:
    out = tmp_path / "tiny models" / "指代"
    command = [sys.executable, str(BUILD), "--kind", "qwen-image-edit-plus", "--out", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout + run.stderr == ""
    assert contents(out) == contents(tiny_model("qwen-image-edit-plus"))


def test_tokenizers_keep_chinese_and_the_answers(tiny_model: TinyModel) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model("qwen3-vl"))
    instruction = "移除前景中的汽车"
    assert tokenizer.decode(tokenizer.encode(instruction)) == instruction
    for answer in (*"0123456789ABCDEFGHIJK", "Yes", "No", "yes", "no", "<|im_end|>", "<|image_pad|>"):
        assert len(tokenizer.encode(answer)) == 1, answer
    assert len(tokenizer.encode("10")) == 2


def test_experts_lie_in_the_hub_layout_and_load_transposed(tiny_model: TinyModel) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForImageTextToText

    folder = tiny_model("qwen3-vl-moe")
    name = "model.language_model.layers.0.mlp.experts.gate_up_proj"
    on_disk = load_file(folder / "model.safetensors")[name]
    assert on_disk.shape == (4, 64, 96)
    loaded = AutoModelForImageTextToText.from_pretrained(folder).get_parameter(name)
    assert torch.equal(loaded, on_disk.transpose(1, 2))


@pytest.mark.parametrize("kind", ["qwen3-vl", "qwen3-vl-moe"])
def test_the_judge_sees_images_and_text(kind: str, tiny_model: TinyModel) -> None:
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from editlane.models.no_torchvision import drop_video_processors

    drop_video_processors()
    processor = AutoProcessor.from_pretrained(tiny_model(kind))
    model = AutoModelForImageTextToText.from_pretrained(tiny_model(kind), dtype=torch.float32).eval()

    def answer(color: str, text: str) -> torch.Tensor:
        content = [{"type": "image", "image": Image.new("RGB", (96, 64), color)}, {"type": "text", "text": text}]
        batch = processor.apply_chat_template(
            [[{"role": "user", "content": content}]],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            return model(**batch, logits_to_keep=1).logits[0, -1]

    first = answer("red", "移除汽车")
    assert torch.equal(answer("red", "移除汽车"), first)
    assert (answer("blue", "移除汽车") - first).abs().max() > 0.05
    assert (answer("red", "添加汽车") - first).abs().max() > 0.05
