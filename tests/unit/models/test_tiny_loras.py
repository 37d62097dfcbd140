"""Tiny LoRAs: equal bytes, layers of their base model, and PEFT and a fleet take them."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from editlane.core.errors import UserError
from editlane.fleet.adapters import read_adapter
from editlane.models import tiny as tiny_models
from editlane.models.tiny import build_tiny_model, is_built

torch = pytest.importorskip("torch")

TinyModel = Callable[[str], Path]
BUILD = Path(tiny_models.__file__).parents[3] / "build_tiny_model.py"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kind", ["qwen3-vl", "qwen3-vl-moe"])
def test_equal_seeds_give_equal_bytes_that_a_fleet_takes(kind: str, tiny_model: TinyModel, tmp_path: Path) -> None:
    base = tiny_model(kind)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build_tiny_model("lora", tmp_path / name, seed=seed, base=base)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    names = [
        read_adapter("评委", tmp_path / name, model=str(base), revision=None, max_rank=8).published for name in "abc"
    ]
    assert names[0] == names[1] != names[2]
    assert str(tmp_path) not in (tmp_path / "a/adapter_config.json").read_text()


def test_another_base_makes_another_lora(tiny_model: TinyModel, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_model("qwen3-vl"), tmp_path / "base")
    build_tiny_model("lora", tmp_path / "a", base=base)
    assert is_built("lora", tmp_path / "a", 0, base)
    assert not is_built("lora", tmp_path / "a", 1, base)
    build_tiny_model("qwen3-vl", base, seed=5)
    assert not is_built("lora", tmp_path / "a", 0, base)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's, of transformers
def test_peft_loads_it_and_answers_differ(tiny_model: TinyModel, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForImageTextToText

    build_tiny_model("lora", tmp_path / "a", base=tiny_model("qwen3-vl"))
    model = AutoModelForImageTextToText.from_pretrained(tiny_model("qwen3-vl"), dtype=torch.float32)
    tokens = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        plain = model(input_ids=tokens).logits[0, -1].log_softmax(-1)
        adapted = peft.PeftModel.from_pretrained(model, tmp_path / "a")  # a missing weight warns
        changed = adapted(input_ids=tokens).logits[0, -1].log_softmax(-1)
    assert sum("lora_B" in name for name, _ in adapted.named_parameters()) == 21
    assert (plain - changed).abs().max() > 0.5


def test_what_is_no_language_model_gets_no_lora(tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no layers such as q_proj"):
        build_tiny_model("lora", tmp_path / "a", base=tiny_model("qwen-image-edit"))
    with pytest.raises(UserError, match="is missing"):
        build_tiny_model("lora", tmp_path / "a", base=tmp_path / "none")
    for kind, base in (("lora", None), ("qwen3-vl", tiny_model("qwen3-vl"))):
        with pytest.raises(UserError, match="Give --base with this kind, and only with it"):
            build_tiny_model(kind, tmp_path / "a", base=base)
    assert not (tmp_path / "a").exists()


def test_the_program_builds_one(tiny_model: TinyModel, tmp_path: Path) -> None:
    command = [sys.executable, str(BUILD), "--kind", "lora", "--base", str(tiny_model("qwen3-vl")), "--seed", "1"]
    run = subprocess.run([*command, "--out", str(tmp_path / "我的 lora")], capture_output=True, text=True, check=True)
    assert run.stdout + run.stderr == ""
    build_tiny_model("lora", tmp_path / "a", seed=1, base=tiny_model("qwen3-vl"))
    assert contents(tmp_path / "我的 lora") == contents(tmp_path / "a")
