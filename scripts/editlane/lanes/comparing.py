"""Ask a judge about pairs of edits in one lane and round of the arena, batch by batch."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from PIL import Image

from editlane.core import schemas, tables
from editlane.core.errors import CRASHED, JudgeFailed, SourceUnreadable
from editlane.core.paths import COMPARE, LaneId, RunPaths
from editlane.core.schemas import PairPlanRow
from editlane.core.tables import to_references
from editlane.core.types import EDITED, Item, Judge, Row, State
from editlane.images.recorded import open_recorded, open_references
from editlane.lanes.asked import Asked, cut_by_item, read_batch, share_seconds
from editlane.lanes.budget import count_requests
from editlane.lanes.identity import identify
from editlane.lanes.journal import content_key
from editlane.lanes.judging import JudgeSpec
from editlane.models.devices import device_label
from editlane.protocols.asking import Batch, Questions, make_failed_columns
from editlane.protocols.pairwise import BETTER, PairwiseProtocol, build_comparison, compare
from editlane.protocols.references import key_references, measure_references
from editlane.protocols.scoring import prompt_parts_for_batching

log = logging.getLogger(__name__)

SIDES = ("a", "b")


@dataclass(frozen=True, slots=True)
class PairSpec:
    """One judge of the arena: the settings and the protocol that its answers depend on, the same in every lane."""

    judge: JudgeSpec
    """The judge with the texts of the protocol."""
    protocol: PairwiseProtocol

    @classmethod
    def of(cls, run_dir: Path, judge: str, protocol: PairwiseProtocol, options: dict[str, Any]) -> Self:
        """Return the spec of a judge from its adapter, model, revision and params. Raises UserError."""
        spec = JudgeSpec(
            judge=judge,
            identity=identify("judge", **options),
            run_dir=run_dir,
            protocol=protocol.prompt,
            criteria=(BETTER,),
            samples=1,
        )
        return cls(spec, protocol)

    def key(self, row: PairPlanRow) -> str:
        """Return the journal key of this answer. A blank picture has no content of its own."""
        return content_key(
            judge=self.judge.identity,
            protocol=self.judge.protocol_parts(row["category"]),
            source=row["source_sha256"],
            pictures=[row["a_sha256"], row["b_sha256"]],
            text=[row["instruction"], row["description"], row["rationale"]],
            **key_references(row["references"]),
        )

    def batch_cost(self, judge: Judge, row: PairPlanRow) -> int:
        """Return what this question adds to a batch of `judge`."""
        source = (row["width"] or 1024, row["height"] or 1024)
        item = make_item(row)
        sizes = {"source": source, **measure_references(item.references)}
        for side in SIDES:
            picture: Mapping[str, Any] = row
            sizes[f"edit_{side}"] = (picture[f"{side}_width"] or source[0], picture[f"{side}_height"] or source[1])
        asked = prompt_parts_for_batching(self.protocol.prompt, item, [BETTER])
        shown = [sizes[name] for images, _ in asked for name in images]
        return judge.batch_cost(shown, "".join(text for _, text in asked))

    def questions(self, row: PairPlanRow) -> Questions:
        """Return the question about one pair. Raises JudgeFailed if one of its images is not what was recorded."""
        run_dir, item = self.judge.run_dir, make_item(row)
        try:
            source = open_recorded(run_dir, row["source_path"], row["source_sha256"])
            references = open_references(run_dir, item.references)
            edits = [
                Image.new("RGB", source.size, "white")
                if path is None or sha is None
                else open_recorded(run_dir, path, sha)
                for path, sha in ((row["a_path"], row["a_sha256"]), (row["b_path"], row["b_sha256"]))
            ]
        except SourceUnreadable as error:
            raise JudgeFailed(str(error), kind=error.kind) from error
        return build_comparison(self.protocol, item, source, edits[0], edits[1], references)

    def make_row(self, row: PairPlanRow, answered: Row | None) -> Row:
        """Return a row of pairs.parquet. `answered`: the answer columns; None where an edit is missing."""
        state = {name: row[name] for name in ("state", "error_kind", "error")}
        columns: Row = {**row, **(answered or state), **self.judge.make_category_columns(row["category"])}
        return {name: columns.get(name) for name in schemas.PAIRS.names}

    def write(self, path: Path, rows: Sequence[PairPlanRow], answers: Mapping[str, Row], made: dict[str, Any]) -> None:
        """Write the table of a lane. `answers`: answer columns by key. `made`: the judge's provenance."""
        filled = [self.make_row(row, answers[self.key(row)] if is_askable(row) else None) for row in rows]
        tables.write_table(path, filled, schemas.PAIRS, provenance={"judge": made})


def make_item(row: PairPlanRow) -> Item:
    """Return the item of a planned question, of which only the category, the texts and the further images are used."""
    return Item(
        item_id=row["item_id"],
        category=row["category"],
        instruction=row["instruction"],
        language="",
        source_path=row["source_path"],
        source_sha256=row["source_sha256"],
        width=row["width"],
        height=row["height"],
        cost=0.0,
        description=row["description"],
        rationale=row["rationale"],
        references=to_references(row["references"]),
    )


