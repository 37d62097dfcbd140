"""Tell which pairs of editors the arena has separated, to spend its questions on the others.

This is the planner's own rule, and no result: the report computes strengths from all answers. It is a race: a pair is
asked until the interval of its difference leaves out zero. Heckel, Shah, Ramchandran and Wainwright ("Active ranking
from pairwise comparisons and when parametric assumptions do not help", Annals of Statistics 47, 2019) race editors by
such intervals, too, without a model of their strengths.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from editlane.core.types import Row, State

ALPHA = 0.05
"""Share of runs in which some pair is to be separated though its editors do not differ. It is divided by the number of
pairs and of times that they are looked at (Bonferroni)."""

EditorPair = tuple[str, str]
"""Two editors, in the order of their names."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more often the first editor of a pair wins, from -1 to 1, with an interval clustered by photo."""

    mean: float
    low: float
    high: float
    items: int
    photos: int

    @property
    def is_separated(self) -> bool:
        """True if the interval leaves out zero."""
        return not self.low <= 0 <= self.high


READ = ("item_id", "source_sha256", "editor_a", "editor_b", "control", "state", "p_a", "p_b")
"""Columns of the answers that decide which pairs are separated."""


def find_differences(answers: Iterable[Row], pairs: int, looks: int) -> dict[EditorPair, Difference]:
    """Return the difference of each pair with an item that was answered in both orders.

    `answers`: rows of pairs.parquet by one judge. `pairs`, `looks`: how many pairs there are, and how often they are
    looked at, which widen the intervals.
    """
    of_item: dict[tuple[EditorPair, str, str], list[float]] = defaultdict(list)
    for row in answers:
        if row["control"] is None and row["state"] == State.SCORED:
            names = row["editor_a"], row["editor_b"]
            first, second = sorted(names)
            won = row["p_a"] - row["p_b"]
            of_item[(first, second), row["source_sha256"], row["item_id"]].append(won if names[0] == first else -won)
    by_photo: dict[EditorPair, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (pair, photo, _), both in of_item.items():
        if len(both) == 2:  # else the judge's taste for a place would count
            by_photo[pair][photo].append(math.fsum(both) / 2)
    level = ALPHA / max(1, pairs * looks)
    return {pair: _make_interval(list(photos.values()), level) for pair, photos in by_photo.items()}


def find_unseparated(pairs: Sequence[EditorPair], differences: Mapping[EditorPair, Difference]) -> list[EditorPair]:
    """Return the pairs that are still to be asked about."""
    return [pair for pair in pairs if pair not in differences or not differences[pair].is_separated]


def _make_interval(by_photo: Sequence[Sequence[float]], level: float) -> Difference:
    """Return the mean over items with a t interval; photos are drawn, not items (linearised variance).

    One photo more of each extreme answer is added before, as Agresti and Coull (American Statistician 52, 1998) do for
    proportions; otherwise photos of which one in ten is answered otherwise would separate by chance. So few photos that
    a coin may give them all the same answer have no interval.
    """
    count, photos = sum(map(len, by_photo)), len(by_photo)
    mean = math.fsum(value for values in by_photo for value in values) / count
    if 2.0 ** (1 - photos) > level:
        return Difference(mean, -1.0, 1.0, count, photos)
    size, drawn = count / photos, photos + 2
    sums = [(math.fsum(values), len(values)) for values in by_photo] + [(size, size), (-size, size)]
    total = math.fsum(number for _, number in sums)
    middle = math.fsum(value for value, _ in sums) / total
    off = math.fsum((value - number * middle) ** 2 for value, number in sums)
    error = math.sqrt(drawn / (drawn - 1) * off) / total
    half = float(stats.t.ppf(1 - level / 2, drawn - 1)) * error
    return Difference(mean, middle - half, middle + half, count, photos)
