"""Find out whether editors divide labour between categories, and what choosing one by category would gain.

Raw figures mislead: with 40 items and no difference at all, the textbook formulas said "differentiation 0.13, routing
would gain 0.39 points". So each figure stands beside its null or its interval, and there is none below FEWEST_ITEMS.

`scores` is float (items, editors), without NaN. `groups` (items,) is the category, and `clusters` (items,) the photo.
"""

from collections.abc import Callable
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from editlane.core.types import SCALE
from editlane.stats.held_out import FOLDS, assign_folds
from editlane.stats.intervals import Inference, Interval, infer_mean

Floats = NDArray[np.float64]

FEWEST_ITEMS = 80
"""Items of a category that all editors have a score for. With fewer, figures of nothing look like something."""

PERMUTATIONS = 999
STRETCH = (1 + FOLDS / (FOLDS - 1)) ** 0.5
"""Held-out gains depend on each other, because each part also serves to choose for the others. So their interval is
stretched, as Nadeau and Bengio (Machine Learning 2003) correct the variance of cross-validation. In simulations without
a difference, intervals that were not stretched left out 0 in 14 to 18 of 100 runs."""

REACH = SCALE[1] - SCALE[0]


class Differentiation(TypedDict):
    value: float
    """Normalised mutual information of the winner and the category, 0..1."""
    null_mean: float
    """Its mean if categories mean nothing."""
    null_p95: float
    p: float
    """Share of permutations with a value as high."""


class Gain(TypedDict):
    """Points of 0..10, mean over the categories."""

    value: float
    """On photos that the choice did not see."""
    interval: Interval | None
    why: Literal["same_editor", "too_few_photos"] | None
    """The reason if there is no interval. `same_editor`: in every part, the choice was the best single editor, so there
    is no gain to measure. That is no proof of none, because other photos may choose otherwise."""
    apparent: float
    """On the photos that it was made by. It is never negative, and no estimate."""
    choice: dict[str, int]
    """The best editor of each category by all items, as a column."""
    best: int
    """The best editor for all categories, as a column."""


class Share(TypedDict):
    value: float
    interval: Interval | None


def share_wins(scores: Floats) -> Floats:
    """Return who wins each item, (items, editors). Tied editors share it."""
    best = np.isclose(scores, scores.max(axis=1, keepdims=True))
    shares: Floats = best / best.sum(axis=1, keepdims=True)
    return shares


def normalise_mutual_information(counts: Floats) -> Floats:
    """Return the mutual information over the geometric mean of both entropies, of tables (..., editors, categories)."""
    share = counts / counts.sum(axis=(-2, -1), keepdims=True)
    rows, columns = share.sum(axis=-1), share.sum(axis=-2)
    entropies = [_entropy(one) for one in (rows, columns)]
    mutual = sum(entropies) - _entropy(share.reshape(*share.shape[:-2], -1))
    scale = np.sqrt(entropies[0] * entropies[1])
    found: Floats = np.where(scale > 1e-12, np.clip(mutual, 0, None) / np.maximum(scale, 1e-12), 0.0)
    return found


def _entropy(share: Floats) -> Floats:
    logarithms = np.log(np.where(share > 0, share, 1.0))
    entropy: Floats = -(share * logarithms).sum(axis=-1)
    return entropy


def measure_differentiation(
    scores: Floats, groups: NDArray[Any], clusters: NDArray[Any], *, permutations: int = PERMUTATIONS, seed: int = 0
) -> Differentiation:
    """Test whether who wins depends on the category.

    Under the null, categories are dealt out anew. Those of a photo's items stay together, and go to another photo with
    as many items, because two edits of one photo are not independent.
    """
    wins = share_wins(scores)
    _, codes = np.unique(groups, return_inverse=True)
    size, rng = codes.max() + 1, np.random.default_rng(seed)

    def compute(labels: NDArray[np.intp]) -> float:
        counts: Floats = np.stack([np.bincount(labels, column, size) for column in wins.T]).astype(np.float64)
        return float(normalise_mutual_information(counts))

    found, deal = compute(codes), _make_dealer(codes, clusters)
    null = np.array([compute(deal(rng)) for _ in range(permutations)])
    return {
        "value": found,
        "null_mean": float(null.mean()),
        "null_p95": float(np.quantile(null, 0.95)),
        "p": float((1 + (null >= found - 1e-12).sum()) / (1 + permutations)),
    }


def _make_dealer(codes: NDArray[np.intp], clusters: NDArray[Any]) -> Callable[[np.random.Generator], NDArray[np.intp]]:
    """Return a function that deals out the categories anew, photo by photo."""
    _, cluster, counts = np.unique(clusters, return_inverse=True, return_counts=True)
    order = np.argsort(cluster, kind="stable")
    sizes = counts[cluster][order]
    blocks = [order[sizes == size].reshape(-1, size) for size in np.unique(counts)]

    def deal(rng: np.random.Generator) -> NDArray[np.intp]:
        labels = codes.copy()
        for block in blocks:
            labels[block] = codes[block][rng.permutation(len(block))]
        return labels

    return deal


