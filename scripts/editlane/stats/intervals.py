"""95 % intervals and tests: a studentised bootstrap over source images for means, Wilson's interval for rates."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

Interval = tuple[float, float]
"""Lower and upper end."""

Floats = npt.NDArray[np.float64]

ALPHA = 0.05
"""Share of intervals that may miss the true value, and the level of every test."""

FEWEST_CLUSTERS = 6
"""No interval and no test below this effective number of source images. Five independent values all lie on one side of
their median in 6 % of cases."""

MANY_CLUSTERS = 2000
"""Above this, use the normal limit of the bootstrap."""

RESAMPLES = 9999
"""Bootstrap samples of one interval."""

UNSEEN = 3
"""Source images that may lie at an end of the scale, unseen. What happens at a rate of 3 / n is missing in 5 % of
samples of n: the rule of three (Hanley and Lippman-Hand, JAMA 1983)."""

SMALLEST_ERROR = 0.1
"""Standard errors of bootstrap samples are not taken for smaller than this share of the data's."""

BATCH_CELLS = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What a sample says about a mean. The interval leaves out zero if p < ALPHA and the mean is not `reversible`."""

    mean: float
    interval: Interval | None
    """Null if all source images agree, and the values have no scale."""
    p: float
    """Two-sided, of a zero mean."""
    reversible: bool
    """UNSEEN further images at an end of the scale could reverse the sign of the mean."""
    error: float
    """Standard error, robust to clusters."""
    pivots: Floats
    """Bootstrap distribution of (mean of a sample - mean) / its error, sorted; empty above MANY_CLUSTERS images."""
    unseen: float
    """Smallest mean that UNSEEN further images cannot reverse, if all groups have it. 0 without a scale."""


def infer_mean(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    scale: Interval | None = None,
    seed: int = 0,
) -> Inference | None:
    """Infer the mean of the groups' means (macro mean), or without groups the mean of all values.

    values: float64 (n,), no NaN. clusters: (n,), equal if two values share a source image. groups: (n,), usually the
    category. scale: the ends of the values' scale. Each value of a group weighs the same.

    Interval and p come from one bootstrap-t distribution (Efron 1982; Hall 1988). Source images are drawn with
    replacement, among those that occur in the same groups; each sample is studentised by its own cluster-robust
    standard error. It holds its level on skewed values, where a t test, a percentile interval and a sign-flip test do
    not. With `scale`, the interval also spans the means that UNSEEN further images at an end of the scale would give:
    no sample tells of what is too rare to be in it.

    Return None below FEWEST_CLUSTERS effective clusters in any group (Kish: (sum n)^2 / sum n^2 over the clusters'
    sizes n). Raises ValueError for NaN and arrays of unequal lengths.
    """
    sample = Sample.of(np.asarray(values, dtype=np.float64), clusters, groups)
    if sample is None or sample.effective.min() < FEWEST_CLUSTERS:
        return None
    mean, error = sample.measure()
    drawn = sample.is_drawn(error)
    pivots = np.sort(np.concatenate(list(_studentise(sample, mean, error, seed)))) if drawn else np.empty(0)
    return conclude(sample, pivots, scale)


def conclude(sample: "Sample", pivots: Floats, scale: Interval | None) -> Inference:
    """Infer the mean of a sample from its sorted `pivots`, which are empty unless it `is_drawn`."""
    mean, error = sample.measure()
    interval, p = _invert(pivots, mean, error) if sample.varies(error) else (None, 0.0 if mean else 1.0)
    span = sample.span_unseen(mean, scale) if scale else None
    if span and scale:
        low, high = interval or (mean, mean)
        interval = max(scale[0], min(low, span[0])), min(scale[1], max(high, span[1]))
    return Inference(
        mean=mean,
        interval=interval,
        p=max(p, find_least_p(len(sample.strata))),
        reversible=bool(span and span[0] <= 0 <= span[1]),
        error=error,
        pivots=pivots,
        unseen=sample.find_reversible(scale) if scale else 0.0,
    )


def find_least_p(clusters: int) -> float:
    """Return the least p of so many source images: no sign test of them can say more."""
    return float(2.0 ** (1 - clusters))


def mean_interval(
    values: npt.ArrayLike, clusters: npt.ArrayLike, scale: Interval | None = None, seed: int = 0
) -> Interval | None:
    """Return the 95 % interval of the mean of all values, as `infer_mean` does."""
    return macro_interval(values, clusters, np.zeros(np.shape(values)), scale, seed)


def macro_interval(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike,
    groups: npt.ArrayLike,
    scale: Interval | None = None,
    seed: int = 0,
) -> Interval | None:
    """Return the 95 % interval of the mean of the groups' means, as `infer_mean` does.

    Without a scale it stays within the values seen.
    """
    found = infer_mean(values, clusters, groups, scale=scale, seed=seed)
    if found is None or found.interval is None:
        return None
    low, high = scale or (float(np.min(values)), float(np.max(values)))
    return max(low, found.interval[0]), min(high, found.interval[1])


def rate_interval(count: float, n: int) -> Interval | None:
    """Return the 95 % Wilson interval of `count` / `n`, within 0..1, or None for n = 0."""
    if not n:
        return None
    low, high = proportion_confint(count, n, alpha=ALPHA, method="wilson")
    return float(low), float(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Values added up by cluster (K) and group (C)."""

    largest: float
    """Largest absolute value, at least 1."""

    sums: Floats
    """(K, C)"""
    counts: Floats
    """(K, C)"""
    strata: npt.NDArray[np.intp]
    """(K,), equal for clusters that are drawn from each other."""
    effective: Floats
    """(C,), effective number of clusters."""

    @classmethod
    def of(cls, values: Floats, clusters: npt.ArrayLike, groups: npt.ArrayLike | None) -> "Sample | None":
        """Add the values up; None if there are none."""
        if np.isnan(values).any():
            raise ValueError("A value is NaN; drop the rows without a score before computing an interval.")
        _, cluster = np.unique(np.asarray(clusters), return_inverse=True)
        named = np.zeros(len(values)) if groups is None else np.asarray(groups)
        _, group = np.unique(named, return_inverse=True)
        if not len(values) == len(cluster) == len(group):
            lengths = f"{len(values)} values, {len(cluster)} clusters and {len(group)} groups"
            raise ValueError(f"{lengths}; one of each per row.")
        if not len(values):
            return None
        shape = cluster.max() + 1, group.max() + 1
        place = np.ravel_multi_index((cluster, group), shape)
        sums, counts = (
            np.bincount(place, weights, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
            for weights in (values, None)
        )
        return cls(
            largest=float(np.abs(values).max(initial=1)),
            sums=sums,
            counts=counts,
            strata=_find_strata(counts > 0),
            effective=counts.sum(axis=0) ** 2 / np.square(counts).sum(axis=0),
        )

    def measure(self) -> tuple[float, float]:
        """Return the macro mean and its standard error."""
        means, errors = self.compute(np.ones((1, len(self.strata))))
        return float(means[0]), float(errors[0])

    def varies(self, error: float) -> bool:
        """Tell whether the clusters disagree by more than rounding."""
        return error > 1e-9 * self.largest

    def is_drawn(self, error: float) -> bool:
        """Tell whether bootstrap samples are drawn."""
        return self.varies(error) and len(self.strata) <= MANY_CLUSTERS

    @property
    def group_means(self) -> Floats:
        means: Floats = self.sums.sum(axis=0) / self.counts.sum(axis=0)
        return means

    def span_unseen(self, mean: float, scale: Interval) -> Interval:
        """Return the lowest and highest macro mean with UNSEEN more images at an end of the scale, in any one group."""
        share = UNSEEN / (self.effective + UNSEEN) / len(self.effective)
        low, high = (share * (end - self.group_means) for end in scale)
        return mean + float(low.min()), mean + float(high.max())

    def find_reversible(self, scale: Interval) -> float:
        share = float((UNSEEN / (self.effective + UNSEEN)).max()) / len(self.effective)
        return share / (1 - share) * max(map(abs, scale))

    def compute(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the macro means and their standard errors if cluster k occurs weights[b, k] times, each (B,).

        The error is that of the linearised mean: the root of the sum of the clusters' squared influences. They are
        scaled by m / (m - 1), with m the group's clusters, because a sample spreads less than its population.
        """
        members = (self.counts > 0).sum(axis=0)
        totals = weights @ self.counts
        with np.errstate(invalid="ignore", divide="ignore"):
            means = weights @ self.sums / totals
            share = np.sqrt(members / (members - 1)) / (totals * totals.shape[1])
            influence = share @ self.sums.T - (share * means) @ self.counts.T
        return means.mean(axis=1), np.sqrt((weights * influence**2).sum(axis=1))

    def draw(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw the weights of `count` bootstrap samples, (count, K)."""
        weights = np.empty((count, len(self.strata)))
        for stratum in range(self.strata.max() + 1):
            members = np.flatnonzero(self.strata == stratum)
            size = len(members)
            drawn = rng.integers(size, size=(count, size)) + size * np.arange(count)[:, None]
            weights[:, members] = np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)
        return weights


def _find_strata(present: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Give each set of groups in which clusters occur a number. Rare sets share one, or that of the most frequent set.

    A cluster that is drawn from few others hardly varies, and the interval would be too narrow.
    """
    _, stratum, count = np.unique(present, axis=0, return_inverse=True, return_counts=True)
    rare = count[stratum] < FEWEST_CLUSTERS
    merged = np.where(rare, count.argmax() if rare.sum() < FEWEST_CLUSTERS else -1, stratum)
    return np.unique(merged, return_inverse=True)[1].astype(np.intp)


def _invert(pivots: Floats, mean: float, error: float) -> tuple[Interval, float]:
    """Return the bootstrap-t interval, and the two-sided p of a zero mean from the same distribution."""
    observed = mean / error
    beyond_all = 2 * float(stats.norm.sf(abs(observed)))
    if not len(pivots):
        half = -float(stats.norm.ppf(ALPHA / 2)) * error
        return (mean - half, mean + half), beyond_all
    cut = int(np.ceil(ALPHA / 2 * (len(pivots) + 1))) - 1  # then p < ALPHA outside of the interval, and only there
    ends = mean - float(pivots[-cut]) * error, mean - float(pivots[cut - 1]) * error
    beyond = int(min((pivots <= observed).sum(), (pivots >= observed).sum()))
    p = 2 * (beyond + 1) / (len(pivots) + 1)
    return ends, min(1.0, p if beyond else min(p, beyond_all))  # else many tests could not be corrected for each other


def _studentise(sample: Sample, mean: float, error: float, seed: int) -> Iterator[Floats]:
    rng, left = np.random.default_rng(seed), RESAMPLES
    batch = max(1, BATCH_CELLS // len(sample.strata))
    while left > 0:
        means, errors = sample.compute(sample.draw(min(batch, left), rng))
        left -= batch
        # A sample of like values would be infinitely sure of itself; one that lacks a group counts for either side.
        found = (means - mean) / np.maximum(errors, SMALLEST_ERROR * error)
        yield np.where(np.isnan(found), np.inf * rng.choice([-1, 1], len(found)), found)
