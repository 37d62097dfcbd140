"""How often intervals and tests of the report err, on made-up scores whose truth is known.

    python tests/bench/simulate_statistics.py [--cases 1000] [--seed 0]

`before` is what the report used until 0.1.0: a sign-flip test beside a BCa interval with t quantiles, by scipy.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from editlane.stats import intervals
from editlane.stats.agreement import measure_judge_agreement
from editlane.stats.comparisons import compare, compare_all
from editlane.stats.intervals import Interval, infer_mean, macro_interval

Draw = Callable[[np.random.Generator, int], np.ndarray]

DIFFERENCES: dict[str, Draw] = {
    "normal, sd 2": lambda rng, n: 2 * rng.normal(size=n),
    "exponential - 1": lambda rng, n: rng.exponential(size=n) - 1,
    "lognormal - mean": lambda rng, n: rng.lognormal(0, 1, n) - np.exp(0.5),
    "-0.1, and 1.9 in 1 of 20": lambda rng, n: np.where(rng.random(n) < 0.05, 1.9, -0.1) + rng.normal(0, 0.02, n),
}
"""Paired differences of mean zero."""


def sign_flip_p(values: np.ndarray, rng: np.random.Generator) -> float:
    flipped = np.abs(rng.choice([-1.0, 1.0], (999, len(values))) @ values)
    return float((1 + (flipped >= abs(values.sum()) - 1e-9).sum()) / 1000)


def bca_interval(values: np.ndarray, rng: np.random.Generator) -> Interval | None:
    if np.ptp(values) == 0:
        return None
    level = 1 - 2 * stats.norm.cdf(-stats.t.ppf(0.975, len(values) - 1))
    spread = values.mean() + (values - values.mean()) * np.sqrt(len(values) / (len(values) - 1))
    found = stats.bootstrap((spread,), np.mean, n_resamples=499, confidence_level=level, rng=rng).confidence_interval
    return found.low, found.high


def judge_scores(rng: np.random.Generator, items: int, fails: float = 0.35) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores of two editors that find the same items hard: skewed, tied to half points, a share of zeros."""
    shared = rng.normal(size=items)
    levels = stats.norm.cdf(np.sqrt(0.5) * (shared + rng.normal(size=(2, items))))
    passed = 10 * stats.beta.ppf(np.clip((levels - fails) / (1 - fails), 0, 1), 2, 1.5)
    first, second = np.where(levels < fails, 0.0, np.round(2 * passed) / 2)
    return first, second


