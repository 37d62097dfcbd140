"""Say how many controls a dataset gives, and whether they can suffice to accept a judge."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlCounts:
    """Controls that a judge is asked about the edits of all editors, by the share of the config."""

    sizes: Mapping[str, int]
    """Category -> number of items."""
    uniform: Collection[str]
    """Categories whose items all have the same instruction."""
    editors: int

    def count(self, share: float) -> int:
        """Return the number of all controls."""
        return sum(count_controls(self.sizes, share, self.uniform).values()) * self.editors

    def count_rarest(self, share: float) -> int:
        """Return the number of controls of the rarest kind."""
        return min(count_controls(self.sizes, share, self.uniform).values()) * self.editors

    def find_share(self) -> float | None:
        """Find the smallest suggested share that gives ENOUGH controls of each kind; None if the items are too few."""
        return next((share for share in SHARES if self.count_rarest(share) >= ENOUGH), None)


def check_controls(context: RunContext) -> Iterator[Finding]:
    """Count the controls that each judge will be asked, by kind."""
    share = context.config["controls"]["share"]
    if not share:
        yield Finding("pass", "controls", "share 0: no judge is tested, so the report ranks nothing")
        return
    scan = context.scan
    if scan.error or not scan.items:
        return  # check_setup.py and prepare_items tell
    counts = ControlCounts(sizes=scan.items, uniform=scan.uniform, editors=len(context.editors))
    rarest = counts.count_rarest(share)
    so_far = "" if scan.complete else " of the part that was read"
    items, editors = pluralize(scan.items.total(), "item"), pluralize(counts.editors, "editor")
    text = f"share {share:g} of {items}{so_far} x {editors}: "
    text += f"{pluralize(counts.count(share), 'question')} to each judge, at least {rarest} of each kind"
    if rarest >= ENOUGH:
        yield Finding("pass", "controls", text)
    elif scan.complete:
        verdict = "too few to accept any judge" if rarest < LEAST else "enough for a perfect judge only"
        yield Finding("warn", "controls", f"{text}, {verdict}", _suggest(counts))


def _suggest(counts: ControlCounts) -> str:
    wanted = counts.find_share()
    if wanted is None:
        return (
            f"`controls: {{share: 4}}` gives {counts.count_rarest(SHARES[-1])} of each kind, all that there are; about "
            f"{ENOUGH} are needed. Add items, with different instructions in each category, else the report ranks "
            "nothing."
        )
    return f"Set `controls: {{share: {wanted:g}}}`, which gives {ENOUGH} or more of each kind."
