"""Accounts of requests: their figures, their files, and that they hurt nobody."""

import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from editlane.core import fleet_accounts as accounts
from editlane.core.fleet_accounts import Ledger, drop_old_accounts, open_ledger, read_accounts

ROOT = Path(__file__).parents[3]


def wait_for(folder: Path, calls: int) -> None:
    until = time.monotonic() + 10
    while read_accounts(folder).total.total_calls != calls:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_figures_by_name_and_by_group(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path), Ledger(tmp_path)
    for number in range(1, 101):
        one.record("strict@3f2a9c01b7de", "A", number / 10, True)
    one.record("strict@3f2a9c01b7de", "A", 600.0, False)
    other.record("lenient@00aa11bb22cc", "A", 0.2, True)
    other.record("base@999999999999", None, 50.0, False)
    for ledger in (one, other):
        ledger.write()
    assert len(list(tmp_path.glob("*.json"))) == 2
    found = read_accounts(tmp_path)
    assert list(found.models) == ["base@999999999999", "lenient@00aa11bb22cc", "strict@3f2a9c01b7de"]
    assert list(found.groups) == ["A"]
    strict = found.models["strict@3f2a9c01b7de"]
    assert (strict.total_calls, strict.success_calls, strict.error_calls) == (101, 100, 1)
    assert strict.success_rate == pytest.approx(100 / 101)
    assert strict.average_response_time == pytest.approx(5.05)
    assert strict.p50 is not None and strict.p99 is not None
    assert 5.0 <= strict.p50 <= 5.0 * 1.13 and 9.9 <= strict.p99 <= 9.9 * 1.13
    base = found.models["base@999999999999"]
    assert (base.success_rate, base.average_response_time, base.p50, base.p99) == (0.0, None, None, None)
    assert (found.groups["A"].total_calls, found.total.total_calls, found.total.error_calls) == (102, 103, 2)
    assert json.loads(json.dumps(found.to_json()))["groups"]["A"]["success_calls"] == 101


def test_without_requests_there_is_no_rate(tmp_path: Path) -> None:
    total = read_accounts(tmp_path / "nothing").total
    assert (total.total_calls, total.success_rate, total.average_response_time, total.p99) == (0, None, None, None)


def test_times_beyond_the_histogram_count_as_its_ends() -> None:
    ledger = Ledger()
    for seconds in (0.0, 1e-9, 1e9):
        ledger.record("a", None, seconds, True)
    total = ledger.summarise().total
    assert (total.p50, total.p99) == (pytest.approx(0.001), pytest.approx(10_000))


def test_the_file_follows_within_a_second_and_no_thread_stays(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for _ in range(50):
        ledger.record("a", None, 0.1, True)
    assert not list(tmp_path.iterdir())
    wait_for(tmp_path, 50)
    before = threading.active_count()
    ledger.record("a", None, 0.1, True)
    ledger.write()
    assert read_accounts(tmp_path).total.total_calls == 51 and threading.active_count() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_process_writes_at_its_exit(tmp_path: Path) -> None:
    code = "from editlane.core.fleet_accounts import open_ledger; open_ledger('f').record('a', None, 0.1, True)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT / "scripts")}, check=True)
    assert read_accounts(tmp_path / "results/fleets/f/accounts").total.total_calls == 1


def test_a_forked_process_counts_for_itself(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.record("a", None, 0.1, True)

    def count() -> None:
        ledger.record("a", None, 0.1, True)
        ledger.write()

    child = multiprocessing.get_context("fork").Process(target=count)
    child.start()
    child.join()
    ledger.write()
    assert len(list(tmp_path.glob("*.json"))) == 2 and read_accounts(tmp_path).total.total_calls == 2


def test_threads_lose_no_request(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    threads = [
        threading.Thread(target=lambda: [ledger.record("a", "A", 0.1, True) for _ in range(500)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.write()
    assert read_accounts(tmp_path).groups["A"].total_calls == 4000


def test_a_full_disk_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    ledger = Ledger(tmp_path / "file/accounts")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            ledger.record("a", None, 0.1, True)
            ledger.write()
    (told,) = caplog.records
    assert told.message.startswith(f"cannot write the accounts of requests to {tmp_path}/file/accounts: ")
    assert ledger.summarise().total.total_calls == 3


def test_what_was_counted_on_a_full_disk_is_written_once_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ledger = Ledger(tmp_path / "file/accounts")
    ledger.record("a", None, 0.1, True)
    ledger.write()
    (tmp_path / "file").unlink()
    ledger.write()
    assert read_accounts(tmp_path / "file/accounts").total.total_calls == 1


def test_accounts_of_a_week_ago_are_removed(tmp_path: Path) -> None:
    ages = {"old.json": 8, "old.json.partial": 8, "new.json": 6, "other.txt": 8}
    for name, days in ages.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - days * 86400,) * 2)
    drop_old_accounts(tmp_path / "nothing")
    drop_old_accounts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.json", "other.txt"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version": 2, "entries": []}', b'{"version": 1, "entries": [{}]}'])
def test_a_file_that_cannot_be_read_is_left_out(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(tmp_path)
    ledger.record("a", None, 0.1, True)
    ledger.write()
    (tmp_path / "bad.json").write_bytes(content)
    assert read_accounts(tmp_path).total.total_calls == 1
    assert "bad.json" in caplog.text


def test_a_process_has_one_ledger_of_a_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(accounts, "_LEDGERS", {})
    assert open_ledger("f") is open_ledger("f") is not open_ledger("g")
