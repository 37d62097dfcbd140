"""Faults on real reward servers."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from onslaught import Attack, Onslaught
from reward_server import FAKE_JUDGE, RewardServer

INJECT = Path(__file__).parents[1] / "inject"


@pytest.fixture
def attack(tmp_path: Path, record_property: Callable[[str, Any], None]) -> Iterator[Attack]:
    """`attack(*faults, judge={params}, **config)` starts a server that these faults will happen to.

    `ready`: wait until it is.
    """
    begun: list[Onslaught] = []

    def begin(
        *faults: dict[str, Any],
        judge: dict[str, Any] | None = None,
        ready: bool = True,
        environment: dict[str, str] | None = None,
        **config: Any,
    ) -> Onslaught:
        folder = tmp_path / "faults"
        for name in ("tokens", "fired", "go"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for fault in faults:
            for number in range(fault.get("times", 1)):
                (folder / "tokens" / f"{fault['name']}.{number}").touch()
        (folder / "plan.json").write_text(json.dumps(faults, ensure_ascii=False), encoding="utf-8")
        params = {"batch_size": 8, "seconds": 0.005} | (judge or {})
        server = RewardServer(
            tmp_path / f"服务 {len(begun)}",
            environment={"PYTHONPATH": str(INJECT), "FAULTS": str(folder)} | (environment or {}),
            **{"judges": {"fake": FAKE_JUDGE | {"params": params}}, "workers": 2} | config,
        )
        begun.append(Onslaught(server, record_property))
        server.start(ready=ready)
        return begun[-1]

    yield begin
    for onslaught in begun:
        onslaught.server.stop()  # it may be another one by now
