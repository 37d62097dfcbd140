"""The parts of a supervisor that need no process of a model."""

import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from editlane.core.errors import UserError
from editlane.core.machine import read_machine
from editlane.core.paths import FleetPaths
from editlane.fleet.adapters import Adapter
from editlane.fleet.catalogue import Catalogue
from editlane.fleet.commands import environment, router_command, server_command
from editlane.fleet.config import FleetConfig
from editlane.fleet.sessions import end_members, find_members, note_session
from editlane.fleet.wishes import ask_supervisor, drop_wishes, grant_wishes


def adapter(name: str, fingerprint: str) -> Adapter:
    folder = Path(name) / fingerprint
    return Adapter(name=name, fingerprint=fingerprint, path=folder, source=folder, rank=8, base="b")


def make_config(**more: Any) -> FleetConfig:
    return FleetConfig.model_validate({"fleet": "f", "model": "org/model"} | more)


# --- which adapters there should be


def test_an_adapter_on_trial_has_no_alias_and_nobody_is_told_of_it() -> None:
    catalogue = Catalogue()
    catalogue.add(adapter("a", "1"), "A")
    catalogue.add(adapter("a", "2"), "A", is_trial=True)
    assert catalogue.newest() == {"a": ("a@1", "A")}
    assert catalogue.wanted(None).adapters == {"a@1": "a/1", "a@2": "a/2", "a": "a/1"}
    catalogue.add(adapter("a", "2"), "A")
    assert catalogue.newest() == {"a": ("a@2", "A")}
    assert catalogue.wanted(None).adapters == {"a@1": "a/1", "a@2": "a/2", "a": "a/2"}


def test_removing_the_newest_version_makes_the_one_before_it_the_newest() -> None:
    catalogue = Catalogue()
    for fingerprint in ("1", "2", "3"):
        catalogue.add(adapter("a", fingerprint), None)
    catalogue.remove("a@3")
    assert catalogue.newest() == {"a": ("a@2", None)}
    assert catalogue.versions("a") == ["a@1", "a@2"]
    assert catalogue.versions("a@1") == ["a@1"]
    assert catalogue.versions("b") == []


def test_a_version_that_is_added_again_is_the_newest() -> None:
    catalogue = Catalogue()
    for fingerprint in ("1", "2", "1"):
        catalogue.add(adapter("a", fingerprint), None)
    assert catalogue.newest() == {"a": ("a@1", None)}


def test_a_server_of_a_group_wants_the_adapters_of_its_group() -> None:
    catalogue = Catalogue()
    catalogue.add(adapter("a", "1"), "A")
    catalogue.add(adapter("b", "1"), "B")
    assert catalogue.wanted("A").published == ["a@1"]
    assert catalogue.wanted(None).published == ["a@1", "b@1"]


# --- command lines


def words_after(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_a_server_finishes_its_work_within_the_grace_and_says_when_it_is_full() -> None:
    words = server_command(make_config(affinity="soft", grace=7, max_num_seqs=100), port=1, names=["n"])
    assert words_after(words, "--shutdown-timeout") == "7"
    assert words_after(words, "--max-num-queued-reqs") == "200"
    assert "--enable-lora" not in words
    assert "--max-num-queued-reqs" not in server_command(make_config(affinity="none"), port=1, names=["n"])


def test_an_adapter_of_the_config_turns_adapters_on() -> None:
    words = server_command(make_config(adapters={"a": "x", "b": "y"}), port=1, names=["n"])
    assert words_after(words, "--max-loras") == "2"
    assert int(words_after(words, "--max-cpu-loras")) >= 4
    words = server_command(make_config(max_loras=3), port=1, names=["n"])
    assert words_after(words, "--max-loras") == "3"


def test_extra_arguments_come_last_and_so_decide() -> None:
    words = server_command(make_config(extra_args=["--dtype", "half"]), port=1, names=["n"])
    assert words[-2:] == ["--dtype", "half"]


def test_a_router_starts_before_one_server_whatever_its_policy() -> None:
    """vllm-router refuses `power_of_two` with one address."""
    words = router_command(make_config(affinity="none"), port=1, metrics_port=2, urls=["http://a:1"], has_token=False)
    assert words[words.index("--worker-urls") + 1 :] == ["http://a:1", "http://a:1/."]
    words = router_command(make_config(affinity="soft"), port=1, metrics_port=2, urls=["http://a:1"], has_token=False)
    assert words[words.index("--worker-urls") + 1 :] == ["http://a:1"]


def test_the_token_is_in_the_environment_alone() -> None:
    made = environment("a-secret-of-16-letters", lora=True)
    assert made["VLLM_API_KEY"] == "a-secret-of-16-letters"
    assert made["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert "VLLM_API_KEY" not in environment("", lora=False)
    assert environment("", lora=False)["RUST_LOG"] == "warn"


def test_a_key_of_the_user_for_another_vllm_is_not_the_fleets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "another-key")
    assert "VLLM_API_KEY" not in environment("", lora=False)
    assert environment("a-secret-of-16-letters", lora=False)["VLLM_API_KEY"] == "a-secret-of-16-letters"


@pytest.mark.parametrize("word", ["--port", "--host=0.0.0.0", "--api_key=sk-1", "--served-model-name", "--model"])
def test_an_argument_that_the_fleet_gives_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"extra_args.*\n.*--[a-z-]+ is the fleet's to give to each server"):
        make_config(extra_args=["--enforce-eager", word])


