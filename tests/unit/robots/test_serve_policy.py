"""The program that serves a policy, as a process."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from pi0_checkpoint import ACTIONS_STD, add_transformers, make_checkpoint, observe_scene
from policy_servers import PROGRAM, start_policy
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from editlane.robots.addresses import PolicyAddress
from editlane.robots.policy_pool import PolicyPool
from editlane.robots.replies import PolicyFailed
from editlane.robots.wire import pack, unpack

Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(*flags)` starts the program and returns its port; `serve.end()` sends SIGTERM to all.

    In the end each one must end in good order.
    """
    started: list[subprocess.Popen[str]] = []
    waiting = list(started)

    def start(*flags: str) -> int:
        process, port = start_policy(*flags)
        started.append(process)
        waiting.append(process)
        return port

    def end() -> None:
        while waiting:
            waiting.pop().send_signal(signal.SIGTERM)

    start.end = end  # type: ignore[attr-defined]
    yield start
    end()
    for process in started:
        process.communicate(timeout=20)
        assert process.returncode == 0


def observe(seed: int = 0, side: int = 224) -> dict[str, Any]:
    drawn = np.random.default_rng(seed)
    pictures = {
        f"observation/{name}": drawn.integers(0, 256, (side, side, 3), np.uint8) for name in ("image", "wrist_image")
    }
    state = np.array([0.0, 0.5, 0.1, 0.25, -0.25, 0.1, 0, 0])
    return pictures | {"observation/state": state, "prompt": "move to the red goal"}


def link(port: int) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/", max_size=None, compression=None, proxy=None)


def ask(client: ClientConnection, observation: Any) -> dict[str, Any]:
    client.send(pack(observation))
    frame = client.recv()
    assert isinstance(frame, bytes), frame
    reply: dict[str, Any] = unpack(frame)
    return reply


def test_reach_arrives_at_the_goal_in_chunks_of_five(serve: Serve) -> None:
    with link(serve("--policy", "reach")) as client:
        assert unpack(client.recv()) == {"policy": "reach", "action_dim": 7, "action_horizon": 5}
        observation = observe()
        for number in range(3):
            reply = ask(client, observation)
            assert (reply["actions"].shape, reply["actions"].dtype) == ((5, 7), np.float32)
            assert np.array_equal(reply["state"], observation["observation/state"])
            assert ("prev_total_ms" in reply["server_timing"]) == (number > 0)
            observation["observation/state"][:3] += reply["actions"][:, :3].sum(axis=0)
        assert np.allclose(observation["observation/state"][:3], observation["observation/state"][3:6], atol=1e-6)
        told = ask(client, observation | {"prompt": "reach 0.250 -0.300 0.100"})["actions"]
        assert np.allclose(told[0], [0, -0.05, 0, 0, 0, 0, -1], atol=1e-6)


def test_an_exception_is_a_line_of_text_and_a_closed_socket(serve: Serve) -> None:
    port = serve("--policy", "reach")
    for wrong, told in (
        (pack({"observation/state": np.zeros(3), "prompt": ""}), "ValueError: observation/state has the shape (3,)"),
        (pack({"prompt": ""}), "KeyError: 'observation/state'"),
        (b"\xc1", "WireError: the frame is no msgpack"),
        ("text", "WireError: an observation is a binary frame, not text"),
    ):
        with link(port) as client:
            client.recv()
            client.send(wrong)
            text = client.recv()
            assert isinstance(text, str)
            assert text.startswith(told)
            assert "\n" not in text
            with pytest.raises(ConnectionClosedError) as closed:
                client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1011
    with link(port) as client:
        client.recv()
        ask(client, observe())


def test_its_health_answers_while_it_infers(serve: Serve) -> None:
    port = serve("--policy", "noise", "--delay", "1")
    with link(port) as client:
        client.recv()
        began = time.monotonic()
        client.send(pack(observe()))
        for _ in range(3):
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
                assert (answer.status, answer.read()) == (200, b"OK\n")
        healthy = time.monotonic() - began
        client.recv()
        assert healthy < time.monotonic() - began


def test_two_servers_of_one_seed_act_alike_and_are_one_policy(serve: Serve) -> None:
    ports = [serve("--policy", "noise", "--seed", seed) for seed in ("1", "1", "2")]
    replies = []
    for port in ports:
        with link(port) as client:
            client.recv()
            replies.append([ask(client, observe(seed))["actions"].tobytes() for seed in (0, 0)])
    assert replies[0] == replies[1] != replies[2]
    assert replies[0][0] == replies[0][1]

    async def describe() -> list[str]:
        pool = PolicyPool([PolicyAddress("127.0.0.1", port) for port in ports])
        await pool.open()
        states = [one["state"] for one in pool.describe()["servers"]]
        await pool.close()
        return states

    assert asyncio.run(describe()) == ["idle", "idle", "unfit"]


def test_a_page_of_a_browser_is_refused(serve: Serve) -> None:
    port = serve("--policy", "reach")
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{port}/", origin="http://example.org", proxy=None)  # type: ignore[arg-type]


