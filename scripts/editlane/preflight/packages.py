"""Compare installed packages with the pins of the environment files; with conda, check the client and its envs."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from editlane.core.checkout import find_file
from editlane.core.errors import UserError
from editlane.core.findings import Finding, join_names
from editlane.core.pins import differ, read_pip_pins
from editlane.core.text_width import pluralize
from editlane.preflight.context import Part, RunContext
from editlane.preflight.estimate.remaining_work import find_remaining_work

CONDA = (24, 7, 1)
"""Oldest conda that Snakemake 9 accepts."""

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
"""Packages that an adapter without a model does not need."""

LOADED = {
    "editor": ("torch", "transformers", "diffusers", "accelerate"),
    "judge": ("torch", "transformers", "accelerate"),
    "qwen3-vl/vllm": ("torch", "transformers", "vllm"),
    "vlm/vllm": ("torch", "transformers", "vllm"),
}
"""Imports of an adapter with a model, by its name or else its kind.

Other packages of the environment file are not needed to run.
"""

REPORT = ("pandas", "scipy", "statsmodels", "evalica", "jinja2", "markupsafe")
"""Imports of the report."""

MODULES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-image": "skimage"}
"""Module names that differ from the package's name."""

PROGRAMS = {"rich": "watch_lanes.py"}
"""Packages that only one program needs, which no workflow runs."""

OPTIONAL = {"nvidia-ml-py", "torchvision", "peft"}
"""Packages that may be missing.

Without nvidia-ml-py, memory and utilisation are unknown. Without torchvision, transformers uses Pillow. peft is needed
only with `lora`.
"""

OWN_ENVS = ("envs/workflow.yaml", "envs/report.yaml")
"""Environments of the steps that run no model."""


def check_packages(context: RunContext) -> Iterator[Finding]:
    """Yield one finding per environment: missing packages and versions that differ from its pins."""
    if context.conda:
        yield _check_conda()
        yield _check_conda_envs(list(_group_by_env(context)))
        return
    missing = list(check_missing_packages(context))
    lacking = {one.text.partition(" ")[0] for one in missing}
    yield from (_compare_versions(env, parts) for env, parts in _group_by_env(context).items() if env not in lacking)
    yield from missing


def check_missing_packages(context: RunContext) -> Iterator[Finding]:
    """Yield only failures that would end a job of this run.

    These are missing imports of the steps, the report and models with work left, and a torch that cannot use the GPUs.
    """
    if context.conda:
        return
    for env, parts in _group_by_env(context).items():
        missing = [name for name in _list_needed(env, parts, context) if not _is_importable(name)]
        if missing:
            text = f"{_format_env(env, parts)} is incomplete: this Python lacks {join_names(missing, 6)}"
            remedy = "Run with --sdm conda, or install the pinned versions with pip."
            yield Finding("fail", "packages", text, remedy)
    yield from _check_torch(context)


def _list_needed(env: str, parts: list[Part], context: RunContext) -> list[str]:
    """Return the packages without which a job of this run fails."""
    if env == "envs/workflow.yaml":
        is_prepared = (context.paths.items).is_file()
        return ["pillow", "numpy", "pyarrow", "pyyaml", *([] if is_prepared else ["ijson"])]
    if env == "envs/report.yaml":
        return [*REPORT, *(["scikit-image"] if context.config["preservation"] else [])]
    return list(
        dict.fromkeys(
            name
            for part in parts
            if part.needs_model and not all(map(_is_importable, _list_loaded(part))) and has_work(part, context)
            for name in _list_loaded(part)
        )
    )


def _list_loaded(part: Part) -> list[str]:
    names = LOADED.get(part.settings["adapter"], LOADED[part.kind])
    return [*names, *(["peft"] if part.settings["params"].get("lora") else [])]


def has_work(part: Part, context: RunContext) -> bool:
    """Return whether its model will be loaded, that is, whether the journals lack any of its results."""
    if not (context.paths.items).is_file():
        return True
    try:
        return find_remaining_work(context).has_left(part)
    except UserError:  # damaged tables, or of another version: a job reports them
        return False


