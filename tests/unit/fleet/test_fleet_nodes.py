"""Which servers of other machines a router asks, and the lock that keeps a second supervisor away."""

import errno
import fcntl
import json
import math
import os
import shutil
import time
from concurrent.futures import wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from fleet_double import BASE, LENIENT, STRICT, make_node, tell
from hypothesis import given
from hypothesis import strategies as st

from editlane.core.errors import UserError
from editlane.core.fleet_state import VERSION, read_node, read_nodes
from editlane.core.machine import read_machine
from editlane.core.paths import FleetPaths
from editlane.fleet import nodes
from editlane.fleet.config import FleetConfig
from editlane.fleet.launch import down
from editlane.fleet.node_lock import Holder, NodeLock, read_holder
from editlane.fleet.nodes import Neighbours, OtherNodes, Reach, find_missing


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_server_that_lacks_an_adapter_or_has_another_base_is_found() -> None:
    own, other = make_node(), make_node(node="b")
    (server,) = other.servers
    assert find_missing(own, other, server) == []
    server.adapters = [STRICT]
    assert find_missing(own, other, server) == [LENIENT]
    server.group = "A"
    assert find_missing(own, other, server) == []
    server.group = None
    other.published = {"base": "base@000000000000"}
    assert find_missing(own, other, server) == sorted([BASE, LENIENT])


def test_a_server_whose_plain_name_means_another_version_or_that_lacks_an_older_one_is_found() -> None:
    own, other = make_node(), make_node(node="b")
    (server,) = other.servers
    server.aliases = {"strict": STRICT}
    assert find_missing(own, other, server) == [LENIENT]
    server.aliases = {"strict": STRICT, "lenient": "lenient@000000000000"}
    assert find_missing(own, other, server) == [LENIENT]
    server.aliases["lenient"] = LENIENT
    own.served = ["strict@000000000000", STRICT, LENIENT]
    assert find_missing(own, other, server) == ["strict@000000000000"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(), some, max_size=3),
    max_leaves=5,
)
NODE = asdict(make_node(node="b"))
CHANGES = st.dictionaries(st.sampled_from(sorted(NODE)) | st.text(), JSON, max_size=3)
SERVER_CHANGES = st.dictionaries(st.sampled_from(sorted(NODE["servers"][0])) | st.text(), JSON, max_size=3)


@given(CHANGES, SERVER_CHANGES, JSON, st.booleans())
def test_whatever_another_machine_writes_is_read_or_left_out(
    changes: dict[str, Any], server: dict[str, Any], anything: Any, is_node: bool
) -> None:
    told = NODE | {"servers": [NODE["servers"][0] | server]} | changes
    paths, own = FleetPaths("judges"), make_node(node="a")
    paths.nodes.mkdir(parents=True, exist_ok=True)
    path = paths.state("b")
    neighbours = Neighbours(paths, "a")
    neighbours._reach._renew = lambda *_: None  # type: ignore[method-assign]
    for beat in (1, 2):
        path.write_text(json.dumps(told | {"beat": beat} if is_node else anything))
        neighbours.find_servers(own, is_blind=False)
        for node in read_nodes(paths.nodes):
            for one in node.servers:
                find_missing(own, node, one)
    neighbours.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"published": None},
        {"servers": [None]},
        {"pid": "1"},
        {"routers": {"": 1}},
        {"version": VERSION + 1},
        {"node": "c"},
    ],
)
def test_a_state_file_of_another_format_is_left_out(changes: dict[str, Any]) -> None:
    path = tell(make_node(node="b"))
    assert read_node(path) == make_node(node="b")
    path.write_text(json.dumps(NODE | changes))
    assert read_node(path) is None


def test_links_and_state_files_of_other_users_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    path = tell(make_node(node="b"))
    path.with_name("c.json").symlink_to(tell(make_node(node="c"), Path("elsewhere")).absolute())
    os.mkfifo(path.with_name("d.json"))
    assert [one.node for one in read_nodes(path.parent)] == ["b"]
    owner = path.stat().st_uid
    if owner == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert list(read_nodes(path.parent)) == []


