"""Correct a judge's means by people's ratings of some of the edits.

PPI++ (Angelopoulos, Duchi and Zrnic, arXiv 2311.01453, 2023; prediction-powered inference is Angelopoulos, Bates,
Fannjiang, Jordan and Zrnic, Science 2023): in each category the estimate is the mean of the labels plus lambda times
(the judge's mean of all edits less its mean of the labelled ones). With any lambda it estimates people's mean, however
biased the judge is, if the labelled edits are a random sample of their category. Lambda is chosen for the smallest
variance: near 0 for a judge that tells nothing, so that the labels alone remain. Intervals leave out source images in
turn with lambda held fixed: its own error hardly moves the estimate, and intervals that find it anew were too wide with
few labels (tests/bench/simulate_ratings.py).

`labels` and `scores` are float (edits,), NaN = not rated or no score. A label without a score counts in the mean of the
labels alone, and a score without a label in the judge's mean of all alone: nothing is filled in.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from editlane.stats.intervals import FEWEST_CLUSTERS
from editlane.stats.jackknife import ROUNDING, group_clusters, jackknife, jackknife_error, leave_out
from editlane.stats.resampled import Estimate, Floats, undefined_estimate


class Corrected(TypedDict):
    """A mean, or the difference of two editors, on people's scale."""

    rated: int
    """Edits with a label; of a difference, items with labels of both editors."""
    photos: int
    """Source images of these."""
    both: int
    """Those of them that the judge scored, too."""
    scored: int
    """All that the judge scored."""
    people: Estimate
    """From the labels alone."""
    corrected: Estimate
    """From labels and judge."""
    judge: Estimate
    """From the judge alone, on the judge's scale."""
    narrower: float | None
    """1 - width of the interval of `corrected`, of that of `people`. Below 0 if it is wider."""
    p: float | None
    """Two-sided, of `corrected` = 0."""


class CorrectedMeans(TypedDict):
    macro: Corrected
    """Mean over the categories with a label."""
    categories: dict[str, Corrected]
    rated_categories: list[str]
    power: float | None
    """Lambda, the same in all categories: points of people's scale for one point of the judge's. 0 or more. Null if no
    category has two edits that are both labelled and scored."""


class SampleDifference(TypedDict):
    """How the judge's scores of the rated edits differ from those of the others, in points of the judge's scale."""

    rated: int
    others: int
    difference: Estimate
    """Rated less others, mean over the categories that have both."""
    p: float | None
    """Two-sided, of no difference."""


class _Means(NamedTuple):
    """Means of all edits, then without each group of source images, (1 + G, categories); NaN without an edit."""

    people: Floats
    corrected: Floats
    judge: Floats