def _is_importable(name: str) -> bool:
    """Return whether a job can import it. Distributors may package it under another name, so try the module, too."""
    return _find_version(name) is not None or find_spec(MODULES.get(name, name)) is not None


def _group_by_env(context: RunContext) -> dict[str, list[Part]]:
    """Map each environment file to its editors and judges; the workflow's own files have none."""
    users: dict[str, list[Part]] = {env: [] for env in OWN_ENVS if find_file(env).is_file()}
    for part in context.parts:
        users.setdefault(part.settings["env"], []).append(part)
    return users


def _select_pins(env: str, parts: list[Part]) -> dict[str, str]:
    pins = read_pip_pins(find_file(env))
    if parts and not any(part.needs_model for part in parts):
        return {name: pin for name, pin in pins.items() if name not in MODEL_PACKAGES | {"huggingface-hub"}}
    return pins


def _find_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _compare_versions(env: str, parts: list[Part]) -> Finding:
    wanted = _select_pins(env, parts)
    found = {name: _find_version(name) for name in wanted}
    other = [f"{name} {has}, not {wanted[name]}" for name, has in found.items() if has and differ(has, wanted[name])]
    other += [_describe_missing(name) for name, has in found.items() if has is None and name not in OPTIONAL]
    absent = [name for name, has in found.items() if has is None and name in OPTIONAL]
    without = f", without {join_names(absent)} (optional)" if absent else ""
    if not other:
        return Finding("pass", "packages", f"{_format_env(env, parts)}: {len(found) - len(absent)} as pinned{without}")
    remedy = "Scores may differ slightly; --sdm conda installs the pinned versions."
    return Finding("warn", "packages", f"{_format_env(env, parts)}: {join_names(other, 6)}{without}", remedy)


def _describe_missing(name: str) -> str:
    return f"no {name}" + (f", which only {PROGRAMS[name]} needs" if name in PROGRAMS else "")


def _check_torch(context: RunContext) -> Iterator[Finding]:
    torch = _find_version("torch") or ""
    if context.devices.gpus and torch.endswith("+cpu") and any(part.needs_model for part in context.parts):
        text = f"torch {torch} is built for the CPU and cannot use {pluralize(len(context.devices.gpus), 'GPU')}"
        yield Finding("fail", "packages", text, "Run with --sdm conda, or set CUDA_VISIBLE_DEVICES= to use the CPU.")


def _format_env(env: str, parts: list[Part]) -> str:
    return f"{env} ({join_names([part.name for part in parts], 2)})" if parts else env


def _check_conda() -> Finding:
    remedy = "Install it from https://conda-forge.org/download, or run without --sdm conda."
    if shutil.which("conda") is None:
        return Finding("fail", "conda", "`conda` is not on the PATH", remedy)
    try:
        answer = subprocess.run(["conda", "--version"], capture_output=True, text=True, timeout=5)
    except subprocess.TimeoutExpired:
        return Finding("warn", "conda", "`conda --version` takes more than 5 seconds", "Check its installation.")
    numbers = re.search(r"(\d+)\.(\d+)\.(\d+)", answer.stdout)
    if numbers is None:
        return Finding(
            "fail", "conda", f"`conda --version` printed {(answer.stdout + answer.stderr).strip()!r}", remedy
        )
    if tuple(map(int, numbers.groups())) < CONDA:
        text = f"conda {numbers[0]} is older than {'.'.join(map(str, CONDA))}, which Snakemake needs"
        return Finding("fail", "conda", text, "conda update -n base conda")
    return Finding("pass", "conda", f"conda {numbers[0]}")


def _check_conda_envs(envs: list[str]) -> Finding:
    """Find environments that Snakemake must create. It keeps a copy of the file beside each one it made."""
    made = {copy.read_bytes() for copy in Path(".snakemake/conda").glob("*.yaml") if copy.with_suffix("").is_dir()}
    missing = [env for env in envs if find_file(env).read_bytes() not in made]
    if not missing:
        return Finding("pass", "conda", f"all {len(envs)} environments exist")
    text = f"the workflow will first create {join_names(missing)}, downloading up to several gigabytes"
    return Finding("pass", "conda", text)