def test_an_address_that_is_none_does_not_answer() -> None:
    reach = Reach()
    for _ in range(3):
        assert reach.find_answering(["http://[", "\0", "http://a:99999"]) == set()
        for probe in reach._probes.values():
            assert probe.job is not None
            wait([probe.job], 10)
            probe.begun = -math.inf
    reach.close()


def test_a_machine_lives_as_long_as_its_file_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "FRESH_SECONDS", 0.3)
    others = OtherNodes(FleetPaths("judges"), "a")
    tell(make_node(node="a"))
    tell(make_node(node="b", beat=1))
    assert others.look() == []
    tell(make_node(node="b", beat=2))
    assert [one.node for one in others.look()] == ["b"]
    for _ in range(4):
        time.sleep(0.15)
        assert [one.node for one in others.look(is_blind=True)] == ["b"], "nobody can write, so it proves nothing"
    time.sleep(0.4)
    assert others.look() == []


def test_a_server_that_never_answers_is_not_asked_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    reach = Reach()
    until = time.monotonic() + 5
    while "does not answer here" not in caplog.text:
        assert reach.find_answering(["http://127.0.0.1:1"]) == set()
        assert time.monotonic() < until
        time.sleep(0.05)
    for _ in range(30):
        assert reach.find_answering(["http://127.0.0.1:1"]) == set()
        time.sleep(0.05)
    assert caplog.text.count("does not answer here") == 1
    reach.close()


def take_lock(paths: FleetPaths, node: str) -> NodeLock:
    return NodeLock(paths.lock(node), f"The fleet judges is up on {node}", "fleet")


def test_a_lock_that_was_removed_is_put_back() -> None:
    paths = FleetPaths("judges")
    paths.nodes.mkdir(parents=True)
    lock = take_lock(paths, "a")
    shutil.rmtree(paths.folder)
    lock.renew()
    holder = read_holder(paths.lock("a"))
    assert holder is not None and holder.is_here
    with pytest.raises(UserError, match=r"is up on a already \(process \d+\)"):
        take_lock(paths, "a")
    lock.close()
    take_lock(paths, "a").close()


def test_the_processes_of_another_machine_are_not_ended_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared disk may show its lock here, but its process ids are those of other processes here."""
    paths = FleetPaths("judges")
    paths.nodes.mkdir(parents=True)
    lock = take_lock(paths, "b")
    holder = read_holder(paths.lock("b"))
    paths.lock("b").write_text(f"{os.getpid()} of-another-machine\n")
    assert holder is not None and holder.pid == os.getpid()
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("ended a process"))
    with pytest.raises(UserError, match="b is another machine, whose processes cannot be ended from here"):
        down(FleetConfig(fleet="judges", model="m"), "b")
    lock.close()


def test_the_process_ids_of_another_container_mean_nothing_here() -> None:
    boot, _, space = read_machine().partition("/")
    assert Holder(1, read_machine()).is_here
    assert not Holder(1, f"{boot}/pid:[1]").is_here
    assert not Holder(1, boot).is_here and space.startswith("pid:[")


def test_what_is_not_known_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("editlane.core.machine._BOOT", Path("no-such-file"))
    assert read_machine() == "unknown"
    assert not Holder(1, read_machine()).is_here


def test_a_disk_without_locks_is_warned_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    paths = FleetPaths("judges")
    paths.nodes.mkdir(parents=True)
    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = take_lock(paths, "a")
    assert "has no file locks" in caplog.text
    shutil.rmtree(paths.folder)
    lock.renew()
    assert read_holder(paths.lock("a")) == (os.getpid(), read_machine())
    lock.close()


def test_a_lock_that_another_took_meanwhile_is_asked_for_again() -> None:
    paths = FleetPaths("judges")
    paths.nodes.mkdir(parents=True)
    lock = take_lock(paths, "a")
    shutil.rmtree(paths.folder)
    paths.nodes.mkdir(parents=True)
    other = take_lock(paths, "a")
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            lock.renew()
    other.close()
    lock.renew()
    with pytest.raises(UserError, match="is up on a already"):
        take_lock(paths, "a")
    lock.close()
