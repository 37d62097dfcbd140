"""Report the steps of pipelines that take no callback, such as LongCat-Image-Edit, through their progress bar."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from editlane.core.types import EditRequest


class _Steps:
    """Stands in for the progress bar of one call."""

    def __init__(self, request: EditRequest, total: int) -> None:
        self._request, self._total, self._done = request, total, 0

    def update(self, count: int = 1) -> None:
        """Report that `count` more steps are done."""
        self._done += count
        self._request.on_step(self._done, self._total)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: there is nothing to close."""


@contextmanager
def report_steps(pipe: Any, request: EditRequest) -> Iterator[None]:
    """Report each step of calls within this context to `request`."""

    def progress_bar(iterable: Iterable[Any] | None = None, total: int | None = None) -> Any:
        if iterable is None:
            return _Steps(request, total or 0)
        return _iterate(request, list(iterable))

    shown_by = pipe.list_loops() if hasattr(pipe, "list_loops") else [pipe]  # of a modular pipeline, its loops
    for one in shown_by:
        one.progress_bar = progress_bar
    try:
        yield
    finally:
        for one in shown_by:
            del one.progress_bar


def _iterate(request: EditRequest, steps: list[Any]) -> Iterator[Any]:
    for number, step in enumerate(steps, start=1):
        yield step
        request.on_step(number, len(steps))
