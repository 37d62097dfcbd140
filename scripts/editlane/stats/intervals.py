"""95 % intervals: of means by bootstrap over source images, of rates by Wilson."""

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

Interval = tuple[float, float]
"""Lower and upper end."""

ALPHA = 0.05
"""Share of intervals that may miss, and level of every test."""

FEWEST_CLUSTERS = 6
"""Below this nothing is said: five independent values all lie on one side of their median in 6 % of cases, so that
neither a resampling of them can cover 95 % nor a sign-flip test of them reach p < 0.05."""

MANY_CLUSTERS = 2000
"""Above this the limit of the bootstrap, the t interval, is taken. On skewed scores of so many clusters their ends
differ by less than 2 % of the width, which is less than another seed changes."""

RESAMPLES = 4000
"""Bootstrap samples of one interval."""

_BATCH_CELLS = 1_000_000


def mean_interval(values: npt.ArrayLike, clusters: npt.ArrayLike, seed: int = 0) -> Interval | None:
    """95 % interval of the mean of `values`, resampled by cluster.

    values: float64 (n,), no NaN. clusters: (n,), equal where two values share a source image.
    None for fewer than FEWEST_CLUSTERS clusters, and where no cluster differs from another: a width of zero would claim
    that every further item gets the same value. Raises ValueError for NaN and for arrays of unequal lengths.
    """
    return macro_interval(values, clusters, np.zeros(np.shape(values)), seed)


def macro_interval(
    values: npt.ArrayLike, clusters: npt.ArrayLike, groups: npt.ArrayLike, seed: int = 0
) -> Interval | None:
    """95 % interval of the mean of the groups' means (macro mean), resampled by cluster.

    groups: (n,), equal where two values belong to one group, usually a category. Otherwise as `mean_interval`, with the
    fewest clusters in each group.
    """
    values = np.asarray(values, dtype=np.float64)
    contributions = cluster_contributions(values, clusters, groups)
    if contributions is None:
        return None
    low, high = _interval(*contributions, seed)
    return max(low, float(values.min())), min(high, float(values.max()))


def rate_interval(count: int, n: int) -> Interval | None:
    """95 % Wilson interval of `count` out of `n`, within 0..1; None for n = 0."""
    if not n:
        return None
    low, high = proportion_confint(count, n, alpha=ALPHA, method="wilson")
    return float(low), float(high)


def cluster_contributions(
    values: npt.NDArray[np.float64], clusters: npt.ArrayLike, groups: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], int] | None:
    """One number per cluster whose mean is the macro mean and whose spread is its uncertainty; degrees of freedom.

    The linearised bootstrap of a ratio: a cluster's number is the mean plus the cluster's influence on it. So clusters
    of several sizes, and photos that occur in several groups, need no special case. The influences are scaled by
    sqrt(m / (m - 1)), m the clusters of the group, because a sample spreads less than what it was drawn from.
    """
    if np.isnan(values).any():
        raise ValueError("A value is NaN; leave out what was not scored before asking for an interval.")
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
    # where no photo is in two groups, this is count - groups
    freedom = min(count - 1, int((members - 1).sum()))
    return means.mean() + count * influence, freedom


def _interval(contributions: npt.NDArray[np.float64], freedom: int, seed: int) -> Interval:
    """BCa (Efron 1987), with the t quantile in place of the normal one.

    Both the scaling above and the t quantile are Hesterberg's, "What Teachers Should Know About the Bootstrap", The
    American Statistician 69 (2015), on why percentile intervals are too narrow for small samples.
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
