"""Find a fleet by its config: where it answers, what it serves, and what is said when it does not."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fleet_double import BASE, LENIENT, PUBLISHED, STRICT, make_node, tell, write_fleet

from editlane.core import fleets
from editlane.core.errors import UserError
from editlane.core.fleet_state import ServerState
from editlane.core.fleets import FleetDown, find_fleet, fix_version, read_fleet
from editlane.core.machine import read_machine
from editlane.core.published_names import is_published


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fleets, "_BEAT_SECONDS", 1.0)
    yield
    fleets._VERSIONS.clear()


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_plain_and_published_names_lead_to_the_router() -> None:
    config = write_fleet(Path(), make_node())
    fleet = find_fleet(config)
    assert fleet.resolve("strict") == ("http://127.0.0.1:8000/v1", STRICT, "A", STRICT)
    assert fleet.resolve(STRICT) == fleet.resolve("strict")
    assert fleet.resolve("base") == ("http://127.0.0.1:8000/v1", BASE, None, None)  # all servers have it
    assert fleet.find_version("lenient") == LENIENT
    assert is_published(STRICT) and not any(map(is_published, ("strict", "strict@3f2a", "@3f2a9c01b7de")))


def test_with_hard_affinity_each_group_has_its_router() -> None:
    routers = {"A": "http://127.0.0.1:8000", "B": "http://127.0.0.1:7999"}
    fleet = find_fleet(write_fleet(Path(), make_node(routers=routers, affinity="hard")))
    assert fleet.resolve("strict").base_url == "http://127.0.0.1:8000/v1"
    assert fleet.resolve(LENIENT).base_url == "http://127.0.0.1:7999/v1"
    assert fleet.resolve("base").base_url in {f"{url}/v1" for url in routers.values()}


def test_an_old_version_is_asked_for_as_long_as_a_server_has_it() -> None:
    old = "strict@111111111111"
    server = ServerState(number=1, port=8001, url="u", adapters=[old])
    config = write_fleet(Path(), make_node(servers=[server]))
    assert find_fleet(config).resolve(old).model == old
    tell(make_node())
    with pytest.raises(UserError, match=rf"serves {STRICT}, and no longer {old}"):
        find_fleet(config).resolve(old)


def test_what_is_not_served_is_named_with_what_is() -> None:
    fleet = find_fleet(write_fleet(Path(), make_node()))
    for name in ("stric", "stric@3f2a9c01b7de"):
        with pytest.raises(
            UserError, match=r"\(config/fleet.yaml\) does not .*Did you mean 'strict'\?.* Available: base"
        ):
            fleet.resolve(name)
    adapters = {name: one for name, one in PUBLISHED.items() if name != "base"}
    fleet = find_fleet(write_fleet(Path(), make_node(model=None, published=adapters)))
    with pytest.raises(UserError, match=r"base model base \(`serve_base: false`\).*its adapters: lenient, strict\."):
        fleet.resolve("base")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"fleet.yaml, cannot be read: No such file"),
        ("[1]", r"fleet.yaml is no config of a fleet: the key `fleet`"),
        ("fleet: ../../elsewhere", r"fleet.yaml is no config of a fleet"),
        ("fleet: judges\ntoken_env: sk-abcdefgh", r"token_env: use the name of an environment variable"),
        ("fleet: {", r"fleet.yaml cannot be read as YAML"),
    ],
)
def test_a_config_that_is_wrong_is_refused(content: str | None, message: str) -> None:
    if content is not None:
        Path("fleet.yaml").write_text(content)
    with pytest.raises(UserError, match=message) as error:
        find_fleet("fleet.yaml")
    assert not isinstance(error.value, FleetDown) and "sk-abcdefgh" not in str(error.value)


def test_a_fleet_that_never_ran_is_down() -> None:
    config = write_fleet(Path(), make_node())
    for path in Path("results").rglob("*.json"):
        path.write_bytes(path.read_bytes()[:50])  # half copied
    remedy = r"Start it in this folder: `python scripts/serve_fleet.py up --configfile config/fleet.yaml`"
    for find in (find_fleet, read_fleet):
        with pytest.raises(FleetDown, match=rf"does not run: results/fleets/judges/nodes names no router\. {remedy}"):
            find(config)


def test_a_supervisor_of_this_machine_lives_as_long_as_its_process() -> None:
    config = write_fleet(Path(), make_node(pid=dead_pid()))
    with pytest.raises(FleetDown, match=r"the process that led it on .* has ended"):
        find_fleet(config)
    assert read_fleet(config).find_version("strict") == STRICT  # for the keys of what was asked before


def test_a_process_id_of_another_container_proves_nothing() -> None:
    """It has this machine's name and boot id."""
    config = write_fleet(Path(), make_node("http://127.0.0.1:9", machine=f"{read_machine()}1"))
    with pytest.raises(FleetDown, match="has ended"):
        find_fleet(config)
    tell(make_node("http://[", machine=""))
    with pytest.raises(FleetDown, match="has ended"):
        find_fleet(config)


def test_a_supervisor_of_another_machine_lives_as_long_as_it_writes() -> None:
    node = make_node("http://127.0.0.1:9", node="elsewhere", pid=os.getpid(), machine="elsewhere")
    config = write_fleet(Path(), node)
    with pytest.raises(FleetDown, match="on elsewhere has ended"):
        find_fleet(config)
    beats = threading.Timer(0.3, lambda: tell(replace(node, beat=2)))
    beats.start()
    assert find_fleet(config).state.node == "elsewhere"
    beats.join()


def test_an_old_view_of_a_shared_folder_is_no_death_if_the_router_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = write_fleet(
            Path(), make_node(f"http://127.0.0.1:{listening.getsockname()[1]}", node="elsewhere", machine="x")
        )
        assert find_fleet(config).state.node == "elsewhere"


def test_a_fleet_that_moved_is_found_where_it_runs_now() -> None:
    config = write_fleet(Path(), make_node("http://127.0.0.1:9", node="before", machine="before"))
    os.utime(tell(make_node("http://127.0.0.1:8000")), (2e9, 2e9))
    assert find_fleet(config).state.node == socket.gethostname() == read_fleet(config).state.node
    tell(make_node(routers={}, node="helper"))  # a machine without routers tells no address
    assert find_fleet(config).state.node == socket.gethostname()


def test_a_process_names_one_version_for_as_long_as_it_lives() -> None:
    config = write_fleet(Path(), make_node())
    assert fix_version(config, "strict") == STRICT
    newer: dict[str, Any] = {"published": PUBLISHED | {"strict": "strict@222222222222"}}
    tell(make_node(**newer))
    assert fix_version(config, "strict") == STRICT
    assert fix_version("no/such.yaml", LENIENT) == LENIENT
    fleets._VERSIONS.clear()  # as another process
    assert fix_version(config, "strict") == "strict@222222222222"
