"""This Python's packages against the pins of the environment files; with conda, the client and its environments."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import yaml

from editlane.core.errors import UserError
from editlane.preflight.context import Part, Setup
from editlane.preflight.estimate.remaining_work import find_workload
from editlane.preflight.findings import Finding, listed, plural

CONDA = (24, 7, 1)
"""The oldest conda that Snakemake 9 takes."""

MODEL_PACKAGES = {
    "torch",
    "torchvision",
    "transformers",
    "tokenizers",
    "safetensors",
    "diffusers",
    "accelerate",
    "peft",
    "vllm",
}
"""What an adapter without a model does not need, nor huggingface-hub."""

LOADED = {
    "editor": ("torch", "transformers", "diffusers", "accelerate"),
    "judge": ("torch", "transformers", "accelerate"),
    "qwen3-vl/vllm": ("torch", "transformers", "vllm"),
}
"""What an adapter with a model imports, or every other of its kind. An environment file may name others, and a run may
do without those."""

REPORT = ("pandas", "scipy", "statsmodels", "jinja2", "markupsafe")
"""What the report imports."""

MODULES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-image": "skimage"}
"""Names under which packages are imported, where it is not their own."""

PROGRAMS = {"rich": "watch_lanes.py", "krippendorff": "compare_ratings.py"}
"""Programs that no workflow runs, and the packages that only they need."""

OPTIONAL = {"nvidia-ml-py", "torchvision", "peft"}
"""Only memory and utilisation are unknown without the first; transformers does what the second would do in Pillow; the
third is for `lora`."""

OWN_ENVS = ("envs/workflow.yaml", "envs/report.yaml")
"""Of the steps that run no model."""


def check_packages(setup: Setup) -> Iterator[Finding]:
    """One line an environment: what is missing, and what differs from its pins."""
    if setup.conda:
        yield _conda_client()
        yield _conda_envs(list(_users(setup)))
        return
    missing = list(check_missing_packages(setup))
    lacking = {one.text.partition(" ")[0] for one in missing}
    yield from (_versions(env, parts) for env, parts in _users(setup).items() if env not in lacking)
    yield from missing


def check_missing_packages(setup: Setup) -> Iterator[Finding]:
    """Only what ends a job of this run: a torch that cannot use the GPUs, and packages that are not there though the
    steps, the report, or a model that has work left import them."""
    if setup.conda:
        return
    for env, parts in _users(setup).items():
        missing = [name for name in _needed(env, parts, setup) if not _is_there(name)]
        if missing:
            text = f"{_named(env, parts)} is not met: this Python lacks {listed(missing, 6)}"
            remedy = "Run with --sdm conda, or install them with pip as the file pins them."
            yield Finding("fail", "packages", text, remedy)
    yield from _torch_without_gpu(setup)


def _needed(env: str, parts: list[Part], setup: Setup) -> list[str]:
    """Without these a job of this run ends. (The workflow itself has started: it found what it imports.)"""
    if env == "envs/workflow.yaml":
        is_prepared = (setup.paths.items).is_file()
        return ["pillow", "numpy", "pyarrow", "pyyaml", *([] if is_prepared else ["ijson"])]
    if env == "envs/report.yaml":
        return [*REPORT, *(["scikit-image"] if setup.config["preservation"] else [])]
    return list(
        dict.fromkeys(
            name
            for part in parts
            if part.needs_model and not all(map(_is_there, _loaded(part))) and _has_work(part, setup)
            for name in _loaded(part)
        )
    )


def _loaded(part: Part) -> list[str]:
    names = LOADED.get(part.settings["adapter"], LOADED[part.kind])
    return [*names, *(["peft"] if part.settings["params"].get("lora") else [])]


def _has_work(part: Part, setup: Setup) -> bool:
    """Whether its model will be loaded: not where the journals have everything."""
    if not (setup.paths.items).is_file():
        return True
    try:
        return find_workload(setup).has_left(part)
    except UserError:  # the tables there are not of this version, or damaged: a job tells
        return False


def _is_there(name: str) -> bool:
    """Whether a job can import it, whoever packed it."""
    return _installed(name) is not None or find_spec(MODULES.get(name, name)) is not None


def _users(setup: Setup) -> dict[str, list[Part]]:
    """Environment file -> the editors and judges that run in it; none for the workflow's own."""
    users: dict[str, list[Part]] = {env: [] for env in OWN_ENVS if Path(env).is_file()}
    for part in setup.parts:
        users.setdefault(part.settings["env"], []).append(part)
    return users


