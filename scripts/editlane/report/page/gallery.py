"""The gallery: one card per item, drawn in the browser by gallery.js from the JSON that is made here.

Up to LIMIT items the page holds everything, pictures reduced. Above, the JSON lies in a folder `gallery` beside the
page and is fetched as cards need it, and the pictures are the run's own. Columns instead of objects, and places in
lists instead of names, keep both small. A cell is an editor with a judge, in the order of `Report.cells`.
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

from editlane.core.schemas import criterion_columns
from editlane.core.types import State
from editlane.report.load import Report
from editlane.report.page.thumbnails import embed_pictures

LIMIT = 2_000
"""Items up to which the page is one file."""

CHUNK = 200
"""Items whose texts lie together."""

CLIPPED = 500
"""Characters of a judge's answer, or of an error, that a card shows; the scores table has all of it."""

STATES = (*map(str, State), "missing")
"""How a row ended; one that is missing does not exist yet."""

Places = NDArray[np.int64]
Objects = NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """What the page needs of the gallery."""

    blocks: dict[str, Markup]
    """JSON for `<script type="application/json" id="gallery-NAME">`, by its name. No text of the data ends a script."""
    files: dict[str, bytes]
    """What lies beside the page, by its path from there; none up to the limit."""
    origins: str
    """What the page's policy must also allow in img-src and script-src."""
    side: int | None
    """Longest side of the pictures in the page, pixels; None where they are the run's own."""
    states: list[str]
    """Those of STATES that occur."""
    uncertain: bool
    """Whether a judge said how certain it is."""


def make_gallery(report: Report, run_dir: Path, out_dir: Path, limit: int = LIMIT) -> Gallery:
    """The gallery of the report that is written to `out_dir` about the run in `run_dir`.

    Up to `limit` items an edit is shown only as long as it is the one that was judged. Above, no picture is opened:
    to hash them all would take longer than the rest of the report, so the page shows whatever lies there when it is
    read.
    """
    places = _find_places(report)
    paths = _list_pictures(report, places, "path")
    cards = _make_cards(report, places) | {"paths": paths}
    linked = len(report.items) > limit
    blocks = {"index": _make_index(report, places) | {"folder": _find_way(run_dir, out_dir, linked)}}
    embedded = None if linked else embed_pictures(paths, _list_pictures(report, places, "sha256"), run_dir)
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
        origins="'self' file:" if linked else "",  # browsers differ in what 'self' means of a page from the disk
        side=embedded.side if embedded else None,
        states=[state for state in STATES if state in occurring],
        uncertain=bool(report.scores["entropy"].notna().any()),
    )


def _make_scripts(texts: dict[str, str]) -> dict[str, bytes]:
    """The blocks as scripts, since a page from the disk cannot fetch data. Each text is let go as it is encoded."""
    return {f"gallery/{name}.js": f'editlaneGallery("{name}", {texts.pop(name)});\n'.encode() for name in list(texts)}


def _find_places(report: Report) -> Places:
    """Where in the scores table each row stands: cells x items, -1 where it is missing."""
    scores = report.scores
    editor, judge = (
        pd.Categorical(scores[kind], categories=names).codes.astype(np.int64)
        for kind, names in (("editor", report.editors), ("judge", report.judges))
    )
    places = np.full((len(report.cells), len(report.items)), -1)
    places[editor * len(report.judges) + judge, scores["item"].to_numpy()] = np.arange(len(scores))
    return places


def _pick(values: NDArray[Any], places: Places, missing: Any) -> NDArray[Any]:
    """The values of the rows at these places."""
    return np.append(values, np.asarray(missing, values.dtype))[places]


