"""A fleet of two real vLLM servers on the CPU: what the tests in tests/faults/fleet show with doubles.

    make test-vllm

A start takes a minute, so one fleet serves the tests, in the order in which they stand here. Measured times are printed
(`-s`).
"""

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from adapters import built
from fleet_files import make_adapter
from fleet_run import FleetRun
from PIL import Image

from editlane.core.types import Question
from editlane.fleet.sessions import list_processes
from editlane.fleet.smoke import Answer, measure
from editlane.fleet.vllm_api import ServerError, VllmServer
from editlane.judges.qwen3_vl.openai_engine import EndpointJudge
from editlane.models.tiny import build_tiny_model

pytest.importorskip("vllm", reason="vLLM is not installed here; `make test-vllm` does it in a venv of its own")
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two servers need two cores"),
]

ADAPTERS = {"严格": 1, "kind": 2}
"""Name -> seed."""
REQUESTS = 200
PROMPTS = [f"第 {number} 张图：把猫移开。 How good is it? " * 4 for number in range(5)]
SAME = 1e-3
"""Difference of log-probabilities that batches make."""
VLLM = {"max_num_seqs": 16, "max_model_len": 4096, "dtype": "float32", "grace": 30, "serve_base": False}
VLLM |= {"affinity": "soft"}
VLLM |= {"extra_args": ["--enforce-eager", "--limit-mm-per-prompt", '{"image": 2, "video": 0}']}
VLLM["extra_args"] += ["--max-num-batched-tokens", "32768"]


