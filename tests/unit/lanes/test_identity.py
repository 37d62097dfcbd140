"""The parts of journal keys that name an editor or a judge, as commit 436c714 wrote them: stored results stay valid.

The judge qwen3-vl on transformers has a newer version, because its scores have changed.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from stand_ins import write_checkpoint, write_weights

from editlane.lanes.editing import EditorSpec
from editlane.lanes.judging import JudgeSpec
from editlane.protocols.scoring import load_protocol

ROOT = Path(__file__).parents[3]
GOLDEN = json.loads(Path(__file__).with_name("golden_keys.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint and the LoRA that the recorded options name."""
    monkeypatch.chdir(tmp_path)
    write_checkpoint(Path("checkpoint"), 0.001)
    write_weights(Path("轻量/Lightning-8steps.safetensors"), "F32", [4, 4])


@pytest.mark.parametrize("entry", [entry for entry in GOLDEN if entry["kind"] == "editor"])
def test_editors_keep_their_keys(entry: dict[str, Any]) -> None:
    spec = EditorSpec.of(Path(), "e", 42, entry["options"])
    assert json.dumps(spec.identity, sort_keys=True) == json.dumps(entry["identity"], sort_keys=True)
    assert spec.editor_key == entry["key"]


@pytest.mark.parametrize(
    ("torch", "found"),
    [
        (None, None),
        (SimpleNamespace(backends=SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 91002))), 91002),
    ],
)
def test_the_provenance_names_the_cudnn_that_torch_uses(torch: Any, found: int | None, monkeypatch) -> None:
    """Which need not be that of a wheel: a conda environment or a container has its own."""
    monkeypatch.setitem(sys.modules, "torch", torch)
    options = {"adapter": "fake", "model": None, "revision": None, "params": {}}
    made = EditorSpec.of(Path(), "e", 42, options).describe(options)["e"]
    assert made["cudnn"] == found
    assert not any("cudnn" in name for name in made["packages"])


@pytest.mark.parametrize("entry", [entry for entry in GOLDEN if entry["kind"] == "judge"])
def test_judges_keep_their_keys(entry: dict[str, Any]) -> None:
    protocol = load_protocol(ROOT / f"resources/protocols/{entry['protocol']}.yaml")
    spec = JudgeSpec.of(Path(), "j", protocol, entry["options"])
    assert json.dumps(spec.identity, sort_keys=True) == json.dumps(entry["identity"], sort_keys=True)
    assert (spec.whole_key, spec.samples) == (entry["key"], entry["samples"])
