"""Judge the edits of a lane, and its controls, with one judge, batch by batch."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Self

from PIL import Image

from editlane.core.errors import CRASHED, JudgeFailed, SourceUnreadable
from editlane.core.paths import SCORE, LaneId, RunPaths
from editlane.core.schemas import QuestionRow, controls_schema, scores_schema
from editlane.core.tables import to_item
from editlane.core.types import DEGRADED, EDITED, Control, Item, Judge, Row
from editlane.images.degraded import blend_half, blur
from editlane.images.recorded import open_recorded, open_references
from editlane.lanes.asked import Asked, cut_by_item, read_batch, share_seconds
from editlane.lanes.budget import count_requests
from editlane.lanes.identity import describe, identify
from editlane.lanes.journal import content_key, read_journal
from editlane.models.devices import device_label
from editlane.models.registry import check_params, find_adapter
from editlane.protocols.asking import Batch, Questions, ask, make_failed_columns
from editlane.protocols.controls import SAMPLES
from editlane.protocols.fitting import fit_protocol
from editlane.protocols.protocol import GeneratedAnswer
from editlane.protocols.references import key_references, measure_references
from editlane.protocols.scoring import ScoringProtocol, build_questions, fingerprint_category, prompt_parts_for_batching

log = logging.getLogger(__name__)

_UNNAMED = "\0"
"""A category that no protocol has a rubric for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSpec:
    """One judge of a run: the settings and the protocol that its scores depend on, the same in every lane."""

    judge: str
    identity: dict[str, Any]
    run_dir: Path
    protocol: ScoringProtocol
    criteria: tuple[str, ...]
    samples: int
    """Times that a repeat is asked: once for a deterministic judge, else SAMPLES times."""
    _fingerprints: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, run_dir: Path, judge: str, protocol: ScoringProtocol, options: dict[str, Any]) -> Self:
        """Return the spec of a judge from its adapter, model, revision and params. Raises UserError."""
        params = check_params("judge", options["adapter"], options["params"])
        protocol = fit_protocol(protocol, params, find_adapter("judge", options["adapter"]))
        return cls(
            judge=judge,
            identity=identify("judge", **options, generates=isinstance(protocol.answer, GeneratedAnswer)),
            run_dir=run_dir,
            protocol=protocol,
            criteria=protocol.select_criteria(params.optional_criteria),
            samples=SAMPLES if params.samples and not protocol.answers else 1,
        )

    def describe(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the provenance of its scores, by the judge's name."""
        protocol = {name: getattr(self.protocol, name) for name in ("name", "version", "sha256", "text")}
        return {self.judge: describe(self.identity, **options) | {"key": self.whole_key, "protocol": protocol}}

    def protocol_parts(self, category: str) -> list[str]:
        """Return what a score of this category depends on in the protocol."""
        name = category if self.protocol.rubrics else ""  # all are asked the same, and there may be any number of them
        if name not in self._fingerprints:  # needed for every key
            self._fingerprints[name] = fingerprint_category(self.protocol, name)
        return [self.protocol.name, self.protocol.version, self._fingerprints[name]]

    def key(self, row: QuestionRow) -> str:
        """Return the journal key of this edit's score. It covers the protocol's text of its own category only."""
        return content_key(
            judge=self.identity,
            protocol=self.protocol_parts(row["category"]),
            criteria=self.criteria,
            source=row["source_sha256"],
            edited=row["edited_sha256"],
            text=[row["instruction"], row["description"], row["rationale"]],
            **({"repeat": row["repeat"]} if row.get("repeat") else {}),
            **({"shown": row["control"]} if row.get("control") in DEGRADED else {}),
            **key_references(row.get("references")),
        )

    @property
    def whole_key(self) -> str:
        """16 hex digits of the judge's settings and its protocol, without the texts of single categories."""
        protocol = [self.protocol.name, self.protocol.version, self.criteria]
        return content_key(judge=self.identity, protocol=protocol)[:16]

    @property
    def texts_key(self) -> str:
        """16 hex digits of all that decides any score: the settings, and the protocol's texts for every category."""
        categories = [*self.protocol.rubrics, *([_UNNAMED] if self.protocol.general_rubric else [])] or [""]
        return content_key(keys=[self.judge_key(category) for category in categories], criteria=self.criteria)[:16]

    def judge_key(self, category: str) -> str:
        """Return 16 hex digits of the judge's settings and its protocol for one category."""
        return content_key(judge=self.identity, protocol=self.protocol_parts(category))[:16]

    def make_common_columns(self, row: QuestionRow) -> Row:
        """Return the columns that every score of this edit has."""
        return self.make_category_columns(row["category"])

    def make_category_columns(self, category: str) -> Row:
        """Return the columns that every score of this category has."""
        key = self.judge_key(category)
        return {"judge": self.judge, "judge_key": key, "protocol_version": self.protocol.version}

    def score_row(self, row: QuestionRow, scored: Row | None) -> Row:
        """Return a row of a scores or a controls table.

        `row`: of an edits table, or a control about one. `scored`: its score columns; None for an item without an edit,
        whose state is copied because there is nothing to judge.
        """
        if scored is None:
            copied = {"state": row["state"], "error_kind": row["error_kind"], "error": row["error"], "score": None}
            scored = self.make_common_columns(row) | copied
        columns: Row = {**row, **scored}
        return {name: columns.get(name) for name in _columns(self.criteria, "control" in row)}

    def batch_cost(self, judge: Judge, row: QuestionRow) -> int:
        """Return what this edit adds to a batch of `judge`."""
        source = (row["width"] or 1024, row["height"] or 1024)
        edited = (row.get("edited_width") or source[0], row.get("edited_height") or source[1])
        return self.item_cost(judge, to_item(row), source, edited)

    def item_cost(self, judge: Judge, item: Item, source: tuple[int, int], edited: tuple[int, int]) -> int:
        """Return what an edit adds to a batch of `judge`. `source`, `edited`: (width, height) of the images."""
        sizes = {"source": source, "edited": edited, **measure_references(item.references)}
        asked = prompt_parts_for_batching(self.protocol, item, self.criteria)
        return judge.batch_cost(
            [sizes[shown] for images, _ in asked for shown in images], "".join(text for _, text in asked)
        )

    def questions(self, row: QuestionRow) -> Questions:
        """Return the questions about one edit. Raises JudgeFailed if one of its images is not what was recorded."""
        item = to_item(row)
        try:
            source = open_recorded(self.run_dir, row["source_path"], row["source_sha256"])
            references = open_references(self.run_dir, item.references)
            if row.get("control") == Control.BLANK_EDIT:
                edited = Image.new("RGB", source.size, "white")
            else:
                assert row["edited_path"] and row["edited_sha256"], "only rows with an edit are asked about"
                edited = open_recorded(self.run_dir, row["edited_path"], row["edited_sha256"])
            if row.get("control") == Control.HALF_BLENDED:
                edited = blend_half(source, edited)
            elif row.get("control") == Control.BLURRED:
                edited = blur(edited)
        except SourceUnreadable as error:
            raise JudgeFailed(str(error), kind=error.kind) from error
        return build_questions(self.protocol, item, source, edited, self.criteria, references)


@cache
def _columns(criteria: tuple[str, ...], of_controls: bool) -> list[str]:
    names: list[str] = (controls_schema(criteria) if of_controls else scores_schema(criteria)).names
    return names


def group_by_item(rows: Sequence[QuestionRow]) -> list[QuestionRow]:
    """Put the rows of each item together, in order of the first one's place.

    The edits of one photo by several editors then mostly share a batch, and the judge computes the photo's features
    once for all.
    """
    places: dict[str, int] = {}
    for row in rows:
        places.setdefault(row["item_id"], len(places))
    return sorted(rows, key=lambda row: places[row["item_id"]])


def name_row(row: QuestionRow) -> tuple[str, str]:
    """Return the item and the category of a row."""
    return row["item_id"], row["category"]


def is_judgeable(row: QuestionRow) -> bool:
    """Return whether this row has an edit to judge."""
    return bool(row["state"] == EDITED)


class JudgeWork:
    """Judge the edits of all editors in one lane, and its controls, a batch at a time; see `runner.Work`."""

    ahead = 1
    at_once = 1
    warms_up = True

    def __init__(
        self,
        spec: JudgeSpec,
        lane: int,
        lists: Sequence[Sequence[QuestionRow]],
        build_judge: Callable[[], Judge],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Take rows of edits tables and controls, of which those without an edit to judge are skipped.

        Rows of different `lists`, such as edits and controls, never share a batch. `check` raises Stopped if the lane
        is to stop; waits for a server call it.
        """
        self.spec, self.paths = spec, RunPaths(spec.run_dir)
        self.lane = LaneId(SCORE, None, spec.judge, lane)
        self.judge_key: str | None = spec.whole_key
        self.wanted: dict[str, QuestionRow] = {}
        self._edits = Counter[str]()
        self._lists = [[self._asked(row) for row in rows if is_judgeable(row)] for rows in lists]
        self._build_judge, self._check = build_judge, check
        self._judge: Judge
        self._device = ""

    def _asked(self, row: QuestionRow) -> Asked[QuestionRow]:
        key = self.spec.key(row)
        self._edits[key] += "control" not in row
        return Asked(key, row, is_first=self.wanted.setdefault(key, row) is row)

    def list_journals(self) -> dict[Path, set[str]]:
        """Return the folder of the journal about each editor's edits, with the keys it is to have.

        They are sorted, so that all processes lock them in the same order.
        """
        journals: dict[Path, set[str]] = {}
        for edit in chain(*self._lists):
            journals.setdefault(self.paths.journal(edit.row["editor"], self.spec.judge), set()).add(edit.key)
        return dict(sorted(journals.items()))

    def get_editor_key(self, missing: Collection[str]) -> str | None:
        """Return the keys of the settings that the missing edits were made with, joined by commas."""
        asked = (self.wanted[key] for key in missing)
        return ",".join(sorted({row["editor_key"] for row in asked if row.get("control") != Control.CANARY})) or None

    def find_kept(self, finished: Mapping[str, Row]) -> dict[str, Row]:
        """Return the finished scores of these questions.

        A canary may have been answered when another editor was the first, because its question is the same for all.
        """
        canaries = {key for key, row in self.wanted.items() if row.get("control") == Control.CANARY} - finished.keys()
        found = dict(finished)
        for folder in self.paths.judge_journals(self.spec.judge) if canaries else ():
            found |= read_journal(folder, canaries).rows
        return {key: found[key] for key in self.wanted if key in found}

    def count_items(self, key: str) -> int:
        """Return how many edits this question is about: editors may have made equal ones. A control is none."""
        return self._edits[key]

    def make_crash_row(self, key: str) -> Row:
        """Return the score columns of an edit on which one process after another died."""
        return self.spec.make_common_columns(self.wanted[key]) | make_failed_columns(JudgeFailed(CRASHED, kind="crash"))

    def load_model(self) -> str:
        """Load the judge and return its device."""
        self._judge = self._build_judge()
        count_requests(self._judge, self.paths, self.lane, self._check)
        self._device = device_label(self._judge)
        return self._device

    def cut_units(self, missing: Collection[str], deaths: Mapping[str, int]) -> list[list[Asked[QuestionRow]]]:
        """Cut the missing edits into batches. An edit that one more death would fail is asked alone.

        Editors that lack nothing are left out. Otherwise each edit of an added editor would be alone in its batch.
        """
        left = set(missing)
        editors = {self.wanted[key]["editor"] for key in left}
        batches: list[list[Asked[QuestionRow]]] = []
        for asked in self._lists:
            edits = [edit for edit in asked if edit.row["editor"] in editors]
            cost = partial(self.spec.batch_cost, self._judge)
            batches += cut_by_item(edits, name_row, cost, self._judge.max_batch_cost, left, deaths)
        return batches

    def get_keys(self, batch: list[Asked[QuestionRow]]) -> list[str]:
        """Return the journal keys of a batch."""
        return [edit.key for edit in batch]

    def list_needed(self, batch: list[Asked[QuestionRow]]) -> Sequence[str]:
        """Return nothing: no answer needs another one."""
        return ()

    def get_name(self, batch: list[Asked[QuestionRow]]) -> tuple[str, str]:
        """Return the id of a batch's first item and its category."""
        return name_row(batch[0].row)

    def read(self, batch: list[Asked[QuestionRow]]) -> Batch:
        """Read the images of a batch and let the judge prepare them."""
        return read_batch(self._judge, batch, self.spec.questions)

    def compute(self, batch: list[Asked[QuestionRow]], inputs: Batch, on_step: Callable[[int, int], None]) -> list[Row]:
        """Ask the judge. Seeds come from the edits' keys, so they are equal in every batch and differ for a repeat."""
        return ask(self.spec.protocol, self._judge, inputs, [int(edit.key[:12], 16) for edit in batch])

    def save(self, batch: list[Asked[QuestionRow]], answers: list[Row], seconds: float) -> dict[str, Row]:
        """Complete the score columns of a batch; each edit gets an equal part of the seconds."""
        rows, timing = {}, share_seconds(seconds, batch, self._device)
        for edit, columns in zip(batch, answers, strict=True):
            rows[edit.key] = columns | self.spec.make_common_columns(edit.row) | timing
            name = "/".join([edit.row["editor"], edit.row["category"], edit.row["item_id"]])
            log.info("%s %s on %s", name, _verdict(columns), self._device)
        return rows


def _verdict(columns: Row) -> str:
    if columns["score"] is None:
        return f"{columns['state']} ({columns['error_kind']}: {columns['error']}) {columns.get('reply') or ''}"
    return f"score {columns['score']:.2f} answer {columns['reply']}"