def _make_index(report: Report, places: Places) -> dict[str, Any]:
    """What all items together are filtered, sorted and searched by."""
    items, scores = report.items, report.scores
    state = pd.Categorical(scores["state"], categories=STATES).codes
    unchanged = _pick(scores["unchanged"].fillna(False).to_numpy(dtype=bool), places, False)
    by_editor = np.logical_or.reduce(unchanged.reshape(len(report.editors), len(report.judges), -1), axis=1)
    return {
        "chunk": CHUNK,
        "editors": report.editors,
        "judges": report.judges,
        "categories": report.categories,
        "criteria": report.criteria,
        "states": STATES,
        "ids": items["item_id"].tolist(),
        "instructions": items["instruction"].tolist(),
        "category": pd.Categorical(items["category"], categories=report.categories).codes.tolist(),
        "state": _pick(state, places, STATES.index("missing")).tolist(),
        "score": _pick_numbers(scores["score"], places).tolist(),
        "entropy": _pick_numbers(scores["entropy"], places).tolist(),
        "unchanged": [np.flatnonzero(row).tolist() for row in by_editor],
    }


def _make_cards(report: Report, places: Places) -> dict[str, NDArray[Any]]:
    """What else a card shows of its item and of its rows; items are the last axis of every array."""
    items, scores = report.items, report.scores
    ratio = (items["width"] / items["height"]).astype(np.float64).fillna(4 / 3).clip(0.75, 1.78)
    why = zip(_fill_texts(scores["error_kind"]), _fill_texts(scores["error"]), strict=True)
    parts = [_pick_numbers(scores[criterion_columns(name).score], places) for name in report.criteria]
    return {
        "language": _fill_texts(items["language"]),
        "difficulty": _fill_texts(items["difficulty"]),
        "tags": items["tags"].map(list).to_numpy(dtype=object),
        "ratio": ratio.round(2).to_numpy(),
        "reply": _pick(_clip(_fill_texts(scores["reply"])), places, ""),
        "why": _pick(_clip(": ".join(filter(None, pair)) for pair in why), places, ""),
        "parts": np.array(parts, dtype=object).reshape(len(parts), *places.shape),
    }


def _list_pictures(report: Report, places: Places, kind: str) -> Objects:
    """`path` or `sha256` of every item's source, then of its edit by each editor: 1 + editors x items, or None.

    An edit is that of the first judge whose row has one.
    """
    by_judge = (len(report.editors), len(report.judges), len(report.items))
    there = _pick(report.scores["edited_path"].notna().to_numpy(), places, False).reshape(by_judge)
    edited = report.scores[f"edited_{kind}"]
    edits = _pick(edited.astype(object).mask(edited.isna(), None).to_numpy(), places, None).reshape(by_judge)
    first = np.take_along_axis(edits, there.argmax(axis=1, keepdims=True), axis=1)[:, 0]
    return np.vstack([report.items[f"source_{kind}"].to_numpy(dtype=object), first])


def _find_way(run_dir: Path, out_dir: Path, linked: bool) -> str | None:
    """The way from the page to the run's folder. A page that holds its pictures links to the full ones only from within
    that folder: elsewhere the links would be dead as soon as the page is mailed."""
    run_dir, out_dir = run_dir.resolve(), out_dir.resolve()
    if not linked and not out_dir.is_relative_to(run_dir):
        return None
    return Path(os.path.relpath(run_dir, out_dir)).as_posix()


def _pick_numbers(column: pd.Series, places: Places) -> Objects:
    """Four decimals, more than a card shows; None where there is no number."""
    values = _pick(column.to_numpy(dtype=np.float64), places, np.nan)
    numbers: Objects = np.round(values, 4).astype(object)
    numbers[np.isnan(values)] = None
    return numbers


def _fill_texts(column: pd.Series) -> Objects:
    """Empty where there is none."""
    return column.to_numpy(dtype=object, na_value="")


def _clip(texts: Iterable[str]) -> Objects:
    short = [text if len(text) <= CLIPPED else text[: CLIPPED - 1] + "…" for text in texts]
    return np.array(short, dtype=object)


def _dump_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
