"""Find a panel's weights in people's ratings, and say whether they are worth it."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from editlane.core.errors import UserError
from editlane.core.text_width import pluralize
from editlane.ratings.summary_text import format_line
from editlane.ratings.tables import Rating, Score
from editlane.stats.held_out import FOLDS
from editlane.stats.panel_weights import PanelWeights, cross_validate


def find_weights(ratings: Sequence[Rating], scores: Sequence[Score], judges: Sequence[str]) -> PanelWeights:
    """Fit the weights of these judges to the mean ratings of the edits that all of them scored.

    Raises UserError if no such edit is rated, or if they share too few source images to leave some out.
    """
    given: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for rating in ratings:
        if not np.isnan(rating.score):
            given[rating[:2]].append(rating.score)
    table = {(row.judge, row.item, row.system): row for row in scores}
    edits = sorted(edit for edit in given if all((judge, *edit) in table for judge in judges))
    of_edits = [[table[judge, *edit] for judge in judges] for edit in edits]
    found = np.array([[row.score for row in rows] for rows in of_edits]).reshape(-1, len(judges))
    scored = ~np.isnan(found).any(axis=1)
    sources = np.array([rows[0].source for rows in of_edits], dtype=str)
    if len(np.unique(sources[scored])) < FOLDS:
        raise UserError(
            f"The edits that people rated and {', '.join(judges)} all scored have "
            f"{pluralize(len(np.unique(sources[scored])), 'source image')}, but weights need {FOLDS}: they are tried "
            "on images that they were not fitted to. Rate more edits, or name fewer judges."
        )
    labels = np.array([np.mean(given[edit]) for edit in edits])
    return cross_validate(labels, found, sources, np.array([system for _, system in edits], dtype=str), judges)


def format_weights(found: PanelWeights) -> str:
    """Format the weights, their gain on other photos, and what to write into the config."""
    lines = [
        f"Weights from {pluralize(found['edits'], 'edit')} of {pluralize(found['photos'], 'source image')}, which "
        "people rated and all judges scored:"
    ]
    for judge, weight in found["weights"].items():
        low, high = found["spread"][judge]
        lines.append(f"  {judge}: {weight:.3f} (without a fifth of the images: {low:.3f} to {high:.3f})")
    lines += [
        "",
        "Spearman within editor, on images that the weights were not fitted to:",
        format_line("weighted mean", found["weighted"]),
        format_line("plain mean", found["mean"]),
        format_line("gain of the weights", found["gain"]),
        "",
    ]
    return "\n".join([*lines, *_advise(found)])


def _advise(found: PanelWeights) -> list[str]:
    if not found["shown"]:
        judges = ", ".join(found["weights"])
        return ["No gain shown: use the mean.", f"  panels: {{NAME: {{judges: [{judges}], combine: mean}}}}"]
    weights = {judge: round(weight, 3) for judge, weight in found["weights"].items() if round(weight, 3) > 0}
    if len(weights) < 2:
        return [f"All weight is on {next(iter(weights))}: use this judge alone, without a panel."]
    left_out = [judge for judge in found["weights"] if judge not in weights]
    named = ", ".join(f"{judge}: {weight:g}" for judge, weight in weights.items())
    lines = [f"  panels: {{NAME: {{judges: [{', '.join(weights)}], combine: weighted, weights: {{{named}}}}}}}"]
    return ["The weights gain on other images. For the config:", *lines] + (
        [f"  left out, with the weight 0: {', '.join(left_out)}"] if left_out else []
    )
