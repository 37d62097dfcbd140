"""How far the figures of several judges can be trusted, on made-up scores whose truth is known.

    python tests/bench/simulate_panels.py [--cases 400] [--seed 0]

A quality is shared by all judges, partly by both edits of a photo. Each judge adds an error of its own, or a part of it
is the same for all. Scores are half points of 0..10 with many at the ends, or normal.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from simulating import covers, print_table

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from editlane.stats.disputes import compare_orders, spread_scores
from editlane.stats.intervals import FEWEST_CLUSTERS
from editlane.stats.panel import measure_agreement
from editlane.stats.resampled import Estimate

JUDGES = 3
NAMES = ["a", "b", "c"][:JUDGES]
LARGE = 30_000
"""Photos whose figures are taken for the truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    error: float
    """Standard deviation of a judge's errors; that of the quality is 1."""
    shared: float = 0.0
    """Correlation of the errors of two judges: 0 for independent judges, 1 for copies."""
    halves: bool = False
    """Round to half points, within 0..10."""
    missing: float = 0.0
    """Share of the scores that are missing."""

    def draw(self, rng: np.random.Generator, photos: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw the scores (edits, judges) of two edits of each photo, and the photos."""
        quality = np.sqrt(0.3) * rng.normal(size=(photos, 1, 1)) + np.sqrt(0.7) * rng.normal(size=(photos, 2, 1))
        common = np.sqrt(self.shared) * rng.normal(size=(photos, 2, 1))
        own = np.sqrt(1 - self.shared) * rng.normal(size=(photos, 2, JUDGES))
        scores = (quality + self.error * (common + own)).reshape(-1, JUDGES)
        if self.halves:
            scores = np.clip(np.round(2 * (5 + 4 * scores)) / 2, 0, 10)
        scores[rng.random(scores.shape) < self.missing] = np.nan
        return scores, np.repeat(np.arange(photos), 2)


CASES = {
    "normal, small errors": Truth(error=0.5),
    "normal, large errors": Truth(error=1.5),
    "half points, small errors": Truth(error=0.5, halves=True),
    "half points, large errors": Truth(error=1.5, halves=True),
    "half points, a tenth missing": Truth(error=1.0, halves=True, missing=0.1),
}


def bootstrap_alpha(scores: np.ndarray, clusters: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return the percentiles of a bootstrap over photos, which the report does not use."""
    size = (~np.isnan(scores)).sum(axis=1)
    paired = size >= 2
    scores, size, clusters = scores[paired] - np.nanmean(scores), size[paired], clusters[paired]
    added, squares = np.nansum(scores, axis=1), np.nansum(scores**2, axis=1)
    parts = (size / (size - 1) * (squares - added**2 / size), size, added, squares)
    sums = np.column_stack([np.bincount(clusters, part) for part in parts])
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=999)
    observed, count, total, square = (drawn @ sums).T
    alphas = 1 - observed / count / ((square - total**2 / count) / (count - 1))
    low, high = np.percentile(alphas, [2.5, 97.5])
    return float(low), float(high)


def simulate_coverage(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """In how many of 100 samples an interval holds the truth."""
    yield ["scores", "photos", "alpha", "holds alpha", "bootstrap", "holds mean correlation", "holds Spearman's rho"]
    for name, truth in CASES.items():
        large = measure_agreement(*truth.draw(rng, LARGE), NAMES)
        true = [_value(one) for one in _figures(large)]
        for photos in (FEWEST_CLUSTERS * 2, 40, 120, 400):
            held, other = np.zeros(3), 0
            for _ in range(cases):
                scores, clusters = truth.draw(rng, photos)
                found = _figures(measure_agreement(scores, clusters, NAMES))
                held += [covers(one["interval"], value) for one, value in zip(found, true, strict=True)]
                other += covers(bootstrap_alpha(scores, clusters, rng), true[0])
            of_alpha, *rest = (f"{100 * one / cases:.1f}" for one in held)
            yield [name, str(photos), f"{true[0]:.2f}", of_alpha, f"{100 * other / cases:.1f}", *rest]


def _figures(found) -> list[Estimate]:
    return [found["alpha"], found["mean_correlation"], found["correlations"][0]["spearman"]]


def _value(estimate: Estimate) -> float:
    assert estimate["value"] is not None
    return estimate["value"]


def simulate_effective(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """The effective number of three judges, beside that of their errors, which nobody knows without ratings."""
    yield ["judges", "errors", "of their errors", "shown, mean", "shown above it, of 100"]
    for label, shared in (("independent", 0.0), ("half of the errors shared", 0.5), ("copies", 1.0)):
        for error in (0.5, 1.0, 3.0):
            true, shown, wrong = JUDGES / (1 + (JUDGES - 1) * shared), [], 0
            for _ in range(cases):
                found = measure_agreement(*Truth(error=error, shared=shared).draw(rng, 120), NAMES)["effective_judges"]
                shown.append(_value(found))
                wrong += found["value"] is not None and found["value"] > true + 1e-9
            yield [label, f"sd {error}", f"{true:.2f}", f"{np.mean(shown):.2f}", f"{100 * wrong / cases:.1f}"]


def simulate_swaps(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """In how many of 100 samples an order of two editors is said to swap between two judges of three."""
    yield ["difference under judge a, b, c", "photos", "said to swap"]
    for means in ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (1.5, -1.5, 0.0)):
        for photos in (40, 120):
            swapped = 0
            for _ in range(cases):
                names = [f"i{place:03}" for place in range(photos)]
                quality = rng.normal(0, 2, (2, photos))
                rows = pd.concat(
                    pd.DataFrame({"item_id": names, "category": "c", "editor": editor, "judge": judge})
                    .assign(cluster=range(photos))
                    .assign(score=np.clip(5 + quality[at] + (mean if at == 0 else 0) + rng.normal(0, 1, photos), 0, 10))
                    for at, editor in enumerate("xy")
                    for judge, mean in zip(NAMES, means, strict=True)
                )
                swapped += bool(compare_orders(spread_scores(rows, NAMES), ["x", "y"], NAMES)[0]["swaps"])
            yield [", ".join(f"{one:g}" for one in means), str(photos), f"{100 * swapped / cases:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=400, help="samples of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    print_table("Intervals of agreement", simulate_coverage(args.cases, rng))
    print_table("Effective judges", simulate_effective(args.cases, rng))
    print_table("Orders that swap", simulate_swaps(max(1, args.cases // 10), rng))


if __name__ == "__main__":
    main()
