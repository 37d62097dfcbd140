"""SGLang's action API through the pool: every answer belongs to its observation, whatever the servers do."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from policy_double import observe
from sglang_double import SglangDouble, Trick, answer_msgpack, make_envelope
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from editlane.robots import http_socket, policy_link
from editlane.robots.addresses import PolicyAddress
from editlane.robots.policy_pool import PolicyPool, PoolLimits
from editlane.robots.replies import PolicyFailed, Reply

QUICK = PoolLimits(connect_seconds=2.0, infer_seconds=0.6)
PATIENT = PoolLimits(connect_seconds=5.0, infer_seconds=20.0)


@pytest.fixture(autouse=True)
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_link, "FIRST_REST", 0.2)


def play(
    scene: Callable[[PolicyPool, list[SglangDouble]], Coroutine[Any, Any, None]],
    count: int = 1,
    limits: PoolLimits = PATIENT,
    **options: Any,
) -> None:
    """Run a scene with so many servers, and see that the pool leaves no task and no connection."""

    async def whole() -> None:
        doubles = [await SglangDouble(**options).start() for _ in range(count)]
        pool = PolicyPool([double.address for double in doubles], limits)
        try:
            async with asyncio.timeout(30):
                await scene(pool, doubles)
        finally:
            await pool.close()
            for double in doubles:
                await double.kill()
        assert not any(link.is_open for link in pool._links)

    asyncio.run(whole())


async def infer(pool: PolicyPool, number: float = 1.0, seconds: float = 10.0) -> Reply:
    return await pool.infer(observe(number), time.monotonic() + seconds)


async def infer_rightly(pool: PolicyPool, number: float = 1.0) -> Reply:
    reply = await infer(pool, number)
    assert np.array_equal(reply.actions, np.full((5, 7), number))
    return reply


async def fail(call: Awaitable[Any]) -> PolicyFailed:
    with pytest.raises(PolicyFailed) as caught:
        await call
    return caught.value


def say(make: Callable[[dict[str, Any]], Response]) -> Trick:
    """A trick that answers with what `make` makes of the observation."""

    async def trick(double: SglangDouble, observation: dict[str, Any]) -> Response:
        return make(observation)

    return trick


async def hang(double: SglangDouble, observation: dict[str, Any]) -> Response:
    await asyncio.sleep(1.0)
    return answer_msgpack(make_envelope(observation))


async def break_off(double: SglangDouble, observation: dict[str, Any]) -> Response:
    double.close_idle()
    await asyncio.sleep(0.1)
    return Response()


def failures(pool: PolicyPool) -> list[int]:
    return [one["failures"] for one in pool.describe()["servers"]]


def test_every_answer_is_that_of_its_observation_with_one_in_flight_at_each_server() -> None:
    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        policy = await pool.open()
        assert policy is not None and policy["policy_family"] == "pi05"
        replies = await asyncio.gather(*(infer_rightly(pool, number) for number in range(20)))
        assert {reply.server for reply in replies} == {str(double.address) for double in doubles}
        assert [(double.most_at_work, double.metadata_reads) for double in doubles] == [(1, 1), (1, 1)]
        asked, headers = doubles[0].asked[0], doubles[0].headers[0]
        assert asked["input"]["task"].startswith("go to ")
        assert asked["input"]["observation"]["images"].keys() == {"image", "image2"}
        assert asked["input"]["observation"]["images"]["image"].dtype == np.uint8
        assert asked["input"]["observation"]["state"].dtype == np.float32
        assert asked["runtime"] == {"output_format": "numpy", "response_format": "envelope"}
        assert (headers["content-type"], headers["host"]) == ("application/msgpack", str(doubles[0].address))

    play(scene, 2, delay=0.01)


def test_an_answer_in_json_is_read() -> None:
    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        doubles[0].tricks = [say(lambda seen: JSONResponse(make_envelope(seen, [[float(seen["state"][0])] * 7] * 5)))]
        await infer_rightly(pool, 4)

    play(scene)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda seen: JSONResponse({"detail": "the state has 8 numbers"}, 400), "the state has 8 numbers"),
        (lambda seen: JSONResponse({"error": {"message": "no such camera", "code": 7}}, 500), "no such camera"),
        (lambda seen: PlainTextResponse("Internal Server Error", 500), "Internal Server Error"),
        (lambda seen: answer_msgpack({"detail": [{"msg": "Field required"}]}, 422), "[{'msg': 'Field required'}]"),
    ],
)
def test_a_refusal_is_told_and_costs_no_connection(answer: Any, told: str) -> None:
    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        doubles[0].tricks = [say(answer)]
        failure = await fail(infer(pool))
        assert (failure.kind, str(failure)) == ("policy_refused", told)
        await infer_rightly(pool, 2)
        assert (doubles[0].metadata_reads, failures(pool)) == (1, [0])

    play(scene)


def test_a_server_that_refuses_what_another_one_takes_is_to_blame() -> None:
    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        await pool.open()
        doubles[0].tricks = [say(lambda seen: JSONResponse({"detail": "CUDA error"}, 500))]
        reply = await infer_rightly(pool)
        assert (reply.retries, failures(pool)) == (1, [1, 0])

    play(scene, 2)


GARBAGE = {
    "no msgpack": say(lambda seen: Response(b"\xc1", media_type="application/msgpack")),
    "no JSON": say(lambda seen: JSONResponse(make_envelope(seen, [[float("1")]])["data"])),
    "half JSON": say(lambda seen: Response(b'{"data": [', media_type="application/json")),
    "deep JSON": say(lambda seen: Response(b"[" * 100_000, media_type="application/json")),
    "no actions": say(lambda seen: JSONResponse({"data": []})),
    "ragged": say(lambda seen: JSONResponse(make_envelope(seen, [[1.0] * 7, [1.0] * 6]))),
    "words": say(lambda seen: JSONResponse(make_envelope(seen, [["a"] * 7] * 5))),
    "six columns": say(lambda seen: answer_msgpack(make_envelope(seen, np.ones((5, 6))))),
    "not finite": say(lambda seen: answer_msgpack(make_envelope(seen, np.full((5, 7), np.nan)))),
    "too few bytes": say(lambda seen: Response(b"x", headers={"content-length": "9"})),
    "unavailable": say(lambda seen: JSONResponse({"detail": "shutting down"}, 503)),
    "redirect": say(lambda seen: RedirectResponse("http://127.0.0.1:1/v1/actions/generations")),
}


@pytest.mark.parametrize("trick", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_blamed_and_another_server_answers(trick: Trick) -> None:
    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        await pool.open()
        doubles[0].tricks = [trick]
        reply = await infer_rightly(pool, 3)
        assert (reply.retries, failures(pool)) == (1, [1, 0])
        assert pool.describe()["servers"][0]["state"] == "resting"
        await asyncio.gather(*(infer_rightly(pool, number) for number in range(4)))

    play(scene, 2)


def test_an_answer_that_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_socket, "MAX_FRAME", 1000)

    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        doubles[0].tricks = [say(lambda seen: Response(b"x" * 200_000))] * 3
        failure = await fail(infer(pool))
        assert (failure.kind, str(failure)) == ("policy_garbage", "the answer has more than 1000 bytes")

    play(scene)


def test_a_server_that_hangs_is_left_and_its_late_answer_goes_to_nobody() -> None:
    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        await pool.open()
        doubles[0].tricks = [hang]
        reply = await infer_rightly(pool, 1)
        assert (reply.retries, failures(pool)) == (1, [1, 0])
        for number in range(2, 8):
            await asyncio.gather(infer_rightly(pool, number), infer_rightly(pool, number + 10))
            await asyncio.sleep(0.1)
        assert len(doubles[0].asked) > 1  # it was asked again, over another connection
        assert doubles[0].metadata_reads == 2

    play(scene, 2, QUICK)


def test_the_deadline_of_a_caller_is_kept() -> None:
    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        doubles[0].tricks = [hang]
        assert (await fail(infer(pool, seconds=0.2))).kind == "deadline"
        assert failures(pool) == [0]
        await infer_rightly(pool, 2)

    play(scene)


def test_a_cancelled_call_leaves_its_answer_to_nobody() -> None:
    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        doubles[0].tricks = [hang]
        call = asyncio.create_task(infer(pool, 1))
        while not doubles[0].asked:
            await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await infer_rightly(pool, 2)
        assert doubles[0].metadata_reads == 2

    play(scene)


def test_a_killed_server_costs_no_answer() -> None:
    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        calls = [asyncio.create_task(infer_rightly(pool, number)) for number in range(30)]
        while len(doubles[0].asked) < 3:
            await asyncio.sleep(0.01)
        await doubles[0].kill()
        await asyncio.gather(*calls)
        assert failures(pool)[0] >= 1
        await doubles[0].start()

    play(scene, 2, delay=0.02)


def test_a_connection_that_was_closed_while_idle_is_opened_again_without_blame() -> None:
    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        await infer_rightly(pool, 1)
        doubles[0].close_idle()
        await asyncio.sleep(0.1)
        await infer_rightly(pool, 2)
        doubles[0].tricks = [break_off]  # the pool sees the end only when it asks
        reply = await infer_rightly(pool, 3)
        assert (reply.retries, failures(pool), doubles[0].metadata_reads) == (0, [0], 3)

    play(scene)


def test_a_server_that_was_started_again_with_another_policy_is_left_out() -> None:
    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        await pool.open()
        await doubles[0].kill()
        doubles[0].metadata = doubles[0].metadata | {"policy_family": "pi0"}
        await doubles[0].start()
        for number in range(4):
            await infer_rightly(pool, number)
        server = pool.describe()["servers"][0]
        assert server["state"] == "unfit" and "policy_family 'pi0', not 'pi05'" in server["last_error"]
        assert not doubles[0].asked

    play(scene, 2)


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def scene(pool: PolicyPool, doubles: list[SglangDouble]) -> None:
        await infer_rightly(pool)

    play(scene)


METADATA = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{"policy": "raw"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
RAW = {
    "no HTTP": ([METADATA, b"hello\r\n\r\n"], "policy_garbage", "the answer is no HTTP"),
    "cut off": ([METADATA, ANSWER[:-1]], "policy_garbage", "the answer was cut off"),
    "two answers": ([METADATA, ANSWER + ANSWER], "policy_garbage", "two answers to one request"),
    "an answer unasked": ([METADATA + ANSWER], "policy_garbage", "two answers to one request"),
    "not found": ([b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"], "policy_garbage", "status 404: none"),
    "redirect": ([b"HTTP/1.1 307 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"], "policy_garbage", "status 307"),
    "no map": ([METADATA.replace(b'{"policy": "raw"}', b'["policy", "raw"]')], "policy_garbage", "not a map"),
    "a switch": ([b"HTTP/1.1 101 x\r\nUpgrade: y\r\nConnection: Upgrade\r\n\r\n"], "policy_garbage", "status 101"),
}


@pytest.mark.parametrize(("answers", "kind", "told"), RAW.values(), ids=RAW)
def test_what_is_no_answer_is_told(answers: list[bytes], kind: str, told: str) -> None:
    async def whole() -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                for answer in answers:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                    await reader.readexactly(int(length or 0))
                    writer.write(answer)
                    await writer.drain()
                await asyncio.sleep(0.05)
            writer.close()
            ended.set()

        ended = asyncio.Event()
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pool = PolicyPool([PolicyAddress("127.0.0.1", port, "sglang-http")], PoolLimits(2.0, 2.0))
        failure = await fail(infer(pool, seconds=3))
        await pool.close()
        server.close()
        await ended.wait()
        await asyncio.sleep(0.1)
        assert failure.kind == kind and told in str(failure)

    asyncio.run(whole())
