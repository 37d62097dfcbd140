"""Adapters of a fleet that serves: proved before they are told of, replaced without a gap, sent to their servers."""

import os
import shutil
import signal
from collections.abc import Callable
from urllib.parse import quote

import pytest
from fleet_files import make_adapter
from fleet_run import FleetRun, Load

from editlane.fleet.routers import CHANGE_SECONDS

Make = Callable[..., FleetRun]


def published(fleet: FleetRun, name: str) -> str:
    return str(fleet.state()["published"][name])


@pytest.mark.runs
def test_an_adapter_that_does_nothing_keeps_its_fleet_from_being_ready(make_fleet: Make) -> None:
    fleet = make_fleet(servers=1)
    make_adapter(fleet.folder / "adapters/kind", 2, acts=False)
    fleet.start()
    fleet.wait(lambda: fleet.states() == ["wrong"])
    assert "kind" in fleet.state()["servers"][0]["error"]
    assert fleet.run("status").returncode == 1
    assert fleet.run("health").returncode == 1
    assert not fleet.routed()
    done = fleet.run("adapters", "remove", "kind")
    assert done.returncode == 0, done.stderr
    fleet.wait_ready()
    assert fleet.ask("严格")[0] == 200
    assert fleet.ask("kind")[0] == 404


def test_base_answers_with_an_adapters_weights_are_found(make_fleet: Make) -> None:
    fleet = make_fleet(servers=1, environment={"VLLM_DOUBLE_MIXES": "1"}).start()
    fleet.wait(lambda: fleet.states() == ["wrong"])
    assert "serve_base: false" in fleet.state()["servers"][0]["error"]


def test_a_base_that_is_not_served_cannot_be_asked(make_fleet: Make) -> None:
    fleet = make_fleet(servers=1, serve_base=False, environment={"VLLM_DOUBLE_MIXES": "1"}).start().wait_ready()
    assert fleet.ask("kind")[0] == 200
    assert fleet.ask("base")[0] == 404
    assert fleet.state()["published"].keys() == {"严格", "kind"}


@pytest.mark.runs
def test_an_adapter_is_replaced_without_a_gap_and_its_old_version_keeps_its_name(make_fleet: Make) -> None:
    fleet = make_fleet().start().wait_ready()
    old = published(fleet, "kind")
    before = fleet.text("kind", "p")
    load = Load(fleet, ["严格", old])
    make_adapter(fleet.folder / "新", 7)
    done = fleet.run("adapters", "add", "kind", "新")
    assert done.returncode == 0, done.stderr
    fleet.wait(lambda: published(fleet, "kind") != old)
    new = published(fleet, "kind")
    load.wait_for(20)
    assert set(load.end()) == {200}
    assert fleet.text(old, "p") == before
    for server in fleet.state()["servers"]:
        after = [fleet.text(name, "p", port=server["port"]) for name in ("kind", new)]
        assert after[0] == after[1] != before
    assert "This lasts until the fleet ends" in done.stdout
    assert fleet.run("adapters", "add", "kind", "新").stdout.startswith("this: " + new)
    fleet.run("adapters", "remove", old)
    fleet.wait(lambda: fleet.ask(old)[0] == 404)
    assert fleet.text("kind", "p") == after[0]


@pytest.mark.runs
def test_a_server_that_missed_an_adapter_gets_no_requests_until_it_has_it(make_fleet: Make) -> None:
    """It would answer 404, which ends what asks."""
    fleet = make_fleet(environment={"VLLM_DOUBLE_LOAD_SECONDS": "0.5"}).start().wait_ready()
    paused = fleet.server_pid(1)
    os.kill(paused, signal.SIGSTOP)
    fleet.wait(lambda: fleet.states()[1] == "silent")
    make_adapter(fleet.folder / "third", 7)
    done = fleet.run("adapters", "add", "third", "third")
    assert done.returncode == 0, done.stderr
    load = Load(fleet, ["third", published(fleet, "third"), "kind"])
    os.kill(paused, signal.SIGCONT)
    fleet.wait_ready()
    load.wait_for(40)
    assert set(load.end()) == {200}


@pytest.mark.runs
def test_a_router_gives_up_on_a_server_before_its_supervisor_does(make_fleet: Make) -> None:
    """It would take the server as soon as that answers, adapters or not, long after it was told of it."""
    fleet = make_fleet().start().wait_ready()
    os.kill(fleet.server_pid(1), signal.SIGSTOP)
    fleet.wait(lambda: fleet.states()[1] == "silent" and len(fleet.routed()) == 1)
    url = fleet.state()["servers"][1]["url"]
    reply = fleet.pool.request("POST", f"{fleet.url}/add_worker?url={quote(url, safe='')}", timeout=CHANGE_SECONDS)
    assert (reply.status, url in fleet.routed()) == (400, False), reply.data


@pytest.mark.runs
def test_names_that_would_lead_elsewhere_are_refused(make_fleet: Make) -> None:
    fleet = make_fleet(servers=1).start().wait_ready()
    make_adapter(fleet.folder / "new", 7)
    before = fleet.text("base")
    for name, said in {"base": "the name of the base model", "../../x": "cannot be", "a b": "cannot be"}.items():
        done = fleet.run("adapters", "add", name, "new")
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert fleet.text("base") == before
    assert not list(fleet.folder.glob("**/x@*"))