def simulate_rejections(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """A true zero: how many of 100 samples are said to differ, and in how many there are too few images to say so."""
    yield ["differences", "photos", "sign-flip (before)", "said to differ", "too few images"]
    for name, draw in DIFFERENCES.items():
        for items in (8, 12, 20, 50, 100):
            samples = [draw(rng, items) for _ in range(cases)]
            before = np.mean([sign_flip_p(sample, rng) < 0.05 for sample in samples])
            found = [infer_mean(one, np.arange(items), scale=(-10, 10), seed=n) for n, one in enumerate(samples)]
            certain = [one for one in found if one and one.p < 0.05]
            wrong, few = (sum(one.reversible is flag for one in certain) / cases for flag in (False, True))
            yield [name, str(items), *map(percent, (before, wrong, few))]


def simulate_power(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """The detectable difference: how often a true difference of that size is found, of 80 of 100 that are stated."""
    yield ["photos", "tests of the family", "stated", "found"]
    for items in (12, 36, 54, 270):
        for tests in (1, 5, 30):
            detectable = np.mean([_detect(*judge_scores(rng, items), tests) or np.nan for _ in range(cases // 5)])
            lacking = np.mean([(10 - judge_scores(rng, items)[0]).mean() for _ in range(200)])
            share, found = min(1.0, detectable / lacking), []
            for seed in range(cases):
                first, second = judge_scores(rng, items)
                better = compare(first + share * (10 - first), second, np.arange(items), seed=seed)
                found.append(better["p"] is not None and better["p"] * tests < 0.05 and better["difference"] > 0)
            yield [str(items), str(tests), f"{detectable:.2f}", percent(np.mean(found))]


def _detect(first: np.ndarray, second: np.ndarray, tests: int) -> float | None:
    import pandas as pd

    names = [f"c{number}" for number in range(tests)]
    rows = [
        {"item_id": f"{name}-{n}", "category": name, "cluster": f"{name}-{n}", "editor": editor, "score": score}
        for name in names
        for editor, scores in (("a", first), ("b", second))
        for n, score in enumerate(scores)
    ]
    table = pd.DataFrame(rows)
    return compare_all(table, table.drop_duplicates("item_id"), ["a", "b"], names[:1] if tests == 1 else names)[1][
        "detectable"
    ]


def simulate_clusters(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """Coverage where photos have unequal numbers of items, correlated by 0.5 within a photo."""
    yield ["items of the photos", "effective photos", "no interval", "true mean inside"]
    layouts = {
        "30 and 20 x 1": [30] + [1] * 20,
        "10 and 40 x 1": [10] + [1] * 40,
        "30 and 100 x 1": [30] + [1] * 100,
        "12 x 3": [3] * 12,
        "60 x 1": [1] * 60,
    }
    for name, sizes in layouts.items():
        photos = np.repeat(np.arange(len(sizes)), sizes)
        held, none = [], 0
        for seed in range(cases):
            noise = np.sqrt(0.5) * (rng.normal(size=len(sizes))[photos] + rng.normal(size=len(photos)))
            values = np.clip(5 + 2.5 * noise, 0, 10)
            found = macro_interval(values, photos, np.zeros(len(photos)), (0, 10), seed)
            none += found is None
            held += [found[0] <= 5 <= found[1]] if found else []
        effective = sum(sizes) ** 2 / np.square(sizes).sum()
        yield [name, f"{effective:.1f}", percent(none / cases), percent(np.mean(held)) if held else "-"]


def simulate_macro(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """Coverage of the macro mean of scores that are 0 or 10, in categories of 8, 50 and 200 photos."""
    yield ["share of tens", "true mean inside"]
    groups = np.repeat(np.arange(3), (8, 50, 200))
    for share in (0.1, 0.3, 0.5, 0.9):
        held = []
        for seed in range(cases):
            values = 10.0 * (rng.random(len(groups)) < share)
            found = macro_interval(values, np.arange(len(groups)), groups, (0, 10), seed)
            held.append(found is not None and found[0] <= 10 * share <= found[1])
        yield [percent(share), percent(np.mean(held))]


def simulate_agreement(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """How often an interval and a p say different things about zero."""
    yield ["photos", "before", "now"]
    for items in (8, 12, 20):
        before = now = 0
        for seed in range(cases):
            values = rng.exponential(size=items) - 0.6
            interval = bca_interval(values, rng)
            before += interval is not None and (sign_flip_p(values, rng) < 0.05) == (interval[0] <= 0 <= interval[1])
            found = infer_mean(values, np.arange(items), scale=(-10, 10), seed=seed)
            assert found and found.interval
            says = found.p < 0.05 and not found.reversible
            now += says == (found.interval[0] <= 0 <= found.interval[1])
        yield [str(items), percent(before / cases), percent(now / cases)]


def rate(rng: np.random.Generator, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the ratings 0, 0.5 and 1 of three people of the edits of six systems, some of which hardly differ."""
    level = 0.7 * (rng.normal(size=(items, 1, 1)) + rng.normal(size=(items, 6, 1))) + np.linspace(-3.5, 1.5, 6)[:, None]
    rated = level + rng.normal(size=(items, 6, 3))
    return np.select([rated < -1, rated < 1], [0.0, 0.5], 1.0), level[..., 0] + rng.normal(size=(items, 6))


def average_ceiling(ratings: np.ndarray) -> float:
    """Average one rater against the others over systems and raters by arctanh, without what is undefined or 1."""
    found = []
    for rater in range(ratings.shape[2]):
        others = np.delete(ratings, rater, axis=2).mean(axis=2)
        for own, rest in zip(ratings[:, :, rater].T, others.T, strict=True):
            if np.ptp(own) > 0 and np.ptp(rest) > 0:
                found.append(stats.spearmanr(own, rest).statistic)
    return float(np.tanh(np.mean([np.arctanh(rho) for rho in found if abs(rho) < 1 - 1e-12])))


def simulate_ceiling(cases: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """The ceiling, one of three raters against the others, of few items and of 4,000."""
    yield ["items", "average by arctanh (before)", "within systems", "half of its interval", "that of 4,000 inside"]
    ratings, scores = rate(rng, 4000)
    many = measure_judge_agreement(ratings, scores, np.arange(4000), list("abcdef"), resamples=2)["leave_one_out"]
    truth = many["human"]["value"]
    yield ["4,000", f"{average_ceiling(ratings):.3f}", f"{truth:.3f}", "-", "-"]
    for items in (15, 30, 60, 179):
        before, now, half, held = [], [], [], []
        for seed in range(cases // 3):
            ratings, scores = rate(rng, items)
            before.append(average_ceiling(ratings))
            options = {"resamples": 399, "seed": seed}
            found = measure_judge_agreement(ratings, scores, np.arange(items), list("abcdef"), **options)
            human = found["leave_one_out"]["human"]
            low, high = human["interval"]
            now.append(human["value"])
            half.append((high - low) / 2)
            held.append(low <= truth <= high)
        means = [f"{np.mean(one):.3f}" for one in (before, now, half)]
        yield [str(items), *means, percent(np.mean(held))]


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000, help="samples of each line")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    intervals.RESAMPLES = 999  # p below 0.05 / 30 then comes from the tail of the normal distribution
    parts = (
        simulate_rejections,
        simulate_power,
        simulate_clusters,
        simulate_macro,
        simulate_agreement,
        simulate_ceiling,
    )
    for simulate in parts:
        rows = list(simulate(given.cases, np.random.default_rng(given.seed)))
        print(f"\n{simulate.__doc__}\n\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
        for row in rows[1:]:
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
