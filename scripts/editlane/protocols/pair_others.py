"""Find another item's edit for each edit of an editor, in a time that grows with the items only."""

from collections.abc import Hashable, Sequence


class OtherItems:
    """Items in a ring, each with marks, such as its content and the bytes of its edit."""

    def __init__(self, ring: Sequence[int], marks: Sequence[Sequence[Hashable]]) -> None:
        """Take the items, and one or more marks of each, in the order of the ring."""
        self._ring, self._marks = ring, marks
        self._positions = {place: position for position, place in enumerate(ring)}
        self._ends = [_find_ends(values) for values in marks]

    def find(self, place: int) -> int | None:
        """Return the next item around the ring that differs in all marks; None if there is none.

        Items of the same mark in a row are passed in one step.
        """
        size, start = len(self._ring), self._positions[place]
        at = start + 1
        while at < start + size:
            alike = (
                ends[at]
                for values, ends in zip(self._marks, self._ends, strict=True)
                if values[at % size] == values[start]
            )
            end = next(alike, None)
            if end is None:
                return self._ring[at % size]
            at = end
        return None


def _find_ends(values: Sequence[Hashable]) -> list[int]:
    """Return, for each position of two turns of the ring, the position after the last like value in a row."""
    size = len(values)
    ends = [2 * size] * (2 * size)
    for at in range(2 * size - 2, -1, -1):
        ends[at] = ends[at + 1] if values[at % size] == values[(at + 1) % size] else at + 1
    return ends
