"""The pool of policy servers: every answer belongs to its observation, whatever the servers do."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from policy_double import PolicyDouble, act, observe

from editlane.robots import policy_link
from editlane.robots.addresses import PolicyAddress
from editlane.robots.policy_pool import PolicyPool, PoolLimits
from editlane.robots.replies import PolicyFailed, Reply
from editlane.robots.wire import pack

QUICK = PoolLimits(connect_seconds=2.0, infer_seconds=0.6)
PATIENT = PoolLimits(connect_seconds=5.0, infer_seconds=20.0)


@pytest.fixture(autouse=True)
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_link, "FIRST_REST", 0.2)


async def text(double: PolicyDouble, client: Any, observation: Any) -> None:
    await client.send('Traceback (most recent call last):\n  File "policy.py"\nValueError: no such prompt')
    await client.close(1011)


async def break_off(double: PolicyDouble, client: Any, observation: Any) -> None:
    client.transport.abort()


async def die(double: PolicyDouble, client: Any, observation: Any) -> None:
    await double.kill()


async def hang(double: PolicyDouble, client: Any, observation: Any) -> None:
    await asyncio.sleep(1.0)
    await client.send(pack({"actions": act(observation)}))


def send(make: Callable[[dict[str, Any]], Any]) -> Any:
    """A trick that answers with what `make` makes of the observation."""

    async def trick(double: PolicyDouble, client: Any, observation: dict[str, Any]) -> None:
        made = make(observation)
        await client.send(made if isinstance(made, str | bytes) else pack(made))

    return trick


async def start(count: int, **options: Any) -> list[PolicyDouble]:
    return [await PolicyDouble(**options).start() for _ in range(count)]


def make_pool(doubles: list[PolicyDouble], limits: PoolLimits = PATIENT) -> PolicyPool:
    return PolicyPool([double.address for double in doubles], limits)


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scene, and see that it leaves no task."""

    async def whole() -> None:
        await asyncio.wait_for(scene(), 20)

    asyncio.run(whole())


async def end(pool: PolicyPool, doubles: list[PolicyDouble]) -> None:
    """Close all, and see that nothing of the pool is left."""
    await pool.close()
    for double in doubles:
        await double.kill()
    await asyncio.sleep(0)
    others = {task for task in asyncio.all_tasks() if "scene" not in str(task) and "whole" not in str(task)}
    deadline = time.monotonic() + 2
    while others and time.monotonic() < deadline:  # the doubles' own handlers
        await asyncio.sleep(0.01)
        others = {task for task in others if not task.done()}
    assert others == set()
    assert not any(link.is_open for link in pool._links)


async def infer(pool: PolicyPool, number: float = 1.0, seconds: float = 10.0) -> Reply:
    return await pool.infer(observe(number), time.monotonic() + seconds)


async def infer_rightly(pool: PolicyPool, number: float = 1.0) -> Reply:
    reply = await infer(pool, number)
    assert reply.actions.dtype == np.float64
    assert np.array_equal(reply.actions, np.full((5, 7), number))
    return reply


async def fail(wait: Awaitable[Any]) -> PolicyFailed:
    with pytest.raises(PolicyFailed) as caught:
        await wait
    return caught.value


def test_three_callers_get_the_answers_to_their_own_observations() -> None:
    async def scene() -> None:
        doubles = await start(2, delay=0.01)
        pool = make_pool(doubles)
        assert pool.needs == ()
        for double in doubles:
            double.metadata["needs"] = ["object"]
        assert await pool.open() == {"policy": "double", "action_dim": 7, "needs": ["object"]}
        assert pool.needs == ("object",)

        async def call(first: int) -> None:
            for number in range(first, first + 8):
                await infer_rightly(pool, number)

        await asyncio.gather(call(0), call(100), call(200))
        assert [double.most_at_work for double in doubles] == [1, 1]
        assert sum(len(double.asked) for double in doubles) == 24
        assert min(len(double.asked) for double in doubles) >= 10
        assert [one["state"] for one in pool.describe()["servers"]] == ["idle", "idle"]
        await end(pool, doubles)

    play(scene)