def is_askable(row: PairPlanRow) -> bool:
    """Return whether both pictures exist."""
    return row["state"] == EDITED


def name_pair(row: PairPlanRow) -> tuple[str, str]:
    """Return the item and the category of a row."""
    return row["item_id"], row["category"]


class CompareWork:
    """Ask a judge about the pairs and controls of one lane and round, a batch at a time; see `runner.Work`."""

    ahead = 1
    at_once = 1
    warms_up = True

    def __init__(
        self,
        spec: PairSpec,
        lane: int,
        rows: Sequence[PairPlanRow],
        build_judge: Callable[[], Judge],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the rows of a lane, of which those with a missing edit are skipped. `check`: as of JudgeWork."""
        self.spec, self.paths = spec, RunPaths(spec.judge.run_dir)
        self.lane = LaneId(COMPARE, None, spec.judge.judge, lane)
        self.judge_key: str | None = spec.judge.whole_key
        self.wanted: dict[str, PairPlanRow] = {}
        self._real: set[str] = set()
        self._asked = [self._make_asked(row) for row in rows if is_askable(row)]
        self._build_judge, self._check = build_judge, check
        self._judge: Judge
        self._device = ""

    def _make_asked(self, row: PairPlanRow) -> Asked[PairPlanRow]:
        key = self.spec.key(row)
        if row["control"] is None:
            self._real.add(key)
        return Asked(key, row, is_first=self.wanted.setdefault(key, row) is row)

    def find_kept(self, finished: Mapping[str, Row]) -> dict[str, Row]:
        """Return the finished answers to these questions."""
        return {key: finished[key] for key in self.wanted if key in finished}

    def get_editor_key(self, missing: Collection[str]) -> str | None:
        """Return the keys of the settings that the missing pairs were made with, joined by commas."""
        named = (self.wanted[key]["editor_keys"] or "" for key in missing)
        return ",".join(sorted({key for keys in named for key in keys.split(",") if key})) or None

    def make_crash_row(self, key: str) -> Row:
        """Return the answer columns of a pair on which one process after another died."""
        return make_failed_columns(JudgeFailed(CRASHED, kind="crash"))

    def count_items(self, key: str) -> int:
        """Return 1 for a pair of two editors' edits; a control is none."""
        return int(key in self._real)

    def load_model(self) -> str:
        """Load the judge and return its device."""
        self._judge = self._build_judge()
        count_requests(self._judge, self.paths, self.lane, self._check)
        self._device = device_label(self._judge)
        return self._device

    def cut_units(self, missing: Collection[str], deaths: Mapping[str, int]) -> list[list[Asked[PairPlanRow]]]:
        """Cut the missing pairs into batches. A pair that one more death would fail is asked alone."""
        cost = partial(self.spec.batch_cost, self._judge)
        return list(cut_by_item(self._asked, name_pair, cost, self._judge.max_batch_cost, set(missing), deaths))

    def get_keys(self, batch: list[Asked[PairPlanRow]]) -> list[str]:
        """Return the journal keys of a batch."""
        return [one.key for one in batch]

    def list_needed(self, batch: list[Asked[PairPlanRow]]) -> Sequence[str]:
        """Return nothing: no answer needs another one."""
        return ()

    def get_name(self, batch: list[Asked[PairPlanRow]]) -> tuple[str, str]:
        """Return the id of a batch's first item and its category."""
        return name_pair(batch[0].row)

    def read(self, batch: list[Asked[PairPlanRow]]) -> Batch:
        """Read the images of a batch and let the judge prepare them."""
        return read_batch(self._judge, batch, self.spec.questions)

    def compute(self, batch: list[Asked[PairPlanRow]], inputs: Batch, on_step: Callable[[int, int], None]) -> list[Row]:
        """Ask the judge."""
        return compare(self.spec.protocol, self._judge, inputs)

    def save(self, batch: list[Asked[PairPlanRow]], answers: list[Row], seconds: float) -> dict[str, Row]:
        """Complete the answer columns of a batch; each pair gets an equal part of the seconds."""
        timing = share_seconds(seconds, batch, self._device)
        for one, columns in zip(batch, answers, strict=True):
            pair = f"{one.row['editor_a']} | {one.row['editor_b']}"
            name = "/".join([pair, one.row["category"], one.row["item_id"], one.row["control"] or "pair"])
            log.info("%s %s on %s", name, _verdict(columns), self._device)
        return {one.key: columns | timing for one, columns in zip(batch, answers, strict=True)}


def _verdict(columns: Row) -> str:
    if columns["state"] == State.SCORED:
        return f"answer {columns['mode']}"
    return f"{columns['state']} ({columns['error_kind']}: {columns['error']})"
