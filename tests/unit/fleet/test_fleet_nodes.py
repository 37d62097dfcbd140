"""Which servers of other machines a router asks, and the lock that keeps a second supervisor away."""

import os
import shutil
import time
from pathlib import Path

import pytest
from fleet_double import BASE, LENIENT, STRICT, make_node, tell

from editlane.core.errors import UserError
from editlane.core.paths import FleetPaths
from editlane.fleet import nodes
from editlane.fleet.config import FleetConfig
from editlane.fleet.launch import down
from editlane.fleet.node_lock import NodeLock, read_holder
from editlane.fleet.nodes import OtherNodes, Reach, find_missing


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


def test_a_lock_that_was_removed_is_put_back() -> None:
    paths = FleetPaths("judges")
    paths.nodes.mkdir(parents=True)
    lock = NodeLock(paths, "a")
    shutil.rmtree(paths.folder)
    lock.renew()
    holder = read_holder(paths.lock("a"))
    assert holder is not None and holder.is_here
    with pytest.raises(UserError, match=r"is up on a already \(process \d+\)"):
        NodeLock(paths, "a")
    lock.close()
    NodeLock(paths, "a").close()


def test_the_processes_of_another_machine_are_not_ended_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared disk may show its lock here, but its process ids are those of other processes here."""
    paths = FleetPaths("judges")
    paths.nodes.mkdir(parents=True)
    lock = NodeLock(paths, "b")
    holder = read_holder(paths.lock("b"))
    paths.lock("b").write_text(f"{os.getpid()} of-another-machine\n")
    assert holder is not None and holder.pid == os.getpid()
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("ended a process"))
    with pytest.raises(UserError, match="b is another machine, whose processes cannot be ended from here"):
        down(FleetConfig(fleet="judges", model="m"), "b")
    lock.close()