def measure_routing(scores: Floats, groups: NDArray[Any], clusters: NDArray[Any]) -> Gain:
    """Compute what the best editor of each category would gain over the single best one.

    Photos are dealt into FOLDS parts. Both choices are made on the others, and the gain is measured on the part itself.
    """
    names, codes = np.unique(groups, return_inverse=True)
    fold = assign_folds(clusters)
    gains, apart = np.zeros(len(scores)), False
    for part in range(FOLDS):
        means = _average(scores[fold != part], codes[fold != part], len(names))
        here, best = np.flatnonzero(fold == part), int(np.nanmean(means, axis=0).argmax())
        seen = ~np.isnan(means).any(axis=1)
        choice = np.where(seen, np.nan_to_num(means).argmax(axis=1), best)
        apart |= bool((choice != best).any())
        gains[here] = scores[here, choice[codes[here]]] - scores[here, best]
    means = _average(scores, codes, len(names))
    found = infer_mean(gains, clusters, groups, scale=(-REACH, REACH)) if apart else None
    interval = _stretch(found) if found else None
    return {
        "value": float(np.mean([gains[codes == code].mean() for code in range(len(names))])),
        "interval": interval,
        "why": None if interval else "too_few_photos" if apart else "same_editor",
        "apparent": float(means.max(axis=1).mean() - means.mean(axis=0).max()),
        "choice": {str(name): int(at) for name, at in zip(names, means.argmax(axis=1), strict=True)},
        "best": int(means.mean(axis=0).argmax()),
    }


def _stretch(found: Inference) -> Interval | None:
    """Stretch the interval from the mean; see STRETCH."""
    if found.interval is None:
        return None
    low, high = (found.mean + STRETCH * (end - found.mean) for end in found.interval)
    return max(-REACH, low), min(REACH, high)


def _average(scores: Floats, codes: NDArray[np.intp], size: int) -> Floats:
    counts = np.bincount(codes, minlength=size)
    sums = np.stack([np.bincount(codes, column, minlength=size) for column in scores.T], axis=1)
    with np.errstate(invalid="ignore"):
        means: Floats = sums / counts[:, None]
    return means


def count_winners(scores: Floats, clusters: NDArray[Any]) -> Share:
    """Compute how many equal winners would share the items as unequally: 1 / sum of the squared shares of wins."""
    sums = _add_up(share_wins(scores), clusters)

    def concentrate(totals: Floats) -> Floats:
        shares = totals / totals.sum(axis=-1, keepdims=True)
        concentration: Floats = np.square(shares).sum(axis=-1)
        return concentration

    value, interval = _jackknife(concentrate, sums, (1 / scores.shape[1], 1.0))
    return {"value": 1 / value, "interval": None if interval is None else (1 / interval[1], 1 / interval[0])}


def measure_closeness(scores: Floats, clusters: NDArray[Any]) -> Share:
    """Compute how close the editors are: the mean over all pairs of 4 w (1 - w), w the share of items that one wins.

    1: every pair is a toss-up; towards 0: every pair is decided. A tie is half a win. It does not tell a division of
    labour from equality.
    """
    first, second = np.triu_indices(scores.shape[1], 1)
    gaps = scores[:, first] - scores[:, second]
    wins = np.where(np.isclose(gaps, 0), 0.5, gaps > 0)
    sums = _add_up(np.column_stack([wins, np.ones(len(wins))]), clusters)

    def compute(totals: Floats) -> Floats:
        share = totals[..., :-1] / totals[..., -1:]
        closeness: Floats = (4 * share * (1 - share)).mean(axis=-1)
        return closeness

    value, interval = _jackknife(compute, sums, (0.0, 1.0))
    return {"value": value, "interval": interval}


def _add_up(parts: Floats, clusters: NDArray[Any]) -> Floats:
    _, cluster = np.unique(clusters, return_inverse=True)
    sums: Floats = np.stack([np.bincount(cluster, column) for column in parts.T], axis=1)
    return sums


def _jackknife(compute: Callable[[Floats], Floats], sums: Floats, scale: Interval) -> tuple[float, Interval | None]:
    """Return the value of the sums over all photos, and the interval of its pseudo-values."""
    total, count = sums.sum(axis=0), len(sums)
    value = float(compute(total))
    pseudo = count * value - (count - 1) * compute(total - sums)
    found = infer_mean(pseudo, np.arange(count))
    if found is None or found.interval is None:
        return value, None
    low, high = sorted((min(found.interval[0], value), max(found.interval[1], value)))
    return value, (max(scale[0], low), min(scale[1], high))