def test_sigterm_finishes_the_observation_at_hand_for_whoever_asked(serve: Serve) -> None:
    port = serve("--policy", "reach", "--delay", "1")
    with link(port) as client, link(port) as idle:
        for one in (client, idle):
            one.recv()
        client.send(pack(observe()))
        time.sleep(0.3)
        serve.end()  # type: ignore[attr-defined]
        assert unpack(client.recv())["actions"].shape == (5, 7)  # type: ignore[arg-type]
        for one in (client, idle):
            with pytest.raises(ConnectionClosed):
                one.recv()


def test_sigterm_ends_it_if_whoever_asked_is_gone(serve: Serve) -> None:
    port = serve("--policy", "reach", "--delay", "0.5")
    with link(port) as client:
        client.recv()
        client.send(pack(observe()))


def scene(hand: list[float], fingers: float = 0.08) -> dict[str, Any]:
    """An object on a table, and the hand of the robot somewhere."""
    told = {"object": np.array([0.1, 0.2, 0.9]), "goal": np.array([-0.1, 0.1, 0.9]), "grip_offset": np.zeros(3)}
    told |= {"lift": 0.3, "open": 0.08, "table": 0.88, "finger_speed": 0.0}
    state = np.array([*hand, 0, 0, 0, fingers / 2, -fingers / 2])
    return observe() | {"observation/state": state, "privileged": told}


def test_the_expert_says_what_it_needs_and_closes_the_gripper_at_the_object(serve: Serve) -> None:
    port = serve("--policy", "expert")

    async def play() -> list[np.ndarray]:
        pool = PolicyPool([PolicyAddress("127.0.0.1", port)])
        await pool.open()
        assert set(pool.needs) == scene([0, 0, 1])["privileged"].keys()
        seen = [scene([0.4, 0.2, 1.2]), scene([0.1, 0.2, 0.91]), scene([0.1, 0.2, 0.91], fingers=0.05)]
        replies = [await pool.infer(one, time.monotonic() + 20) for one in seen]
        with pytest.raises(PolicyFailed, match="KeyError: 'privileged'"):
            await pool.infer(observe(), time.monotonic() + 20)
        await pool.close()
        return [reply.actions for reply in replies]

    far, there, held = asyncio.run(play())
    assert far.shape == (1, 7)
    assert far[0, 0] == -1 and far[0, 6] == -1  # towards the object, with an open gripper
    assert not there[0, :3].any() and there[0, 6] == 1  # closes it
    assert held[0, 2] > 0 and held[0, 6] == 1  # lifts it


def test_a_checkpoint_is_named_by_the_one_policy_that_has_one(tmp_path: Path) -> None:
    for flags, told in (
        (["transformers-pi0"], "--policy transformers-pi0 needs a --checkpoint, its folder."),
        (["reach", "--checkpoint", str(tmp_path)], "--policy reach has no --checkpoint."),
        (["transformers-pi0", "--checkpoint", str(tmp_path)], "cannot be loaded: it has neither model_index.json nor"),
    ):
        done = subprocess.run([sys.executable, str(PROGRAM), "--policy", *flags], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr and "Traceback" not in done.stderr


@pytest.mark.usefixtures("tiny_model")  # so that `make check` leaves it out
@pytest.mark.runs
def test_a_checkpoint_is_served(serve: Serve, tmp_path: Path) -> None:
    checkpoint = add_transformers(make_checkpoint(tmp_path / "tiny"))
    wider = add_transformers(make_checkpoint(tmp_path / "other/tiny"), actions_std=(2 * ACTIONS_STD).tolist())
    ports = [serve("--policy", "transformers-pi0", "--checkpoint", str(folder)) for folder in (checkpoint, wider)]

    async def play() -> np.ndarray:
        pool = PolicyPool([PolicyAddress("127.0.0.1", port) for port in ports])
        policy = await pool.open()
        assert policy is not None and policy["checkpoint"] == "tiny"
        assert [one["state"] for one in pool.describe()["servers"]] == ["idle", "unfit"]
        replies = [await pool.infer(observe_scene(), time.monotonic() + 60) for _ in range(2)]
        await pool.close()
        assert np.array_equal(replies[0].actions, replies[1].actions)
        return replies[0].actions

    assert asyncio.run(play()).shape == (10, 7)


@pytest.mark.runs
@pytest.mark.usefixtures("tiny_model")  # so that `make check` leaves it out
def test_tiny_pi0_looks_at_its_pictures(serve: Serve) -> None:
    port = serve("--policy", "tiny-pi0", "--seed", "3")

    async def play() -> list[np.ndarray]:
        pool = PolicyPool([PolicyAddress("127.0.0.1", port)])
        replies = [await pool.infer(observe(seed), time.monotonic() + 60) for seed in (0, 0, 1)]
        assert pool.policy == {"policy": "tiny-pi0", "seed": 3, "action_dim": 7, "action_horizon": 10}
        await pool.close()
        return [reply.actions for reply in replies]

    first, again, other = asyncio.run(play())
    assert first.shape == (10, 7)
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4
    with link(port) as client:
        client.recv()
        client.send(pack(observe(side=8)))
        assert str(client.recv()).startswith("ValueError: the pictures are not uint8")
