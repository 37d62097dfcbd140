"""How far the figures of several seeds can be trusted, on made-up scores whose truth is known.

    python tests/bench/simulate_seeds.py [--cases 400] [--seed 0]

Two items of each photo, of five categories, share a part of their difficulty. Each sample adds an effect of its seed,
and the judge's noise, which is known. Scores are normal, or half points within 0..10.
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

from editlane.stats.comparisons import compare
from editlane.stats.intervals import macro_interval
from editlane.stats.seeds import measure_seeds

CATEGORIES = 5
LARGE = 20_000
"""Photos whose figures are taken for the truth."""
PHOTOS = 60
MEAN = 5.0
"""The true mean of all scores, also of rounded ones, which are symmetric about it."""
FIGURES = ("item_sd", "seed_sd", "seed_share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    item: float
    """Standard deviation of the items of a category; half of the variance is shared by a photo's items."""
    seed: float
    judge: float = 0.1
    halves: bool = False
    """Round to half points, within 0..10."""
    missing: float = 0.0

    def draw(self, rng: np.random.Generator, photos: int, samples: int) -> pd.DataFrame:
        shared = rng.normal(0, self.item * 0.5**0.5, (photos, 1))
        quality = MEAN + shared + rng.normal(0, self.item * 0.5**0.5, (photos, 2))
        scores = quality[..., None] + rng.normal(0, self.seed, (photos, 2, samples))
        scores += rng.normal(0, self.judge, scores.shape)
        if self.halves:
            scores = np.clip(np.round(2 * scores) / 2, 0, 10)
        scores[rng.random(scores.shape) < self.missing] = np.nan
        photo, item, sample = (axis.ravel() for axis in np.indices(scores.shape))
        names = {"item": photo * 2 + item, "category": (photo * 2 + item) % CATEGORIES, "cluster": photo}
        return pd.DataFrame(
            names | {"score": scores.ravel(), "edited_sha256": np.arange(scores.size), "sample": sample}
        )


CASES = {
    "normal, seeds matter little": Truth(item=1.5, seed=0.5),
    "normal, seeds matter most": Truth(item=0.7, seed=1.4),
    "normal, noisy judge": Truth(item=1.0, seed=1.0, judge=0.5),
    "half points, a tenth missing": Truth(item=2.0, seed=1.0, halves=True, missing=0.1),
}


def simulate_spreads(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    yield ["scores", "photos", "samples", "share", "holds spread of items", "of seeds", "share", "no interval of items"]
    for name, truth in CASES.items():
        true = measure_seeds(truth.draw(rng, LARGE, 3), truth.judge)
        for photos, samples in ((12, 3), (40, 2), (40, 3), (150, 3)):
            held, there = np.zeros(len(FIGURES)), np.zeros(len(FIGURES))
            for _ in range(cases):
                found = measure_seeds(truth.draw(rng, photos, samples), truth.judge)
                held += [covers(found[figure]["interval"], true[figure]["value"]) for figure in FIGURES]
                there += [found[figure]["interval"] is not None for figure in FIGURES]
            shares = [f"{100 * one:.1f}" for one in held / there]
            none = f"{100 * (1 - there[0] / cases):.1f}"
            yield [name, str(photos), str(samples), f"{true['seed_share']['value']:.2f}", *shares, none]


def simulate_means(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """The macro mean's interval with several samples, and two editors that do not differ."""
    yield ["scores", "photos", "samples", "holds the mean", "width, of that with one", "foreseen", "false alarms"]
    for name, truth in CASES.items():
        for samples in (2, 4):
            held, alarms, widths, ones, foreseen = 0, 0, [], [], []
            for _ in range(cases):
                a, b = (truth.draw(rng, PHOTOS, samples) for _ in range(2))
                one = a[a["sample"] == 0]
                interval, single = (_interval(rows) for rows in (a, one))
                held += covers(interval, MEAN)
                widths.append(interval[1] - interval[0])
                ones.append(single[1] - single[0])
                foreseen.append(measure_seeds(a, truth.judge)["interval_width"]["value"])
                both = a["score"].notna() & b["score"].notna()
                found = compare(a["score"][both], b["score"][both], a["cluster"][both].to_numpy(dtype=str))
                alarms += found["p"] is not None and found["p"] < 0.05
            width = np.mean(widths) / np.mean(ones)
            shares = [f"{100 * held / cases:.1f}", f"{width:.3f}", f"{np.mean(foreseen):.3f}"]
            yield [name, str(PHOTOS), str(samples), *shares, f"{100 * alarms / cases:.1f}"]


def _interval(rows: pd.DataFrame) -> tuple[float, float]:
    scored = rows.dropna(subset="score")
    found = macro_interval(*(scored[name].to_numpy() for name in ("score", "cluster", "category")))
    assert found is not None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=400, help="samples of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print_table("Spreads", simulate_spreads(args.cases, np.random.default_rng(args.seed)))
    print_table("Means and comparisons", simulate_means(args.cases, np.random.default_rng(args.seed)))


if __name__ == "__main__":
    main()
