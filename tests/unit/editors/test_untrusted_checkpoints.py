"""No checkpoint runs code: neither Python files that come with it, nor pickled weights that the user did not allow."""

import ast
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from adapters import built
from test_editors import TWO_STEPS, one_thread, request

from editlane.core.errors import UserError
from editlane.editors.diffusers_pipeline import DiffusersEditor
from editlane.judges.qwen3_vl.transformers_engine import Qwen3VLJudge
from editlane.models import checkpoints
from editlane.models.lora import check_lora

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

pytestmark = pytest.mark.filterwarnings(
    # diffusers' EulerAncestralDiscreteScheduler, numpy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

PACKAGE = Path(checkpoints.__file__).parents[1]
LOADERS = {"from_pretrained", "EngineArgs"}

assert one_thread  # for this module, too


def find_loaders() -> Iterator[tuple[str, ast.Call]]:
    """Every call that loads a part of a checkpoint; a pipeline class is told apart from other things that download."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name.rpartition(".")[2] in LOADERS or name == "pipeline.download":
                    yield f"{path.name}:{node.lineno} {name}", node


def test_every_loader_refuses_code_of_the_checkpoint() -> None:
    found = list(find_loaders())
    assert len(found) >= 7
    for where, call in found:
        named = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert named.get("trust_remote_code") == "False", where


@pytest.fixture
def editor(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    folder = tmp_path / "editor"
    shutil.copytree(tiny_model("instruct-pix2pix"), folder)
    return folder


def write_code(path: Path, mark: Path) -> None:
    path.write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))


def test_a_component_that_needs_code_of_its_own_is_refused(editor: Path, tmp_path: Path) -> None:
    write_code(editor / "unet/evil.py", tmp_path / "ran")
    edit_json(editor / "model_index.json", unet=["evil", "UNet"])
    with pytest.raises(UserError, match=r"cannot be loaded: .*evil"):
        built(DiffusersEditor, model=str(editor), params=TWO_STEPS)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", [["pipeline.py", "Evil"], "utils", "UNet2DConditionModel"])
def test_a_pipeline_that_is_none_of_diffusers_is_refused(editor: Path, tmp_path: Path, name: object) -> None:
    write_code(editor / "pipeline.py", tmp_path / "ran")
    edit_json(editor / "model_index.json", _class_name=name)
    with pytest.raises(UserError, match=r"which diffusers .* does not have"):
        built(DiffusersEditor, model=str(editor), params=TWO_STEPS)
    assert not (tmp_path / "ran").exists()


def test_a_judge_that_needs_code_of_its_own_is_refused(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "judge"
    shutil.copytree(tiny_model("qwen3-vl"), folder)
    write_code(folder / "evil.py", tmp_path / "ran")
    edit_json(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config"})
    with pytest.raises(UserError, match="needs code of its own, which Editlane never runs"):
        built(Qwen3VLJudge, model=str(folder), params={})
    assert not (tmp_path / "ran").exists()


def pickle_weights(path: Path) -> None:
    torch.save(safetensors.load_file(path), path.with_suffix(".bin"))
    path.unlink()


def test_an_editor_unpickles_weights_only_if_the_user_allows_it(
    editor: Path, tiny_model: Callable[[str], Path]
) -> None:
    pickle_weights(editor / "vae/diffusion_pytorch_model.safetensors")
    with pytest.raises(UserError, match=r"no safetensors in vae/.*allow_pickle: true"):
        built(DiffusersEditor, model=str(editor), params=TWO_STEPS)
    allowed = built(DiffusersEditor, model=str(editor), params=TWO_STEPS | {"allow_pickle": True})
    plain = built(DiffusersEditor, model=str(tiny_model("instruct-pix2pix")), params=TWO_STEPS)
    first, second = (np.asarray(one.edit(request()).image) for one in (allowed, plain))
    assert np.array_equal(first, second)


def test_a_judge_unpickles_weights_only_if_the_user_allows_it(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "judge"
    shutil.copytree(tiny_model("qwen3-vl"), folder)
    (weights,) = folder.glob("*.safetensors")
    torch.save(safetensors.load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(UserError, match=r"but the pickle pytorch_model\.bin.*allow_pickle: true"):
        built(Qwen3VLJudge, model=str(folder), params={})
    assert built(Qwen3VLJudge, model=str(folder), params={"allow_pickle": True}).model


def test_allowing_pickles_changes_no_key() -> None:
    params = TWO_STEPS | {"allow_pickle": True}
    assert DiffusersEditor.PARAMS.key_parts(params) == DiffusersEditor.PARAMS.key_parts(TWO_STEPS)


@pytest.mark.parametrize("name", ["lora.bin", "lora.pt", "lora.ckpt", "lora.SAFETENSORS", "lora.bin2", "lora"])
def test_a_lora_that_is_a_pickle_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"a pickle")
    with pytest.raises(UserError, match=r"Only \.safetensors files are accepted"):
        check_lora(str(tmp_path / name))
