"""How far the figures about editors against each other can be trusted, on made-up answers whose truth is known.

    python tests/bench/simulate_arena.py [--cases 300] [--seed 0]

A photo has one item or two. Each editor has a skill, and an error on each photo and on each item. A pairwise judge
answers A, B, tie or both bad by the difference of both edits, surely or not; a preference for the first picture is
added. Intervals draw RESAMPLES samples, not as many as those of a report.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from simulating import print_table

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from editlane.stats import intervals
from editlane.stats.arena import Ranking, decide, fit_duels
from editlane.stats.division import count_winners, measure_closeness, measure_differentiation, measure_routing
from editlane.stats.duels import make_duels, measure_position
from editlane.stats.effort import MARGIN, find_kings
from editlane.stats.intervals import Interval
from editlane.stats.pair_acceptance import accept_pairs

RESAMPLES = 999

LARGE = 20_000
"""Photos whose figures are taken for the truth."""

CATEGORIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    skills: Sequence[float]
    blur: float = 0.5
    """How little a difference decides: 0.1 for a judge that is always sure, 1 for one that hardly is."""
    bias: float = 0.0
    """Preference for the first picture, on the scale of skills."""
    asked: float = 0.9
    """Share of the pairs that are asked."""
    own: float = 0.7
    """Standard deviation of an editor's errors on a photo, and again on an item."""

    @property
    def editors(self) -> list[str]:
        return [f"e{place}" for place in range(len(self.skills))]

    def draw_items(self, rng: np.random.Generator, photos: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw the qualities (items, editors), and the photo of each item."""
        clusters = np.repeat(np.arange(photos), 1 + (rng.random(photos) < 0.5))
        on_photo = self.own * rng.normal(size=(photos, len(self.skills)))[clusters]
        on_item = self.own * rng.normal(size=(len(clusters), len(self.skills)))
        return np.array(self.skills) + on_photo + on_item, clusters

    def answer(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the probabilities (4, pairs) of A, B, tie and both bad."""
        lead = (first - second + self.bias) / self.blur / 2
        shares = np.exp(np.stack([lead, -lead, np.full_like(lead, -0.7), np.full_like(lead, -1.5)]))
        return shares / shares.sum(axis=0)

    def draw(self, rng: np.random.Generator, photos: int) -> pd.DataFrame:
        """Draw duels whose order is averaged out."""
        qualities, clusters = self.draw_items(rng, photos)
        parts = []
        for a, b in combinations(range(len(self.skills)), 2):
            there = rng.random(len(qualities)) < self.asked
            one, other = qualities[there, a], qualities[there, b]
            seen, turned = self.answer(one, other), self.answer(other, one)
            win = (seen[0] + turned[1] + (seen[2:] + turned[2:]).sum(axis=0) / 2) / 2
            parts.append(pd.DataFrame({"a": f"e{a}", "b": f"e{b}", "win": win, "cluster": clusters[there]}))
        return pd.concat(parts, ignore_index=True)


CASES = {
    "alike, unsure judge": Truth(skills=(0, 0, 0, 0), blur=1),
    "alike, sure judge": Truth(skills=(0, 0, 0, 0), blur=0.1),
    "a ladder": Truth(skills=(0, 0.5, 1, 1.5)),
    "a ladder, half asked": Truth(skills=(0, 0.5, 1, 1.5), asked=0.5),
    "one far ahead, sure judge": Truth(skills=(0, 0.5, 1, 4), blur=0.1),
    "two editors, far apart": Truth(skills=(0, 2.5), blur=0.1),
    "eight editors": Truth(skills=(0, 0, 0.3, 0.3, 0.6, 0.6, 1, 1)),
}


def rank(duels: pd.DataFrame, editors: Sequence[str]) -> Ranking:
    fit = fit_duels(duels, editors)
    decide([fit])
    return fit.ranking


def holds(interval: Interval | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]


def percent(count: float, of: float) -> str:
    return f"{100 * count / of:.1f}" if of else "–"


def simulate_strengths(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """How often an interval holds the truth, and what is said about the order."""
    yield ["truth", "photos", "holds strength", "holds difference", "no interval", "an order wrongly", "rank outside"]
    for name, truth in CASES.items():
        large = rank(truth.draw(rng, LARGE if len(truth.skills) < 5 else LARGE // 4), truth.editors)
        for photos in (12, 40, 120):
            held, given, of_pair, pairs, lacking, wrong, outside = 0, 0, 0, 0, 0, 0, 0
            for _ in range(cases if photos < 100 else cases // 2):
                found = rank(truth.draw(rng, photos), truth.editors)
                for editor, one in found["editors"].items():
                    lacking += one["interval"] is None
                    given += one["interval"] is not None
                    held += holds(one["interval"], large["editors"][editor]["strength"])
                    outside += _is_outside(one["rank"], editor, truth)
                for one in found["differences"]:
                    true = next(each for each in large["differences"] if (each["a"], each["b"]) == (one["a"], one["b"]))
                    pairs += one["interval"] is not None
                    of_pair += holds(one["interval"], true["difference"])
                wrong += any(_is_wrong(one, truth) for one in found["differences"])
            total = cases if photos < 100 else cases // 2
            every = total * len(truth.skills)
            cells = percent(held, given), percent(of_pair, pairs), percent(lacking, every), percent(wrong, total)
            yield [name, str(photos), *cells, percent(outside, every)]


def _skill(truth: Truth, editor: str) -> float:
    return truth.skills[truth.editors.index(editor)]


def _is_wrong(one: Mapping[str, str], truth: Truth) -> bool:
    gap = _skill(truth, one["a"]) - _skill(truth, one["b"])
    return (one["verdict"] == "a_better" and gap <= 0) or (one["verdict"] == "b_better" and gap >= 0)


def _is_outside(found: tuple[int, int] | None, editor: str, truth: Truth) -> bool:
    """Return whether the range of ranks leaves out all that the editor may have, given its equals."""
    skill = _skill(truth, editor)
    best, worst = 1 + sum(one > skill for one in truth.skills), sum(one >= skill for one in truth.skills)
    return found is None or found[0] > worst or found[1] < best


def simulate_power(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """How often a true order is found."""
    yield ["win rate of the better of two", "photos", "found"]
    for skill in (0.2, 0.5, 1.0):
        truth = Truth(skills=(0, skill))
        large = float(1 - truth.draw(rng, LARGE)["win"].mean())
        for photos in (12, 40, 120):
            found = sum(
                rank(truth.draw(rng, photos), truth.editors)["differences"][0]["verdict"] == "b_better"
                for _ in range(cases)
            )
            yield [f"{large:.2f}", str(photos), percent(found, cases)]


def simulate_place(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """What a preference for the first picture does to a win rate, and whether the judge is accepted."""
    yield ["preference", "P(first) - P(second)", "win rate, one order", "win rate, both", "truth", "accepted"]
    truth_of = {bias: Truth(skills=(0, 0.5), bias=bias) for bias in (0.0, 0.5, 1.0, 3.0)}
    for bias, truth in truth_of.items():
        one_order, both, first, accepted = [], [], [], 0
        for _ in range(cases):
            rows, clusters = draw_rows(truth, rng, 40)
            real, controls = rows[rows["control"].isna()], rows[rows["control"].notna()]
            duels = make_duels(real, truth.editors, clusters)
            seen = real[real["editor_a"] == "e1"]
            one_order.append((seen["p_a"] + (seen["p_tie"] + seen["p_both_bad"]) / 2).mean())
            both.append(1 - duels["win"].mean())
            first.append(measure_position(duels["first"], duels["cluster"])["bias"]["value"])
            found = accept_pairs(controls.assign(cluster=controls["item_id"].map(clusters)))
            accepted += found["verdict"] == "accepted"
        plain = float(1 - Truth(skills=(0, 0.5)).draw(rng, LARGE)["win"].mean())
        cells = (f"{np.mean(one):.2f}" for one in (first, one_order, both))
        yield [f"{bias:g}", *cells, f"{plain:.2f}", percent(accepted, cases)]
    blind = sum(_accepts_blind(rng, bias=bias) for bias in (0.0, 3.0) for _ in range(cases))
    yield ["blind judges", "", "", "", "", percent(blind, 2 * cases)]


def _accepts_blind(rng: np.random.Generator, *, bias: float) -> bool:
    rows, clusters = draw_rows(Truth(skills=(0, 0), bias=bias), rng, 40, control=0.0)
    controls = rows[rows["control"].notna()]
    found = accept_pairs(controls.assign(cluster=controls["item_id"].map(clusters)))
    return found["verdict"] == "accepted"


def draw_rows(
    truth: Truth, rng: np.random.Generator, photos: int, control: float = -2.0
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Draw a pairs table of the first two editors, in both orders, with controls of the skill `control`."""
    qualities, clusters = truth.draw_items(rng, photos)
    items = [f"i{place}" for place in range(len(clusters))]
    one, other = qualities[:, 0], qualities[:, 1]
    bad = control + truth.own * rng.normal(size=(6, len(items)))
    parts = [_rows(truth, items, "e0", "e1", one, other), _rows(truth, items, "e1", "e0", other, one)]
    for place, name in enumerate(("source", "blank", "other_item")):
        parts.append(_rows(truth, items, "e0", "e0", one, bad[place], control=name, control_side="b"))
        parts.append(_rows(truth, items, "e1", "e1", bad[3 + place], other, control=name, control_side="a"))
        parts.append(_rows(truth, items, "e0", "e0", bad[place], one, control=name, control_side="a"))
        parts.append(_rows(truth, items, "e1", "e1", other, bad[3 + place], control=name, control_side="b"))
    parts.append(_rows(truth, items, "e0", "e0", one, one, control="itself"))
    return pd.concat(parts, ignore_index=True), dict(zip(items, map(int, clusters), strict=True))


def _rows(
    truth: Truth, items: list[str], a: str, b: str, first: np.ndarray, second: np.ndarray, **more: str
) -> pd.DataFrame:
    answers = truth.answer(first, second)
    columns = dict(zip(("p_a", "p_b", "p_tie", "p_both_bad"), answers, strict=True))
    modes = np.array(["A", "B", "tie", "both_bad"])[answers.argmax(axis=0)]
    rows = pd.DataFrame({"item_id": items, "category": "c", "editor_a": a, "editor_b": b, **columns, "mode": modes})
    return rows.assign(
        **{"control": None, "control_side": None, "state": "scored", "a_sha256": "x", "b_sha256": "x"} | more
    )


def draw_scores(kind: str, rng: np.random.Generator, per_category: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the scores (items, 4) of half points, the categories, and the photos, of two items each."""
    items = per_category * CATEGORIES
    groups = np.repeat(np.arange(CATEGORIES), per_category)
    clusters = np.arange(items) // 2
    skills = np.zeros((CATEGORIES, 4))
    if kind == "a ladder":
        skills += np.arange(4) * 0.7
    elif kind == "each its category":
        skills[np.arange(CATEGORIES), np.arange(CATEGORIES) % 4] = 1.5
    elif kind == "one category apart":
        skills[0, 1] = 1.5
    hard = rng.normal(size=(items, 1)) + rng.normal(size=(items, 1))[clusters]
    own = rng.normal(size=(items, 4)) + rng.normal(size=(items, 4))[clusters]
    return np.clip(np.round(2 * (5 + skills[groups] + hard + 1.2 * own)) / 2, 0, 10), groups, clusters


KINDS = ("alike", "a ladder", "one category apart", "each its category")


def simulate_division(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """False alarms and power of the division of labour."""
    heads = ["truth", "items a category", "differentiation, its null", "p < 0.05", "gain apparent, held out"]
    yield [*heads, "gain surely > 0", "gain surely < 0", "holds closeness", "holds winners"]
    for kind in KINDS:
        large = draw_scores(kind, rng, LARGE)
        close, winners = measure_closeness(large[0], large[2])["value"], count_winners(large[0], large[2])["value"]
        for size in (80, 160):
            found, gains, held = [], [], np.zeros(2)
            for case in range(cases):
                scores, groups, clusters = draw_scores(kind, rng, size)
                found.append(measure_differentiation(scores, groups, clusters, seed=case, permutations=99))
                gains.append(measure_routing(scores, groups, clusters))
                held += [
                    holds(measure_closeness(scores, clusters)["interval"], close),
                    holds(count_winners(scores, clusters)["interval"], winners),
                ]
            low, high = (
                sum(bool(one["interval"] and one["interval"][end] * sign > 0) for one in gains)
                for end, sign in ((1, -1), (0, 1))
            )
            yield [
                kind,
                str(size),
                " / ".join(f"{np.mean([one[name] for one in found]):.3f}" for name in ("value", "null_mean")),
                percent(sum(one["p"] < 0.05 for one in found), cases),
                " / ".join(f"{np.mean([one[name] for one in gains]):+.2f}" for name in ("apparent", "value")),
                *(percent(one, cases) for one in (high, low, *held)),
            ]


def simulate_kings(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """How often an editor of four times the seconds is said to pay more for no more."""
    yield ["the dear editor is better by", "items a category", "said to pay for no more", "by the textbook rule"]
    for better in (1.5, 0.5, MARGIN, 0.0, -0.5):
        for size in (80, 160):
            kings, textbook = 0, 0
            for _ in range(cases):
                scores, groups, clusters = draw_scores("alike", rng, size)
                scores[:, 0] = np.clip(scores[:, 0] + better, 0, 10)
                seconds = np.array([4.0, 1, 1, 1]) * rng.gamma(20, 1 / 20, size=scores.shape)
                kings += "e0" in find_kings(scores, seconds, ["e0", "e1", "e2", "e3"], groups, clusters)["kings"]
                won = np.isclose(scores, scores.max(axis=1, keepdims=True))
                textbook += (won / won.sum(axis=1, keepdims=True)).mean(axis=0)[0] < 4 / 7
            yield [f"{better:g}", str(size), percent(kings, cases), percent(textbook, cases)]


TABLES: dict[str, tuple[Callable[[int, np.random.Generator], Iterator[list[str]]], int]] = {
    "Strengths and ranks": (simulate_strengths, 1),
    "Orders that are found": (simulate_power, 2),
    "Preference for a place": (simulate_place, 3),
    "Division of labour": (simulate_division, 1),
    "More seconds for no more": (simulate_kings, 2),
}
"""Each table, and the share of the cases that it has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300, help="samples of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    intervals.RESAMPLES = RESAMPLES
    for place, (title, (simulate, share)) in enumerate(TABLES.items()):
        rng = np.random.default_rng([args.seed, place])
        print_table(title, simulate(max(2, args.cases // share), rng))


if __name__ == "__main__":
    main()
