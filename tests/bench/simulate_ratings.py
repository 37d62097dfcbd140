"""How far people's ratings of some edits correct a judge, on made-up ratings and scores whose truth is known.

    python tests/bench/simulate_ratings.py [--cases 400] [--seed 0]

Two items of each photo, of five categories, share a part of their quality. People rate a random sample of the items,
taken from the categories in turn, as 0..9 with many at the upper end. The judge's scores, 0..10 in half points, are
biased by 2 points. The gains of panels and of weights are those of three judges and two editors, with normal scores.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from simulating import covers, print_table

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from editlane.stats.panel_people import compare_with_people
from editlane.stats.panel_weights import cross_validate
from editlane.stats.prediction_powered import correct_means

CATEGORIES = 5
NAMES = [f"c{place}" for place in range(CATEGORIES)]
LARGE = 200_000
"""Photos whose means are taken for the truth."""
PHOTOS = 200
RATED = (30, 60, 150)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    error: float
    """Standard deviation of the judge's errors; that of the quality is 1."""
    better: float = 0.0
    """By how much the second editor's quality is better than the first's."""
    lenient: float = 0.0
    """By how much the judge prefers the second editor, wrongly."""
    missing: float = 0.0
    """Share of the edits that the judge has no score of."""
    skewed: bool = True
    """Ratings with many at the upper end."""

    def draw(self, rng: np.random.Generator, photos: int, editors: int = 1):
        """Draw the ratings and scores (editors, items) of two items of each photo, their photos and categories."""
        shared = np.sqrt(0.3) * rng.normal(size=(1, photos, 1)) + np.sqrt(0.2) * rng.normal(size=(1, photos, 2))
        quality = (shared + np.sqrt(0.5) * rng.normal(size=(editors, photos, 2))).reshape(editors, -1)
        order = np.arange(editors)[:, None]
        quality = quality + self.better * order
        seen = quality + self.error * rng.normal(size=quality.shape) + self.lenient * order
        noise = rng.normal(0, 0.4, quality.shape)
        centre = 7.5 if self.skewed else 4.5
        labels = np.clip(np.round(centre + (2.5 if self.skewed else 1.5) * (quality + noise)), 0, 9)
        scores = np.clip(np.round(2 * (6.5 + 2 * seen)) / 2, 0, 10)
        scores[rng.random(scores.shape) < self.missing] = np.nan
        items = np.arange(2 * photos)
        return labels, scores, items // 2, np.array(NAMES, dtype=object)[items % CATEGORIES]


CASES = {
    "good judge": Truth(error=0.4),
    "weak judge": Truth(error=1.5),
    "useless judge": Truth(error=100),
    "good judge, a tenth without score": Truth(error=0.4, missing=0.1),
    "good judge, ratings not skewed": Truth(error=0.4, skewed=False),
}


