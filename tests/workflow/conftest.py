"""Real Snakemake runs in a folder of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from once import once
from project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture(scope="session")
def finished_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run with the project's own config; copy it before you go on with it."""
    return once(tmp_path_factory, "finished", lambda folder: Project(folder).run())


@pytest.fixture
def finished(finished_folder: Path, tmp_path: Path) -> Project:
    """A run that has ended, to go on with."""
    return Project(finished_folder).copy(tmp_path / "project")


@pytest.fixture
def other_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    """More projects, to compare with."""
    return lambda: Project(tmp_path_factory.mktemp("other"))
