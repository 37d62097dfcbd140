"""Say how many controls a dataset gives, and whether they can suffice to accept a judge."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from editlane.core.findings import Finding, join_names
from editlane.core.text_width import pluralize
from editlane.core.types import SAME_FOR_ALL, WRONG
from editlane.preflight.context import RunContext
from editlane.protocols.controls import Cell, count_controls

NEEDED = 13
"""Controls that show no edit or a wrong one, in a category or about an editor, and of each kind, that a judge must all
tell apart to be told from a blind one. With fewer, only luck decides; see stats/acceptance.py."""

ENOUGH = 20
"""With so many, a judge may miss one."""

FEWEST_EDITS = 10
"""Edits of a category without which hardly any number of controls tells a blind judge from one that sees."""

SHARES = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Values of `controls: share` to suggest, from the default to every control of every item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlCounts:
    """Controls that a judge is asked about the edits of all editors, by the share of the config."""

    sizes: Mapping[str, int]
    """Category -> number of items."""
    uniform: Collection[str]
    """Categories whose items all have the same instruction."""
    editors: int
    least: int

    def _count(self, share: float) -> Counter[Cell]:
        counts = count_controls(self.sizes, share, self.least, self.editors, self.uniform)
        return Counter({cell: n * (1 if cell[1] in SAME_FOR_ALL else self.editors) for cell, n in counts.items()})

    def count(self, share: float) -> int:
        """Return the number of different questions."""
        return self._count(share).total()

    def count_rarest(self, share: float) -> int:
        """Return the number of controls of the rarest kind, or in the category with the fewest."""
        counts = self._count(share)
        kinds = {control: sum(n for (_, of), n in counts.items() if of == control) for control in WRONG}
        categories = {
            name: sum(n for (of, kind), n in counts.items() if of == name and kind in WRONG) for name in self.sizes
        }
        return min(*kinds.values(), *categories.values())

    def find_share(self) -> float | None:
        """Find the smallest suggested share that is ENOUGH; None if the items are too few."""
        return next((share for share in SHARES if self.count_rarest(share) >= ENOUGH), None)


def check_controls(context: RunContext) -> Iterator[Finding]:
    """Count the controls that each judge will be asked, by kind."""
    share, least = (context.config["controls"][name] for name in ("share", "least"))
    if not share:
        yield Finding("pass", "controls", "share 0: no judge is tested, so the report ranks nothing")
        return
    scan = context.scan
    if scan.error or not scan.items:
        return  # check_setup.py and prepare_items tell
    counts = ControlCounts(sizes=scan.items, uniform=scan.uniform, editors=len(context.editors), least=least)
    rarest, asked = counts.count_rarest(share), counts.count(share)
    so_far = "" if scan.complete else " of the part that was read"
    items, editors = pluralize(scan.items.total(), "item"), pluralize(counts.editors, "editor")
    text = f"{pluralize(asked, 'question')} to each judge about {items}{so_far} x {editors}, "
    text += f"at least {rarest} of each kind and in each category"
    small = [name for name, size in scan.items.items() if size * counts.editors < FEWEST_EDITS]
    if scan.complete and small:
        remedy = f"The report will not rank them. Give each category {FEWEST_EDITS} edits or more, or join categories."
        yield Finding("warn", "controls", f"too few edits to test a judge in {join_names(small, 5)}", remedy)
    if rarest >= ENOUGH:
        yield Finding("pass", "controls", text)
    elif scan.complete:
        few = f"too few to accept a judge everywhere (it takes {NEEDED}), so the report will not rank everything"
        verdict = few if rarest < NEEDED else "enough for a perfect judge only: one that misses a single one may fail"
        yield Finding("warn", "controls", f"{text}: {verdict}", _suggest(counts))


def _suggest(counts: ControlCounts) -> str:
    wanted = counts.find_share()
    if wanted is None:
        return (
            f"`controls: {{share: 6}}` gives {counts.count_rarest(SHARES[-1])}, all that there are; about {ENOUGH} are "
            "needed. Add items, with different instructions in each category, else the report leaves out what it "
            "cannot test."
        )
    return f"Set `controls: {{share: {wanted:g}}}`, which gives {ENOUGH} or more."
