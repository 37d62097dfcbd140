"""Chains of items: the turns of one record, each of which edits the result of the one before."""

from collections.abc import Sequence
from typing import NamedTuple


class Turn(NamedTuple):
    """The place of an item in its chain."""

    first: str
    """The id of the chain's first turn."""
    number: int
    """Counted from 1."""


def find_turns(ids: Sequence[str], former: Sequence[str | None]) -> list[Turn]:
    """Return the turn that each item is. One that follows no other is the first of its chain, which may be all of it.

    `former`: the item of the turn before each, None without one.
    """
    before = dict(zip(ids, former, strict=True))

    def climb(name: str) -> Turn:
        number = 1
        while (one := before.get(name)) is not None:
            name, number = one, number + 1
        return Turn(name, number)

    return [climb(name) for name in ids]


def find_first_turns(ids: Sequence[str], former: Sequence[str | None]) -> list[str]:
    """Return the id of the first turn of each item's chain; see `find_turns`."""
    return [turn.first for turn in find_turns(ids, former)]
