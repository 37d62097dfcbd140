"""The profiles for clusters, planned: what each lane asks for. tests/slurm runs one of them."""

import importlib.util
import re
import shutil

import pytest
import yaml
from project import ROOT, Project

PROFILES = ROOT / "workflow/profiles"
ON_THIS_MACHINE = {"cores", "latency-wait"}
"""What a profile for a cluster says in its own way."""


def plan(project: Project, profile: str, *arguments: str) -> str:
    project.limits = ("--workflow-profile", f"workflow/profiles/{profile}")
    return project.run("--dry-run", *arguments)


def blocks(text: str, rule: str) -> list[str]:
    """What a plan says about each job of this rule."""
    return [block for block in re.split(r"^\[.*\]$", text, flags=re.MULTILINE) if f"rule {rule}:\n" in block]


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_profile_for_a_cluster_keeps_what_the_default_profile_sets(name) -> None:
    default, own = (yaml.safe_load((PROFILES / folder / "config.yaml").read_text()) for folder in ("default", name))
    assert {key: own[key] for key in default if key not in ON_THIS_MACHINE} == {
        key: value for key, value in default.items() if key not in ON_THIS_MACHINE
    }


def test_a_lane_asks_slurm_for_a_gpu_memory_and_time(project) -> None:
    text = plan(project, "slurm")
    lanes = blocks(text, "edit_lane") + blocks(text, "score_lane")
    assert len(lanes) == 4
    for lane in lanes:
        for wanted in ("gpu=1", "mem_mb=96000", "runtime=1440"):
            assert wanted in lane


def test_kubernetes_jobs_keep_everything_on_the_volume(project) -> None:
    for plugin in ("snakemake_executor_plugin_kubernetes", "snakemake_storage_plugin_fs"):
        if importlib.util.find_spec(plugin) is None:
            pytest.skip(f"{plugin} is not installed")
    volume = project.folder / "editlane"
    for name in ("data", "resources/protocols"):
        shutil.copytree(project.folder / name, volume / "store" / name)
    work = volume / "work"
    text = plan(
        project, "kubernetes", "--printshellcmds", "--default-storage-prefix", f"{volume}/store",
        "--local-storage-prefix", str(work), "--remote-job-local-storage-prefix", str(work),
    )  # fmt: skip
    lanes = blocks(text, "edit_lane") + blocks(text, "score_lane")
    assert len(lanes) == 4
    for lane in lanes:
        for wanted in ("gpu=1", "gpu_manufacturer=nvidia", "scale=0", "mem_mb=96000"):
            assert wanted in lane
        assert f"--run-dir '{work}/" in lane


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_judging_what_is_edited_takes_what_judging_takes(name: str) -> None:
    profile = yaml.safe_load((ROOT / f"workflow/profiles/{name}/config.yaml").read_text(encoding="utf-8"))
    for settings in (profile["set-resources"], profile["set-threads"]):
        assert settings["score_edited"] == settings["compare_lane"] == settings["score_lane"]
