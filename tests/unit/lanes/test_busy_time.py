"""The time of units that are at work at once is shared without a gap and without counting anything twice."""

import threading

import pytest

from editlane.core.waiting import waiting
from editlane.lanes import busy_time
from editlane.lanes.busy_time import BusyTime


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(busy_time.time, "monotonic", lambda: now[0])
    return now


def test_a_unit_alone_gets_all_of_its_time(clock: list[float]) -> None:
    busy = BusyTime()
    for begin, end in ((1.0, 3.0), (10.0, 11.0)):
        clock[0] = begin
        with busy.spending() as spent:
            clock[0] = end
        assert spent.own == spent.share == end - begin


def test_shares_of_units_that_overlap_sum_to_the_time_in_which_one_was_at_work(clock: list[float]) -> None:
    busy = BusyTime()
    first, second, third = busy.spending(), busy.spending(), busy.spending()
    one = first.__enter__()
    clock[0] = 1.0
    two = second.__enter__()
    clock[0] = 5.0
    second.__exit__(None, None, None)
    clock[0] = 6.0
    first.__exit__(None, None, None)
    clock[0] = 8.0
    three = third.__enter__()
    clock[0] = 9.0
    third.__exit__(None, None, None)
    assert [spent.own for spent in (one, two, three)] == [6.0, 4.0, 1.0]
    assert sum(spent.share for spent in (one, two, three)) == 7.0


def test_the_time_of_a_unit_that_failed_counts(clock: list[float]) -> None:
    busy = BusyTime()
    with pytest.raises(ZeroDivisionError), busy.spending() as spent:
        clock[0] = 2.0
        raise ZeroDivisionError
    assert spent.share == 2.0


def test_a_unit_that_waits_is_not_at_work(clock: list[float]) -> None:
    busy = BusyTime()
    with busy.spending() as first:
        clock[0] = 1.0
        with waiting():
            clock[0] = 5.0
        clock[0] = 7.0
    assert first.own == first.share == 3.0


def test_another_unit_gets_the_time_in_which_one_waits(clock: list[float]) -> None:
    busy, waits, ended = BusyTime(), threading.Event(), threading.Event()
    found = []

    def wait() -> None:
        with busy.spending() as spent, waiting():
            waits.set()
            assert ended.wait(10)
        found.append(spent)

    thread = threading.Thread(target=wait)
    with busy.spending() as other:
        thread.start()
        assert waits.wait(10)
        clock[0] = 4.0
    ended.set()
    thread.join()
    assert (other.own, other.share) == (4.0, 4.0)
    assert (found[0].own, found[0].share) == (0.0, 0.0)


def test_outside_of_a_unit_a_wait_is_measured_by_nobody() -> None:
    with waiting():
        pass