@pytest.mark.runs
def test_an_adapter_that_does_nothing_is_not_taken_while_the_others_are_served(make_fleet: Make) -> None:
    fleet = make_fleet().start().wait_ready()
    load = Load(fleet, ["严格", "kind"])
    make_adapter(fleet.folder / "idle", 9, acts=False)
    done = fleet.run("adapters", "add", "idle", "idle")
    assert done.returncode == 2
    assert "idle" in done.stderr and "changes nothing" in done.stderr
    make_adapter(fleet.folder / "wide", 9, side=16)
    done = fleet.run("adapters", "add", "wide", "wide")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    load.wait_for(10)
    assert set(load.end()) == {200}
    assert fleet.states() == ["ready", "ready"]
    assert fleet.state()["published"].keys() == {"base", "严格", "kind"}
    assert all("idle" not in str(one["adapters"]) for one in fleet.state()["servers"])


@pytest.mark.runs
def test_a_folder_that_vanished_or_was_trained_again_changes_nothing_that_is_served(make_fleet: Make) -> None:
    fleet = make_fleet(servers=1).start().wait_ready()
    before = {name: fleet.text(name) for name in ("严格", "kind")}
    shutil.rmtree(fleet.folder / "adapters/严格")
    make_adapter(fleet.folder / "adapters/kind", 77)
    fleet.run("drain", "0")
    fleet.wait(lambda: fleet.state()["servers"][0]["starts"] == 2)
    fleet.wait_ready()
    assert {name: fleet.text(name) for name in before} == before


@pytest.mark.runs
def test_what_somebody_else_loads_is_unloaded_again(make_fleet: Make) -> None:
    """Whoever reaches the router reaches its servers' `/v1/load_lora_adapter`, too."""
    fleet = make_fleet(servers=1).start().wait_ready()
    wanted = fleet.text("kind")
    place = make_adapter(fleet.folder / "foreign", 5)
    for body in ({"lora_name": "foreign"}, {"lora_name": "kind", "load_inplace": True}):
        fleet.pool.request("POST", f"{fleet.url}/v1/load_lora_adapter", json=body | {"lora_path": str(place)})
    assert fleet.text("kind") != wanted
    fleet.wait(lambda: fleet.ask("foreign")[0] == 404 and fleet.text("kind") == wanted)


@pytest.mark.runs
def test_soft_affinity_sends_an_adapter_to_one_server(make_fleet: Make) -> None:
    fleet = make_fleet(servers=4, affinity="soft").start().wait_ready()
    for name in ("严格", "kind"):
        asked = {"X-Session-ID": quote(published(fleet, name))}
        ports = {fleet.ask(name, str(turn), headers=asked)[1]["port"] for turn in range(20)}
        assert len(ports) == 1
    assert len({fleet.ask("kind", str(turn))[1]["port"] for turn in range(40)}) > 1


def test_a_router_that_starts_before_one_server_finds_its_way_at_once(make_fleet: Make) -> None:
    """It is told of the server twice, because its policy wants two."""
    fleet = make_fleet(servers=1).start()
    fleet.wait(lambda: fleet.routed())
    assert {fleet.ask("kind", str(turn))[0] for turn in range(20)} == {200}


@pytest.mark.runs
def test_hard_affinity_gives_each_group_servers_and_a_url_of_its_own(make_fleet: Make) -> None:
    fleet = make_fleet(servers=3, affinity="hard", groups={"甲": ["严格"], "B": ["kind"]}).start()
    fleet.wait(lambda: fleet.states() == ["ready"] * 3)
    ports = {"甲": fleet.config["port"], "B": fleet.config["port"] - 1}
    fleet.wait(lambda: [len(fleet.routed(port)) for port in ports.values()] == [2, 1])
    assert [one["group"] for one in fleet.state()["servers"]] == ["甲", "甲", "B"]
    answers = {
        (group, name): fleet.ask(name, port=port)[0] for group, port in ports.items() for name in ("严格", "kind")
    }
    assert answers == {("甲", "严格"): 200, ("甲", "kind"): 404, ("B", "严格"): 404, ("B", "kind"): 200}
    make_adapter(fleet.folder / "more", 8)
    assert "needs a group" in fleet.run("adapters", "add", "more", "more").stderr
    assert fleet.run("adapters", "add", "more", "more", "--group", "B").returncode == 0
    assert fleet.ask("more", port=ports["B"])[0] == 200
    assert fleet.ask("more", port=ports["甲"])[0] == 404


@pytest.mark.runs
def test_a_hot_adapter_that_fills_its_server_is_seen(make_fleet: Make) -> None:
    fleet = make_fleet(affinity="soft", max_num_seqs=2, environment={"VLLM_DOUBLE_SECONDS": "0.3"}).start().wait_ready()
    hot = published(fleet, "kind")
    load = Load(fleet, ["kind"], clients=4, headers={"X-Session-ID": hot})
    full = fleet.wait(lambda: [one for one in fleet.state()["servers"] if one["full"]])
    assert full[0]["busy"] == ["kind"]
    assert "full" in fleet.run("status").stdout
    load.end()


def test_only_who_has_the_token_is_answered(make_fleet: Make) -> None:
    token = "a-token-of-more-than-16"
    fleet = make_fleet(servers=1, token_env="FLEET_TOKEN", environment={"FLEET_TOKEN": token}).start()
    fleet.wait(lambda: fleet.states() == ["ready"])
    right = {"Authorization": f"Bearer {token}"}
    fleet.wait(lambda: fleet.routed(headers=right))
    assert fleet.ask("kind", headers=right)[0] == 200
    assert fleet.ask("kind")[0] == 401
    port = fleet.state()["servers"][0]["port"]
    assert fleet.ask("kind", port=port)[0] == 401
    assert fleet.run("health").returncode == 0
    assert fleet.run("smoke").returncode == 0
    for path in fleet.folder.rglob("*"):
        if path.is_file() and "leases" not in path.parts:
            assert token.encode() not in path.read_bytes(), path
