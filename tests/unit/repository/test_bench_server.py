"""The benchmark of reward servers runs through, and its tables are whole."""

import re
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.runs
def test_the_cheap_parts_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import bench_server

    bench_server.main(["--quick", "--part", "front", "batching", "latency", "memory", "start"])
    printed = capsys.readouterr().out
    tables = re.findall(r"(?:^\|.*\|\n)+", printed, re.MULTILINE)
    assert [len(table.splitlines()) - 2 for table in tables] == [3, 2, 3, 3, 1]
    assert len({len(line.split("|")) for line in tables[0].splitlines()}) == 1
    assert "msgspec" in printed and "503, Retry-After" in printed


def test_without_flask_its_part_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import bench_server

    for name in ("flask", "gunicorn"):
        (tmp_path / f"{name}.py").write_text("raise ImportError")
    bench_server.main(["--quick", "--part", "flask", "--flask", str(tmp_path)])
    assert "Skipped: it needs `pip install --target FOLDER flask gunicorn`" in capsys.readouterr().out
