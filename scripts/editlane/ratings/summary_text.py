"""Format the agreement of raters and judges as text."""

from collections.abc import Mapping
from typing import Any

from editlane.core.text_width import measure_width, pluralize
from editlane.ratings.tables import list_first
from editlane.stats.agreement import LeaveOneOut, Spearman, SystemLevel
from editlane.stats.pairwise import Pairwise
from editlane.stats.resampled import Estimate

_WIDTH = 68
"""Columns before the numbers."""


def format_raters(about: Mapping[str, Any]) -> str:
    """Format the result of `compare_raters`."""
    counts = ", ".join(f"{rater} ({count})" for rater, count in about["ratings"].items())
    what = f"{pluralize(about['items'], 'item')}, {pluralize(len(about['systems']), 'system')}"
    left_out = []
    if about["without_score"]:
        left_out.append(f"  left out: {pluralize(about['without_score'], 'row')} without a score")
    if outdated := about["outdated"]:
        ratings = pluralize(sum(outdated.values()), "rating")
        names = list_first(list(outdated))
        left_out.append(f"  left out: {ratings} of another edit, source or instruction than was scored: {names}")
    if about["without_subject"]:
        ratings = pluralize(about["without_subject"], "rating")
        left_out.append(f"  compared by name alone: {ratings} of files that do not tell which edit was rated")
    return "\n".join(
        [
            f"Ratings of {what}, by {counts}",
            *left_out,
            format_line("Krippendorff's alpha (ordinal), all ratings", about["alpha"]),
        ]
    )


def format_judge(judge: str, about: Mapping[str, Any]) -> str:
    """Format the result of `compare_judge`."""
    unknown, not_scored = about["left_out"]["unknown"], about["left_out"]["not_scored"]
    left_out = [
        f"  left out: {pluralize(sum(names.values()), 'rating')} of unknown {kind} "
        f"({len(names)}: {list_first(list(names))})"
        for kind, names in unknown.items()
        if names
    ]
    if not_scored:
        left_out.append(f"  left out: {pluralize(not_scored, 'rating')} of edits without a score")
    return "\n".join(
        [
            f"Judge {judge}: {pluralize(about['cells'], 'edit')} both rated and scored; "
            f"{pluralize(about['items'], 'item')}, {pluralize(about['clusters'], 'source image')}",
            *left_out,
            format_line("Krippendorff's alpha (ordinal), these ratings", about["alpha"]),
            "",
            *_format_spearman(about["spearman"]),
            "",
            *_format_leave_one_out(about["leave_one_out"]),
            "",
            *_format_systems(about["system_level"]),
            "",
            *_format_pairwise(about["pairwise"]),
        ]
    )


def _format_spearman(found: Spearman) -> list[str]:
    return [
        "Spearman, judge with the mean of the raters, over the items",
        *(format_line(system, rho) for system, rho in found["systems"].items()),
        format_line("within the systems, all together", found["pooled"]),
        format_line(f"average of {pluralize(len(found['averaged']), 'system')} (arctanh, mean, tanh)", found["mean"]),
    ]


def _format_leave_one_out(found: LeaveOneOut) -> list[str]:
    return [
        f"Spearman with the other raters, one left out; {pluralize(found['pooled'], 'pair')} of system and rater",
        format_line("the rater left out (ceiling)", found["human"]),
        format_line("the judge, on the same edits", found["judge"]),
        format_line("judge - rater", found["difference"]),
    ]


def _format_systems(found: SystemLevel) -> list[str]:
    means = sorted(found["scores"], key=lambda system: -(found["scores"][system] or 0))
    return [
        _pad("Systems by mean", _WIDTH) + "  judge   raters",
        *(
            _pad(f"  {system}", _WIDTH) + f"{found['scores'][system]:7.3f}  {found['ratings'][system]:7.3f}"
            for system in means
        ),
        format_line("Kendall's tau of these means", found["kendall"]),
        format_line("Spearman of these means", found["spearman"]),
    ]


def _format_pairwise(found: Pairwise) -> list[str]:
    threshold = "" if found["threshold"] is None else f" of up to {found['threshold']:.3g}"
    return [
        f"Pairs of systems on the same item: {found['pairs']}",
        f"  {found['concordant']} concordant, {found['discordant']} discordant; tied by the raters only "
        f"{found['tied_by_raters']}, by the judge only {found['tied_by_judge']}, by both {found['tied_by_both']}",
        format_line("accuracy, a tie is an answer like any other", found["accuracy"]),
        format_line("accuracy, pairs with a tie left out", found["accuracy_untied"]),
        format_line(f"accuracy, differences{threshold} tied (chosen on these pairs)", found["calibrated"]),
        format_line("for comparison: every pair called tied", found["always_tied"]),
    ]


def format_line(label: str, found: Estimate) -> str:
    """Format a label, a value and its interval, or why one of them is missing."""
    start = _pad(f"  {label}", _WIDTH)
    if found["value"] is None:
        return f"{start}not defined: {found['why']}"
    if found["interval"] is None:
        return f"{start}{found['value']:7.3f}  {found['why']}"
    return f"{start}{found['value']:7.3f}  [{found['interval'][0]:.3f}, {found['interval'][1]:.3f}]"


def _pad(text: str, width: int) -> str:
    """Pad text with spaces to `width` columns of a terminal, by at least one space."""
    return text + " " * max(1, width - measure_width(text))
