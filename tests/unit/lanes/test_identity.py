"""The parts of journal keys that name an editor or a judge, as commit 436c714 wrote them: stored results stay valid.

The judge qwen3-vl on transformers has a newer version, because its scores have changed, and one of its generated
replies besides.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fleet_double import PUBLISHED, STRICT, make_node, tell, write_fleet
from stand_ins import write_checkpoint, write_weights

from editlane.core import fleets
from editlane.core.fleets import FleetDown
from editlane.lanes.editor_spec import EditorSpec
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


def test_a_version_of_replies_is_part_of_the_keys_of_generated_protocols_alone() -> None:
    found = {}
    for adapter, version in (("qwen3-vl/openai", "1"), ("vlm/vllm", "1"), ("fake", "2")):
        for name in ("rubric", "legacy"):
            protocol = load_protocol(ROOT / f"resources/protocols/{name}.yaml")
            params = {"base_url": "http://host/v1"} if adapter == "qwen3-vl/openai" else {}
            options = {"adapter": adapter, "model": "checkpoint", "revision": None, "params": params}
            found[adapter, name] = JudgeSpec.of(Path(), "j", protocol, options).identity["version"]
        assert found[adapter, "rubric"] == version
    assert [found[adapter, "legacy"] for adapter in ("qwen3-vl/openai", "vlm/vllm", "fake")] == ["1.1", "1.1", "2"]


# --- judges of a fleet


@pytest.fixture
def fleet() -> Iterator[str]:
    """The config of a fleet that runs."""
    yield write_fleet(Path(), make_node())
    fleets._VERSIONS.clear()


def make_served(model: str, **params: Any) -> tuple[JudgeSpec, dict[str, Any]]:
    protocol = load_protocol(ROOT / "resources/protocols/rubric.yaml")
    options = {"adapter": "qwen3-vl/openai", "model": model, "revision": None, "params": params}
    spec = JudgeSpec.of(Path(), "j", protocol, options)
    return spec, spec.describe(options)["j"]


def test_a_retrained_adapter_has_another_key(fleet: str) -> None:
    before, about = make_served("strict", fleet=fleet)
    assert before.identity["model"] == {"served": STRICT}
    assert (about["model"], about["pinned"]) == (STRICT, True)
    tell(make_node(published=PUBLISHED | {"strict": "strict@222222222222"}))
    assert make_served("strict", fleet=fleet)[0].identity == before.identity, "a process asks for one version"
    fleets._VERSIONS.clear()  # as the next process
    after, _ = make_served("strict", fleet=fleet)
    assert after.identity["model"] == {"served": "strict@222222222222"}
    assert after.whole_key != before.whole_key and after.texts_key != before.texts_key


def test_the_key_does_not_depend_on_how_a_version_is_named_or_reached(fleet: str) -> None:
    spec, about = make_served("strict", fleet=fleet)
    same, about_same = make_served(STRICT, base_url="http://127.0.0.1:8000/v1")
    assert spec.whole_key == same.whole_key and about_same["pinned"]
    assert about["params"] == {"fleet": fleet}
    tell(make_node(pid=2**22 + 1))  # what was judged before can be found again without the fleet
    fleets._VERSIONS.clear()
    assert make_served("strict", fleet=fleet)[0].whole_key == spec.whole_key
    assert not make_served("strict", base_url="http://127.0.0.1:8000/v1")[1]["pinned"]


def test_of_a_fleet_that_never_ran_there_is_no_key(fleet: str) -> None:
    shutil.rmtree("results")
    with pytest.raises(FleetDown, match="does not run"):
        make_served("strict", fleet=fleet)