def choose(rng: np.random.Generator, categories: np.ndarray, count: int) -> np.ndarray:
    """Choose as many items at random in each category."""
    chosen = [rng.permutation(np.flatnonzero(categories == name))[: count // CATEGORIES] for name in NAMES]
    return np.concatenate(chosen)


def hide(labels: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    kept = np.full(labels.shape, np.nan)
    kept[..., chosen] = labels[..., chosen]
    return kept


def simulate_means(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    yield ["judge", "rated items", "lambda", "holds: corrected", "labels alone", "a category", "width, of labels alone"]
    for name, truth in CASES.items():
        true = float(truth.draw(rng, LARGE)[0].mean())
        for rated in RATED:
            held, widths, powers = np.zeros(3), [], []
            for _ in range(cases):
                labels, scores, photos, categories = truth.draw(rng, PHOTOS)
                labels = hide(labels, choose(rng, categories, rated))
                found = correct_means(labels[0], scores[0], photos, categories, NAMES)
                macro, one = found["macro"], found["categories"][NAMES[0]]
                held += [covers(of["interval"], true) for of in (macro["corrected"], macro["people"], one["corrected"])]
                widths.append(1 - (macro["narrower"] or 0))
                powers.append(found["power"])
            shares = [f"{100 * one / cases:.1f}" for one in held]
            yield [name, str(rated), f"{np.mean(powers):.2f}", *shares, f"{np.mean(widths):.2f}"]


def simulate_differences(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    yield ["editors", "rated items", "holds: corrected", "p < 0.05, of 100", "judge alone", "labels alone"]
    kinds = {
        "alike, fair judge": Truth(error=0.4),
        "alike, judge prefers one": Truth(error=0.4, lenient=0.5),
        "alike, weak judge prefers one": Truth(error=1.5, lenient=0.5),
        "one better": Truth(error=0.4, better=0.3),
    }
    for name, truth in kinds.items():
        large = truth.draw(rng, LARGE, 2)[0]
        true = float((large[1] - large[0]).mean())
        for rated in RATED:
            held, alarms = 0, np.zeros(3)
            for _ in range(cases):
                labels, scores, photos, categories = truth.draw(rng, PHOTOS, 2)
                labels = hide(labels, choose(rng, categories, rated))
                y, f = labels[1] - labels[0], scores[1] - scores[0]
                found = correct_means(y, f, photos, categories, NAMES)["macro"]
                held += covers(found["corrected"]["interval"], true)
                alarms += [
                    found["p"] is not None and found["p"] < 0.05,
                    *(not covers(found[of]["interval"], 0) for of in ("judge", "people")),
                ]
            yield [name, str(rated), *(f"{100 * one / cases:.1f}" for one in (held, *alarms))]


def draw_judged(rng: np.random.Generator, photos: int, errors: tuple[float, ...], shared: float):
    """Draw the ratings (edits,) and scores (edits, judges) of two items of each photo by two editors."""
    quality = np.sqrt(0.3) * rng.normal(size=(photos, 1, 1)) + np.sqrt(0.7) * rng.normal(size=(photos, 2, 2))
    quality = quality.ravel()
    own = np.sqrt(1 - shared) * rng.normal(size=(len(quality), len(errors)))
    common = np.sqrt(shared) * rng.normal(size=(len(quality), 1))
    labels = quality + 0.4 * rng.normal(size=len(quality))
    editors = np.tile([0, 1], len(quality) // 2)
    return labels, quality[:, None] + np.array(errors) * (common + own), np.repeat(np.arange(photos), 4), editors


def simulate_gains(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """In how many of 100 samples a panel is said to be better or worse than its best judge, and weights than none."""
    yield [
        *("errors of the judges", "shared", "rated photos", "panel better", "worse"),
        *("weights better", "weights worse", "effective judges of errors, true", "shown, mean"),
    ]
    kinds = (((1.0, 1.0, 1.0), 0.0), ((1.0, 1.0, 1.0), 0.5), ((1.0, 1.0, 1.0), 1.0), ((0.5, 2.0, 2.0), 0.0))
    for errors, shared in kinds:
        for photos in (15, 40):
            counts, shown = np.zeros(4), []
            for _ in range(cases):
                labels, scores, clusters, editors = draw_judged(rng, photos, errors, shared)
                found = compare_with_people(labels, scores, scores.mean(axis=1), clusters, editors, NAMES[:3])
                weights = cross_validate(labels, scores, clusters, editors, NAMES[:3])
                gains = (found["gain"]["interval"], weights["gain"]["interval"])
                counts += [side for low, high in (one or (0, 0) for one in gains) for side in (low > 0, high < 0)]
                shown.append(found["effective_judges"]["value"])
            true = len(errors) / (1 + (len(errors) - 1) * shared)
            shares = [f"{100 * one / cases:.1f}" for one in counts]
            known = [one for one in shown if one is not None]
            mean = f"{np.mean(known):.2f}" if known else "none"
            yield [", ".join(f"{one:g}" for one in errors), f"{shared:g}", str(photos), *shares, f"{true:.2f}", mean]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=400, help="samples of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    print_table("Means", simulate_means(args.cases, rng))
    print_table("Differences of two editors", simulate_differences(args.cases, rng))
    print_table("Panels and weights", simulate_gains(max(1, args.cases // 4), rng))


if __name__ == "__main__":
    main()
