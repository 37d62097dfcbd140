"""Clients of a fleet with a real router: what they asked is answered by the right weights, also when a server dies."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fleet_run import FleetRun

from editlane.core.fleet_accounts import read_accounts
from editlane.fleet import Fleet, TaskDefinition


def test_tasks_are_answered_once_each_while_a_server_dies(
    make_fleet: Callable[..., FleetRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_fleet(groups={"A": ["严格"], "B": ["kind"]}).start().wait_ready()
    monkeypatch.chdir(run.folder)
    published = run.state()["published"]
    victim = run.state()["servers"][0]["pid"]

    async def ask() -> tuple[Counter[tuple[str, str | None]], int]:
        async with Fleet("fleet.yaml", concurrency=8) as fleet:
            for name in ("严格", "kind"):
                fleet.register_model(name)
            tasks = [
                TaskDefinition(
                    task_id=str(number), prompt=f"{number}", model=("严格", "kind")[number % 2], max_tokens=2
                )
                for number in range(200)
            ]
            asyncio.get_running_loop().call_later(0.5, os.kill, victim, signal.SIGKILL)
            results = await asyncio.gather(*map(fleet.submit_task, tasks))
            return Counter((one.state, one.model) for one in results), fleet.get_statistics()["total_calls"]

    states, calls = asyncio.run(ask())
    assert states == {("answered", published[name]): 100 for name in ("严格", "kind")}
    accounts = read_accounts(Path(f"results/fleets/{run.config['fleet']}/accounts"))
    assert calls == accounts.total.total_calls == 200
    assert {name: one.success_calls for name, one in accounts.groups.items()} == {"A": 100, "B": 100}