@pytest.mark.parametrize("trick", [break_off, die, hang])
def test_24_of_24_are_right_although_a_server_fails_at_work(trick: Any) -> None:
    async def scene() -> None:
        doubles = await start(3, delay=0.01)
        pool = make_pool(doubles, QUICK)
        await pool.open()
        doubles[1].tricks = [trick]

        async def call(first: int) -> list[Reply]:
            return [await infer_rightly(pool, number) for number in range(first, first + 8)]

        replies = [reply for own in await asyncio.gather(call(0), call(100), call(200)) for reply in own]
        assert len(replies) == 24
        if trick is not break_off:  # that one was reached again at once
            assert max(reply.retries for reply in replies) >= 1
            assert pool.describe()["servers"][1]["failures"] >= 1
        await end(pool, doubles)

    play(scene)


def test_those_who_wait_are_served_in_the_order_in_which_they_came() -> None:
    async def scene() -> None:
        doubles = await start(1, delay=0.01)
        pool = make_pool(doubles)
        ended: list[int] = []

        async def call(number: int) -> None:
            await infer_rightly(pool, number)
            ended.append(number)

        await asyncio.gather(*map(call, range(8)))
        assert ended == list(range(8))
        await end(pool, doubles)

    play(scene)


def test_a_cancelled_call_leaves_no_answer_behind() -> None:
    async def scene() -> None:
        doubles = await start(1, delay=0.1)
        pool = make_pool(doubles)
        for number in range(3):
            task = asyncio.create_task(infer(pool, 100 + number))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await infer_rightly(pool, number)
        assert pool.describe()["servers"][0]["failures"] == 0
        await end(pool, doubles)

    play(scene)


@pytest.mark.parametrize("call", [lambda pool: pool.open(), infer])
def test_a_socket_cancelled_before_its_first_frame_is_not_used_again(call: Any) -> None:
    async def scene() -> None:
        doubles = await start(1)
        doubles[0].greets_after = 0.1
        pool = make_pool(doubles)
        task = asyncio.create_task(call(pool))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await infer_rightly(pool)
        await end(pool, doubles)

    play(scene)


def test_a_call_cancelled_while_it_waits_keeps_no_server() -> None:
    async def scene() -> None:
        doubles = await start(1, delay=0.05)
        pool = make_pool(doubles)
        tasks = [asyncio.create_task(infer(pool, number)) for number in range(3)]
        await asyncio.sleep(0.02)
        tasks[1].cancel()
        tasks[0].cancel()
        assert (await tasks[2]).actions[0, 0] == 2
        assert pool.describe()["waiting"] == 0
        await infer_rightly(pool)
        await end(pool, doubles)

    play(scene)


def test_a_late_answer_is_never_given_to_the_next_caller() -> None:
    async def scene() -> None:
        doubles = await start(1)
        pool = make_pool(doubles)
        doubles[0].tricks = [hang]
        failure = await fail(infer(pool, 7, seconds=0.2))
        assert failure.kind == "deadline"
        await asyncio.sleep(1.0)
        await infer_rightly(pool, 8)
        assert pool.describe()["servers"][0]["failures"] == 0  # it was not given the time that it may take
        await end(pool, doubles)

    play(scene)


def test_a_server_that_takes_too_long_is_blamed_and_rests() -> None:
    async def scene() -> None:
        doubles = await start(1)
        pool = make_pool(doubles, QUICK)
        doubles[0].tricks = [hang, hang, hang]
        failure = await fail(infer(pool))
        assert failure.kind == "policy_timeout"
        server = pool.describe()["servers"][0]
        assert (server["failures"], server["state"]) == (3, "resting")
        await infer_rightly(pool)
        assert pool.describe()["servers"][0]["state"] == "idle"
        await end(pool, doubles)

    play(scene)


GARBAGE = {
    "no msgpack": lambda seen: b"\xc1",
    "no map": lambda seen: [1],
    "no actions": lambda seen: {"state": seen["observation/state"]},
    "a list": lambda seen: {"actions": act(seen).tolist()},
    "three axes": lambda seen: {"actions": act(seen)[None]},
    "no steps": lambda seen: {"actions": act(seen)[:0]},
    "six columns": lambda seen: {"actions": act(seen)[:, :6]},
    "not finite": lambda seen: {"actions": act(seen) * np.float32("nan")},
}


