"""Make the JSON from which gallery.js draws the gallery in the browser, one card per item.

Up to LIMIT items, the page holds everything, with reduced pictures. Above that, the JSON is in a folder `gallery`
beside the page and loaded on demand, and the pictures are the run's own files. Columns instead of objects, and indices
instead of names, keep the JSON small. A cell is a pair of an editor and a judge, in the order of `Report.cells`. Texts
are as they are shown, with control characters escaped; only the paths of pictures are as they are.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from editlane.core.printable import escape_lines
from editlane.core.schemas import criterion_columns
from editlane.core.types import State
from editlane.report.chains import list_turns
from editlane.report.load import Report, list_references
from editlane.report.page.highlights import find_compared, find_lead, find_rejected, pick_highlights
from editlane.report.page.thumbnails import embed_pictures
from editlane.report.trust import is_accepted

LIMIT = 2_000
"""Up to this number of items the page is one file."""

CHUNK = 200
"""Items per block of texts."""

CLIPPED = 500
"""Characters of a judge's answer or of an error on a card. The scores table has the full text."""

STATES = (*map(str, State), "missing")
"""States of a row; a missing row does not exist yet."""

Places = NDArray[np.int64]
Objects = NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The parts of the gallery that the page embeds or links."""

    blocks: dict[str, Markup]
    """Name -> JSON for `<script type="application/json" id="gallery-NAME">`, escaped so that data cannot end a script.
    """
    files: dict[str, bytes]
    """Path relative to the page -> content; empty up to the limit."""
    origins: str
    """Sources to add to img-src and script-src in the page's Content-Security-Policy."""
    side: int | None
    """Longest side of the embedded pictures in pixels; None if the pictures are the run's own files."""
    states: list[str]
    """The STATES that occur."""
    uncertain: bool
    """True if any row has an entropy."""
    highlights: dict[str, Any]
    """The items whose pictures come first, as `pick_highlights` returns them."""
    trusted: bool
    """True if the judge whose scores choose them is accepted."""
    columns: int
    """Pictures of the item with most of them."""


def make_gallery(report: Report, run_dir: Path, out_dir: Path, limit: int = LIMIT) -> Gallery:
    """Make the gallery of the report in `out_dir` about the run in `run_dir`.

    Up to `limit` items, an edit is shown only if its file is still the one that was judged. Above that, no picture is
    opened, because hashing them would take longer than the rest of the report. The page then shows the current files.
    """
    places = _find_places(report)
    paths = _list_pictures(report, places, "path")
    cards = _make_cards(report, places) | {"paths": paths}
    linked = len(report.items) > limit
    samples_of = report.items["sample_of"].fillna(report.items["item_id"]).tolist()
    highlights = pick_highlights(_shape_scores(report, places), find_lead(report), find_compared(report), samples_of)
    blocks = {
        "index": _make_index(report, places)
        | {"highlights": highlights}
        | {"folder": _find_way(run_dir, out_dir, linked)}
    }
    embedded = None if linked else embed_pictures(paths, _list_pictures(report, places, "sha256"), run_dir)
    if linked:  # a page in one file has them in its few blocks of cards
        blocks |= {f"criterion-{place}": {"values": values.tolist()} for place, values in enumerate(cards["parts"])}
    if embedded:
        blocks["pictures"] = {"uris": embedded.uris}
        cards["shown"] = embedded.shown
    texts = {name: _dump_json(block) for name, block in blocks.items()}
    for first in range(0, len(report.items), CHUNK):
        part = slice(first, first + CHUNK)
        texts[f"items-{first // CHUNK}"] = _dump_json({name: of[..., part].tolist() for name, of in cards.items()})
    occurring = {*report.scores["state"].unique(), *(["missing"] if (places < 0).any() else [])}
    return Gallery(
        files=_make_scripts(texts) if linked else {},
        blocks={} if linked else {name: Markup(text) for name, text in texts.items()},
        origins="'self' file:" if linked else "",  # browsers disagree on the meaning of 'self' for a page from the disk
        side=embedded.side if embedded else None,
        states=[state for state in STATES if state in occurring],
        uncertain=bool(report.scores["entropy"].notna().any()),
        highlights=highlights,
        trusted=is_accepted(report, report.judges[highlights["judge"]]),
        columns=len(paths),
    )


def _make_scripts(texts: dict[str, str]) -> dict[str, bytes]:
    """Encode the blocks as scripts, because a page from the disk cannot fetch data. Frees each text once encoded."""
    return {f"gallery/{name}.js": f'editlaneGallery("{name}", {texts.pop(name)});\n'.encode() for name in list(texts)}


def _find_places(report: Report) -> Places:
    """Return the index of each row in the scores table: (cells, items), -1 if it is missing."""
    scores = report.scores
    editor, judge = (
        pd.Categorical(scores[kind], categories=names).codes.astype(np.int64)
        for kind, names in (("editor", report.editors), ("judge", report.judges))
    )
    places = np.full((len(report.cells), len(report.items)), -1)
    places[editor * len(report.judges) + judge, scores["item"].to_numpy()] = np.arange(len(scores))
    return places


def _pick(values: NDArray[Any], places: Places, missing: Any) -> NDArray[Any]:
    """Return the values of the rows at these places, or `missing`."""
    return np.append(values, np.asarray(missing, values.dtype))[places]


