"""What a run's report says of a judge is passed on by the server."""

import json
from pathlib import Path

import pytest
from reward_server import RewardServer

from editlane.core.errors import UserError
from editlane.server.accepted import read_acceptance

FOUND = {
    "verdict": "accepted",
    "categories": {"物理": {"verdict": "told_apart", "n": 3}},
    "editors": {"a": {"verdict": "not_told_apart"}},
}


def write_report(run: Path, key: str, sha256: str) -> Path:
    (run / "report").mkdir(parents=True)
    report = {
        "provenance": {"judges": {"原": {"key": key, "protocol": {"sha256": sha256}}}},
        "acceptance": {"原": FOUND},
    }
    (run / "report/report.json").write_text(json.dumps(report), encoding="utf-8")
    return run


@pytest.mark.runs
def test_the_verdict_of_the_judge_with_this_key(tmp_path: Path) -> None:
    with RewardServer(tmp_path / "a") as server:
        about = server.get("/v1/judges").json()["judges"]["fake"]
    key, sha256 = about["key"], about["protocol"]["sha256"]
    run = write_report(tmp_path / "results/甲", key, sha256)
    wanted = {
        "run": "甲",
        "verdict": "accepted",
        "categories": {"物理": "told_apart"},
        "editors": {"a": "not_told_apart"},
    }
    assert read_acceptance(run, key, sha256) == wanted and read_acceptance(run, "another", sha256) is None
    assert read_acceptance(run, key, "another rubric") is None
    with RewardServer(tmp_path / "b", accepted_by=str(run)) as server:
        assert server.get("/v1/judges").json()["judges"]["fake"]["acceptance"] == wanted


def test_a_run_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Name a finished run"):
        read_acceptance(tmp_path, "k", "s")
    (tmp_path / "report").mkdir()
    (tmp_path / "report/report.json").write_text('{"acceptance": {}}')
    with pytest.raises(UserError, match="no report of this version"):
        read_acceptance(tmp_path, "k", "s")