def test_a_router_gives_a_server_a_second_at_least() -> None:
    for seconds, word in ((0.2, "1"), (1.2, "2"), (600, "600")):
        config = make_config(request_seconds=seconds)
        words = router_command(config, port=1, metrics_port=2, urls=["http://a:1"], has_token=False)
        assert words_after(words, "--request-timeout-secs") == word


# --- what is left of a supervisor that was killed


def test_members_of_a_noted_session_are_found_and_ended(tmp_path: Path) -> None:
    noted = tmp_path / "n.sessions"
    started = subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000"], start_new_session=True)
    note_session(noted, started.pid)
    until = time.monotonic() + 10
    while len(found := find_members(noted)) < 2:  # the shell has to start the other one first
        assert time.monotonic() < until
    assert started.pid in found
    started.kill()
    started.wait()
    assert find_members(noted)
    assert end_members(noted) >= 1
    assert not noted.exists()
    assert find_members(noted) == []


def test_what_began_before_the_leader_of_a_session_is_left_alone(tmp_path: Path) -> None:
    """Its leader has ended, so that only its members tell when it was."""
    noted = tmp_path / "n.sessions"
    started = subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000"], start_new_session=True)
    note_session(noted, started.pid)
    until = time.monotonic() + 10
    while len(find_members(noted)) < 2:
        assert time.monotonic() < until
    started.kill()
    started.wait()
    text = noted.read_text()
    noted.write_text(f"{read_machine()} {started.pid} {int(text.split()[2]) + 1000}\n")
    assert find_members(noted) == []
    noted.write_text(text)
    assert end_members(noted) >= 1


@pytest.mark.parametrize("line", ["{boot} {pid} 1", "another-boot {pid} {began}", "{boot} {pid}", "x"])
def test_a_process_that_only_has_the_number_of_an_old_one_is_left_alone(line: str, tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        began = Path(f"/proc/{stranger.pid}/stat").read_text().rpartition(")")[2].split()[19]
        text = line.format(boot=read_machine(), pid=stranger.pid, began=began)
        (tmp_path / "n.sessions").write_text(f"{text}\n")
        assert end_members(tmp_path / "n.sessions") == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


# --- wishes


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FleetPaths:
    monkeypatch.chdir(tmp_path)
    return FleetPaths("f")


def granted(paths: FleetPaths, node: str, seen: list[Any], stop: threading.Event) -> None:
    def grant(wish: dict[str, Any]) -> str:
        seen.append(wish)
        if wish.get("remove") == "no":
            raise UserError("There is none.")
        return "done"

    while not stop.wait(0.02):
        grant_wishes(paths, node, grant)


def test_a_wish_is_granted_or_refused_by_the_machine_that_it_is_for(paths: FleetPaths) -> None:
    stop, seen = threading.Event(), list[Any]()
    thread = threading.Thread(target=granted, args=(paths, "节点[1]", seen, stop))
    thread.start()
    try:
        assert ask_supervisor(paths, "节点[1]", {"remove": "严格"}, 10) == "done"
        with pytest.raises(UserError, match="There is none"):
            ask_supervisor(paths, "节点[1]", {"remove": "no"}, 10)
        with pytest.raises(UserError, match=r"on other did not answer within 0.3 s"):
            ask_supervisor(paths, "other", {"remove": "x"}, 0.3)
    finally:
        stop.set()
        thread.join()
    assert seen == [{"remove": "严格"}, {"remove": "no"}]
    assert list(paths.wishes.iterdir()) == []


def test_what_lies_among_the_wishes_and_is_none_is_refused(paths: FleetPaths) -> None:
    paths.wishes.mkdir(parents=True)
    one, two, three, four = (paths.wishes / f"n.{digit * 32}.json" for digit in "1234")
    one.write_text("[" * 50_000)
    two.write_text("{" + " " * 200_000 + "}")
    three.symlink_to("/etc/passwd")
    four.write_text("[1]")
    grant_wishes(paths, "n", lambda wish: pytest.fail(str(wish)))
    assert sorted(path.suffix for path in paths.wishes.iterdir()) == [".answer"] * 4
    drop_wishes(paths, "n")
    assert list(paths.wishes.iterdir()) == []


def test_a_machine_whose_name_goes_on_after_a_dot_keeps_its_wishes(paths: FleetPaths) -> None:
    paths.wishes.mkdir(parents=True)
    kept = [paths.wishes / f"this.b.{'0' * 32}.{end}" for end in ("json", "answer")]
    own = [paths.wishes / f"this.{'0' * 32}.{end}" for end in ("answer", "json.partial", "answer.partial")]
    for path in (*kept, *own):
        path.write_text("{}")
    grant_wishes(paths, "this", lambda wish: pytest.fail(str(wish)))
    drop_wishes(paths, "this")
    assert sorted(paths.wishes.iterdir()) == sorted(kept)


def test_a_wish_that_fails_unforeseen_is_refused_and_the_next_one_granted(
    paths: FleetPaths, caplog: pytest.LogCaptureFixture
) -> None:
    paths.wishes.mkdir(parents=True)
    for digit in "01":
        (paths.wishes / f"n.{digit * 32}.json").write_text(json.dumps({"drain": digit}))

    def grant(wish: dict[str, Any]) -> str:
        if wish["drain"] == "0":
            raise RuntimeError("unforeseen")
        return "done \ud800"

    grant_wishes(paths, "n", grant)
    refused, done = (json.loads((paths.wishes / f"n.{digit * 32}.answer").read_bytes()) for digit in "01")
    assert refused == {"refused": "The supervisor could not do this (RuntimeError). See its log."}
    assert done == {"done": "done \ud800"}
    assert "RuntimeError: unforeseen" in caplog.text
