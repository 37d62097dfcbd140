"""Say how many controls a dataset gives, and whether they can suffice to accept a judge."""

from collections.abc import Iterator, Mapping

from editlane.core.text_width import pluralize
from editlane.preflight.context import RunContext
from editlane.preflight.findings import Finding
from editlane.protocols.controls import count_controls

LEAST = 4
"""Controls of a kind, over all editors, that a perfect judge needs to be told from chance (stats/acceptance.py)."""

ENOUGH = 10
"""Controls of a kind that suffice for a good judge, whose answers to a few of them are wrong or unreadable."""

SHARES = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Values of `controls: share` to suggest, from the default to every control of every item."""


def check_controls(context: RunContext) -> Iterator[Finding]:
    """Count the controls that each judge will be asked, by kind."""
    share = context.config["controls"]["share"]
    if not share:
        yield Finding("pass", "controls", "share 0: no judge is tested, so the report ranks nothing")
        return
    scan = context.scan
    if scan.error or not scan.items:
        return  # check_dataset tells
    editors = len(context.editors)
    counts = count_controls(scan.items, share)
    total, least = sum(counts.values()) * editors, min(counts.values()) * editors
    so_far = "" if scan.complete else " of the part that was read"
    text = f"share {share:g} of {pluralize(scan.items.total(), 'item')}{so_far} x {pluralize(editors, 'editor')}: "
    text += f"{pluralize(total, 'question')} to each judge, at least {least} of each kind"
    if least >= ENOUGH:
        yield Finding("pass", "controls", text)
        return
    if scan.complete:
        verdict = "too few to accept any judge" if least < LEAST else "enough for a perfect judge only"
        yield Finding("warn", "controls", f"{text}, {verdict}", _suggest(scan.items, editors))


def _suggest(sizes: Mapping[str, int], editors: int) -> str:
    wanted = find_share(sizes, editors)
    if wanted is None:
        most = min(count_controls(sizes, SHARES[-1]).values()) * editors
        return (
            f"`controls: {{share: 4}}` gives {most} of each kind, all that there are; about {ENOUGH} are needed. Add "
            "items, or the report ranks nothing."
        )
    return f"Set `controls: {{share: {wanted:g}}}`, which gives {ENOUGH} or more of each kind."


def find_share(sizes: Mapping[str, int], editors: int) -> float | None:
    """Find the smallest suggested share that gives ENOUGH controls of each kind; None if the items are too few."""
    return next((one for one in SHARES if min(count_controls(sizes, one).values()) * editors >= ENOUGH), None)
