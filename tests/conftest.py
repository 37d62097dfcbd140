"""Fixtures shared by all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from editlane.tiny_models import build_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny_model(kind)`: the folder of a tiny randomly initialised checkpoint, built once per session."""
    root = tmp_path_factory.mktemp("tiny-models")

    def folder(kind: str) -> Path:
        out = root / kind
        if not out.exists():
            build_tiny_model(kind, out)
        return out

    return folder
