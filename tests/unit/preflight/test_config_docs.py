"""The files that are written from the models of the config: they agree with them, and an editor can use the schema."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FILES = {
    "--schema": "workflow/schemas/config.schema.json",
    "--keys": "config/README.md",
    "--params": "config/models.md",
    "--reward-schema": "workflow/schemas/reward.schema.json",
    "--rewards": "config/rewards.md",
    "--fleet-schema": "workflow/schemas/fleet.schema.json",
    "--fleets": "config/fleet.md",
    "--robots-schema": "workflow/schemas/robots.schema.json",
    "--robots": "config/robots.md",
}


def test_the_schema_and_the_pages_are_written_from_the_models(tmp_path: Path) -> None:
    flags = []
    for flag, name in FILES.items():
        shutil.copy(ROOT / name, tmp_path / Path(name).name)
        flags += [flag, str(tmp_path / Path(name).name)]
    subprocess.run([sys.executable, "scripts/document_config.py", *flags], cwd=ROOT, check=True)
    command = " ".join(f"{flag} {name}" for flag, name in FILES.items())
    for name in FILES.values():
        written, kept = (tmp_path / Path(name).name).read_text("utf-8"), (ROOT / name).read_text("utf-8")
        assert written == kept, f"run: python scripts/document_config.py {command}"


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_editor_finds_the_schema_of_a_config(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    schema = yaml.safe_load((path.parent / first.partition("=")[2]).read_text(encoding="utf-8"))
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert config.keys() <= schema["properties"].keys()


def test_the_adapter_decides_which_params_an_editor_offers() -> None:
    schema = yaml.safe_load((ROOT / FILES["--schema"]).read_text(encoding="utf-8"))
    judges = schema["$defs"]["JudgeConfig"]["allOf"]
    offered = {
        tuple(one["const"] for one in rule["if"]["properties"].values()): set(
            rule["then"]["properties"]["params"]["properties"]
        )
        for rule in judges
    }
    assert "batch_tokens" in offered["qwen3-vl", "transformers"]
    assert "max_model_len" in offered["qwen3-vl", "vllm"]
    assert "noise" not in offered["qwen3-vl", "openai"]
