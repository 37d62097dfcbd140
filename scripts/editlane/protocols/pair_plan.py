"""Plan which pairs of edits a judge compares, and the controls about them.

The choice depends only on the seed, the editors and the content of the items. Neither lanes nor order change it. A
budget is cut into equal rounds, as in sequential halving (Karnin, Koren and Somekh, "Almost optimal exploration in
multi-armed bandits", ICML 2013), and each round asks only about pairs of editors that are not separated yet.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple, TypeVar

import pyarrow as pa

from editlane.core.chains import find_first_turns
from editlane.core.types import EDITED, PairControl, Row
from editlane.protocols.pair_intervals import EditorPair, find_differences, find_unseparated
from editlane.protocols.pair_others import OtherItems

ROWS_OF_CONTROLS = 7
"""Questions if each control is asked once: all in both orders but `itself`, which is the same in both."""

Member = TypeVar("Member")


class PairQuestion(NamedTuple):
    """A planned question: two pictures of an item. Items are places in the items table."""

    place: int
    editor_a: str
    editor_b: str
    control: PairControl | None = None
    control_side: str | None = None
    """`a` or `b`: the picture that is not the editor's edit of this item."""
    other: int | None = None
    """Item whose edit that picture is; None for all controls but OTHER_ITEM."""


class Edits(NamedTuple):
    """One editor's edits, in the order of the items table."""

    states: Sequence[str]
    shas: Sequence[str | None]


