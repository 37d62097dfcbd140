"""A real SLURM for these tests: one node, six GPUs that only count."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a user of that SLURM. Skips where Debian's packages cannot be had."""
    folder = tmp_path_factory.mktemp("slurm")
    up = subprocess.run([HERE / "slurm_up.sh", folder], capture_output=True, text=True)
    if up.returncode == 3:
        pytest.skip(up.stderr.strip())
    try:
        assert up.returncode == 0, up.stderr
        variables = subprocess.run(
            ["bash", "-c", f". '{folder}/env' && env -0"], capture_output=True, text=True, check=True
        ).stdout
        hidden = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID")
        pairs = (line.split("=", 1) for line in variables.split("\0") if line)
        yield {name: value for name, value in pairs if name not in hidden}
    finally:
        subprocess.run([HERE / "slurm_down.sh", folder], check=True)
    assert not os.path.lexists(folder)
