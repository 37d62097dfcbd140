"""Read votes of people and of judges on pairs of edits.

A file of votes (.csv, .tsv, .jsonl, .parquet) has a row per item, pair and voter: `item, system_a, system_b, vote`, and
optionally `rater` and what was voted on (`PairSubject`).
Files of GenAI-Bench, which name no systems, are read as they come: `idx, human_vote, model_vote`.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from editlane.core.errors import UserError, format_value
from editlane.images.files import write_atomically
from editlane.ratings.rows import read_name, read_rows

if TYPE_CHECKING:  # the start of a workflow checks votes, in an environment without pandas
    import pandas as pd

A, B, TIE, BAD = VOTES = ("A", "B", "tie", "both_bad")
"""The first edit is better, the second is, both are good, both are bad."""

CONTRADICTORY = "contradictory"
"""A reply that holds several different votes: a vote was given, and it is right for nobody."""

_SPELLED = {
    A: ("a", "left", "leftvote", "a>b", "[[a>b]]"),
    B: ("b", "right", "rightvote", "b>a", "[[b>a]]"),
    TIE: ("tie", "tievote", "both good", "both_good", "a=b=good", "[[a=b=good]]"),
    BAD: ("both bad", "both_bad", "bothbad", "bothbad_vote", "a=b=bad", "[[a=b=bad]]"),
}
_VOTE = {text: vote for vote, texts in _SPELLED.items() for text in texts}
_TAG = re.compile(r"\[\[(?:A>B|B>A|A=B=Good|A=B=Bad)\]\]")
SWAPPED = {A: B, B: A}

SYSTEMS = ("system_a", "system_b")
COLUMNS = ("item", *SYSTEMS, "rater", "vote")
_NAMELESS = ("first", "second")
"""Systems of a file that names none."""


SUBJECT_COLUMNS = ("source_sha256", "a_sha256", "b_sha256", "instruction_sha256")


class PairSubject(NamedTuple):
    """What was voted on, as SHA-256 in hex. Empty where the file does not tell."""

    source: str = ""
    a: str = ""
    b: str = ""
    instruction: str = ""


class Vote(NamedTuple):
    """One vote on one pair, its systems in the order in which the voter saw them."""

    item: str
    system_a: str
    system_b: str
    rater: str
    vote: str | None
    """One of VOTES or CONTRADICTORY; None if there is none that can be read."""
    subject: PairSubject = PairSubject()


def read_people(paths: Iterable[Path]) -> list[Vote]:
    """Read the votes of people.

    Raises UserError for an invalid row, a vote that is none, and a second vote of a person on the same pair in the same
    order, unless both tell that they are on different edits.
    """
    votes: dict[tuple[Any, ...], Vote] = {}
    for path in paths:
        for where, row in _read(path, "vote"):
            found = find_vote(row["vote"])
            if found in (None, CONTRADICTORY) and str(row["vote"] or "").strip():
                said = format_value(str(row["vote"]))
                raise UserError(f"{path}, {where}: the vote is {said}. Give A, B, tie or both_bad, or leave it empty.")
            vote = _make_vote(path, where, row, found)
            if votes.setdefault((*vote[:4], vote.subject), vote) is not vote:
                raise UserError(
                    f"{path}, {where}: a second vote of {vote.rater!r} on item {vote.item!r}, {vote.system_a!r} "
                    f"against {vote.system_b!r}. Remove the wrong one, or name the raters in a column `rater`."
                )
    return list(votes.values())


def read_judge(paths: Iterable[Path], column: str) -> list[Vote]:
    """Read the votes of one judge from the column `vote` or `judge_vote`, in which whole replies may stand.

    Raises UserError for an invalid row, and for a second vote on the same pair in the same order.
    """
    votes: dict[tuple[str, ...], Vote] = {}
    for path in paths:
        for where, row in _read(path, column):
            vote = _make_vote(path, where, row, find_vote(row[column]))
            if votes.setdefault(vote[:3], vote) is not vote:
                raise UserError(
                    f"{path}, {where}: a second vote of the judge on item {vote.item!r}, {vote.system_a!r} against "
                    f"{vote.system_b!r}. Give the votes of one judge at a time, each pair once in an order."
                )
    return list(votes.values())


def _read(path: Path, column: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return read_rows(path, ("item", column), ("system_a", "system_b", "rater", "source", *SUBJECT_COLUMNS[1:]))


def _make_vote(path: Path, where: str, row: dict[str, Any], vote: str | None) -> Vote:
    item = read_name(path, where, row, "item")
    if ("system_a" in row) != ("system_b" in row):
        raise UserError(f"{path}, {where}: there is one of system_a and system_b; give both, or neither.")
    first, second = (read_name(path, where, row, name) for name in SYSTEMS) if "system_a" in row else _NAMELESS
    if first == second:
        raise UserError(f"{path}, {where}: system_a and system_b are both {first!r}; a vote is on two systems.")
    rater = read_name(path, where, row, "rater") if row.get("rater") else path.stem
    subject = PairSubject(*(str(row.get(name) or "").strip().lower() for name in ("source", *SUBJECT_COLUMNS[1:])))
    return Vote(item, first, second, rater, vote, subject)


def find_vote(said: Any) -> str | None:
    """Return the vote that a cell or a reply holds; None if it holds none."""
    text = "" if said is None else str(said).strip()
    if found := _VOTE.get(text.lower()):
        return found
    tags = {_VOTE[tag.lower()] for tag in _TAG.findall(text)}
    return tags.pop() if len(tags) == 1 else CONTRADICTORY if tags else None


def join_votes(people: Iterable[Vote], judge: Iterable[Vote]) -> "pd.DataFrame":
    """Put the judge's vote beside each vote of a person on the same pair of the same item, in whichever order.

    Columns item, system_a, system_b, rater, vote, judge. A person's row without a vote is left out, and one on a pair
    that the judge was not asked about. A vote of the judge that cannot be read is None. Where the judge saw both
    orders, the one that the person saw counts.
    """
    asked = {vote[:3]: vote.vote for vote in judge}
    rows = []
    for vote in people:
        mirrored = (vote.item, vote.system_b, vote.system_a)
        if vote.vote is not None and (vote[:3] in asked or mirrored in asked):
            said = asked.get(mirrored)
            rows.append((*vote[:5], asked.get(vote[:3], SWAPPED.get(said or "", said))))
    import pandas as pd

    return pd.DataFrame(rows, columns=["item", "system_a", "system_b", "rater", "vote", "judge"], dtype=object)


def write_votes(path: Path, votes: Iterable[Vote]) -> None:
    """Write a CSV file atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS + SUBJECT_COLUMNS)
    writer.writerows((*vote[:4], vote.vote or "", *vote.subject) for vote in votes)
    write_atomically(path, text.getvalue().encode())


def make_frame(votes: Iterable[Vote]) -> "pd.DataFrame":
    """Put the votes that were given into a table: item, system_a, system_b, rater, vote, and SUBJECT_COLUMNS."""
    rows = [(*vote[:5], *vote.subject) for vote in votes if vote.vote is not None]
    import pandas as pd

    return pd.DataFrame(rows, columns=[*COLUMNS, *SUBJECT_COLUMNS], dtype=object)


def find_mirrored(votes: Iterable[Vote]) -> Iterator[tuple[str, str]]:
    """Yield the votes of a judge on a pair in one order and, as seen from it, in the other, if both can be read."""
    by_order = {vote[:3]: vote.vote for vote in votes}
    for (item, first, second), vote in by_order.items():
        other = by_order.get((item, second, first))
        if first < second and vote in VOTES and other in VOTES:
            yield str(vote), SWAPPED.get(str(other), str(other))
