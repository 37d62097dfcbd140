"""Checkpoints as files: completeness, identity, and hub ids without a hub. Needs no model library."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from editlane.core.errors import UserError
from editlane.models import checkpoints
from editlane.models.checkpoints import check_checkpoint, fingerprint_model, is_randomly_initialised, read_model_index
from editlane.models.weight_formats import check_formats


def write_safetensors(path: Path, size: int = 16) -> None:
    header = json.dumps({"__metadata__": {}, "w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(range(256)) * (size // 256) + bytes(size % 256))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A diffusers folder with a sharded transformer, a VAE, a tokenizer and one part that is left out on purpose."""
    folder = tmp_path / "模型"
    index = {
        "_class_name": "QwenImageEditPlusPipeline",
        "_diffusers_version": "0.42.1",
        "image_encoder": [None, None],
        "is_distilled": True,
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
        "transformer": ["diffusers", "QwenImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLQwenImage"],
    }
    for part in ("tokenizer", "transformer", "vae"):
        (folder / part).mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "tokenizer" / "tokenizer.json").write_text("{}", encoding="utf-8")
    for part in ("transformer", "vae"):
        (folder / part / "config.json").write_text("{}", encoding="utf-8")
    shards = [f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    weight_map = {"a": shards[0], "b": shards[1]}
    (folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps({"weight_map": weight_map}), encoding="utf-8"
    )
    for shard in shards:
        write_safetensors(folder / "transformer" / shard)
    write_safetensors(folder / "vae" / "diffusion_pytorch_model.safetensors")
    return folder


def test_a_complete_checkpoint_passes(checkpoint: Path) -> None:
    check_checkpoint(str(checkpoint))
    assert read_model_index(str(checkpoint), None)["_class_name"] == "QwenImageEditPlusPipeline"


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("model_index.json", "neither model_index.json nor config.json"),
        ("vae", "its component vae/ is missing"),
        ("tokenizer/tokenizer.json", "its component tokenizer/ is missing"),
        ("vae/config.json", "vae/config.json is missing"),
        ("vae/diffusion_pytorch_model.safetensors", "vae/ has no weights"),
        (
            "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
            "transformer/diffusion_pytorch_model-00002-of-00002.safetensors, listed in "
            "diffusion_pytorch_model.safetensors.index.json, is missing",
        ),
    ],
)
def test_an_incomplete_checkpoint_is_refused_with_the_lost_part_named(
    checkpoint: Path, lost: str, message: str
) -> None:
    path = checkpoint / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=r"is incomplete: .*Copy or download it again") as caught:
        check_checkpoint(str(checkpoint))
    assert message in str(caught.value)
    assert str(checkpoint) in str(caught.value)


def test_a_shard_that_was_cut_short_is_refused(checkpoint: Path) -> None:
    path = checkpoint / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"vae/diffusion_pytorch_model.safetensors is truncated by 3 bytes"):
        check_checkpoint(str(checkpoint))


def test_a_git_lfs_pointer_is_refused(checkpoint: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 167\n"
    (checkpoint / "vae" / "diffusion_pytorch_model.safetensors").write_text(pointer, encoding="utf-8")
    with pytest.raises(UserError, match=r"not a safetensors file \(is it a Git LFS pointer"):
        check_checkpoint(str(checkpoint))


def test_a_damaged_model_index_is_refused(checkpoint: Path) -> None:
    (checkpoint / "model_index.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"model_index.json is damaged"):
        check_checkpoint(str(checkpoint))


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".ckpt"])
def test_weights_that_are_pickles_are_refused(checkpoint: Path, suffix: str) -> None:
    vae = checkpoint / "vae"
    weights = vae / "diffusion_pytorch_model.safetensors"
    weights.with_suffix(suffix).write_bytes(b"a pickle")
    check_formats(str(checkpoint), allow_pickle=False)  # it is not loaded
    weights.unlink()
    check_checkpoint(str(checkpoint))
    name = f"diffusion_pytorch_model{suffix}"
    with pytest.raises(UserError, match=rf"no safetensors in vae/, but the pickle {name}, which") as caught:
        check_formats(str(checkpoint), allow_pickle=False)
    assert ("allow_pickle: true" in str(caught.value)) == (suffix == ".bin")


