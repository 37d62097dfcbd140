"""Jobs on disk."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from reward_server import RewardServer
from rewards import make_edit, to_json

from editlane.server import jobs as module
from editlane.server.config import JobsConfig
from editlane.server.jobs import ANSWER, Jobs
from editlane.server.wire import ScoreRequest


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    service: Any = SimpleNamespace(config=SimpleNamespace(jobs=JobsConfig(hours=1)), folder=tmp_path)
    return Jobs(service)


def test_a_file_that_is_deleted_meanwhile_takes_no_room_and_stops_no_sweep(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dangling link is listed, too, and gone when it is looked at."""
    for name in ("a", "b", "c"):
        (tmp_path / "jobs" / name).mkdir(parents=True)
    (tmp_path / "jobs/a" / ANSWER).symlink_to("gone")
    (tmp_path / "jobs/b" / ANSWER).write_text("old")
    os.utime(tmp_path / "jobs/b" / ANSWER, (time.time() - 7200,) * 2)
    (tmp_path / "jobs/c" / ANSWER).write_text("new")
    jobs._sweep()
    assert {path.name for path in (tmp_path / "jobs").iterdir()} == {"a", "c"}
    monkeypatch.setattr(module.Jobs, "_begin", lambda *_: None)
    assert len(asyncio.run(jobs.add(ScoreRequest([])))) == 32


def test_a_job_may_end_while_somebody_looks(tmp_path: Path) -> None:
    with RewardServer(tmp_path) as server, ThreadPoolExecutor(8) as threads:
        for start in range(0, 60, 4):
            body = to_json([make_edit(start + number) for number in range(4)])
            place = server.post("/v1/jobs", json=body).headers["Location"]
            looks = threads.map(lambda _, place=place: requests.get(server.url + place, timeout=30), range(24))
            assert {look.status_code for look in looks} == {200}
