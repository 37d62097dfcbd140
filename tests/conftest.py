"""Fixtures shared by all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
from once import once

from editlane.models import load_times, page_cache
from editlane.models.tiny import build_tiny_model


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
