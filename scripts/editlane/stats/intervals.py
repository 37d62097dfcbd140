"""95 % intervals: a bootstrap over source images for means, Wilson's interval for rates."""

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

Interval = tuple[float, float]
"""Lower and upper end."""

ALPHA = 0.05
"""Share of intervals that may miss the true value, and the level of every test."""

FEWEST_CLUSTERS = 6
"""No interval and no test below this. Five independent values all lie on one side of their median in 6 % of cases.
Resampling them cannot cover 95 %, and a sign-flip test cannot reach p < 0.05."""

MANY_CLUSTERS = 2000
"""Above this, use the t interval, the limit of the bootstrap. On skewed scores of this many clusters the ends of both
intervals differ by less than 2 % of the width, which is less than the effect of another seed."""

RESAMPLES = 4000
"""Bootstrap samples of one interval."""

_BATCH_CELLS = 1_000_000


def mean_interval(values: npt.ArrayLike, clusters: npt.ArrayLike, seed: int = 0) -> Interval | None:
    """Return the 95 % interval of the mean of `values`, resampled by cluster.

    values: float64 (n,), no NaN. clusters: (n,), equal if two values share a source image. Returns None below
    FEWEST_CLUSTERS clusters. Also returns None if all clusters have the same mean, because a width of zero would claim
    that every further item gets the same value. Raises ValueError for NaN and for arrays of unequal lengths.
    """
    return macro_interval(values, clusters, np.zeros(np.shape(values)), seed)


def macro_interval(
    values: npt.ArrayLike, clusters: npt.ArrayLike, groups: npt.ArrayLike, seed: int = 0
) -> Interval | None:
    """Return the 95 % interval of the mean of the groups' means (macro mean), resampled by cluster.

    groups: (n,), equal if two values belong to one group, usually a category. Each group needs FEWEST_CLUSTERS
    clusters. Everything else is as in `mean_interval`.
    """
    values = np.asarray(values, dtype=np.float64)
    contributions = cluster_contributions(values, clusters, groups)
    if contributions is None:
        return None
    low, high = _interval(*contributions, seed)
    return max(low, float(values.min())), min(high, float(values.max()))


def rate_interval(count: int, n: int) -> Interval | None:
    """Return the 95 % Wilson interval of `count` / `n`, within 0..1, or None for n = 0."""
    if not n:
        return None
    low, high = proportion_confint(count, n, alpha=ALPHA, method="wilson")
    return float(low), float(high)


def cluster_contributions(
    values: npt.NDArray[np.float64], clusters: npt.ArrayLike, groups: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], int] | None:
    """Return one number per cluster, and the degrees of freedom; None if a group has too few clusters.

    The mean of the numbers is the macro mean, and their spread is its uncertainty. This is the linearised bootstrap of
    a ratio: each number is the mean plus the cluster's influence on it. Clusters of different sizes and photos that
    occur in several groups need no special case. The influences are scaled by sqrt(m / (m - 1)), with m the number of
    clusters in the group, because a sample spreads less than its population.
    """
    if np.isnan(values).any():
        raise ValueError("A value is NaN; drop the rows without a score before computing an interval.")
    _, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    if not len(values) == len(cluster) == len(group):
        raise ValueError(f"{len(values)} values, {len(cluster)} clusters and {len(group)} groups; one of each per row.")
    count = int(cluster.max(initial=-1)) + 1
    members = np.bincount(np.unique(group * count + cluster) // max(count, 1))
    if members.min(initial=count) < FEWEST_CLUSTERS:
        return None
    sizes = np.bincount(group)
    means = np.bincount(group, values) / sizes
    scale = np.sqrt(members / (members - 1)) / (len(names) * sizes)
    influence = np.bincount(cluster, ((values - means[group]) * scale[group]))
    if np.allclose(influence, 0, rtol=0, atol=1e-12):
        return None
    # equals count - groups if no photo is in two groups
    freedom = min(count - 1, int((members - 1).sum()))
    return means.mean() + count * influence, freedom


def _interval(contributions: npt.NDArray[np.float64], freedom: int, seed: int) -> Interval:
    """Return the BCa interval (Efron 1987), with the t quantile in place of the normal one.

    Percentile intervals are too narrow for small samples. The scaling above and the t quantile follow Hesterberg,
    "What Teachers Should Know About the Bootstrap", The American Statistician 69 (2015).
    """
    count = len(contributions)
    if count > MANY_CLUSTERS:
        low, high = stats.ttest_1samp(contributions, 0).confidence_interval(1 - ALPHA)
        return float(low), float(high)
    found = stats.bootstrap(
        (contributions,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH_CELLS // count),
        vectorized=True,
        confidence_level=1 - 2 * float(stats.norm.cdf(-stats.t.ppf(1 - ALPHA / 2, freedom))),
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
