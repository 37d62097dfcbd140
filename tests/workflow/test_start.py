"""A workflow begins with a look at the machine: what cannot succeed does not start."""

import os

import pytest
from project import Project
from stand_ins import NVIDIA_SMI, write_checkpoint, write_program


def test_a_model_that_fits_on_no_gpu_stops_the_run_before_any_job(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(project.folder / "bin/nvidia-smi", NVIDIA_SMI)
    monkeypatch.setenv("PATH", f"{project.folder}/bin:{os.environ['PATH']}")
    project.devices = "0,1"
    write_checkpoint(project.folder / "大模型", 80)
    project.config["editors"] = {"big": {"adapter": "diffusers", "model": "大模型"}}
    project.config["lanes"] = 1
    said = project.run("--resources", "gpu=5", code=2).splitlines()
    failed = next(line for line in said if line.startswith("fail   memory"))
    assert (
        "weights 160.0 GB in bfloat16, and about 14.8 GB for activations and buffers; the smallest GPU has 150.8"
        in failed
    )
    assert sum(line.startswith("warn   lanes        1 lane on 2 GPUs: 1 stays idle") for line in said) == 1
    assert sum("5 requested, but only 2 visible" in line for line in said) == 1
    assert not any(line.startswith("pass") for line in said)
    assert sorted(path.name for path in project.results.iterdir()) == [".lock"]
    assert "fail " not in project.run("--dry-run")
