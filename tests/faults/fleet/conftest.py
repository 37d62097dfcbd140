from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_run import FleetRun


@pytest.fixture
def make_fleet(tmp_path: Path) -> Iterator[Callable[..., FleetRun]]:
    made: list[FleetRun] = []

    def make(**config: Any) -> FleetRun:
        made.append(FleetRun(tmp_path / f"f{len(made)}", **config))
        return made[-1]

    yield make
    for one in made:
        one.stop()
