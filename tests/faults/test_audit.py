"""The audit itself: each column of the table counts what it says."""

import hashlib
import json
from pathlib import Path
from zlib import crc32

import pytest
from audit import NONE, damage


def row(number: int, **other):
    text = {"category": "因果", "instruction": f"第 {number} 次", "language": "zh", "editor_key": "e", "judge_key": "j"}
    paths = {"source_path": f"s{number}", "source_sha256": f"{number}", "edited_path": f"a/{number}.png"}
    edited = {"edited_sha256": hashlib.sha256(b"%d" % number).hexdigest(), "seed": number}
    outcome = {"state": "scored", "error_kind": None, "score": float(number)}
    return {"item_id": f"项目-{number}", "editor": "a", "judge": "b"} | text | paths | edited | outcome | other


EXPECTED = [row(number) for number in range(4)]
FAILED = {"state": "judge_failed", "error_kind": "crash", "score": None}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "journal/edit/a").mkdir(parents=True)
    for number in range(4):
        (tmp_path / f"a/{number}.png").write_bytes(b"%d" % number)
        record(tmp_path, f"key{number}")
    return tmp_path


def record(results: Path, key: str) -> None:
    text = json.dumps({"key": key, "row": {}}).encode()
    with (results / "journal/edit/a/lane0.jsonl").open("ab") as file:
        file.write(text + b"\t%08x\n" % crc32(text))


@pytest.mark.parametrize(
    ("found", "columns"),
    [
        (EXPECTED, (0, 0, 0, 0)),
        (EXPECTED[1:], (1, 0, 0, 0)),
        ([*EXPECTED, EXPECTED[0]], (0, 1, 0, 0)),
        ([row(0, score=1.0), *EXPECTED[1:]], (0, 0, 1, 0)),
        ([row(0, source_sha256="1"), *EXPECTED[1:]], (0, 0, 1, 0)),
        ([row(0, edited_path="a/1.png", edited_sha256=row(1)["edited_sha256"]), *EXPECTED[1:]], (0, 0, 1, 0)),
        ([row(0, score=0.5), *EXPECTED[1:]], (0, 0, 0, 1)),
        ([row(0, **FAILED), *EXPECTED[1:]], (0, 0, 0, 1)),
        ([*EXPECTED, row(5)], (0, 0, 0, 1)),
    ],
    ids=[
        "nothing",
        "lost",
        "doubled",
        "another's score",
        "another's source",
        "another's edit",
        "value",
        "state",
        "row",
    ],
)
def test_a_row_counts_in_the_column_of_its_damage(results: Path, found, columns) -> None:
    assert tuple(vars_of(damage(results, found, EXPECTED))) == columns


def test_an_image_counts_as_lost_or_as_another_items(results: Path) -> None:
    (results / "a/0.png").unlink()
    (results / "a/1.png").write_bytes(b"2")
    assert tuple(vars_of(damage(results, EXPECTED, EXPECTED))) == (1, 0, 1, 0)


def test_work_that_the_journal_has_twice_is_doubled_and_a_damaged_line_is_not_there(results: Path) -> None:
    path = results / "journal/edit/a/lane0.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"key2"', b'"key1"'))
    assert damage(results, EXPECTED, EXPECTED) == NONE
    record(results, "key3")
    assert tuple(vars_of(damage(results, EXPECTED, EXPECTED))) == (0, 1, 0, 0)


def vars_of(found):
    return found.lost, found.doubled, found.misattributed, found.invented
