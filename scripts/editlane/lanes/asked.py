"""Cut the questions to a judge into batches, read their images, and time the answers."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

from editlane.core.errors import ItemError
from editlane.core.types import Judge, Row
from editlane.images.files import PREPARING_THREADS
from editlane.lanes.batches import cut_batches
from editlane.lanes.journal import DEATHS
from editlane.protocols.asking import Batch, Questions, prepare

Asking = TypeVar("Asking")


class Asked(NamedTuple, Generic[Asking]):
    """A row that a judge is asked about; it has an `item_id` and a `category`."""

    key: str
    row: Asking
    is_first: bool
    """True if no earlier row of the lane has the same key; only the first of equal questions is asked."""


def cut_by_item(
    asked: Sequence[Asked[Asking]],
    name: Callable[[Asking], tuple[str, str]],
    cost: Callable[[Asking], int],
    max_cost: int,
    left: Collection[str],
    deaths: Mapping[str, int],
) -> Iterator[list[Asked[Asking]]]:
    """Yield batches of the questions whose keys are `left`. One that another death would fail is asked alone.

    `name`: of a row, its item and its category. The questions about an item all cost as much as the largest, so that
    they stay together.
    """
    costs: dict[str, int] = {}
    for one in asked:
        item = name(one.row)[0]
        costs[item] = max(cost(one.row), costs.get(item, 0))
    return cut_batches(
        asked,
        category=lambda one: name(one.row)[1],
        cost=lambda one: costs[name(one.row)[0]],
        max_cost=max_cost,
        wanted=lambda one: one.is_first and one.key in left,
        alone=lambda one: deaths[one.key] >= DEATHS - 1,
    )


def read_batch(judge: Judge, batch: Sequence[Asked[Asking]], build: Callable[[Asking], Questions]) -> Batch:
    """Build the questions of a batch, which reads their images, and let the judge prepare them."""

    def read_one(one: Asked[Asking]) -> Questions | ItemError:
        try:
            return build(one.row)
        except ItemError as error:
            return error

    with ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images") as threads:
        asked = list(threads.map(read_one, batch))
    return prepare(judge, asked)


def share_seconds(seconds: float, batch: Sequence[object], device: str) -> Row:
    """Return the timing columns of each answer of a batch; each gets an equal part of the seconds."""
    return {"score_seconds": round(seconds / len(batch), 4), "score_device": device}
