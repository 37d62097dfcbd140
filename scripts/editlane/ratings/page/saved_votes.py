"""Save one rater's votes on pairs to a CSV file that may also hold those of others."""

import threading
from collections.abc import Sequence
from pathlib import Path

from editlane.ratings.page.pairs import PairTask
from editlane.ratings.page.saved import check_columns, lock_file
from editlane.ratings.votes import COLUMNS, SUBJECT_COLUMNS, SWAPPED, PairSubject, Vote, read_people, write_votes


class SavedVotes:
    """The votes of one rater. `save` returns after the vote is on the disk. The file never has two on one pair."""

    def __init__(self, path: Path, rater: str) -> None:
        """Open the file. Raises UserError if it exists and has other columns."""
        self.path, self.rater = path, rater
        self._threads = threading.Lock()
        check_columns(path, COLUMNS, SUBJECT_COLUMNS)

    def find_scores(self, tasks: Sequence[PairTask]) -> list[str | None]:
        """Return this rater's vote on each task, as it is shown now; None if there is none on these edits.

        Raises UserError if the file is damaged.
        """
        own = {_name(vote): vote for vote in self._read() if vote.rater == self.rater}
        return [_see(own.get(_name(task)), task) for task in tasks]

    def find_outdated(self, tasks: Sequence[PairTask]) -> list[Vote]:
        """List this rater's votes on other edits, sources or instructions than the task of their names has now."""
        pairs, now = {_name(task)[:2] for task in tasks}, {_name(task) for task in tasks}
        mine = [vote for vote in self._read() if vote.rater == self.rater]
        return [vote for vote in mine if _name(vote)[:2] in pairs and _name(vote) not in now]

    def save(self, task: PairTask, score: str) -> None:
        """Add the vote on a pair, or replace it in its row. Votes on earlier edits of these names stay."""
        vote = Vote(task.item_id, task.system_a, task.system_b, self.rater, score, task.subject)
        with self._threads, lock_file(self.path):
            rows = self._read()
            same = [at for at, row in enumerate(rows) if row.rater == self.rater and _name(row) == _name(task)]
            place = same[0] if same else len(rows)
            rows[place : place + 1] = [vote]
            write_votes(self.path, rows)

    def _read(self) -> list[Vote]:
        return read_people([self.path]) if self.path.exists() else []


def _name(one: Vote | PairTask) -> tuple[str, frozenset[str], PairSubject]:
    """Name a pair in whichever order it was shown."""
    item, subject = one.item if isinstance(one, Vote) else one.item_id, one.subject
    ordered = subject if one.system_a < one.system_b else subject._replace(a=subject.b, b=subject.a)
    return item, frozenset((one.system_a, one.system_b)), ordered


def _see(vote: Vote | None, task: PairTask) -> str | None:
    if vote is None or vote.vote is None or vote.system_a == task.system_a:
        return vote.vote if vote else None
    return SWAPPED.get(vote.vote, vote.vote)
