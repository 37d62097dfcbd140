"""What is stored keeps its meaning: a run recorded at commit 436c714 goes on without computing anything again."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

RECORDED = Path(__file__).parent / "recorded_run"


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Path relative to the folder -> bytes, of all files that match."""
    found = (path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def resumed(project):
    """The recorded run, continued by the code of today in a folder of its own."""
    project.config = yaml.safe_load((RECORDED / "config.yaml").read_text(encoding="utf-8"))
    shutil.rmtree(project.folder / "data")
    shutil.copytree(RECORDED / "data", project.folder / "data")
    shutil.copytree(RECORDED / "run", project.results)
    for path in project.results.glob("*.parquet"):
        path.unlink()
    project.run("merge_scores", "merge_controls")
    return project


def test_a_run_of_older_code_is_resumed_without_computing_anything(resumed) -> None:
    results, recorded = resumed.results, RECORDED / "run"
    kept = ("journal/**/*", "*/images/**/*", "sources/**/*", "heartbeats/*/**/*")
    assert contents(recorded, *kept) == contents(results, *kept)
    for name in ("items", "plan", "scores", "controls"):
        assert pq.read_table(results / f"{name}.parquet").equals(pq.read_table(recorded / f"{name}.parquet")), name
