"""Fit the strengths of editors to duels by the Bradley-Terry model (Biometrika 1952), with intervals over photos.

A strength is a logarithm of odds: the odds that a beats b are exp(strength of a - strength of b). Strengths are centred
at 0. A tie counts as half a win for each (Davidson 1970 gives ties a parameter of their own, which changes the
differences little). Every pair that was asked gets half a tie more, so that an editor that wins every duel has a finite
strength. Pairs need not be asked equally often: strengths stay consistent if the answers so far decide which pair is
asked next, because the likelihood does not depend on that choice.

Intervals come from jackknife pseudo-values, one per photo (Tukey 1958), with the bootstrap-t of `infer_mean`.
"""

from typing import Any

import evalica
import numpy as np
import numpy.typing as npt

from editlane.stats.intervals import UNSEEN

Floats = npt.NDArray[np.float64]

PRIOR = 0.25
"""Wins that each side of a pair is given: half a tie."""

LONGEST_STEP = 2.0
STEPS = 100
CLOSE = 1e-10
_CELLS = 4_000_000


def add_wins(a: npt.NDArray[Any], b: npt.NDArray[Any], win: Floats, clusters: npt.NDArray[Any], size: int) -> Floats:
    """Add up the wins of each photo, (photos, size, size): [c, i, j] is how often i beat j on photo c.

    a, b: int (duels,), the two editors. win: 0..1, of a.
    """
    _, cluster = np.unique(clusters, return_inverse=True)
    wins = np.zeros((cluster.max(initial=-1) + 1, size, size))
    np.add.at(wins, (cluster, a, b), win)
    np.add.at(wins, (cluster, b, a), 1 - win)
    return wins


def find_groups(wins: Floats) -> list[list[int]]:
    """List the groups of editors that duels connect. Strengths of different groups cannot be compared."""
    met = (wins + wins.T) > 0
    left, groups = set(range(len(wins))), []
    while left:
        group, new = set(), {min(left)}
        while new:
            group |= new
            new = {int(at) for one in new for at in np.flatnonzero(met[one])} - group
        groups.append(sorted(group))
        left -= group
    return groups


def fit_strengths(wins: Floats) -> Floats:
    """Fit the strengths (K,) to the wins (K, K) of editors that are all connected, by evalica."""
    firsts, seconds = np.nonzero(wins + wins.T > 0)
    weights = list(wins[firsts, seconds] + PRIOR)
    found = evalica.bradley_terry(
        list(firsts), list(seconds), [evalica.Winner.X] * len(firsts), weights=weights, tolerance=1e-12, limit=100_000
    )
    return center(np.log(found.scores.sort_index().to_numpy(dtype=np.float64)))


def fit_many(wins: Floats, start: Floats) -> Floats:
    """Fit the strengths (B, K) to many tables of wins (B, K, K) by Newton's method, from the strengths `start` (K,).

    evalica fits one table at a time, and an interval needs thousands. A test compares the two.
    """
    rows = max(1, _CELLS // wins.shape[1] ** 2)
    parts = [_fit_part(wins[at : at + rows], start) for at in range(0, len(wins), rows)]
    return np.concatenate(parts) if parts else np.empty((0, wins.shape[1]))


def _fit_part(wins: Floats, start: Floats) -> Floats:
    games = wins + wins.swapaxes(1, 2)
    prior = PRIOR * (games.sum(axis=0) > 0)
    wins, games = wins + prior, games + 2 * prior
    size = wins.shape[1]
    found, places = np.tile(start, (len(wins), 1)), np.arange(size)
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(found[:, None, :] - found[:, :, None]))
        slope = (wins - games * chance).sum(axis=2)
        bend = -games * chance * (1 - chance)
        bend[:, places, places] = -bend.sum(axis=2) + bend[:, places, places]
        step = np.linalg.solve(bend + 1.0, slope[:, :, None])[:, :, 0]  # + 1: strengths have no natural zero
        step *= np.minimum(1, LONGEST_STEP / np.maximum(np.abs(step).max(axis=1, keepdims=True), LONGEST_STEP))
        found = found + step
        if np.abs(step).max(initial=0) < CLOSE:
            break
    return center(found)


def center(strengths: Floats) -> Floats:
    centred: Floats = strengths - strengths.mean(axis=-1, keepdims=True)
    return centred


def make_pseudo_values(wins: Floats, strengths: Floats) -> Floats:
    """Return the pseudo-values (photos, K) of the strengths (K,), whose mean is the strengths.

    That of a photo tells what the strengths would be if all photos were like it, to the first order.
    """
    count = len(wins)
    without = fit_many(wins.sum(axis=0) - wins, strengths)
    pseudo: Floats = strengths + (count - 1) * (without.mean(axis=0) - without)
    return pseudo


def span_unseen(wins: Floats, strengths: Floats) -> tuple[Floats, Floats]:
    """Fit what UNSEEN more photos, on which editor i loses all or wins all, would make of the strengths.

    Returns two arrays (K, K): row i has all strengths if i lost, and if it won. What is rare may be in no photo of the
    sample; see `intervals.UNSEEN`.
    """
    total = wins.sum(axis=0)
    more = UNSEEN / len(wins) * (total + total.T)
    size = len(total)
    lost = np.repeat(total[None], size, axis=0)
    won = lost.copy()
    for i in range(size):
        lost[i, :, i] += more[:, i]
        won[i, i, :] += more[i]
    return fit_many(lost, strengths), fit_many(won, strengths)


def score_difference(wins: Floats, strengths: Floats, i: int, j: int) -> Floats:
    """Return what each photo says (photos,) about a difference between editors i and j, if they were equally strong.

    It is the photo's part of one Newton step from the fit in which both are equal, times the photos: a score test (Rao
    1948). Unlike a pseudo-value it stays bounded where an editor wins nearly every duel.
    """
    size, total = wins.shape[1], wins.sum(axis=0)
    merged = np.eye(size)
    merged[i, j] = merged[j, i] = 1
    kept = [at for at in range(size) if at != j]
    table = (merged @ total @ merged)[np.ix_(kept, kept)]
    equal = np.empty(size)
    equal[kept] = fit_many(table[None], center(strengths[kept]))[0]
    equal[j] = equal[i]
    games = wins + wins.swapaxes(1, 2)
    chance = 1 / (1 + np.exp(equal[None, :] - equal[:, None]))
    slopes = (wins - games * chance).sum(axis=2)
    bend = -(games.sum(axis=0) + 2 * PRIOR * (games.sum(axis=0) > 0)) * chance * (1 - chance)
    bend -= np.diag(bend.sum(axis=1))
    contrast = np.zeros(size)
    contrast[i], contrast[j] = 1, -1
    step: Floats = len(wins) * slopes @ np.linalg.solve(bend + 1.0, contrast)
    return step
