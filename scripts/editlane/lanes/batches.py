"""Cut the edits of a lane into batches for a judge.

Batches are cut by cost and never mix categories. They are cut from all edits, finished ones included, so a resumed lane
forms the batches of an undisturbed one. This matters because a judge's rounding may depend on the neighbours in a
batch, as with vLLM.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

WINDOW = 256
"""Edits of a category among which those of a similar size are put together."""

Edit = TypeVar("Edit")


def cut_batches(
    edits: Sequence[Edit],
    *,
    category: Callable[[Edit], str],
    cost: Callable[[Edit], int],
    max_cost: int,
    wanted: Callable[[Edit], bool],
    alone: Callable[[Edit], bool] = lambda edit: False,
) -> Iterator[list[Edit]]:
    """Yield the batches of each category without the edits that are not wanted; none is empty.

    Within a window the costliest edits come first. A batch costs its number of edits times its costliest, because
    shorter ones are padded, and at most `max_cost`; a costlier edit stands alone. So does one that `alone` picks.
    Unwanted edits still count, so that the same edits meet in every process.
    """
    by_category: dict[str, list[Edit]] = {}
    for edit in edits:
        by_category.setdefault(category(edit), []).append(edit)
    for members in by_category.values():
        for start in range(0, len(members), WINDOW):
            for chunk in _chunks(members[start : start + WINDOW], cost, max_cost):
                left = [edit for edit in chunk if wanted(edit)]
                together = [edit for edit in left if not alone(edit)]
                if together:
                    yield together
                yield from ([edit] for edit in left if alone(edit))


def _chunks(edits: Sequence[Edit], cost: Callable[[Edit], int], max_cost: int) -> Iterator[list[Edit]]:
    ranked = sorted(((cost(edit), place) for place, edit in enumerate(edits)), key=lambda pair: (-pair[0], pair[1]))
    start = 0
    while start < len(ranked):
        count = max(1, max_cost // max(1, ranked[start][0]))
        yield [edits[place] for _, place in ranked[start : start + count]]
        start += count
