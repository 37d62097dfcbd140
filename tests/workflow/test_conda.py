"""Each rule in an environment of its own. conda is a test double (see conda_double.py), the environments are real."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conda_double import SITE, install_conda, make_channel
from project import ROOT, Project

from editlane.core.tables import read_provenance

pytestmark = pytest.mark.runs

MODEL_LIBRARIES = {"torch", "torchvision", "transformers", "tokenizers", "safetensors", "diffusers", "accelerate"}
LEFT_OUT = MODEL_LIBRARIES | {"huggingface-hub", "nvidia-ml-py"}
"""What the fake editor and judge do not need; transformers comes from the channel, in a version of choice."""
FIRST, SECOND, THIRD = "5.23.0", "4.57.6", "4.58.0"


class CondaProject(Project):
    """A project whose environment files name a local channel; conda is the double."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.programs = install_conda(folder / "conda")
        base = Path(sys.base_prefix, "bin")
        python: dict[str, bytes | Path] = {
            "bin/python": base / f"python{sys.version_info[0]}.{sys.version_info[1]}",
            "pyvenv.cfg": f"home = {base}\ninclude-system-site-packages = false\n".encode(),
        }
        others = {("transformers", version): transformers(version) for version in (FIRST, SECOND, THIRD)}
        packages = {("python", "3.11.7"): python, ("pip", "25.3"): {"share/pip": b""}} | others
        self.channel = make_channel(folder / "channel", packages)
        for name in ("workflow", "envs"):  # rules name an environment by the path from themselves
            (folder / name).unlink()
        shutil.copytree(ROOT / "workflow", folder / "workflow")
        (folder / "envs").mkdir()
        for path in (ROOT / "envs").glob("*.yaml"):
            (folder / "envs" / path.name).write_text(self.localised(path))
        self.set_transformers("edit", FIRST)
        self.set_transformers("qwen3", SECOND)

    def localised(self, path: Path) -> str:
        """The environment file of the repository without model libraries, with the local channel."""
        env = yaml.safe_load(path.read_text(encoding="utf-8"))
        env["channels"] = [self.channel]
        *_, part = env["dependencies"]
        part["pip"] = [line for line in part["pip"] if line.partition("==")[0] not in LEFT_OUT]
        return yaml.safe_dump(env)

    def set_transformers(self, env: str, version: str) -> None:
        path = self.folder / "envs" / f"{env}.yaml"
        content = yaml.safe_load(path.read_text())
        python, pip, *_, section = content["dependencies"]
        path.write_text(yaml.safe_dump(content | {"dependencies": [python, pip, f"transformers={version}", section]}))

    def environment(self) -> dict[str, str]:
        inherited = super().environment()
        return inherited | {"PATH": f"{self.programs}:{inherited['PATH']}"}

    def versions(self, kind: str) -> set[str | None]:
        """The versions of transformers that the editors or judges of scores.parquet ran with."""
        makers: dict[str, Any] = read_provenance(self.results / "scores.parquet")[kind]
        return {maker["packages"].get("transformers") for maker in makers.values()}


def transformers(version: str) -> dict[str, bytes | Path]:
    """The files of a package that has nothing but its version."""
    return {
        f"{SITE}/transformers/__init__.py": f"__version__ = {version!r}\n".encode(),
        f"{SITE}/transformers-{version}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n".encode()
        ),
    }


def jobs(output: str) -> dict[str, int]:
    """Rule -> jobs, of the table that a run prints first."""
    table = output.partition("Job stats:")[2].partition("\n\n")[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE) if rule != "total"}


BEFORE_EDITING = {"prepare_items", "split_lanes", "plan_controls"}
BEFORE_JUDGING = BEFORE_EDITING | {"edit_lane", "measure_preservation", "merge_preservation"}
"""Rules that do not follow a lane of the judge."""


def test_each_rule_runs_in_its_own_environment_and_a_changed_one_reruns_its_rules(tmp_path: Path) -> None:
    pytest.importorskip("rattler", reason="py-rattler solves and installs for the double of conda")
    project = CondaProject(tmp_path)
    project.config |= {"preservation": True, "lanes": 1}
    project.write_items(range(5))
    whole = jobs(project.run("--sdm", "conda"))
    assert whole.keys() > BEFORE_JUDGING | {"score_lane", "make_report"}
    assert (project.versions("editors"), project.versions("judges")) == ({FIRST}, {SECOND})
    assert len(list((tmp_path / ".snakemake/conda").glob("*/conda-meta"))) == 4  # edit, qwen3, report, workflow

    project.set_transformers("qwen3", THIRD)
    ignored = project.run("--sdm", "conda", "--dry-run", "--rerun-triggers", "mtime", "params", "input")
    assert "Nothing to be done" in ignored
    assert jobs(project.run("--sdm", "conda")) == without(whole, BEFORE_JUDGING)
    assert (project.versions("editors"), project.versions("judges")) == ({FIRST}, {THIRD})
    assert (project.computed("edit"), project.computed("score")) == (5, 5)  # the journal had them all

    with (tmp_path / "envs/edit.yaml").open("a") as file:
        file.write("# a comment\n")
    assert jobs(project.run("--sdm", "conda", "--dry-run")) == without(whole, BEFORE_EDITING)


def without(jobs: dict[str, int], rules: set[str]) -> dict[str, int]:
    return {rule: count for rule, count in jobs.items() if rule not in rules}
