"""Ask the benchmark's questions about bytes instead of files: same keys, same prompts, same score columns."""

import hashlib
import io
from collections.abc import Sequence
from typing import cast

from PIL import Image

from editlane.core.errors import ItemError, JudgeFailed, SourceUnreadable
from editlane.core.schemas import QuestionRow
from editlane.core.types import Item, Judge
from editlane.images.decoding import read_header
from editlane.images.encoded import may_take_long
from editlane.images.files import open_content
from editlane.lanes.judging import JudgeSpec
from editlane.protocols.asking import Questions
from editlane.protocols.scoring import build_questions
from editlane.server.wire import Fields

SUFFIXES = frozenset({"jpg", "png", "webp"})
"""Formats that the server decodes."""

USUAL_SIZE = (1024, 1024)
"""Pixels of an image whose header cannot be read."""


def find_key(spec: JudgeSpec, fields: Fields) -> str:
    """Return the journal key of this edit's score. A run that judges the same edit has the same key."""
    row = {
        "category": fields.category,
        "instruction": fields.instruction,
        "description": fields.description,
        "rationale": fields.rationale,
        "source_sha256": hashlib.sha256(fields.source).hexdigest(),
        "edited_sha256": hashlib.sha256(fields.edited).hexdigest(),
    }
    return spec.key(cast(QuestionRow, row))


def estimate_cost(spec: JudgeSpec, judge: Judge, fields: Fields) -> int:
    """Return what this edit adds to a batch of `judge`, from the headers of its images."""
    return spec.item_cost(judge, _make_item(fields), _read_size(fields.source), _read_size(fields.edited))


def _read_size(content: bytes) -> tuple[int, int]:
    file = io.BytesIO(content)
    try:
        if may_take_long(file):
            return USUAL_SIZE
        file.seek(0)
        return read_header(file)[1]
    except Exception:  # noqa: BLE001  Pillow raises a dozen types for damaged bytes; decoding them gives the reason
        return USUAL_SIZE


def _make_item(fields: Fields) -> Item:
    return Item(
        item_id=fields.key,
        category=fields.category,
        instruction=fields.instruction,
        description=fields.description,
        rationale=fields.rationale,
        language="",
        source_path="",
        source_sha256="",
        width=None,
        height=None,
        cost=1.0,
    )


def make_questions(spec: JudgeSpec, fields: Fields, max_pixels: int) -> Questions | ItemError:
    """Return the questions about one edit, or the reason that there are none."""
    try:
        source = open_content(fields.source, "source", SUFFIXES, max_pixels)
        edited = open_content(fields.edited, "edited", SUFFIXES, max_pixels)
    except SourceUnreadable as error:
        return JudgeFailed(str(error), kind=error.kind)
    return build_questions(spec.protocol, _make_item(fields), source, edited, spec.criteria)


def build_warm_up(spec: JudgeSpec) -> Questions:
    """Return the questions about a plain image, in a category that the protocol has."""
    fields = Fields("", next(iter(spec.protocol.rubrics), ""), "make it white", b"", b"")
    source, edited = Image.new("RGB", (256, 256), "grey"), Image.new("RGB", (256, 256), "white")
    return build_questions(spec.protocol, _make_item(fields), source, edited, spec.criteria)


def make_seeds(edits: Sequence[Fields]) -> list[int]:
    """Return the seeds of the answers. They come from the keys, as in a lane."""
    return [int(fields.key[:12], 16) for fields in edits]
