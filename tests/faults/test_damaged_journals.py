"""A journal that is not what was written, when all tables are gone and every item has to come from it."""

import re
import shutil

import pytest
from trial import Trial


def tail_torn(data: bytes) -> bytes:
    return data[:-37]


def bytes_flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 0x55 for byte in data[middle : middle + 64]) + data[middle + 64 :]


def block_zeroed(data: bytes) -> bytes:
    """As a file system leaves a block that it had promised and never wrote."""
    middle = len(data) // 2
    return data[:middle] + bytes(1500) + data[middle + 1500 :]


def lines_lost(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[:2] + lines[5:])


def digit_changed(data: bytes) -> bytes:
    """Another score, or another seed: still JSON, and still a row."""
    return re.sub(rb'("score": |"seed": )(\d)', lambda found: found[1] + b"%d" % (9 - int(found[2])), data, count=2)


def rows_swapped(data: bytes) -> bytes:
    """Two rows change their keys: each line is JSON and a row, of another item."""
    lines = [line for line in data.splitlines(keepends=True) if line.startswith(b'{"key"')]
    one, other = lines[0][:74], lines[1][:74]
    return data.replace(one, b"\0").replace(other, one).replace(b"\0", other)


def garbage(data: bytes) -> bytes:
    return b"\x89PNG not a journal\n" * 40 + b"{}\n[]\n" + data[300:]


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 3]


def emptied(data: bytes) -> bytes:
    return b""


DAMAGES = [tail_torn, bytes_flipped, block_zeroed, lines_lost, digit_changed, rows_swapped, garbage, truncated, emptied]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, marks=pytest.mark.runs if change is bytes_flipped else pytest.mark.faults)
        for change in DAMAGES
    ],
)
def test_what_a_damaged_journal_lacks_is_done_again_and_nothing_else(
    finished, undisturbed, tmp_path, record_property, change
) -> None:
    trial = Trial(finished.copy(tmp_path / "project"), undisturbed, record_property)
    results = trial.project.results
    for stage in ("edit/fake-a", "score/fake-a/judge"):
        path = results / "journal" / stage / "lane1.jsonl"
        data = path.read_bytes()
        path.write_bytes(change(data))
        assert path.read_bytes() != data
    before = trial.progress()[0]
    assert before < 20 + len([row for row in undisturbed if row["state"] == "scored"])
    for name in ("edits", "scores"):
        shutil.rmtree(results / "fake-a" / name)
    (results / "scores.parquet").unlink()
    trial.strikes_now()
    trial.start()
    if change not in (lines_lost, emptied):  # which nobody can see
        trial.notices(lambda: re.search(r"is damaged|cut \d+ bytes", trial.logs()))
    trial.goes_on()
    trial.ends(0)
    trial.verdict(f"journal: {change.__name__.replace('_', ' ')}")
    trial.clean_up()
