"""Faults on real runs, and the table of what came of them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from audit import Row
from once import once
from trial import FaultyProject, Trial


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> FaultyProject:
    """A project whose items are split into lanes: where most faults start from."""

    def prepare(folder: Path) -> None:
        FaultyProject(folder).run("split_lanes", "plan_controls")

    return FaultyProject(once(tmp_path_factory, "prepared", prepare))


@pytest.fixture(scope="session")
def finished(prepared: FaultyProject, tmp_path_factory: pytest.TempPathFactory) -> FaultyProject:
    """A run that nothing disturbed, up to its scores."""

    def finish(folder: Path) -> None:
        prepared.copy(folder / "project").run("merge_scores")

    return FaultyProject(once(tmp_path_factory, "undisturbed", finish) / "project")


@pytest.fixture(scope="session")
def undisturbed(finished: FaultyProject) -> list[Row]:
    return finished.scores()


@pytest.fixture
def trial(
    prepared: FaultyProject, undisturbed: list[Row], tmp_path: Path, record_property: Callable[[str, Any], None]
) -> Iterator[Trial]:
    """A run that is about to be struck."""
    trial = Trial(prepared.copy(tmp_path / "project"), undisturbed, record_property)
    yield trial
    trial.clean_up()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table of all faults of this session; FAULTS_TABLE names a Markdown file that gets it, too."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    faults = [row for report in reports for name, row in report.user_properties if name == "fault"]
    if not faults:
        return
    lines = table(faults)
    terminalreporter.section("faults")
    terminalreporter.write_line("\n".join(lines))
    if os.environ.get("FAULTS_TABLE"):
        Path(os.environ["FAULTS_TABLE"]).write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(faults: list[dict[str, Any]]) -> list[str]:
    """Markdown; seconds and numbers of items."""
    heads = (
        "fault",
        "detected after",
        "recovered after",
        "lost",
        "doubled",
        "attributed to the wrong item",
        "invented",
    )
    rows = [
        (
            fault["fault"],
            *("-" if fault[when] is None else f"{fault[when]:.1f} s" for when in ("detected", "recovered")),
            *map(str, fault["damage"].values()),
        )
        for fault in faults
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [heads, tuple("-" * width for width in widths), *rows]
    return ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
