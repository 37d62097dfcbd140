"""Read ahead: the next inputs are loaded in a thread while the device works on this one."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetched(load: Callable[[T], R], things: Iterable[T], depth: int = 2) -> Iterator[tuple[T, Future[R]]]:
    """Yield each thing with the future of `load(thing)`, in order, at most `depth` loaded ahead.

    Errors wait in the future. What was yielded is loaded in any case, because who took it waits for it.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        try:
            for thing in things:
                waiting.append((thing, pool.submit(load, thing)))
                if len(waiting) > depth:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, loading in waiting:
                loading.cancel()
