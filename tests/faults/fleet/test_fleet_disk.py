"""A disk that fills up under a fleet, and a folder that vanishes: it serves on. Mounting needs root."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleet_files import make_adapter
from fleet_run import FleetRun, Load
from full_disk import fill

pytestmark = [pytest.mark.runs, pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")]
Make = Callable[..., FleetRun]


@pytest.fixture
def on_disk(make_fleet: Make) -> Iterator[Callable[..., FleetRun]]:
    """`on_disk(size)`: a fleet whose results/fleets is a disk of its own."""
    disks: list[Path] = []
    fleets: list[FleetRun] = []

    def make(size: str = "1m", **config: object) -> FleetRun:
        fleet = make_fleet(**config)
        disk = fleet.folder / "results/fleets"
        disk.mkdir(parents=True)
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "fleet-faults", str(disk)]
        if subprocess.run(words, capture_output=True).returncode != 0:
            pytest.skip("cannot mount here")
        disks.append(disk)
        fleets.append(fleet)
        return fleet

    yield make
    for fleet in fleets:
        fleet.stop()
    for disk in disks:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fills_up_costs_no_answer_and_is_said_once(on_disk: Make) -> None:
    fleet = on_disk().start().wait_ready()
    load = Load(fleet, ["严格", "kind"])
    load.wait_for(20)
    filler = fill(fleet.results.parent)
    beat = fleet.state()["beat"]
    fleet.wait(lambda: "the state file cannot be written" in fleet.log())
    os.kill(fleet.server_pid(1), 9)
    load.wait_for(100)
    time.sleep(3)
    assert fleet.state()["beat"] <= beat + 1
    assert fleet.log().count("the state file cannot be written") == 1
    assert fleet.log().count("No space left on device") <= 4, fleet.log()
    filler.unlink()
    fleet.wait(lambda: fleet.state()["beat"] > beat + 1 and fleet.state()["servers"][1]["starts"] >= 2)
    fleet.wait_ready()
    assert fleet.log().count("the state file can be written again") == 1
    assert set(load.end()) == {200}


def test_the_folder_is_made_again_when_it_was_removed(make_fleet: Make) -> None:
    fleet = make_fleet().start().wait_ready()
    load = Load(fleet, ["严格", "kind"])
    load.wait_for(20)
    victim = fleet.server_pid(0)
    shutil.rmtree(fleet.results)
    fleet.wait(lambda: len(fleet.states()) == 2)
    second = fleet.run("up")
    assert second.returncode == 2 and "is up on this already (process" in second.stderr
    assert fleet.run("status").returncode == 0
    fleet.wait(lambda: len(list((fleet.results / "adapters").glob("[!.]*@*"))) == 2)
    os.kill(victim, 9)
    fleet.wait(lambda: fleet.state()["servers"][0]["starts"] == 2)
    fleet.wait_ready()
    load.wait_for(20)
    assert set(load.end()) == {200}
    assert "Traceback" not in fleet.log()


def test_a_full_disk_refuses_the_start_in_one_paragraph(on_disk: Make) -> None:
    fleet = on_disk()
    fill(fleet.results.parent)
    for words in (("up",), ("up", "--detach")):
        done = fleet.run(*words)
        assert done.returncode == 2, done.stderr
        assert "No space left on device" in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_an_adapter_that_does_not_fit_is_refused_and_nothing_else_changes(on_disk: Make) -> None:
    fleet = on_disk("256k").start().wait_ready()
    big = make_adapter(fleet.folder / "big", 3)
    content = (big / "adapter_config.json").read_text()
    (big / "adapter_config.json").write_text(content + " " * 300_000)
    done = fleet.run("adapters", "add", "big", "big")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert fleet.ask("kind")[0] == 200
    assert "big" not in fleet.state()["published"]
    assert not list((fleet.results / "adapters").glob("big@*"))


def test_an_adapter_of_the_config_that_does_not_fit_refuses_the_start(on_disk: Make) -> None:
    fleet = on_disk("64k")
    config = fleet.folder / "adapters/kind/adapter_config.json"
    config.write_text(config.read_text() + " " * 100_000)
    done = fleet.run("up")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr and "kind@" in done.stderr
    assert len(done.stderr.splitlines()) == 1
