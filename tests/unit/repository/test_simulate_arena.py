"""The simulation of the arena runs through, in small."""

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.runs
def test_every_table_of_the_simulation_is_made(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import simulate_arena

    monkeypatch.setattr(simulate_arena, "LARGE", 200)
    monkeypatch.setattr(simulate_arena.intervals, "RESAMPLES", 99)
    monkeypatch.setattr(simulate_arena, "RESAMPLES", 99)
    monkeypatch.setattr(sys, "argv", ["simulate_arena.py", "--cases", "2"])
    simulate_arena.main()
    text = capsys.readouterr().out
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(simulate_arena.TABLES)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert len({len(row) for row in rows}) <= 5 and len(rows) > 40