def _make_index(report: Report, places: Places) -> dict[str, Any]:
    """Make the data for filtering, sorting and searching all items."""
    items, scores = report.items, report.scores
    state = pd.Categorical(scores["state"], categories=STATES).codes
    unchanged = _pick(scores["unchanged"].fillna(False).to_numpy(dtype=bool), places, False)
    by_editor = np.logical_or.reduce(unchanged.reshape(len(report.editors), len(report.judges), -1), axis=1)
    return {
        "chunk": CHUNK,
        "editors": _escape(report.editors),
        "judges": _escape(report.judges),
        "rejected": find_rejected(report),
        "categories": _escape(report.categories),
        "criteria": _escape(report.criteria),
        "states": STATES,
        "ids": _escape(items["item_id"]),
        "instructions": _escape(items["instruction"]),
        "category": pd.Categorical(items["category"], categories=report.categories).codes.tolist(),
        "state": _pick(state, places, STATES.index("missing")).tolist(),
        "score": _pick_numbers(scores["score"], places).tolist(),
        "entropy": _pick_numbers(scores["entropy"], places).tolist(),
        "unchanged": [np.flatnonzero(row).tolist() for row in by_editor],
    }


def _shape_scores(report: Report, places: Places) -> NDArray[np.float64]:
    """Return the scores, shape (editors, judges, items), NaN without a score."""
    values = _pick(report.scores["score"].to_numpy(dtype=np.float64), places, np.nan)
    return values.reshape(len(report.editors), len(report.judges), -1)


def _make_cards(report: Report, places: Places) -> dict[str, NDArray[Any]]:
    """Make the other data of the cards. Items are the last axis of every array."""
    items, scores = report.items, report.scores
    ratio = (items["width"] / items["height"]).astype(np.float64).fillna(4 / 3).clip(0.75, 1.78)
    why = zip(_fill_texts(scores["error_kind"]), _fill_texts(scores["error"]), strict=True)
    parts = [_pick_numbers(scores[criterion_columns(name).score], places) for name in report.criteria]
    return {
        "language": _fill_texts(items["language"]),
        "difficulty": _fill_texts(items["difficulty"]),
        "turn": _list_turns(items),
        "tags": items["tags"].map(_escape).to_numpy(dtype=object),
        "ratio": ratio.round(2).to_numpy(),
        "reply": _pick(_clip(_fill_texts(scores["reply"])), places, ""),
        "why": _pick(_clip(": ".join(filter(None, pair)) for pair in why), places, ""),
        "parts": np.array(parts, dtype=object).reshape(len(parts), *places.shape),
    }


def _list_turns(items: pd.DataFrame) -> Objects:
    """Return [number, turns of the chain] of each item that is a turn, and None for the others."""
    turns = list_turns(items)
    found = np.full(len(items), None, dtype=object)
    for place, number, count in zip(turns.index, turns["turn"].tolist(), turns["turns"].tolist(), strict=True):
        found[place] = [number, count]
    return found


def _list_pictures(report: Report, places: Places, kind: str) -> Objects:
    """Return `path` or `sha256` of every item's source, its edits and its further images: (rows, items), None if
    missing.

    The edit is taken from the first judge whose row has one. There are as many rows of further images as the item with
    most of them has.
    """
    by_judge = (len(report.editors), len(report.judges), len(report.items))
    there = _pick(report.scores["edited_path"].notna().to_numpy(), places, False).reshape(by_judge)
    edited = report.scores[f"edited_{kind}"]
    edits = _pick(edited.astype(object).mask(edited.isna(), None).to_numpy(), places, None).reshape(by_judge)
    first = np.take_along_axis(edits, there.argmax(axis=1, keepdims=True), axis=1)[:, 0]
    sources = report.items[f"source_{kind}"].to_numpy(dtype=object)
    return np.vstack([sources, first, _list_references(report, kind)])


def _list_references(report: Report, kind: str) -> Objects:
    listed = [[dict(one)[kind] for one in references] for references in list_references(report.items)]
    shown = np.full((max(map(len, listed), default=0), len(listed)), None, dtype=object)
    for place, references in enumerate(listed):
        shown[: len(references), place] = references
    return shown


def _find_way(run_dir: Path, out_dir: Path, linked: bool) -> str | None:
    """Return the path from the page to the run's folder, or None if the page must not link to it.

    A page with embedded pictures links to the full ones only from within the run's folder. Elsewhere the links would
    break as soon as the page is mailed.
    """
    run_dir, out_dir = run_dir.resolve(), out_dir.resolve()
    if not linked and not out_dir.is_relative_to(run_dir):
        return None
    return Path(os.path.relpath(run_dir, out_dir)).as_posix()


def _pick_numbers(column: pd.Series, places: Places) -> Objects:
    """Return the column's values with four decimals, which is more than a card shows; None without a number."""
    values = _pick(column.to_numpy(dtype=np.float64), places, np.nan)
    numbers: Objects = np.round(values, 4).astype(object)
    numbers[np.isnan(values)] = None
    return numbers


def _fill_texts(column: pd.Series) -> Objects:
    """Return the column's texts, escaped, and "" for null."""
    return np.array(_escape(column.to_numpy(dtype=object, na_value="")), dtype=object)


def _escape(texts: Iterable[str]) -> list[str]:
    return list(map(escape_lines, texts))


def _clip(texts: Iterable[str]) -> Objects:
    short = [text if len(text) <= CLIPPED else text[: CLIPPED - 1] + "…" for text in texts]
    return np.array(short, dtype=object)


def _dump_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
