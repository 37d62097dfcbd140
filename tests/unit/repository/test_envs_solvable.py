"""Whether pip can install what the environment files ask for, on Linux with CUDA. Needs the package index.

Nothing is installed. With an index that hands out metadata, or ranges of a file, some ten MB are read per environment.
"""

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from env_files import ENVS, normalize_name, parse_pins, read_pip_section
from packaging.markers import default_environment

pytestmark = [
    pytest.mark.index,
    pytest.mark.skipif(
        (platform.system(), platform.machine(), sys.version_info[:2]) != ("Linux", "x86_64", (3, 11)),
        reason="the environments are for Python 3.11 on Linux, x86_64",
    ),
]

WITH_CUDA = {"edit.yaml", "qwen3.yaml", "qwen3-vllm.yaml", "fleet.yaml", "serve.yaml", "robots.yaml"}


def index_only(folder: Path) -> dict[str, str]:
    """The process's environment with pip's own settings, but no wheels from elsewhere than its one index.

    A folder of wheels beside the index may hold a CPU build of torch, which wins over the index's.
    """
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    settings = re.findall(r"^(\S+)\.([\w-]+)='(.*)'$", listed.stdout, re.MULTILINE)
    kept = {
        f"PIP_{name.upper().replace('-', '_')}": value
        for section, name, value in sorted(settings, key=lambda setting: setting[0] == ":env:")
        if name not in {"find-links", "extra-index-url", "no-index"}
    }
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return bare | kept | {"PIP_CONFIG_FILE": os.devnull, "PIP_CACHE_DIR": str(folder / "cache")}


@pytest.fixture(scope="module")
def pip(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in which `python -m pip` is the pip that the files pin."""
    folder = tmp_path_factory.mktemp("pip")
    environment = index_only(folder)
    wanted = {line for env in ENVS for line in re.findall(r"- (pip=.*)", env.read_text(encoding="utf-8"))}
    (version,) = (line.replace("=", "==") for line in wanted)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--retries", "0", "--target", folder / "pip", version]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"needs the package index: {done.stderr[-300:]}")
    return environment | {"PYTHONPATH": str(folder / "pip")}


@pytest.mark.parametrize("env", ENVS, ids=lambda path: path.stem)
def test_pip_finds_versions_that_fit_together(env: Path, pip: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("\n".join(read_pip_section(env)) + "\n", encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--use-feature=fast-deps"),
            *("--quiet", "--report", tmp_path / "report.json", "-r", tmp_path / "requirements.txt"),
        ],
        env=pip, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["environment"]["python_version"] == default_environment()["python_version"] == "3.11"
    versions = {normalize_name(entry["metadata"]["name"]): entry["metadata"]["version"] for entry in report["install"]}
    assert parse_pins(read_pip_section(env)).items() <= versions.items()
    cuda = {name for name in versions if name.startswith("nvidia-") and name != "nvidia-ml-py"}
    assert bool(cuda) == (env.name in WITH_CUDA)
    assert ("triton" in versions) == (env.name in WITH_CUDA)
