"""Make the pairs of edits that a rater compares, and choose which edit is shown as A."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from editlane.datasets.item_ids import digest
from editlane.ratings.page.tasks import Task
from editlane.ratings.votes import PairSubject


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTask:
    """Two edits of one item to compare, in the order in which they are shown."""

    item_id: str
    system_a: str
    system_b: str
    instruction: str
    language: str
    source: Path
    edit_a: Path
    edit_b: Path
    subject: PairSubject
    references: tuple[Path, ...] = ()
    """The item's further images."""

    @property
    def pictures(self) -> dict[str, Path]:
        return {"source": self.source, "a": self.edit_a, "b": self.edit_b}


def make_pairs(tasks: Sequence[Task], rater: str, seed: int) -> list[PairTask]:
    """Pair the edits of each item, in this rater's own random order.

    Which edit is A is drawn for each rater and pair, so that several raters see both orders.
    """
    by_item: defaultdict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        by_item[task.item_id].append(task)
    drawn = [
        (digest(str(seed), rater, item_id, one.editor, other.editor), one, other)
        for item_id, of_item in by_item.items()
        for one, other in combinations(sorted(of_item, key=lambda task: task.editor), 2)
    ]
    drawn.sort(key=lambda pair: pair[0])
    return [_show(*pair) for pair in drawn]


def _show(drawn: str, one: Task, other: Task) -> PairTask:
    first, second = (one, other) if int(digest("left", drawn), 16) % 2 else (other, one)
    subject = first.subject
    return PairTask(
        item_id=first.item_id,
        system_a=first.editor,
        system_b=second.editor,
        instruction=first.instruction,
        language=first.language,
        source=first.source,
        references=first.references,
        edit_a=first.edit,
        edit_b=second.edit,
        subject=PairSubject(subject.source, subject.edit, second.subject.edit, subject.instruction),
    )
