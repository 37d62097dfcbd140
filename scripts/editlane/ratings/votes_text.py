"""Format the agreement of votes as text."""

from editlane.core.text_width import pluralize
from editlane.ratings.summary_text import format_line
from editlane.stats.resampled import Estimate
from editlane.stats.votes import Agreement, Ranking, Share

_ACCURACIES = {
    "four": "four classes, unreadable votes are wrong",
    "three": "three classes, unreadable votes are wrong",
    "four_of_readable": "four classes, readable votes only",
    "three_of_readable": "three classes, readable votes only",
}


def format_votes(agreement: Agreement, ranking: Ranking, left_out: int) -> str:
    """Format the results of `measure_votes` and `rank_systems`. left_out: votes that could not be compared."""
    first = agreement["first_better"]
    lines = [
        f"{pluralize(agreement['votes'], 'vote')} of people on pairs that the judge was asked about; "
        f"it gave no vote that can be read on {agreement['unreadable']:,} of them",
        *([f"  left out: {pluralize(left_out, 'vote')} on other pairs"] if left_out else []),
        "",
        "Accuracy of the judge; in three classes, both kinds of tie are one",
        *(_format_share(label, agreement["accuracy"][name]) for name, label in _ACCURACIES.items()),
        format_line("Cohen's kappa, four classes, readable votes only", agreement["kappa"]),
        "",
        "Votes for the first of the two edits, of those for one of them",
        *(_format_share(who, first[who]) for who in ("people", "judge")),
    ]
    if agreement["consistent"]["n"]:
        lines.append(_format_share("pairs shown in both orders that the judge judges alike", agreement["consistent"]))
    lines += ["", *_format_ranking(ranking)]
    return "\n".join(lines)


def _format_share(label: str, share: Share) -> str:
    why = None if share["interval"] else "no interval: too few items"
    found = Estimate(value=share["share"], interval=share["interval"], why=why)
    return format_line(f"{label}: {share['count']:,} / {share['n']:,}", found)


def _format_ranking(ranking: Ranking) -> list[str]:
    title = "Bradley-Terry scores of the systems, in logarithms"
    if not ranking["people"]:
        return [title, format_line("Kendall's tau of people and judge", ranking["kendall"])]
    lines = [title]
    for who, scores in (("people", ranking["people"]), ("judge", ranking["judge"])):
        order = sorted(scores, key=lambda system: -(scores[system]["value"] or 0.0))
        lines += [format_line(f"{who}: {system}", scores[system]) for system in order]
    return [*lines, format_line("Kendall's tau of both", ranking["kendall"])]
