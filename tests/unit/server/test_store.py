"""Scores that survive a restart, in bounded space, and those of runs."""

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from editlane.core.errors import UserError
from editlane.lanes.journal import Journal, read_journal
from editlane.server import segments
from editlane.server.store import ScoreStore


def scored(score: float, **more: Any) -> dict[str, Any]:
    return {"state": "scored", "error_kind": None, "error": None, "score": score} | more


def failed(kind: str) -> dict[str, Any]:
    return {"state": "judge_failed", "error_kind": kind, "error": "no", "score": None}


def open_store(folder: Path, megabytes: float = 1, runs: tuple[Path, ...] = ()) -> ScoreStore:
    return ScoreStore(folder, int(megabytes * 1e6), runs, lambda: None)


def test_a_restart_knows_what_was_scored_and_asks_again_what_failed_for_a_while(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.keep("a", scored(7.25, reply="类别 7")) and store.keep("b", failed("mass"))
    assert not store.keep("c", failed("oom"))
    assert not store.keep("d", failed("too_large")), "another limit may take it"
    store.close()
    again = open_store(tmp_path)
    assert again.find("a") == scored(7.25, reply="类别 7") and again.find("b") == failed("mass")
    assert again.find("c") is None and len(again) == 2
    again.close()


def test_a_torn_line_loses_one_score_and_no_more(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for name in "abc":
        store.keep(name, scored(1.0))
    store.close()
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    again = open_store(tmp_path)
    again.keep("d", scored(2.0))
    again.close()
    assert sorted(read_journal(tmp_path).rows) == ["a", "b", "d"]


def test_the_oldest_scores_make_room_in_memory_and_on_disk(tmp_path: Path) -> None:
    store = open_store(tmp_path, megabytes=0.1)
    for number in range(3000):
        store.keep(f"{number:064}", scored(1.0))
        if number % 100 == 0:
            time.sleep(0.01)  # the writer makes segments of what is there
    store.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) < 150_000
    again = open_store(tmp_path, megabytes=0.1)
    assert again.find(f"{2999:064}") and not again.find(f"{0:064}")
    again.close()


def test_the_scores_of_a_run_are_known_and_its_journal_is_left_alone(tmp_path: Path) -> None:
    run = tmp_path / "results/甲"
    with Journal(run / "journal/score/editor/judge", "lane0") as journal:
        journal.begin(["k"])
        journal.finish({"k": scored(3.5)})
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    store = open_store(tmp_path / "server", runs=(run,))
    assert store.find("k") == scored(3.5)
    store.close()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    with pytest.raises(UserError, match="has no scores"):
        open_store(tmp_path / "server", runs=(tmp_path / "results/nothing",))


def test_a_full_disk_costs_no_answer_and_the_scores_are_written_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[int] = []
    monkeypatch.setattr(segments, "RETRY_SECONDS", 0.05)
    full = True
    real = os.fstat

    def fail_on_a_full_disk(handle: int) -> os.stat_result:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle)

    monkeypatch.setattr(segments.os, "fstat", fail_on_a_full_disk)
    store = ScoreStore(tmp_path, 10**6, (), lambda: errors.append(1))
    store.keep("a", scored(1.0))
    while len(errors) < 2:
        time.sleep(0.01)
    assert store.find("a") == scored(1.0) and not read_journal(tmp_path).rows
    full = False
    store.keep("b", scored(2.0))
    store.close()
    assert sorted(read_journal(tmp_path).rows) == ["a", "b"]


def test_restarts_cost_no_room_in_the_journal(tmp_path: Path) -> None:
    for start in range(12):
        store = open_store(tmp_path, megabytes=0.2)
        for number in range(300 if start == 0 else 1):
            store.keep(f"{start}-{number}", scored(1.0))
        store.close()
    store = open_store(tmp_path, megabytes=0.2)
    assert store.find("0-0") and store.find("11-0") and len(store) == 311
    store.close()