def pip_pins(env: Path) -> dict[str, str]:
    """Package -> version of the lines `name==version` in an environment file's pip section."""
    content = yaml.safe_load(env.read_text(encoding="utf-8"))
    listed_ones = content.get("dependencies") or [] if isinstance(content, dict) else []
    requirements = [line for entry in listed_ones if isinstance(entry, dict) for line in entry.get("pip") or []]
    found = (re.fullmatch(r"\s*([\w.-]+)(?:\[.*\])?\s*==\s*([\w.+!]+)\s*", line) for line in requirements)
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in found if match}


def _wanted(env: str, parts: list[Part]) -> dict[str, str]:
    pins = pip_pins(Path(env))
    if parts and not any(part.needs_model for part in parts):
        return {name: pin for name, pin in pins.items() if name not in MODEL_PACKAGES | {"huggingface-hub"}}
    return pins


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _versions(env: str, parts: list[Part]) -> Finding:
    wanted = _wanted(env, parts)
    found = {name: _installed(name) for name in wanted}
    other = [f"{name} {has}, not {wanted[name]}" for name, has in found.items() if has and _differ(has, wanted[name])]
    other += [_without(name) for name, has in found.items() if has is None and name not in OPTIONAL]
    absent = [name for name, has in found.items() if has is None and name in OPTIONAL]
    without = f", without {listed(absent)} (optional)" if absent else ""
    if not other:
        return Finding("pass", "packages", f"{_named(env, parts)}: {len(found) - len(absent)} as pinned{without}")
    remedy = "--sdm conda takes the pinned ones; with others, scores may differ a little."
    return Finding("warn", "packages", f"{_named(env, parts)}: {listed(other, 6)}{without}", remedy)


def _without(name: str) -> str:
    return f"no {name}" + (f", which only {PROGRAMS[name]} needs" if name in PROGRAMS else "")


def _differ(there: str, wanted: str) -> bool:
    """A build's own mark, as in 2.13.0+cpu, is no other version."""
    return there.partition("+")[0] != wanted.partition("+")[0]


def _torch_without_gpu(setup: Setup) -> Iterator[Finding]:
    torch = _installed("torch") or ""
    if setup.devices.gpus and torch.endswith("+cpu") and any(part.needs_model for part in setup.parts):
        text = f"torch {torch} is built for the CPU and cannot use {plural(len(setup.devices.gpus), 'GPU')}"
        yield Finding("fail", "packages", text, "Run with --sdm conda, or set CUDA_VISIBLE_DEVICES= to use the CPU.")


def _named(env: str, parts: list[Part]) -> str:
    return f"{env} ({listed([part.name for part in parts], 2)})" if parts else env


def _conda_client() -> Finding:
    remedy = "Install it from https://conda-forge.org/download, or run without --sdm conda."
    if shutil.which("conda") is None:
        return Finding("fail", "conda", "there is no `conda` on the PATH", remedy)
    try:
        answer = subprocess.run(["conda", "--version"], capture_output=True, text=True, timeout=5)
    except subprocess.TimeoutExpired:
        return Finding("warn", "conda", "`conda --version` takes more than 5 seconds", "Look at its installation.")
    numbers = re.search(r"(\d+)\.(\d+)\.(\d+)", answer.stdout)
    if numbers is None:
        return Finding("fail", "conda", f"`conda --version` says {(answer.stdout + answer.stderr).strip()!r}", remedy)
    if tuple(map(int, numbers.groups())) < CONDA:
        text = f"conda {numbers[0]} is older than {'.'.join(map(str, CONDA))}, which Snakemake needs"
        return Finding("fail", "conda", text, "conda update -n base conda")
    return Finding("pass", "conda", f"conda {numbers[0]}")


def _conda_envs(envs: list[str]) -> Finding:
    """Snakemake keeps a copy of each file beside the environment that it made from it."""
    made = {copy.read_bytes() for copy in Path(".snakemake/conda").glob("*.yaml") if copy.with_suffix("").is_dir()}
    missing = [env for env in envs if Path(env).read_bytes() not in made]
    if not missing:
        return Finding("pass", "conda", f"all {len(envs)} environments are there")
    text = f"the workflow begins with creating {listed(missing)}, which downloads up to some gigabytes"
    return Finding("pass", "conda", text)
