"""The commands of serve_fleet.py: wrong flags and wrong configs are one paragraph, and start nothing."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PROGRAM = Path("scripts/serve_fleet.py").resolve()
DOUBLE = Path("tests/helpers/fake_vllm").resolve()
CONFIG: dict[str, Any] = {"fleet": "f", "model": "model"}


def run(folder: Path, *words: str, **config: Any) -> str:
    """What a command that must fail says."""
    (folder / "fleet.yaml").write_text(yaml.safe_dump(CONFIG | config, allow_unicode=True), encoding="utf-8")
    before = sorted(folder.rglob("*"))
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *words], cwd=folder, capture_output=True, text=True,
        env=os.environ
        | {"CUDA_VISIBLE_DEVICES": "0,1", "GPULEASE_DIR": str(folder / "leases"), "PYTHONPATH": str(DOUBLE)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1, done.stderr
    assert sorted(folder.rglob("*")) == before
    return done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["begin"], "invalid choice: 'begin'"),
        (["drain"], "the following arguments are required: server"),
        (["drain", "x"], "'x' is not a whole number"),
        (["health", "--wait", "-1"], "--wait"),
        (["adapters"], "the following arguments are required"),
        (["adapters", "add", "x"], "the following arguments are required: folder"),
        (["up", "--node", "a/b"], "--node"),
        (["status"], "config/fleet.yaml"),
        (["status", "--configfile", "none.yaml"], "none.yaml"),
        (["status", "--configfile", "fleet.yaml"], "The fleet f is not up. Start it"),
        (["health", "--configfile", "fleet.yaml"], "The fleet f is not up. Start it"),
        (["smoke", "--configfile", "fleet.yaml"], "The fleet f is not up. Start it"),
        (["drain", "0", "--configfile", "fleet.yaml"], "The fleet f is not up. Start it"),
        (["down", "--configfile", "fleet.yaml"], "The fleet f is not up on "),
    ],
)
def test_a_wrong_command_is_one_paragraph(words: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/fleet.yaml").write_text("{}")
    assert said in run(tmp_path, *words)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"modle": "x"}, "Unknown key 'modle'"),
        ({"fleet": "../x"}, "'../x' cannot be a name"),
        ({"port": 70000}, "port is 70000"),
        ({"affinity": "both"}, "affinity"),
        ({"groups": {"A": ["x"]}}, "groups name 'x', which is not among the `adapters`"),
        ({"adapters": {"a": "x"}, "groups": {"A": ["a"], "B": ["a"]}}, "'a' is in two groups"),
        ({"adapters": {"a": "x"}, "affinity": "hard"}, "but the adapter 'a' has none"),
        ({"affinity": "hard"}, "but there are none"),
        ({"adapters": {"a": "x", "b": "y"}, "groups": {"A": ["a"]}, "affinity": "hard"}, "the adapter 'b' has none"),
        ({"servers": 3}, "`servers: 3`, but this machine offers 2: 0, 1"),
        ({"host": "0.0.0.0"}, "there is no token"),
        ({"token_env": "NO_SUCH_TOKEN"}, "NO_SUCH_TOKEN holds no token"),
        ({"model": "no/such/folder"}, "The model no/such/folder is missing"),
    ],
)
def test_a_wrong_config_is_one_paragraph(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in run(tmp_path, "up", "--configfile", "fleet.yaml", **config)