class ArenaPlan:
    """The questions to a judge in all rounds."""

    def __init__(self, items: pa.Table, editors: Sequence[str], *, seed: int, rounds: int, budget: int | None) -> None:
        """Take the run's items. `budget`: pairs of edits in all rounds; None for all that there are."""
        self._seed, self._rounds = seed, rounds
        self._names = sorted(editors)
        pairs: list[EditorPair] = list(combinations(self._names, 2))
        self.pairs = sorted(pairs, key=lambda pair: _hash(seed, "pair", *pair))
        """All pairs of editors, in an order that only their names and the seed decide."""
        self.possible = len(items) * len(pairs)
        """All pairs of edits."""
        self.budget = self.possible if budget is None else min(budget, self.possible)
        self._ids: list[str] = items["item_id"].to_pylist()
        samples = list(zip(self._ids, items["sample_of"].to_pylist(), strict=True))
        self._first = [first is None for _, first in samples]
        self._numbers = _number_samples(samples)
        self._categories: list[str] = items["category"].to_pylist()
        contents = zip(items["source_sha256"].to_pylist(), items["instruction"].to_pylist(), strict=True)
        self._chains = find_first_turns(self._ids, items["after"].to_pylist())
        self._contents = [f"{sha}\n{instruction}" for sha, instruction in contents]

    def describe(self) -> dict[str, int]:
        """Return what tells how the pairs are chosen, for the provenance."""
        return {"rounds": self._rounds, "pairs": self.budget, "possible": self.possible}

    def count_in_round(self, number: int) -> int:
        """Return the pairs of edits of one round, counted from 1."""
        return self.budget * number // self._rounds - self.budget * (number - 1) // self._rounds

    def plan_pairs(self, number: int, answers: Sequence[Row]) -> list[PairQuestion]:
        """Return the pairs of edits of a round, each in both orders. `answers`: by this judge, of the earlier rounds.

        Empty if all pairs of editors are separated, or all pairs of edits asked about.
        """
        differences = find_differences(answers, len(self.pairs), self._rounds - 1)
        left = set(find_unseparated(self.pairs, differences))
        real = (row for row in answers if row["control"] is None)
        asked = {(row["item_id"], *sorted((row["editor_a"], row["editor_b"]))) for row in real}

        def is_open(place: int, pair: EditorPair) -> bool:
            return pair in left and (self._ids[place], *pair) not in asked

        chosen = self._choose("pairs", self.pairs, self.count_in_round(number), is_open)
        return [PairQuestion(place, *names) for place, pair in chosen for names in (pair, pair[::-1])]

    def plan_controls(self, edits: Mapping[str, Edits], share: float, least: int) -> list[PairQuestion]:
        """Return the controls, which the first round asks. `edits`: by editor.

        There are `share` x the questions about pairs, but at least `least`; none if `share` is 0. Each kind is asked
        about an edit once at most, in both orders. Edits that are missing get none, and neither do further samples of
        an item: another sample would be no wrong edit, and the others would be the same question again.
        """
        wanted = max(share * 2 * self.budget, least) if share else 0
        each = int(-(-wanted // ROWS_OF_CONTROLS))

        def is_open(place: int, editor: str) -> bool:
            return self._first[place] and edits[editor].states[place] == EDITED

        others = {editor: self._link_others(edits[editor]) for editor in self._names}
        planned: list[PairQuestion] = []
        for control in PairControl:
            for place, editor in self._choose(control, self._names, each, is_open):
                if control == PairControl.ITSELF:
                    planned.append(PairQuestion(place, editor, editor, control))
                    continue
                other = None
                if control == PairControl.OTHER_ITEM:
                    rings = others[editor][self._categories[place]]
                    other = next((one for ring in rings if (one := ring.find(place)) is not None), None)
                if control != PairControl.OTHER_ITEM or other is not None:
                    planned += [PairQuestion(place, editor, editor, control, side, other) for side in ("a", "b")]
        return planned

    def _choose(
        self, salt: str, members: Sequence[Member], count: int, is_open: Callable[[int, Member], bool]
    ) -> list[tuple[int, Member]]:
        """Choose `count` open pairs of an item and a member, balanced over categories, items and members.

        The same number is chosen in every category, as far as it has so many.
        """
        ranked = self._rank(salt)
        dealt = {
            category: [one for one in _deal(places, members, start) if is_open(*one)]
            for start, (category, places) in enumerate(ranked.items())
        }
        shares = share_out(count, {category: len(units) for category, units in dealt.items()})
        return [one for category, units in dealt.items() for one in units[: shares[category]]]

    def _rank(self, salt: str) -> dict[str, list[int]]:
        """Return the items of each category, in an order that only their content and the seed decide.

        All first samples come before the second ones, and so on, because another item tells more than another sample.
        """
        ranked: dict[str, list[int]] = {name: [] for name in sorted(set(self._categories))}
        hashes = [_hash(self._seed, salt, content) for content in self._contents]
        order = sorted(zip(self._numbers, hashes, self._ids, range(len(hashes)), strict=True))
        for *_, place in order:
            ranked[self._categories[place]].append(place)
        return ranked

    def _link_others(self, edits: Edits) -> dict[str, list[OtherItems]]:
        """Link each item of a category to the next one with another photo or instruction, and another edit.

        First to one that is no turn of the same chain, then to any.
        """
        linked = {}
        for category, places in self._rank("other").items():
            ring = [place for place in places if self._first[place] and edits.states[place] == EDITED]
            apart, *marks = ([marks[place] for place in ring] for marks in (self._chains, edits.shas, self._contents))
            linked[category] = [OtherItems(ring, marks)]
            if len(set(apart)) < len(ring):
                linked[category].insert(0, OtherItems(ring, [apart, *marks]))
        return linked


def _number_samples(samples: Sequence[tuple[str, str | None]]) -> list[int]:
    """Return the number of each sample of its item, from (item_id, sample_of). The first one has number 0."""
    further: dict[str, list[str]] = {}
    for name, first in samples:
        if first is not None:
            further.setdefault(first, []).append(name)
    numbers = {
        name: number
        for names in further.values()
        for number, name in enumerate(sorted(names, key=lambda name: (len(name), name)), 1)
    }
    return [numbers.get(name, 0) for name, _ in samples]


def _deal(places: Sequence[int], members: Sequence[Member], start: int) -> Iterator[tuple[int, Member]]:
    """Yield all pairs of an item and a member, so that each beginning of them is balanced over both.

    Every item comes once before one comes twice, each time with the next member.
    """
    for turn in range(len(members)):
        for number, place in enumerate(places):
            yield place, members[(start + turn + number) % len(members)]


def share_out(total: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Share a number out equally, none more than its size. What is left over goes to the first ones, one each."""
    shares = dict.fromkeys(sizes, 0)
    while open_ones := [name for name in sizes if shares[name] < sizes[name]]:
        left = total - sum(shares.values())
        if left <= 0:
            break
        each = left // len(open_ones)
        for name in open_ones if each else open_ones[:left]:
            shares[name] += min(each or 1, sizes[name] - shares[name])
    return shares


def _hash(seed: int, *parts: str) -> bytes:
    return hashlib.sha256("\n".join([str(seed), *parts]).encode()).digest()
