"""Fixtures shared by all tests, and the choice of those that are fast."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from once import once

from editlane.models import load_times, page_cache
from editlane.models.tiny import build_tiny_model

MODEL_LIBRARY = re.compile(r"^(?:import|from) (?:torch|transformers|diffusers)\b", re.MULTILINE)
SLOW_FIXTURES = {"tiny_model", "browser"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out tests that run a model or a browser: `make check`")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --fast: no module that imports a model library."""
    if config.getoption("fast") and collection_path.suffix == ".py":
        return bool(MODEL_LIBRARY.search(collection_path.read_text(encoding="utf-8"))) or None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """With --fast: no test that asks for a model or a browser, directly or through another fixture."""
    if not config.getoption("fast"):
        return
    slow = [item for item in items if SLOW_FIXTURES & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@pytest.fixture(autouse=True)
def account_of_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """What loading took is one process's; each test begins anew."""
    monkeypatch.setattr(load_times, "_spent", dict.fromkeys(load_times.PHASES, 0.0))
    monkeypatch.setattr(page_cache, "_readers", [])
    monkeypatch.setattr(page_cache, "_read_until", 0.0)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny_model(kind)`: the folder of a tiny randomly initialised checkpoint, built once per session."""
    return lambda kind: once(tmp_path_factory, kind, lambda out: build_tiny_model(kind, out))
