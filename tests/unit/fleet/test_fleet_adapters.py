"""Adapters: checked before a server loads them, named by their content, and copied so that nobody changes them."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editlane.core.errors import UserError
from editlane.fleet import adapters
from editlane.fleet.adapters import Adapter, publish_base, read_adapter, store_adapter

Shapes = dict[str, list[int]]

WIDE, NARROW = 16, 8
NESTED = "model.language_model.layers.0"
BASE: Shapes = {
    f"{NESTED}.self_attn.q_proj.weight": [NARROW, WIDE],
    f"{NESTED}.mlp.down_proj.weight": [WIDE, 32],
    "model.visual.blocks.0.attn.proj.weight": [4, 4],
    "lm_head.weight": [50, WIDE],
}


def write_tensors(path: Path, shapes: Shapes, dtype: str = "F32", fill: bytes = b"\0") -> None:
    size, header, offset = {"F32": 4, "U8": 1, "F8_E4M3": 1, "I32": 4}[dtype], {}, 0
    for name, shape in shapes.items():
        length = size
        for side in shape:
            length *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + length]}
        offset += length
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + fill * offset)


def write_base(folder: Path, shapes: Shapes, dtype: str = "F32", kind: str = "Qwen3VL") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": [kind]}))
    write_tensors(folder / "model.safetensors", shapes, dtype)
    return folder


def lora(layer: str, ins: int, outs: int, rank: int = 4) -> Shapes:
    return {
        f"base_model.model.{layer}.lora_A.weight": [rank, ins],
        f"base_model.model.{layer}.lora_B.weight": [outs, rank],
    }


GOOD = lora(f"{NESTED}.self_attn.q_proj", WIDE, NARROW) | lora(f"{NESTED}.mlp.down_proj", 32, WIDE)


def write_lora(folder: Path, shapes: Shapes, fill: bytes = b"\1", **changes: Any) -> Path:
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "base_model_name_or_path": "模型"} | changes
    (folder / "adapter_config.json").write_text(json.dumps(config))
    write_tensors(folder / "adapter_model.safetensors", shapes, fill=fill)
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "模型", BASE)


def read(folder: Path, base: Path | str, **changes: Any) -> Adapter:
    asked: dict[str, Any] = {"model": str(base), "revision": None, "max_rank": 16} | changes
    return read_adapter("评委", folder, **asked)


def refuse(folder: Path, base: Path | str, **changes: Any) -> str:
    with pytest.raises(UserError) as refused:
        read(folder, base, **changes)
    return str(refused.value)


def test_an_adapter_is_named_by_what_it_holds(base: Path, tmp_path: Path) -> None:
    one = read(write_lora(tmp_path / "a", GOOD), base)
    assert one.published == f"评委@{one.fingerprint}"
    assert (len(one.fingerprint), one.rank, one.path) == (12, 4, tmp_path / "a")
    assert read(write_lora(tmp_path / "elsewhere", GOOD), base).fingerprint == one.fingerprint
    others = [
        read(write_lora(tmp_path / "weights", GOOD, fill=b"\2"), base),
        read(write_lora(tmp_path / "config", GOOD, lora_alpha=4), base),
        read(tmp_path / "a", write_base(tmp_path / "other/模型", BASE | {"x.weight": [1, 1]})),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_a_base_model_is_published_by_its_fingerprint(base: Path, tmp_path: Path) -> None:
    name = publish_base(str(base), None, "q")
    assert name.startswith("q@")
    assert len(name) == 14
    assert name == publish_base(shutil.copytree(base, tmp_path / "copy"), None, "q")
    assert publish_base("a/b", "1", "q") != publish_base("a/b", "2", "q")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "has the peft_type 'IA3'; vLLM serves LORA alone"),
        ({"use_dora": True}, "has `use_dora: True`, which vLLM does not serve"),
        ({"modules_to_save": ["lm_head"]}, r"has `modules_to_save: ['lm_head']`"),
        ({"bias": "all"}, "has `bias: 'all'`"),
        ({"init_lora_weights": "pissa"}, "has `init_lora_weights: 'pissa'`, for which PEFT changes the base model,"),
        ({"rank_pattern": {"q_proj": 32}}, "has rank 32, and `max_lora_rank` is 16. Set `max_lora_rank: 32`."),
        ({"r": 17}, "has rank 17, and `max_lora_rank` is 16. Set `max_lora_rank: 32`."),
        ({"r": 1000}, "vLLM serves 512 at most; train a smaller one"),
        ({"r": None}, "has the rank None"),
        ({"rank_pattern": [1]}, "has the rank [1]"),
    ],
)
def test_what_vllm_cannot_serve_is_refused_by_name(
    changes: dict[str, Any], message: str, base: Path, tmp_path: Path
) -> None:
    said = refuse(write_lora(tmp_path / "a", GOOD, **changes), base)
    assert message in said
    assert said.startswith(f"The adapter 评委 in {tmp_path}/a")


def test_harmless_settings_are_taken(base: Path, tmp_path: Path) -> None:
    changes = {"init_lora_weights": "gaussian", "rank_pattern": {}, "modules_to_save": None, "use_rslora": True}
    read(write_lora(tmp_path / "a", GOOD, **changes), base)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "is missing. Set `adapters: 评委:` to the folder that PEFT saved"),
        (lambda folder: (shutil.rmtree(folder), folder.write_text("x")), "is no folder"),
        (lambda folder: (folder / "adapter_config.json").unlink(), "has no adapter_config.json"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "adapter_config.json cannot be read"),
        (lambda folder: (folder / "adapter_config.json").write_text("[]"), "has the peft_type []"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "has no adapter_model.safetensors. Save it"),
        (
            lambda folder: (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin"),
            "has no adapter_model.safetensors, but adapter_model.bin, a pickle, which can run code",
        ),
        (lambda folder: os.truncate(folder / "adapter_model.safetensors", 900), "is truncated by"),
        (lambda folder: (folder / "adapter_model.safetensors").write_text("version https://git"), "a Git LFS pointer"),
        (
            lambda folder: (
                (folder / "adapter_model.safetensors").unlink(),
                os.mkfifo(folder / "adapter_model.safetensors"),
            ),
            "is a pipe",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_refused(
    damage: Callable[[Path], object], message: str, base: Path, tmp_path: Path
) -> None:
    damage(write_lora(tmp_path / "a", GOOD))
    assert message in refuse(tmp_path / "a", base)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (GOOD | {"base_model.model.lm_head.weight": [50, WIDE]}, "has the tensor 'base_model.model.lm_head.weight'"),
        (GOOD | {"a.lora_A.weight": [4, WIDE]}, "has the tensor 'a.lora_A'"),
        (GOOD | {"a.lora_A.weight": [4, 8], "a.lora_B.weight": [8, 3]}, "has the tensor 'a.lora_A'"),
        (GOOD | {"a.lora_A.weight": [4], "a.lora_B.weight": [8, 4]}, "has the tensor 'a.lora_A.weight'"),
        ({}, "has no weights"),
        (
            GOOD | lora("model.visual.blocks.0.attn.proj", 4, 4),
            "changes the vision part (model.visual.blocks.0.attn.proj)",
        ),
        (lora(f"{NESTED}.self_attn.q_proj", WIDE, NARROW, rank=32), "has rank 32"),
        (
            lora(f"{NESTED}.self_attn.q_proj", 8, NARROW),
            f"its LoRA of {NESTED}.self_attn.q_proj is for 8 features in and 8 out, and that layer has 16 and 8",
        ),
        (lora(f"{NESTED}.self_attn.q_proj", WIDE, 16), "was made for another model"),
        (lora("model.language_model.layers.7.self_attn.q_proj", WIDE, NARROW), "that has no layer"),
        (GOOD | lora(f"{NESTED}.self_attn.g_proj", WIDE, NARROW), "(1 of 3 layers do not fit)"),
        # A language model alone with the same shapes. vLLM takes it, and it does nothing.
        (lora("model.layers.0.self_attn.q_proj", WIDE, NARROW), "that has no layer model.layers.0.self_attn.q_proj"),
    ],
)
def test_weights_that_do_not_fit_are_refused(shapes: Shapes, message: str, base: Path, tmp_path: Path) -> None:
    assert message in refuse(write_lora(tmp_path / "a", shapes), base)


def test_an_adapter_of_a_model_with_vision_is_refused_for_a_language_model(tmp_path: Path) -> None:
    base = write_base(tmp_path / "模型", {"model.layers.0.self_attn.q_proj.weight": [NARROW, WIDE]})
    read(write_lora(tmp_path / "fits", lora("model.layers.0.self_attn.q_proj", WIDE, NARROW)), base)
    assert "was made for another" in refuse(
        write_lora(tmp_path / "a", lora(f"{NESTED}.self_attn.q_proj", WIDE, NARROW)), base
    )


QWEN2_VL: Shapes = {
    "model.layers.0.self_attn.q_proj.weight": [NARROW, WIDE],
    "visual.blocks.0.attn.proj.weight": [4, 4],
}
LLAVA: Shapes = {
    "language_model.model.layers.0.q_proj.weight": [NARROW, WIDE],
    "vision_tower.layers.0.x.weight": [4, 4],
}
EXPERTS: Shapes = {f"{NESTED}.mlp.experts.gate_up_proj": [2, WIDE, 32], f"{NESTED}.mlp.gate.weight": [2, WIDE]}
TIED: Shapes = {"model.embed_tokens.weight": [50, WIDE]}
OTHER: Shapes = {"transformer.layers.0.q.weight": [NARROW, WIDE]}


@pytest.mark.parametrize(
    ("held", "dtype", "layers"),
    [
        (QWEN2_VL, "F32", lora(f"{NESTED}.self_attn.q_proj", WIDE, NARROW)),
        (QWEN2_VL, "F32", lora("model.layers.0.self_attn.q_proj", WIDE, NARROW)),
        (LLAVA, "F32", lora("model.language_model.layers.0.q_proj", WIDE, NARROW)),
        (LLAVA, "F32", lora("language_model.model.layers.0.q_proj", WIDE, NARROW)),
        (EXPERTS, "F32", lora(f"{NESTED}.mlp.experts.0.down_proj", 3, 5)),
        (EXPERTS, "F32", lora(f"{NESTED}.mlp.experts.base_layer", WIDE, 32, rank=64)),
        (TIED, "F32", lora("lm_head", WIDE, 50)),
        (OTHER, "F32", lora("model.decoder.layers.0.q", WIDE, NARROW)),
        ({f"{NESTED}.q_proj.qweight": [WIDE, 1]}, "I32", lora(f"{NESTED}.q_proj", WIDE, NARROW)),
        ({f"{NESTED}.q_proj.weight": [64, 1]}, "U8", lora(f"{NESTED}.q_proj", WIDE, NARROW)),
        ({f"{NESTED}.q_proj.weight": [NARROW, WIDE]}, "F8_E4M3", lora(f"{NESTED}.q_proj", WIDE, NARROW)),
    ],
)
def test_layers_are_known_by_their_other_names(held: Shapes, dtype: str, layers: Shapes, tmp_path: Path) -> None:
    read(write_lora(tmp_path / "a", layers), write_base(tmp_path / "模型", held, dtype))


def test_shapes_are_compared_under_other_names_too(tmp_path: Path) -> None:
    base = write_base(tmp_path / "模型", QWEN2_VL)
    said = refuse(write_lora(tmp_path / "a", lora(f"{NESTED}.self_attn.q_proj", 8, NARROW)), base)
    assert "is for 8 features in and 8 out" in said
    tied = write_base(tmp_path / "tied/模型", TIED)
    assert "was made for another model" in refuse(write_lora(tmp_path / "b", lora("lm_head", 8, 50)), tied)


def test_embeddings_are_read(tmp_path: Path) -> None:
    base = write_base(tmp_path / "模型", TIED)
    names = "base_model.model.model.embed_tokens.lora_embedding_"
    read(write_lora(tmp_path / "a", {names + "A": [4, 50], names + "B": [WIDE, 4]}), base)


def test_the_vision_part_may_be_changed_where_servers_do_so(base: Path, tmp_path: Path) -> None:
    folder = write_lora(tmp_path / "a", GOOD | lora("model.visual.blocks.0.attn.proj", 4, 4))
    assert "--enable-tower-connector-lora" in refuse(folder, base)
    read(folder, base, towers=True)


def test_a_base_model_in_several_files_is_read_whole(tmp_path: Path) -> None:
    names = list(BASE)
    base = write_base(tmp_path / "模型", {name: BASE[name] for name in names[:1]})
    (base / "model.safetensors").rename(base / "model-00001-of-00002.safetensors")
    write_tensors(base / "model-00002-of-00002.safetensors", {name: BASE[name] for name in names[1:]})
    files = {name: f"model-0000{1 + (place > 0)}-of-00002.safetensors" for place, name in enumerate(names)}
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    read(write_lora(tmp_path / "a", GOOD), base)


# --- which model it says that it was made for


@pytest.mark.parametrize(
    "trained",
    [
        "Qwen/Qwen3-VL-8B",
        "qwen3-vl-8b",
        "/data/models/Qwen3-VL-8B/",
        "unsloth/Qwen3-VL-8B",
        "/home/x/.cache/huggingface/hub/models--Qwen--Qwen3-VL-8B/snapshots/0123abc",
        "/home/x/train/base",
        "",
        None,
    ],
)
def test_a_model_that_may_be_the_same_is_taken(trained: str | None, tmp_path: Path) -> None:
    folder = write_lora(tmp_path / "a", GOOD, base_model_name_or_path=trained)
    read(folder, write_base(tmp_path / "Qwen3-VL-8B", BASE))
    if trained != "/home/x/train/base":
        read(folder, "Qwen/Qwen3-VL-8B")


def test_another_hub_id_is_another_model(tmp_path: Path) -> None:
    folder = write_lora(tmp_path / "a", GOOD, base_model_name_or_path="Qwen/Qwen3-VL-4B")
    said = refuse(folder, "Qwen/Qwen3-VL-8B")
    assert "its base_model_name_or_path is 'Qwen/Qwen3-VL-4B', and the fleet's model is 'Qwen/Qwen3-VL-8B'" in said


def test_a_folder_with_another_architecture_is_another_model(base: Path, tmp_path: Path) -> None:
    trained = write_base(tmp_path / "text", BASE, kind="Qwen2ForCausalLM")
    folder = write_lora(tmp_path / "a", GOOD, base_model_name_or_path=str(trained))
    assert "Qwen2ForCausalLM, and the fleet's model is Qwen3VL" in refuse(folder, base)
    alike = write_base(tmp_path / "copy", BASE)
    read(write_lora(tmp_path / "b", GOOD, base_model_name_or_path=str(alike)), base)


def test_a_wrong_base_model_is_said_to_be_wrong(tmp_path: Path) -> None:
    assert "The model ./none is missing" in refuse(write_lora(tmp_path / "a", GOOD), "./none")


def test_layers_are_compared_with_a_model_of_the_hub_that_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    fits = write_lora(tmp_path / "a", GOOD, base_model_name_or_path="o/m")
    other = write_lora(tmp_path / "b", lora("model.layers.0.q", 1, 1), base_model_name_or_path="o/m")
    read(other, "o/m")  # the hub's cache has nothing to compare with
    snapshot = write_base(tmp_path / "models--o--m/snapshots/abc", BASE)
    (tmp_path / "models--o--m/refs").mkdir()
    (tmp_path / "models--o--m/refs/main").write_text("abc")
    read(fits, "o/m")
    assert "was made for another model than o/m" in refuse(other, "o/m")
    os.truncate(snapshot / "model.safetensors", 900)  # while it is being downloaded
    read(other, "o/m")


# --- copies


def list_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_copy_stays_whatever_happens_to_the_folder(base: Path, tmp_path: Path) -> None:
    folder = write_lora(tmp_path / "a", GOOD)
    (folder / "optimizer.pt").write_bytes(b"x" * 1000)
    adapter = read(folder, base)
    copy = store_adapter(adapter, tmp_path / "store")
    assert copy.path == tmp_path / "store" / adapter.published
    assert (copy.published, copy.rank) == (adapter.published, adapter.rank)
    assert list_files(copy.path) == ["adapter_config.json", "adapter_model.safetensors"]
    shutil.rmtree(folder)
    before = (copy.path / "adapter_model.safetensors").stat()
    assert store_adapter(adapter, tmp_path / "store") == copy
    assert (copy.path / "adapter_model.safetensors").stat().st_ino == before.st_ino
    assert read(copy.path, base).fingerprint == adapter.fingerprint


def test_new_weights_in_the_same_folder_get_another_copy(base: Path, tmp_path: Path) -> None:
    folder = write_lora(tmp_path / "a", GOOD)
    first = store_adapter(read(folder, base), tmp_path / "store")
    write_tensors(folder / "adapter_model.safetensors", GOOD, fill=b"\7")
    second = store_adapter(read(folder, base), tmp_path / "store")
    assert first.path != second.path
    assert read(first.path, base).published == first.published


def test_a_damaged_copy_is_made_again(base: Path, tmp_path: Path) -> None:
    adapter = read(write_lora(tmp_path / "a", GOOD), base)
    copy = store_adapter(adapter, tmp_path / "store")
    (copy.path / "adapter_model.safetensors").write_bytes(b"")
    assert store_adapter(adapter, tmp_path / "store") == copy
    assert read(copy.path, base).published == adapter.published


def test_an_adapter_that_changes_meanwhile_is_not_served(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_lora(tmp_path / "a", GOOD)
    adapter = read(folder, base)
    write_tensors(folder / "adapter_model.safetensors", GOOD, fill=b"\7")
    with pytest.raises(UserError, match=r"changed while it was read, perhaps because it is being saved\. Try again"):
        store_adapter(adapter, tmp_path / "store")
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="changed while it was read"):
        store_adapter(adapter, tmp_path / "store")
    assert [path.name for path in (tmp_path / "store").iterdir() if path.is_dir()] == []


def test_the_ranks_are_those_of_the_config() -> None:
    assert adapters.RANKS == (1, 8, 16, 32, 64, 128, 256, 320, 512)
