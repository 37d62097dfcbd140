"""Reading ahead: what was handed out is read to its end, however the loop ends."""

import threading
from concurrent.futures import Future

import pytest

from editlane.lanes.prefetch import prefetched


@pytest.mark.parametrize("ends_early", [False, True])
def test_what_was_handed_out_is_loaded_after_the_last_thing_and_after_an_error(ends_early: bool) -> None:
    gate, loaded = threading.Event(), []
    taken: list[Future[int]] = []

    def load(thing: int) -> int:
        gate.wait(30)
        loaded.append(thing)
        return thing

    def take() -> None:
        for thing, loading in prefetched(load, range(6), depth=2):
            taken.append(loading)
            if thing == 3:
                threading.Timer(0.1, gate.set).start()
                if ends_early:
                    raise ZeroDivisionError

    if ends_early:
        with pytest.raises(ZeroDivisionError):
            take()
    else:
        take()
    assert [one.result(30) for one in taken] == list(range(4 if ends_early else 6))
    assert sorted(loaded) == list(range(len(loaded)))
    assert len(loaded) == (4 if ends_early else 6), "what nobody took is not loaded"