def correct_means(
    labels: Floats, scores: Floats, clusters: NDArray[Any], categories: NDArray[Any], names: Sequence[str]
) -> CorrectedMeans:
    """Estimate the mean label of each category in `names`, and the mean of these means.

    clusters: (edits,), the source image of each. categories: (edits,). Intervals leave out source images.
    """
    groups = _group(clusters, ~np.isnan(labels))
    inside = np.asarray(categories)[:, None] == np.asarray(names, dtype=object)[None, :]
    means, power = _compute_means(labels, scores, groups, inside)
    rated = ~np.isnan(means.people[0])
    every = inside[:, rated].any(axis=1)

    def describe(columns: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> Corrected:
        of = _Means(*(one[:, columns].mean(axis=1) if columns.any() else np.full(len(one), np.nan) for one in means))
        photos = [len(np.unique(clusters[inside[:, at] & ~np.isnan(labels)])) for at in np.flatnonzero(columns)]
        return _describe(of, labels[chosen], scores[chosen], clusters[chosen], photos)

    return {
        "macro": describe(rated, every),
        "categories": {
            name: describe(np.arange(len(names)) == place, inside[:, place]) for place, name in enumerate(names)
        },
        "rated_categories": [name for name, there in zip(names, rated, strict=True) if there],
        "power": power,
    }


def _group(clusters: NDArray[Any], rated: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the group of each edit. Source images with a label share none with others: they weigh far more."""
    with_label = np.isin(clusters, clusters[rated])
    groups = np.zeros(len(clusters), dtype=np.intp)
    labelled = group_clusters(clusters[with_label])
    groups[with_label] = labelled
    groups[~with_label] = labelled.max(initial=-1) + 1 + group_clusters(clusters[~with_label])
    return groups


def _compute_means(
    labels: Floats, scores: Floats, groups: NDArray[np.intp], inside: NDArray[np.bool_]
) -> tuple[_Means, float | None]:
    """Compute all means of each category, and lambda from all edits.

    Lambda is the covariance of labels and scores over the variance of the scores, within categories, each weighed by
    what it adds to the variance of the macro mean.
    """
    has_y, has_f = ~np.isnan(labels), ~np.isnan(scores)
    centre_y, centre_f = (
        float(v[there].mean()) if there.any() else 0.0 for v, there in ((labels, has_y), (scores, has_f))
    )
    y, f = np.where(has_y, labels - centre_y, 0.0), np.where(has_f, scores - centre_f, 0.0)  # squares of small numbers
    both = (has_y & has_f).astype(np.float64)
    parts = (has_y, y, has_f, f, both, both * f, both * y, both * y * f)
    n_y, sum_y, n_f, sum_f, n_b, f_b, y_b, yf = (leave_out(part[:, None] * inside, groups) for part in parts)
    ff = (f * f) @ inside
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = (yf[0] - y_b[0] * f_b[0] / n_b[0]) / (n_b[0] - 1)
        variance = (ff - sum_f[0] ** 2 / n_f[0]) / (n_f[0] - 1)
        use = n_b[0] > 1
        gain = np.where(use, (1 - n_b[0] / n_f[0]) / n_y[0] * covariance, 0).sum()
        cost = np.where(use, (1 / n_b[0] - 1 / n_f[0]) * variance, 0).sum()
        power = max(0.0, float(gain / cost)) if cost > ROUNDING else 0.0
        shift = np.where(n_b > 0, sum_f / n_f - f_b / n_b, 0.0)
        people = sum_y / n_y + centre_y
        means = _Means(people, people + power * shift, sum_f / n_f + centre_f)
    return means, power if use.any() else None


def _describe(of: _Means, labels: Floats, scores: Floats, clusters: NDArray[Any], photos: Sequence[int]) -> Corrected:
    """Make the intervals of one mean. `photos`: the source images with a label, of each category in it."""
    has_y, has_f = ~np.isnan(labels), ~np.isnan(scores)
    rated_photos = len(np.unique(clusters[has_y]))
    people, corrected = (_estimate(one, rated_photos, photos) for one in (of.people, of.corrected))
    return {
        "rated": int(has_y.sum()),
        "photos": rated_photos,
        "both": int((has_y & has_f).sum()),
        "scored": int(has_f.sum()),
        "people": people,
        "corrected": corrected,
        "judge": jackknife(of.judge, _same, _same, "the judge scored none"),
        "narrower": _compare_widths(corrected, people),
        "p": _test(of.corrected, corrected, rated_photos - len(photos)),
    }


def _estimate(values: Floats, rated_photos: int, photos: Sequence[int], none: str = "no edit was rated") -> Estimate:
    if np.isnan(values[0]):
        return undefined_estimate(none)
    why = None
    if rated_photos < FEWEST_CLUSTERS:
        why = f"no interval: the rated edits have fewer than {FEWEST_CLUSTERS} source images"
    elif min(photos) < 2 or rated_photos <= len(photos):
        why = "no interval: a category has rated edits of one source image only"
    if why:
        return {"value": float(values[0]), "interval": None, "why": why}
    return jackknife(values, _same, _same, none, rated_photos - len(photos))


def _compare_widths(corrected: Estimate, people: Estimate) -> float | None:
    if corrected["interval"] is None or people["interval"] is None:
        return None
    widths = [high - low for low, high in (corrected["interval"], people["interval"])]
    return 1 - widths[0] / widths[1]


def compare_rated(
    scores: Floats,
    rated: NDArray[np.bool_],
    clusters: NDArray[Any],
    categories: NDArray[Any],
    names: Sequence[str],
) -> SampleDifference:
    """Compare the scores of rated edits with those of the others, which are alike if the rated are a random sample."""
    there = ~np.isnan(scores)
    groups = _group(clusters, rated)
    inside = np.asarray(categories)[:, None] == np.asarray(names, dtype=object)[None, :]
    centred = np.where(there, scores - scores[there].mean(), 0.0) if there.any() else scores
    with np.errstate(invalid="ignore", divide="ignore"):
        of_rated, of_others = (
            leave_out((centred * of)[:, None] * inside, groups) / leave_out(of[:, None] * inside, groups)
            for of in ((there & rated).astype(np.float64), (there & ~rated).astype(np.float64))
        )
    both = ~np.isnan(of_rated[0] - of_others[0])
    values = (of_rated - of_others)[:, both].mean(axis=1) if both.any() else np.full(len(of_rated), np.nan)
    photos = [len(np.unique(clusters[there & rated & inside[:, at]])) for at in np.flatnonzero(both)]
    of_photos = len(np.unique(clusters[there & rated]))
    difference = _estimate(values, of_photos, photos, "no category has both rated edits and others with a score")
    return {
        "rated": int((there & rated).sum()),
        "others": int((there & ~rated).sum()),
        "difference": difference,
        "p": _test(values, difference, of_photos - len(photos)),
    }


def _test(values: Floats, found: Estimate, freedom: int) -> float | None:
    """Return the two-sided p of a value of 0; None without an interval."""
    if found["interval"] is None:
        return None
    return float(2 * stats.t.sf(abs(values[0]) / jackknife_error(values), freedom))


def _same(values: Floats) -> Floats:
    return values
