"""What `adapters add` and `adapters remove` say is true when they say it."""

from collections.abc import Callable

import pytest
from fleet_files import make_adapter
from fleet_run import FleetRun

Make = Callable[..., FleetRun]


@pytest.mark.runs
def test_when_an_adapter_was_added_or_removed_its_alias_has_followed_on_every_server(make_fleet: Make) -> None:
    fleet = make_fleet().start().wait_ready()
    ports = [server["port"] for server in fleet.state()["servers"]]
    old = fleet.state()["published"]["kind"]
    for seed in range(7, 10):
        make_adapter(fleet.folder / "new", seed)
        done = fleet.run("adapters", "add", "kind", "new")
        assert done.returncode == 0, done.stderr
        new = done.stdout.split()[1]
        for port in ports:
            assert fleet.text("kind", port=port) == fleet.text(new, port=port) != fleet.text(old, port=port)
    assert fleet.run("adapters", "remove", "kind").returncode == 0
    assert [fleet.ask("kind", port=port)[0] for port in ports] == [404, 404]
