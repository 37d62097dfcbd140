"""Share fixtures between all tests, and select the fast tests."""

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
    parser.addoption("--fast", action="store_true", help="skip tests that run a model or a browser: `make check`")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --fast, skip modules that import a model library."""
    if config.getoption("fast") and collection_path.suffix == ".py":
        return bool(MODEL_LIBRARY.search(collection_path.read_text(encoding="utf-8"))) or None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """With --fast, skip tests that use a model or a browser, directly or through another fixture."""
    if not config.getoption("fast"):
        return
    slow = [item for item in items if SLOW_FIXTURES & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@pytest.fixture(autouse=True)
def reset_load_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset the load times, which are global to a process."""
    monkeypatch.setattr(load_times, "_spent", dict.fromkeys(load_times.PHASES, 0.0))
    monkeypatch.setattr(page_cache, "_readers", [])
    monkeypatch.setattr(page_cache, "_read_until", 0.0)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny_model(kind)` returns the folder of a tiny random checkpoint, built once per session."""
    return lambda kind: once(tmp_path_factory, kind, lambda out: build_tiny_model(kind, out))
