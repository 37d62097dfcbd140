"""The demonstration of a fleet, with doubles of vLLM: it shows that adapters act, or says why it cannot."""

import signal
import subprocess
from collections.abc import Callable

import pytest
from fleet_run import FleetRun

Make = Callable[..., FleetRun]


@pytest.mark.runs
def test_it_shows_that_each_adapter_answers_differently_and_ends(make_fleet: Make) -> None:
    fleet = make_fleet()
    done = fleet.run("demo", "--check", timeout=90)
    assert done.returncode == 0, done.stderr
    for text in (
        "Ready after",
        "  严格: “",
        "  kind: “",
        "no two answer alike",
        f"curl {fleet.url}/v1/chat/completions",
    ):
        assert text in done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("  curl"))
    assert '"model": "严格"' in line
    assert not fleet.pids()


def test_the_line_that_it_prints_works_and_ctrl_c_ends_it(make_fleet: Make) -> None:
    fleet = make_fleet()
    with (fleet.folder / f"up-{fleet.node}.log").open("w") as out:
        fleet.process = subprocess.Popen(
            fleet.command("demo"), cwd=fleet.folder, env=fleet.environment, stdout=out, stderr=out, text=True
        )
    fleet.wait(lambda: "Ctrl-C ends it" in fleet.log())
    line = next(line for line in fleet.log().splitlines() if line.startswith("  curl"))
    said = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    assert '"choices"' in said
    fleet.process.send_signal(signal.SIGINT)
    assert fleet.process.wait(30) == 0
    assert not fleet.pids()


def test_it_ends_with_the_reason_if_a_server_cannot_start(make_fleet: Make) -> None:
    fleet = make_fleet(extra_args=["--no-such-flag"])
    done = fleet.run("demo", "--check", timeout=90)
    assert done.returncode == 1
    assert "The demonstration failed: server " in done.stderr
    assert "error: unrecognized arguments: --no-such-flag" in done.stderr
    assert "results/fleets/f/logs" in done.stderr
    assert not fleet.pids()


def test_without_vllm_nothing_is_built_or_started(make_fleet: Make) -> None:
    fleet = make_fleet(environment={"PYTHONPATH": ""}, model="resources/models/tiny-qwen3-vl")
    for words in (["demo"], ["up"], ["up", "--detach"]):
        done = fleet.run(*words)
        assert done.returncode == 2
        assert "has no vLLM. On a machine with GPUs" in done.stderr
        assert done.stderr.startswith("error: A fleet needs vLLM and vllm-router")
        assert "Traceback" not in done.stderr
    assert not (fleet.folder / "resources").exists()
    assert not (fleet.results / "nodes").exists()
