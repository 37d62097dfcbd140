"""What every environment relies on: light imports, names that resolve, errors that say what is missing."""

import pkgutil
import subprocess
import sys
from typing import Any

import pytest

import editlane
from editlane.core.errors import UnknownName, UserError
from editlane.core.params import JudgeParams, Params
from editlane.core.types import RunsOn
from editlane.models import registry

MODELS = {"torch", "transformers", "diffusers", "accelerate", "snakemake", "skimage"}
STATISTICS = {"pandas", "scipy", "statsmodels"}
LANES = (
    *("cli.step", "core.tables", "lanes.editing", "lanes.identity", "lanes.journal", "lanes.judging"),
    *("models.registry", "preflight.config", "protocols.controls"),
)


def loaded(modules: list[str], of: set[str]) -> list[str]:
    """Which packages of these come along with an import."""
    code = f"import sys, {', '.join(modules)}; print(*sorted({of!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd="scripts", capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_the_whole_package_loads_no_model_library() -> None:
    modules = [module.name for module in pkgutil.walk_packages(editlane.__path__, "editlane.")]
    assert "editlane.editors.qwen_image_edit" in modules
    assert loaded(modules, MODELS) == []


def test_a_lane_loads_no_statistics() -> None:
    assert loaded([f"editlane.{name}" for name in LANES], STATISTICS) == []


@pytest.mark.parametrize(("kind", "known"), [("editor", registry.EDITORS), ("judge", registry.JUDGES)])
def test_every_registered_name_resolves_to_an_adapter(kind: str, known: dict[str, str]) -> None:
    for name in known:
        adapter = registry.find_adapter(kind, name)
        assert adapter.VERSION
        assert adapter.RUNS_ON in RunsOn
        assert issubclass(adapter.PARAMS, JudgeParams if kind == "judge" else Params)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(
        UnknownName, match=r"Unknown judge 'qwen3_vl'. Did you mean 'qwen3-vl'\? Available: fake, qwen3-vl"
    ):
        registry.find_adapter("judge", "qwen3_vl")


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Adapter:
        RUNS_ON = RunsOn.DEVICE
        PARAMS = Params

        def __init__(self, **options: Any) -> None:
            import no_such_package  # noqa: F401

    monkeypatch.setattr(registry, "find_adapter", lambda *_: Adapter)
    with pytest.raises(UserError, match=r"needs the package 'no_such_package'.*--sdm conda"):
        registry.build("editor", adapter="x", model="m", revision=None, params={})