def test_a_user_may_trust_a_pickle_that_the_libraries_load(checkpoint: Path) -> None:
    weights = checkpoint / "vae/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    check_formats(str(checkpoint), allow_pickle=True)
    weights.with_suffix(".bin").rename(weights.with_suffix(".ckpt"))
    with pytest.raises(UserError, match=r"diffusion_pytorch_model\.ckpt"):
        check_formats(str(checkpoint), allow_pickle=True)


def test_a_transformers_folder_is_a_checkpoint_but_not_a_pipeline(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    write_safetensors(tmp_path / "model.safetensors")
    check_checkpoint(str(tmp_path))
    with pytest.raises(UserError, match=r"has no model_index.json"):
        read_model_index(str(tmp_path), None)


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="is a single file"):
        check_checkpoint(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("model", ["Qwen/Qwen-Image-Edit-2509", "black-forest-labs/FLUX.1-Kontext-dev", "a/b_c.d"])
def test_hub_ids_pass(model: str) -> None:
    check_checkpoint(model)
    assert fingerprint_model(model, "v1") == {"id": model, "revision": "v1"}


@pytest.mark.parametrize("model", ["/no/such", "./a/b", "../b", "~/b", "resources/models/none", "none", "a/b/"])
def test_missing_folders_are_told_from_hub_ids(model: str) -> None:
    with pytest.raises(UserError, match="is missing"):
        check_checkpoint(model)
    with pytest.raises(UserError, match="is missing"):
        fingerprint_model(model, None)


def test_the_marker_tells_random_weights(checkpoint: Path) -> None:
    assert not is_randomly_initialised(str(checkpoint))
    assert not is_randomly_initialised("Qwen/Qwen-Image-Edit-2509")
    (checkpoint / checkpoints.RANDOM_WEIGHTS_FILE).write_text("{}", encoding="utf-8")
    assert is_randomly_initialised(str(checkpoint))


def test_the_fingerprint_does_not_depend_on_the_place(checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(checkpoint, copy)
    (copy / "README.md").write_text("# the model card", encoding="utf-8")
    (copy / ".cache").mkdir()
    (copy / ".cache" / "download.json").write_text("2026", encoding="utf-8")
    link = tmp_path / "link"
    link.symlink_to(copy, target_is_directory=True)
    fingerprint = fingerprint_model(str(checkpoint), None)
    assert len(fingerprint["sha256"]) == 64
    assert fingerprint_model(str(copy), "main") == fingerprint_model(str(link), None) == fingerprint


def test_the_fingerprint_sees_content_names_and_sizes(checkpoint: Path) -> None:
    seen = {fingerprint_model(str(checkpoint), None)["sha256"]}
    weights = checkpoint / "vae" / "diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"\xff")
    seen.add(fingerprint_model(str(checkpoint), None)["sha256"])
    weights.write_bytes(content + b"\x00")
    seen.add(fingerprint_model(str(checkpoint), None)["sha256"])
    (checkpoint / "tokenizer" / "merges.txt").write_text("", encoding="utf-8")
    seen.add(fingerprint_model(str(checkpoint), None)["sha256"])
    assert len(seen) == 4


def test_of_a_large_file_blocks_from_start_to_end_count(checkpoint: Path) -> None:
    weights = checkpoint / "vae" / "diffusion_pytorch_model.safetensors"
    size = checkpoints.SAMPLED_FROM + 12345
    write_safetensors(weights, size)
    seen = {fingerprint_model(str(checkpoint), None)["sha256"]}
    last = weights.stat().st_size - 1
    for position in (200, last, 128 * (last + 1 - checkpoints.BLOCK_SIZE) // 255):
        with weights.open("r+b") as file:
            file.seek(position)
            byte = file.read(1)
            file.seek(position)
            file.write(bytes([byte[0] ^ 1]))
        seen.add(fingerprint_model(str(checkpoint), None)["sha256"])
    assert len(seen) == 4


def test_an_unreachable_hub_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"acme/none is not a folder .*`hf download acme/none --revision v2`"):
        read_model_index("acme/none", "v2")


def test_importing_checkpoints_loads_no_model_library() -> None:
    heavy = "{'torch', 'transformers', 'diffusers', 'huggingface_hub', 'numpy'}"
    code = f"import sys, editlane.models.checkpoints; print(*sorted({heavy} & set(sys.modules)))"
    scripts = Path(checkpoints.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(scripts)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
