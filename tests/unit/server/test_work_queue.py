"""The queue of a judge: bounded, each edit once, asked for by any number of requests."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlane.core.errors import JudgeFailed
from editlane.server.metrics import Metrics
from editlane.server.wire import Fields
from editlane.server.work_queue import Full, Queue, Room

CRASH = JudgeFailed("died", kind="crash")
SCORED = {"state": "scored", "error_kind": None, "error": None, "score": 5.0}


def edit(key: str, category: str = "物理", size: int = 100) -> Fields:
    return Fields(key, category, "make it rain", b"s" * size, b"e" * size)


def make_queue(items: int = 100, size: int = 10**6, attempts: int = 2) -> tuple[Queue, Room, dict[str, Any]]:
    kept: dict[str, Any] = {}
    room = Room(items, size)
    return Queue("judge", room, Metrics(), attempts, kept.__setitem__), room, kept


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_equal_edits_are_one_work_and_both_requests_get_its_row() -> None:
    async def test() -> None:
        queue, room, kept = make_queue()
        first, other, again = queue.join([edit("a"), edit("b"), edit("a")])
        assert first is again and first is not other
        (later,) = queue.join([edit("a")])
        assert later is first and room.items == 2
        taken = queue.take(10, 10**6, alone=True)
        assert [work.fields.key for work in taken] == ["a", "b"]
        queue.finish(first, SCORED)
        assert await later.future == SCORED and kept == {"a": SCORED}
        assert room.items == 1 and first.fields.source == b"", "the images are dropped"

    run(test)


def test_a_request_that_does_not_fit_takes_nothing() -> None:
    async def test() -> None:
        queue, room, _ = make_queue(items=3)
        queue.join([edit("a"), edit("b")])
        with pytest.raises(Full) as full:
            queue.join([edit("c"), edit("d")])
        assert full.value.seconds is not None and 1 <= full.value.seconds <= 60
        assert (room.items, len(queue)) == (2, 2)
        queue.join([edit("a"), edit("c")])  # one is there already
        with pytest.raises(Full) as never:
            queue.join([edit(str(number)) for number in range(4)])
        assert never.value.seconds is None, "it would never fit"

    run(test)


def test_bytes_are_bounded_too() -> None:
    async def test() -> None:
        queue, room, _ = make_queue(size=10_000)
        queue.join([edit("a", size=2000)])
        with pytest.raises(Full):
            queue.join([edit("b", size=2500)])
        assert room.bytes == 2 * 2000 + 1024

    run(test)


def test_categories_are_never_mixed_and_order_is_kept() -> None:
    async def test() -> None:
        queue, _, _ = make_queue()
        queue.join([edit("a"), edit("b", "社会"), edit("c"), edit("d", "社会")])
        keys = [[work.fields.key for work in queue.take(10, 10**6, alone=False)] for _ in range(3)]
        assert keys == [["a", "c"], ["b", "d"], []]

    run(test)


def test_an_edit_that_nobody_waits_for_any_more_is_not_begun() -> None:
    async def test() -> None:
        queue, room, _ = make_queue()
        first, both = queue.join([edit("a"), edit("b")])
        queue.join([edit("b")])
        queue.leave(first)
        queue.leave(both)
        assert [work.fields.key for work in queue.take(10, 10**6, alone=True)] == ["b"]
        assert room.items == 1

    run(test)


def test_what_a_lost_worker_had_comes_first_again_and_the_blamed_one_is_asked_alone() -> None:
    async def test() -> None:
        queue, _, _ = make_queue()
        queue.join([edit(key) for key in "abcd"])
        works = queue.take(3, 10**6, alone=True)
        queue.give_back(works, [works[1]], CRASH)
        assert [work.fields.key for work in queue.take(1, 10**6, alone=True)] == ["a"]
        assert queue.take(4, 10**6, alone=False) == [], "a worker with other work does not get it"
        (alone,) = queue.take(4, 10**6, alone=True)
        assert alone.fields.key == "b"
        assert [work.fields.key for work in queue.take(4, 10**6, alone=False)] == ["c", "d"]
        queue.give_back([alone], [alone], CRASH)
        row = await alone.future
        assert (row["state"], row["error_kind"]) == ("judge_failed", "crash")
        (soon,) = queue.join([edit("b")])
        assert (await soon.future)["error_kind"] == "crash", "a trainer that asks again at once kills no more workers"

    run(test)


def test_a_request_that_ends_late_takes_no_later_requests_work_away() -> None:
    async def test() -> None:
        queue, room, _ = make_queue()
        early, other = queue.join([edit("a"), edit("b")])
        (first,) = queue.take(1, 10**6, alone=True)
        queue.finish(first, {"state": "judge_failed", "error_kind": "oom", "error": "no", "score": None})
        (later,) = queue.join([edit("a")])  # another request, while the first one still waits for its second edit
        assert later is not early
        queue.leave(early)
        queue.leave(other)
        assert [work.fields.key for work in queue.take(9, 10**6, alone=True)] == ["a"]
        assert room.items == 1

    run(test)


@given(st.lists(st.tuples(st.sampled_from("jtdgl"), st.integers(0, 9)), max_size=60))
def test_whatever_happens_nothing_is_lost_doubled_or_counted_wrong(steps: list[tuple[str, int]]) -> None:
    async def test() -> None:
        queue, room, kept = make_queue(items=6, attempts=3)
        asked: list[Any] = []
        held: list[Any] = []
        for step, number in steps:
            if step == "j":
                try:
                    asked += queue.join([edit(str(number % 5), "物理" if number % 2 else "社会")])
                except Full:
                    assert room.items == 6
            elif step == "t":
                taken = queue.take(1 + number % 3, 10**6, alone=not held)
                assert len({work.fields.category for work in taken}) <= 1
                held += taken
            elif step == "d" and held:
                work = held.pop(0)
                queue.finish(work, SCORED | {"key": work.fields.key})
            elif step == "g" and held:
                queue.give_back(held, held[: number % 2], CRASH)
                held = []
            elif step == "l" and asked:
                work = asked.pop(number % len(asked))
                queue.leave(work)
        assert len(set(map(id, held))) == len(held), "no edit is with two workers"
        live = {id(work) for work in asked if not work.future.done()}
        assert len(live) <= room.items + len(held) and room.items <= 6
        for work in asked:
            if work.future.done():
                row = work.future.result()
                assert row["state"] == "judge_failed" or row["key"] == work.fields.key
        waiting = len(queue)
        while queue:
            if not (taken := queue.take(10, 10**6, alone=True)):
                break
            for work in taken:
                queue.finish(work, SCORED | {"key": work.fields.key})
        for work in held:
            queue.finish(work, SCORED | {"key": work.fields.key})
        assert room.items == 0 and room.bytes == 0, (waiting, held)
        assert all(work.future.done() for work in asked)
        assert all(row["state"] == "judge_failed" or row["key"] == key for key, row in kept.items())

    run(test)
