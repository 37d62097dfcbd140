"""The benchmark of a fleet runs through, and its tables are whole."""

import re
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.runs
def test_every_part_of_the_fleets_benchmark_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import bench_fleet

    bench_fleet.main(["--quick", "--answer", "0.1", "--seats", "4"])
    printed = capsys.readouterr().out
    tables = re.findall(r"(?:^\|.*\|\n)+", printed, re.MULTILINE)
    assert [len(table.splitlines()) - 2 for table in tables] == [3, 2, 5]
    assert "in the router again after" in printed