@pytest.mark.parametrize("make", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_asked_elsewhere_and_never_an_answer(make: Any) -> None:
    async def scene() -> None:
        doubles = await start(2)
        pool = make_pool(doubles)
        doubles[0].tricks = [send(make)]
        reply = await infer_rightly(pool)
        assert (reply.server, reply.retries) == (str(doubles[1].address), 1)
        for double in doubles:
            double.tricks = [send(make)] * 4
        assert (await fail(infer(pool))).kind == "policy_garbage"
        await end(pool, doubles)

    play(scene)


def test_an_answer_to_another_observation_is_seen_by_its_state() -> None:
    async def scene() -> None:
        doubles = await start(1)
        pool = make_pool(doubles)
        doubles[0].tricks = [send(lambda seen: {"actions": act(seen), "state": seen["observation/state"] + 1})] * 3
        assert (await fail(infer(pool, seconds=0.5))).kind in ("policy_mixed_up", "no_server")
        assert "another state" in pool.describe()["servers"][0]["last_error"]
        doubles[0].tricks = [send(lambda seen: {"actions": act(seen), "state": np.float32(seen["observation/state"])})]
        await infer_rightly(pool, 0.5)
        await end(pool, doubles)

    play(scene)


def test_an_observation_that_all_refuse_is_to_blame_itself() -> None:
    async def scene() -> None:
        doubles = await start(3)
        pool = make_pool(doubles)
        await pool.open()
        for double in doubles:
            double.tricks = [text]
        failure = await fail(infer(pool))
        assert (failure.kind, str(failure)) == ("policy_refused", "ValueError: no such prompt")
        assert sum(len(double.asked) for double in doubles) == 2
        assert sum(one["failures"] for one in pool.describe()["servers"]) == 0
        for double in doubles:
            double.tricks = []
        await asyncio.gather(*(infer_rightly(pool, number) for number in range(10)))
        await end(pool, doubles)

    play(scene)


def test_a_server_that_alone_refuses_is_to_blame() -> None:
    async def scene() -> None:
        doubles = await start(2)
        pool = make_pool(doubles)
        doubles[0].tricks = [text]
        reply = await infer_rightly(pool)
        assert (reply.server, reply.retries) == (str(doubles[1].address), 1)
        assert [one["failures"] for one in pool.describe()["servers"]] == [1, 0]
        await end(pool, doubles)

    play(scene)


def test_a_single_server_that_refuses_is_not_asked_again() -> None:
    async def scene() -> None:
        doubles = await start(1)
        pool = make_pool(doubles)
        doubles[0].tricks = [text]
        assert (await fail(infer(pool))).kind == "policy_refused"
        assert len(doubles[0].asked) == 1
        await infer_rightly(pool)
        await end(pool, doubles)

    play(scene)


@pytest.mark.parametrize("code", [1000, 1001, 1011])
def test_a_socket_closed_while_idle_is_opened_again_without_blame(code: int) -> None:
    async def scene() -> None:
        doubles = await start(1)
        pool = make_pool(doubles)
        for number in range(3):
            await infer_rightly(pool, number)
            await doubles[0].close_idle(code)
        reply = await infer_rightly(pool)
        assert (reply.retries, pool.describe()["servers"][0]["failures"]) == (0, 0)
        await end(pool, doubles)

    play(scene)


def test_a_socket_that_breaks_as_it_is_used_again_is_opened_again_without_blame() -> None:
    async def scene() -> None:
        doubles = await start(1)
        pool = make_pool(doubles)
        await infer_rightly(pool)
        doubles[0].tricks = [break_off]
        reply = await infer_rightly(pool, 2)
        assert (reply.retries, pool.describe()["servers"][0]["failures"]) == (0, 0)
        await end(pool, doubles)

    play(scene)


def test_a_server_that_was_started_again_takes_part_again() -> None:
    async def scene() -> None:
        doubles = await start(2)
        pool = make_pool(doubles)
        await pool.open()
        await doubles[0].kill()
        for number in range(4):
            await infer_rightly(pool, number)
        assert pool.describe()["servers"][0]["state"] == "resting"
        await doubles[0].start()
        await doubles[1].kill()
        reply = await infer_rightly(pool, 5)
        assert reply.server == str(doubles[0].address)
        await end(pool, doubles)

    play(scene)


def test_a_server_of_another_policy_is_left_out_with_the_reason() -> None:
    async def scene() -> None:
        doubles = [*await start(1), *await start(1, policy="another"), *await start(1)]
        pool = make_pool(doubles)
        assert await pool.open() == {"policy": "double", "action_dim": 7}
        await asyncio.gather(*(infer_rightly(pool, number) for number in range(6)))
        assert doubles[1].asked == []
        about = pool.describe()["servers"][1]
        assert about["state"] == "unfit"
        assert about["last_error"].startswith("it serves another policy than 127.0.0.1")
        assert "policy 'another', not 'double'" in about["last_error"]
        assert pool.describe()["available_clients"] == 2
        await end(pool, doubles)

    play(scene)


def test_a_server_that_comes_back_with_another_policy_answers_nothing() -> None:
    async def scene() -> None:
        doubles = await start(1)
        pool = make_pool(doubles)
        await infer_rightly(pool)
        await doubles[0].kill()
        doubles[0].metadata = {"policy": "another", "action_dim": 7}
        await doubles[0].start()
        failure = await fail(infer(pool, seconds=0.3))
        assert failure.kind == "no_server"
        assert "policy 'another', not 'double'" in str(failure)
        await end(pool, doubles)

    play(scene)


@pytest.mark.parametrize("metadata", [{"x": float("nan")}, {"policy": "x" * 70_000}], ids=["NaN", "large"])
def test_a_server_whose_metadata_no_answer_could_tell_is_left_out(metadata: dict[str, Any]) -> None:
    async def scene() -> None:
        doubles = await start(2)
        doubles[0].metadata = metadata
        pool = make_pool(doubles)
        assert await pool.open() == doubles[1].metadata
        await infer_rightly(pool)
        assert pool.describe()["servers"][0]["state"] == "unfit"
        json.dumps(pool.describe(), allow_nan=False)
        await end(pool, doubles)

    play(scene)


def test_a_server_that_redirects_is_away_and_the_others_answer() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: ws://10.9.9.9:1/\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def scene() -> None:
        doubles = await start(1)
        elsewhere = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = elsewhere.sockets[0].getsockname()[1]
        pool = PolicyPool([PolicyAddress("127.0.0.1", port), doubles[0].address], PoolLimits(1, 1))
        assert await pool.open() == doubles[0].metadata
        await infer_rightly(pool)
        assert pool.describe()["servers"][0]["state"] == "resting"
        elsewhere.close()
        await end(pool, doubles)

    play(scene)


@pytest.mark.parametrize("greeting", ["text", b"\xc1", pack([1]), pack({"a": {b"key": 1}})])
def test_a_server_with_a_wrong_first_frame_is_not_asked(greeting: str | bytes) -> None:
    async def scene() -> None:
        doubles = await start(2)
        doubles[0].greeting = greeting
        pool = make_pool(doubles)
        await pool.open()
        await infer_rightly(pool)
        assert doubles[0].asked == []
        assert pool.describe()["servers"][0]["last_error"]
        await end(pool, doubles)

    play(scene)


def test_without_a_server_that_is_up_the_reasons_are_told() -> None:
    async def scene() -> None:
        doubles = await start(2)
        pool = make_pool(doubles)
        for double in doubles:
            await double.kill()
        assert [one["state"] for one in pool.describe()["servers"]] == ["unknown"] * 2
        assert await pool.open() is None
        failure = await fail(infer(pool, seconds=0.1))
        assert failure.kind == "no_server"
        assert str(doubles[0].address) in str(failure)
        began = time.monotonic()
        assert (await fail(infer(pool, seconds=1.5))).kind == "no_server"
        assert time.monotonic() - began > 1, "one of them might come back"
        await end(pool, doubles)

    play(scene)


def test_when_all_are_busy_until_the_deadline_that_is_the_reason() -> None:
    async def scene() -> None:
        doubles = await start(1, delay=0.5)
        pool = make_pool(doubles)
        first = asyncio.create_task(infer_rightly(pool))
        await asyncio.sleep(0.1)
        assert (await fail(infer(pool, seconds=0.1))).kind == "deadline"
        assert (await fail(infer(pool, seconds=-1))).kind == "deadline"
        await first
        await end(pool, doubles)

    play(scene)


def test_what_cannot_be_sent_is_nobodys_fault() -> None:
    async def scene() -> None:
        doubles = await start(1)
        pool = make_pool(doubles)
        failure = await fail(pool.infer({"prompt": object()}, time.monotonic() + 5))
        assert failure.kind == "policy_refused"
        assert "no object goes onto the wire" in str(failure)
        await infer_rightly(pool)
        assert pool.describe()["servers"][0]["failures"] == 0
        await end(pool, doubles)

    play(scene)


def test_closing_ends_calls_at_work_and_those_that_wait() -> None:
    async def scene() -> None:
        doubles = await start(1, delay=0.5)
        pool = make_pool(doubles)
        calls = [asyncio.create_task(fail(infer(pool, number))) for number in range(3)]
        await asyncio.sleep(0.1)
        await pool.close()
        assert [(await call).kind for call in calls] == ["no_server"] * 3
        assert (await fail(infer(pool))).kind == "no_server"
        await end(pool, doubles)

    play(scene)


def test_a_host_that_does_not_exist_or_listen_is_a_failed_server() -> None:
    async def scene() -> None:
        doubles = await start(1)
        wrong = [PolicyAddress("host.invalid", 1), PolicyAddress("x" * 70, 1), PolicyAddress("::1", 1)]
        pool = PolicyPool([*wrong, doubles[0].address], PATIENT)
        await pool.open()
        assert [one["state"] for one in pool.describe()["servers"]] == ["resting"] * 3 + ["idle"]
        await infer_rightly(pool)
        await pool.close()
        await doubles[0].kill()

    play(scene)


def test_sglang_is_asked_by_the_names_of_its_own_cameras() -> None:
    async def scene() -> None:
        doubles = await start(2, dialect="sglang")
        for double in doubles:
            keys = ["observation.images.front", "hand"]
            double.metadata = {"input": {"image_keys": keys}, "output": {"action_dim": 7}}
            double.tricks = [send(lambda seen: {"actions": np.full((5, 7), seen["observation.state"][0])})]
        pool = make_pool(doubles)
        await infer_rightly(pool, 3)
        (asked,) = [one for double in doubles for one in double.asked]
        pictures = {"observation.images.front", "observation.images.hand"}
        assert asked.keys() == pictures | {"task", "observation.state", "output_format"}
        assert asked["observation.state"].dtype == np.float32
        assert [path for double in doubles for path in double.paths] == ["/openpi/policy"]
        await end(pool, doubles)

    play(scene)


def test_sglang_with_three_cameras_is_left_out() -> None:
    async def scene() -> None:
        doubles = await start(1, dialect="sglang")
        doubles[0].metadata = {"image_keys": ["a", "b", "c"]}
        pool = make_pool(doubles)
        failure = await fail(infer(pool, seconds=0.3))
        assert failure.kind == "no_server"
        assert "there are two" in str(failure)
        await end(pool, doubles)

    play(scene)


def test_vllm_omni_refuses_on_a_socket_that_stays_and_answers_with_an_array() -> None:
    async def scene() -> None:
        doubles = await start(1, dialect="vllm-omni")
        doubles[0].tricks = [send(lambda seen: {"type": "error", "message": "no such session"}), send(act), send(act)]
        pool = make_pool(doubles)
        failure = await fail(infer(pool))
        assert (failure.kind, str(failure)) == ("policy_refused", "no such session")
        await infer_rightly(pool, 2)
        assert doubles[0].paths == ["/v1/realtime/robot/openpi"]
        assert [asked["endpoint"] for asked in doubles[0].asked] == ["infer"] * 2
        assert len({asked["session_id"] for asked in doubles[0].asked}) == 2
        await doubles[0].close_idle()
        await infer_rightly(pool, 3)
        assert pool.describe()["servers"][0]["failures"] == 0
        await end(pool, doubles)

    play(scene)


def test_a_server_rests_longer_with_each_failure_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_link, "FIRST_REST", 1.0)
    link = policy_link.PolicyLink(PolicyAddress("127.0.0.1", 1))
    rests = []
    for _ in range(7):
        link.blame("down")
        rests.append(round(link.rests_until - time.monotonic()))
    assert rests == [1, 2, 4, 8, 16, 30, 30]