class RealFleet(FleetRun):
    """A fleet of real servers, with a tiny Qwen3-VL."""

    def __init__(self, folder: Path, **config: Any) -> None:
        environment = {"PYTHONPATH": "", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
        super().__init__(folder, environment=environment, **VLLM | {"model": "模型/vl"} | config)

    def wait(self, condition: Callable[[], Any], seconds: float = 400) -> Any:
        return super().wait(condition, seconds)

    @property
    def router(self) -> VllmServer:
        return VllmServer(self.url)

    def server(self, number: int) -> VllmServer:
        return VllmServer(self.state()["servers"][number]["url"])

    def published(self, name: str) -> str:
        return str(self.state()["published"][name])


def build_adapter(folder: Path, seed: int, base: Path) -> str:
    build_tiny_model("lora", folder, seed=seed, base=base)
    return str(folder)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    build_tiny_model("qwen3-vl", folder / "模型/vl")
    return folder


@pytest.fixture(scope="module")
def fleet(root: Path) -> Iterator[RealFleet]:
    adapters = {name: build_adapter(root / name, seed, root / "模型/vl") for name, seed in ADAPTERS.items()}
    one = RealFleet(root, adapters=adapters, groups={"A": ["严格"], "B": ["kind"]})
    began = time.monotonic()
    one.start()
    try:
        one.wait_ready()
        report("start to ready", time.monotonic() - began)
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module")
def alone(fleet: RealFleet) -> dict[str, list[Answer]]:
    """What each adapter answers to each prompt if nobody else asks; by its published name."""
    return {name: ask_all(fleet.server(0), name) for name in map(fleet.published, ADAPTERS)}


def ask_all(server: VllmServer, name: str) -> list[Answer]:
    return [server.first_tokens(name, prompt, 4) for prompt in PROMPTS]


def report(what: str, seconds: float) -> None:
    print(f"[fleet] {what}: {seconds:.1f} s", flush=True)


class Asked:
    """Requests through the router by eight clients, without another try; compared with what was answered alone."""

    def __init__(self, fleet: RealFleet, alone: dict[str, list[Answer]], count: int) -> None:
        self._router, self._alone = fleet.router, alone
        self.failed: list[str] = []
        self.apart: list[float] = []
        self._threads = ThreadPoolExecutor(8)
        self._jobs = [self._threads.submit(self._ask, number) for number in range(count)]

    def _ask(self, number: int) -> None:
        name = list(self._alone)[number % len(self._alone)]
        place = number % len(PROMPTS)
        try:
            found = self._router.first_tokens(name, PROMPTS[place], 4, seconds=150)
        except ServerError as error:
            self.failed.append(str(error))
        else:
            self.apart.append(measure(found, self._alone[name][place]))

    @property
    def count(self) -> int:
        return len(self.failed) + len(self.apart)

    def end(self) -> None:
        """Wait for all, and check that every one was answered by its adapter."""
        for job in self._jobs:
            job.result()
        self._threads.shutdown()
        assert not self.failed, Counter(self.failed)
        assert len(self.apart) == len(self._jobs)
        assert max(self.apart) < SAME


def members(session: int) -> set[int]:
    return {one.pid for one in list_processes() if one.session == session}


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def find_process(fleet: RealFleet, number: int, title: str) -> int:
    return next(pid for pid in members(fleet.state()["servers"][number]["pid"]) if title in name_of(pid))


def test_all_is_well(fleet: RealFleet) -> None:
    health = fleet.run("health", "--json", "--wait", "60")
    assert health.returncode == 0, health.stdout
    found = {one["server"]: [one["answers"], one["lists"], one["generates"]] for one in json.loads(health.stdout)}
    assert found == {name: [True, True, True] for name in ("this/0", "this/1", "this/router")}
    shown = json.loads(fleet.run("status", "--json").stdout)
    assert shown["ready"] is True
    assert [server["gpu"] for server in shown["servers"]] == ["cpu", "cpu"]
    smoke = fleet.run("smoke", timeout=200)
    assert smoke.stdout.count("every name acts for itself") == 2, smoke.stdout


def test_an_engine_outlives_no_server_because_its_session_is_known(fleet: RealFleet) -> None:
    """The processes have the names that people look for, and all are of their server's session."""
    for server in fleet.state()["servers"]:
        names = [name_of(pid) for pid in members(server["pid"])]
        assert any("guard.py" in name for name in names)
        assert any("VLLM::EngineCor" in name for name in names), names
        assert any("VLLM::Worker" in name for name in names), names


def test_each_adapter_answers_differently(fleet: RealFleet, alone: dict[str, list[Answer]]) -> None:
    strict, kind = alone.values()
    assert min(map(measure, strict, kind)) > 0.1
    for name, answers in alone.items():
        for asked in (name, name.partition("@")[0]):
            assert max(map(measure, answers, ask_all(fleet.router, asked))) < SAME
            assert max(map(measure, answers, ask_all(fleet.server(1), asked))) < SAME


@pytest.mark.parametrize("name", ADAPTERS)
def test_with_a_session_all_requests_go_to_one_server(fleet: RealFleet, name: str) -> None:
    before = [fleet.server(number).read_metrics().generated_tokens for number in (0, 1)]
    for number in range(20):
        more = {"max_tokens": 20, "ignore_eos": True, "headers": {"X-Session-ID": quote(fleet.published(name))}}
        assert fleet.ask(name, f"x{number}", **more)[0] == 200
    time.sleep(1)  # until the figures are there
    made = [fleet.server(number).read_metrics().generated_tokens - before[number] for number in (0, 1)]
    assert max(made) >= 400
    assert min(made) < 20  # the supervisor's own question to an idle server


def question(number: int) -> Question:
    image = Image.frombytes("RGB", (96, 64), os.urandom(3 * 96 * 64))
    return Question(system="你是严格的评委。", parts=(image, f"第 {number} 个", "How good, 0 to 9?"))


def test_a_judge_reads_the_same_through_the_fleet_as_from_a_server(
    fleet: RealFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fleet.folder)
    asked = [[question(number)] for number in range(8)]
    found = {}
    for name in ADAPTERS:
        direct = {"base_url": f"{fleet.server(0).url}/v1"}
        places = (({"fleet": "fleet.yaml"}, name), (direct, fleet.published(name)))
        judges = [built(EndpointJudge, model=model, params={"concurrency": 4} | place) for place, model in places]
        through, wanted = (judge.read_out(judge.prepare(asked), tuple("0123456789")) for judge in judges)
        assert judges[0].completions.model == fleet.published(name)
        found[name] = [one for ((one,), (other,)) in zip(through, wanted, strict=True) if is_equal(one, other)]
        assert len(found[name]) == len(asked)
    assert not any(is_equal(*pair) for pair in zip(*found.values(), strict=True))


def is_equal(one: Any, other: Any) -> bool:
    pairs = zip((*one.probabilities, one.mass), (*other.probabilities, other.mass), strict=True)
    return max(abs(x - y) for x, y in pairs) < SAME


def test_a_server_that_is_killed_under_load_costs_no_answer_and_comes_back(
    fleet: RealFleet, alone: dict[str, list[Answer]]
) -> None:
    load = Asked(fleet, alone, REQUESTS)
    fleet.wait(lambda: load.count >= 60)
    before = fleet.state()["servers"][0]
    session = members(before["pid"])
    api = next(pid for pid in session if "api_server" in (name := name_of(pid)) and "guard.py" not in name)
    os.kill(api, signal.SIGKILL)
    killed = time.monotonic()
    fleet.wait(lambda: fleet.states()[0] != "ready")
    report("kill to noticed", time.monotonic() - killed)
    fleet.wait(lambda: not session & {one.pid for one in list_processes()}, 15)
    report("kill to nothing left of it", time.monotonic() - killed)
    load.end()
    report(f"{REQUESTS} of {REQUESTS} answered, each by its adapter, after", time.monotonic() - killed)
    fleet.wait_ready()
    report("kill to ready again", time.monotonic() - killed)
    after = fleet.state()["servers"][0]
    assert after["starts"] == before["starts"] + 1
    assert "ended with exit code 137" in after["error"]
    assert max(map(measure, alone[fleet.published("kind")], ask_all(fleet.server(0), "kind"))) < SAME


def test_a_worker_that_is_killed_under_load_costs_no_answer(fleet: RealFleet, alone: dict[str, list[Answer]]) -> None:
    """The server itself lives on for a moment, and fails."""
    load = Asked(fleet, alone, REQUESTS)
    fleet.wait(lambda: load.count >= 40)
    worker = find_process(fleet, 1, "VLLM::Worker")
    starts = fleet.state()["servers"][1]["starts"]
    os.kill(worker, signal.SIGKILL)
    killed = time.monotonic()
    fleet.wait(lambda: fleet.states()[1] != "ready")
    report("worker killed to noticed", time.monotonic() - killed)
    load.end()
    fleet.wait(lambda: fleet.state()["servers"][1]["starts"] == starts + 1)
    assert "died unexpectedly" in fleet.state()["servers"][1]["error"]
    fleet.wait_ready()
    report("worker killed to ready again", time.monotonic() - killed)


def test_an_engine_that_hangs_under_load_costs_no_answer(fleet: RealFleet, alone: dict[str, list[Answer]]) -> None:
    """The server goes on to call itself healthy."""
    load = Asked(fleet, alone, REQUESTS)
    fleet.wait(lambda: load.count >= 40)
    os.kill(find_process(fleet, 0, "VLLM::EngineCor"), signal.SIGSTOP)
    stopped = time.monotonic()
    fleet.wait(lambda: fleet.states()[0] == "silent")
    report("engine hangs to noticed", time.monotonic() - stopped)
    load.end()
    report("engine hangs to all answered", time.monotonic() - stopped)
    assert "generated nothing for 30 s" in fleet.wait(lambda: fleet.state()["servers"][0]["error"])
    fleet.wait_ready()
    report("engine hangs to ready again", time.monotonic() - stopped)


def test_a_drain_under_load_loses_nothing(fleet: RealFleet, alone: dict[str, list[Answer]]) -> None:
    load = Asked(fleet, alone, REQUESTS)
    fleet.wait(lambda: load.count >= 40)
    starts = fleet.state()["servers"][1]["starts"]
    asked = time.monotonic()
    assert fleet.run("drain", "1").returncode == 0
    load.end()
    fleet.wait(lambda: fleet.state()["servers"][1]["starts"] == starts + 1)
    report("drain to started again", time.monotonic() - asked)
    fleet.wait_ready()
    report("drain to ready again", time.monotonic() - asked)


def test_a_retrained_adapter_is_served_without_a_gap(
    fleet: RealFleet, alone: dict[str, list[Answer]], root: Path
) -> None:
    old = fleet.published("kind")
    folder = build_adapter(root / "retrained", 77, root / "模型/vl")
    load = Asked(fleet, alone, REQUESTS)
    fleet.wait(lambda: load.count >= 20)
    asked = time.monotonic()
    done = fleet.run("adapters", "add", "kind", folder, timeout=200)
    assert done.returncode == 0, done.stderr
    report("adapters add under load", time.monotonic() - asked)
    load.end()
    new = fleet.wait(lambda: (one := fleet.published("kind")) != old and one)
    for number in (0, 1):
        found = ask_all(fleet.server(number), "kind")
        assert max(map(measure, found, ask_all(fleet.server(number), new))) < SAME
        assert min(map(measure, found, alone[old])) > 0.1
        assert max(map(measure, ask_all(fleet.server(number), old), alone[old])) < SAME
    table = fleet.run("status").stdout
    assert "kind (2 versions)" in table
    assert old in table


def test_an_adapter_of_another_model_is_refused(fleet: RealFleet) -> None:
    make_adapter(fleet.folder / "other", 5)
    before = fleet.state()["published"]
    done = fleet.run("adapters", "add", "other", "other")
    assert done.returncode == 2
    assert "was made for another model than" in done.stderr
    assert fleet.state()["published"] == before
    assert fleet.ask("other")[0] == 404


def test_versions_are_removed_one_by_one_or_all(fleet: RealFleet, alone: dict[str, list[Answer]]) -> None:
    new = fleet.published("kind")
    assert fleet.run("adapters", "remove", new).returncode == 0
    old = fleet.wait(lambda: (one := fleet.published("kind")) != new and one)
    assert old in alone
    assert max(map(measure, ask_all(fleet.router, "kind"), alone[old])) < SAME
    assert fleet.ask(new)[0] == 404
    assert fleet.run("adapters", "remove", "kind").returncode == 0
    assert fleet.ask("kind")[0] == 404
    assert fleet.ask("严格")[0] == 200


def test_nothing_outlives_a_killed_supervisor(fleet: RealFleet) -> None:
    assert len(fleet.pids()) >= 10
    fleet.kill()
    killed = time.monotonic()
    while left := fleet.pids():
        assert time.monotonic() < killed + 15, [name_of(pid) for pid in left]
        time.sleep(0.05)
    report("supervisor killed to nothing left", time.monotonic() - killed)


def test_sigterm_ends_everything(fleet: RealFleet) -> None:
    assert fleet.process is not None
    if fleet.process.poll() is not None:  # killed by the test before, unless this one runs alone
        fleet.start()
    fleet.wait_ready()
    asked = time.monotonic()
    fleet.process.terminate()
    assert fleet.process.wait(60) == 0
    report("SIGTERM to the end", time.monotonic() - asked)
    assert not fleet.pids()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--no-such-flag"], "ended with exit code 2: api_server.py: error: unrecognized arguments: --no-such-flag"),
        (["--max-model-len", "4000000"], "ended with exit code 1: Value error, User-specified max_model_len (4000000)"),
    ],
)
def test_the_reason_of_a_server_that_cannot_start_is_shown(root: Path, extra: list[str], said: str) -> None:
    folder = root / extra[0]
    shutil.copytree(root / "模型", folder / "模型")
    fleet = RealFleet(folder, servers=1, adapters={}, serve_base=True, extra_args=extra).start()
    try:
        fleet.wait(lambda: fleet.states() == ["resting"])
        assert fleet.state()["servers"][0]["error"].startswith(said)
        status = fleet.run("status")
        assert status.returncode == 1
        assert said in " ".join(status.stdout.split())
    finally:
        fleet.stop()
