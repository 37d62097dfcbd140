"""The agreement of raters and judges as lines of text."""

from collections.abc import Mapping
from typing import Any

from editlane.core.text_width import measure_width
from editlane.ratings.tables import shortened
from editlane.stats.agreement import LeaveOneOut, Spearman, SystemLevel
from editlane.stats.pairwise import Pairwise
from editlane.stats.resampled import Estimate

_WIDTH = 68
"""Columns before the numbers."""


def raters_text(about: Mapping[str, Any]) -> str:
    """`about`: what `compare_ratings.about_raters` returns."""
    counts = ", ".join(f"{rater} ({count})" for rater, count in about["ratings"].items())
    return "\n".join(
        [
            f"Ratings of {about['items']} items, {len(about['systems'])} systems, by {counts}",
            *([f"  left out: {about['without_score']} rows without a score"] if about["without_score"] else []),
            _line("Krippendorff's alpha (ordinal), all ratings", about["alpha"]),
        ]
    )


def judge_text(judge: str, about: Mapping[str, Any]) -> str:
    """`about`: what `compare_ratings.about_judge` returns."""
    unknown, not_scored = about["left_out"]["unknown"], about["left_out"]["not_scored"]
    left_out = [
        f"  left out: {sum(names.values())} ratings of unknown {kind} ({len(names)}: {shortened(list(names))})"
        for kind, names in unknown.items()
        if names
    ]
    if not_scored:
        left_out.append(f"  left out: {not_scored} ratings of edits without a score")
    return "\n".join(
        [
            f"Judge {judge}: {about['cells']} edits are both rated and scored; "
            f"{about['items']} items, {about['clusters']} source images",
            *left_out,
            _line("Krippendorff's alpha (ordinal), these ratings", about["alpha"]),
            "",
            *_spearman_lines(about["spearman"]),
            "",
            *_leave_one_out_lines(about["leave_one_out"]),
            "",
            *_system_lines(about["system_level"]),
            "",
            *_pairwise_lines(about["pairwise"]),
        ]
    )


def _spearman_lines(found: Spearman) -> list[str]:
    return [
        "Spearman, judge with the mean of the raters, over the items",
        *(_line(system, rho) for system, rho in found["systems"].items()),
        _line(f"average of {len(found['averaged'])} systems (arctanh, mean, tanh)", found["mean"]),
        _line("WRONG average (mean, then tanh), as published for VIEScore", found["tanh_of_mean"]),
    ]


def _leave_one_out_lines(found: LeaveOneOut) -> list[str]:
    return [
        f"Spearman with the other raters, one left out; average of {found['averaged']}",
        _line("the rater left out (ceiling)", found["human"]),
        _line("the judge, on the same edits", found["judge"]),
        _line("judge - rater", found["difference"]),
    ]


def _system_lines(found: SystemLevel) -> list[str]:
    means = sorted(found["scores"], key=lambda system: -(found["scores"][system] or 0))
    return [
        _padded("Systems by mean", _WIDTH) + "  judge   raters",
        *(
            _padded(f"  {system}", _WIDTH) + f"{found['scores'][system]:7.3f}  {found['ratings'][system]:7.3f}"
            for system in means
        ),
        _line("Kendall's tau of these means", found["kendall"]),
        _line("Spearman of these means", found["spearman"]),
    ]


def _pairwise_lines(found: Pairwise) -> list[str]:
    threshold = "" if found["threshold"] is None else f" of up to {found['threshold']:.3g}"
    return [
        f"Pairs of systems on the same item: {found['pairs']}",
        f"  {found['concordant']} concordant, {found['discordant']} discordant; tied by the raters only "
        f"{found['tied_by_raters']}, by the judge only {found['tied_by_judge']}, by both {found['tied_by_both']}",
        _line("accuracy, a tie is an answer like others", found["accuracy"]),
        _line("accuracy, pairs with a tie left out", found["accuracy_untied"]),
        _line(f"accuracy, differences{threshold} tied (chosen on these pairs)", found["calibrated"]),
        _line("for comparison: every pair called tied", found["always_tied"]),
    ]


def _line(label: str, found: Estimate) -> str:
    start = _padded(f"  {label}", _WIDTH)
    if found["value"] is None:
        return f"{start}not defined: {found['why']}"
    if found["interval"] is None:
        return f"{start}{found['value']:7.3f}  {found['why']}"
    return f"{start}{found['value']:7.3f}  [{found['interval'][0]:.3f}, {found['interval'][1]:.3f}]"


def _padded(text: str, width: int) -> str:
    """The text with spaces up to `width` columns of a terminal; a Chinese character takes two."""
    columns = measure_width(text)
    return text + " " * max(1, width - columns)
