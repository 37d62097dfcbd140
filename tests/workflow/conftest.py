"""Real Snakemake runs in a folder of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def other_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    """More projects, to compare with."""
    return lambda: Project(tmp_path_factory.mktemp("other"))
