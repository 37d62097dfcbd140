"""One card per item: its source, every editor's edit, and what every judge said."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from editlane.images import file_sha256
from editlane.metrics import Row
from editlane.report.load import Report
from editlane.report.summary import number, words
from editlane.types import Item, State

REPLY = 500
"""Characters of a judge's answer that the page shows; the scores table has all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image of a card."""

    key: str | None
    """Content hash, or path where there is none; None: there is no image."""
    path: str | None
    """Relative to the run's folder."""
    alt: str
    why_not: str
    """What stands in its place where it cannot be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one judge said of one edit."""

    judge: str
    score: str | None
    state: str
    parts: tuple[tuple[str, str], ...]
    reply: str
    why: str
    """`error_kind: error` of a row without a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One editor's edit of an item."""

    editor: str
    place: int
    picture: Picture
    unchanged: bool
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    item: Item
    source: Picture
    panels: tuple[Panel, ...]
    states: str
    """The states that its rows are in, and `unchanged` and `missing`, separated by blanks: for the filter."""
    scores: str
    """Of every editor with every judge, separated by commas, empty where there is none: for sorting."""
    ratio: str
    """Width / height of the frame that the pictures are shown in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Rows of one item and editor that have no score for the same reason."""

    item: Item
    editor: str
    place: int
    judges: tuple[str, ...]
    state: str
    kind: str
    error: str


def make_cards(report: Report, run_dir: Path) -> list[Card]:
    """One card per item, in the order of the items table. Edits in `run_dir` are shown as long as they are those that
    were judged."""
    return [_card(report, item, run_dir) for item in report.items]


def _card(report: Report, item: Item, run_dir: Path) -> Card:
    rows = [report.rows.get((item.item_id, editor, judge)) for editor, judge in report.cells]
    states = {str(row["state"]) if row else "missing" for row in rows}
    if any(row and row["unchanged"] for row in rows):
        states.add("unchanged")
    ratio = item.width / item.height if item.width and item.height else 4 / 3
    return Card(
        item=item,
        source=Picture(
            key=item.source_sha256 or item.source_path,
            path=item.source_path,
            alt=f"Source of {item.item_id}",
            why_not="source unreadable",
        ),
        panels=tuple(_panel(report, item, place, run_dir) for place in range(len(report.editors))),
        states=" ".join(sorted(states)),
        scores=",".join("" if row is None or row["score"] is None else f"{row['score']:.6g}" for row in rows),
        ratio=f"{min(max(ratio, 0.75), 1.78):.2f}",
    )


def _panel(report: Report, item: Item, place: int, run_dir: Path) -> Panel:
    editor = report.editors[place]
    rows = {judge: report.rows.get((item.item_id, editor, judge)) for judge in report.judges}
    there = [row for row in rows.values() if row]
    edited = next((row for row in there if row["edited_path"]), None)
    why_not = "edit unreadable" if edited else words(there[0]["state"]) if there else "not yet edited"
    if edited and _has_changed(run_dir / edited["edited_path"], edited["edited_sha256"]):
        edited, why_not = None, "image has changed since it was judged"
    return Panel(
        editor=editor,
        place=place,
        picture=Picture(
            key=(edited["edited_sha256"] or edited["edited_path"]) if edited else None,
            path=edited["edited_path"] if edited else None,
            alt=f"Edit of {item.item_id} by {editor}",
            why_not=why_not,
        ),
        unchanged=any(row["unchanged"] for row in there),
        verdicts=tuple(_verdict(judge, row, report.criteria) for judge, row in rows.items()),
    )


def _has_changed(path: Path, sha256: str | None) -> bool:
    """Whether a file is there with other bytes than those recorded; without a record nothing can be said."""
    return sha256 is not None and path.is_file() and file_sha256(path) != sha256


def _verdict(judge: str, row: Row | None, criteria: list[str]) -> Verdict:
    if row is None:
        return Verdict(judge=judge, score=None, state="missing", parts=(), reply="", why="")
    parts = [(words(name), row[f"score_{name}"]) for name in criteria]
    return Verdict(
        judge=judge,
        score=number(row["score"]) if row["state"] == State.SCORED else None,
        state=str(row["state"]),
        parts=tuple((name, number(value)) for name, value in parts if value is not None),
        reply=_clipped(row["reply"] or ""),
        why=": ".join(filter(None, (row["error_kind"], row["error"]))),
    )


def _clipped(text: str) -> str:
    return text if len(text) <= REPLY else text[: REPLY - 1] + "…"


def find_failures(report: Report) -> list[Failure]:
    """Every row without a score, judges that met the same failure taken together; item by item, editor by editor."""
    found = []
    for item in report.items:
        for place, editor in enumerate(report.editors):
            reasons: dict[tuple[str, str, str], list[str]] = {}
            for judge in report.judges:
                row = report.rows.get((item.item_id, editor, judge))
                if row and row["state"] != State.SCORED:
                    reason = (str(row["state"]), row["error_kind"] or "", row["error"] or "")
                    reasons.setdefault(reason, []).append(judge)
            found += [
                Failure(
                    item=item, editor=editor, place=place, judges=tuple(judges), state=state, kind=kind, error=error
                )
                for (state, kind, error), judges in reasons.items()
            ]
    return found


def picture_paths(cards: list[Card], run_dir: Path) -> Mapping[str, Path]:
    """Where each distinct picture of the cards lies, by its key."""
    pictures = [picture for card in cards for picture in (card.source, *(panel.picture for panel in card.panels))]
    return {picture.key: run_dir / picture.path for picture in reversed(pictures) if picture.key and picture.path}
