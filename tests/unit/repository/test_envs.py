"""The environment files: pinned, in agreement, and with all that their steps import and nothing else."""

import re
from pathlib import Path

import pytest
import yaml
from env_files import (
    ENVS,
    ROOT,
    find_imports,
    find_rule_imports,
    list_rule_steps,
    list_steps,
    parse_pins,
    read_pip_section,
    read_rules,
)

FREE = {"qwen3-vllm.yaml": {"transformers", "numpy"}, "fleet.yaml": {"transformers"}}
"""Where an environment may differ from the others: the packages it is for allow no other version."""

NOT_IMPORTED = {
    "edit.yaml": {"torchvision", "accelerate"},  # by transformers and diffusers, when they load a model
    "qwen3.yaml": {"torchvision", "accelerate"},
    "qwen3-vllm.yaml": {"torchvision"},
    "fleet.yaml": {"vllm", "torch", "torchvision", "transformers", "vllm-router"},  # in processes of their own
    "serve.yaml": {"torchvision", "accelerate", "httptools", "uvloop", "python-multipart", "scikit-image"},
    "libero.yaml": {"mujoco"},  # which version draws the right pictures
    "workflow.yaml": {"snakemake", "scikit-image"},  # the program itself; the demo's photos
}

NOT_REACHED = {
    "workflow.yaml": {
        *("torch", "nvidia-ml-py"),  # a judge behind an endpoint loads no model, so asks for no device
        "huggingface-hub",  # the checks before a run read checkpoints that are on this machine
    },
}


def dependencies(env: Path) -> list[str]:
    """The packages that conda itself installs."""
    return [part for part in yaml.safe_load(env.read_text(encoding="utf-8"))["dependencies"] if isinstance(part, str)]


@pytest.mark.parametrize("env", ENVS, ids=lambda path: path.stem)
def test_every_package_is_pinned_to_one_version(env: Path) -> None:
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+(post\d+)?", line) for line in read_pip_section(env))
    assert dependencies(env) == ["python=3.11", "pip=25.3"]
    assert yaml.safe_load(env.read_text(encoding="utf-8"))["channels"] == ["conda-forge", "nodefaults"]
    assert env.read_text(encoding="utf-8").startswith("# ")


def test_no_pin_file_lies_beside_them() -> None:
    assert list((ROOT / "envs").glob("*.pin.txt")) == []  # Snakemake would install its packages and no pip section


def test_files_agree_where_they_install_the_same_package() -> None:
    sources = {path.name: parse_pins(read_pip_section(path)) for path in ENVS}
    for name in ("local.txt", "local.lock.txt"):
        sources[name] = parse_pins((ROOT / "envs" / name).read_text(encoding="utf-8").splitlines())
    found: dict[str, dict[str, str]] = {}
    for source, versions in sources.items():
        for package in versions.keys() - FREE.get(source, set()):
            found.setdefault(package, {})[source] = versions[package]
    assert {package: by for package, by in found.items() if len(set(by.values())) > 1} == {}


@pytest.mark.parametrize("env", ENVS, ids=lambda path: path.stem)
def test_an_environment_has_what_its_steps_import_and_nothing_else(env: Path) -> None:
    wanted = {package for step in list_steps() if env.name in step.envs for package in find_imports(step)}
    if env.name == "workflow.yaml":
        wanted |= find_rule_imports()
    wanted -= NOT_REACHED.get(env.name, set())
    assert set(parse_pins(read_pip_section(env))) == wanted | NOT_IMPORTED.get(env.name, set())


def test_imports_inside_functions_and_behind_the_registry_are_seen() -> None:
    by_program = {step.program: find_imports(step) for step in list_steps()}
    judges = {step.kind: find_imports(step) for step in list_steps() if step.program == "score_lane"}
    editors = {step.kind: find_imports(step) for step in list_steps() if step.program == "edit_lane"}
    assert "editlane/judges/qwen3_vl/transformers_engine.py" in judges["judges on transformers"]["transformers"]
    assert "editlane/judges/qwen3_vl/vllm_engine.py" in judges["judges on vllm"]["vllm"]
    assert "transformers" not in judges["judges on openai"]
    assert editors["editors"]["diffusers"]
    assert "diffusers" not in editors["editors on openai"]
    assert by_program["build_tiny_model"]["tokenizers"]
    assert "pandas" not in by_program["edit_lane"]  # read_frame is in tables.py, but no lane calls it
    assert by_program["make_report"]["pandas"]
    assert by_program["gpulease"] == {}


def test_every_environment_is_used_by_a_rule() -> None:
    used = {env for rule in read_rules() for step in list_rule_steps(rule) for env in step.envs}
    assert used | {"serve.yaml", "fleet.yaml", "robots.yaml", "libero.yaml"} == {env.name for env in ENVS}
