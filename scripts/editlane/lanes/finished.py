"""Read what a run has finished so far from its journals, under the settings of one config."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc

from editlane.core import schemas, tables
from editlane.core.checkout import find_file
from editlane.core.errors import UserError
from editlane.core.paths import RunPaths
from editlane.core.schemas import QuestionRow
from editlane.core.types import Control, Row
from editlane.lanes.editor_spec import EditorSpec
from editlane.lanes.identity import model_options
from editlane.lanes.journal import read_journal
from editlane.lanes.judging import JudgeSpec, is_judgeable
from editlane.lanes.panels import describe_panels, make_panel, read_panels
from editlane.protocols.controls import plan_controls, select_lane_questions
from editlane.protocols.scoring import load_protocol


class Part(NamedTuple):
    """The finished rows of one editor and one judge."""

    scores: pa.Table
    controls: pa.Table


class FinishedRun:
    """The finished part of a run. Raises UserError if `config` lacks a setting.

    `config`: with every default filled in, as the workflow passes it. `plan`: the canaries are taken from this table if
    it exists.
    """

    def __init__(self, run_dir: Path, config: dict[str, Any], items: Path, plan: Path) -> None:
        self.paths, self.config = RunPaths(run_dir), config
        try:
            seed, editors, judges = config["seed"], config["editors"].items(), config["judges"].items()
            self._controls = {name: config["controls"][name] for name in ("share", "least", "repeats", "canary")}
            editors = [(name, model_options(settings)) for name, settings in editors]
            judges = [(name, find_file(settings["protocol"]), model_options(settings)) for name, settings in judges]
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"--config is not a whole config ({error}); the workflow passes its own.") from error
        self.editors = {name: EditorSpec.of(run_dir, name, seed, options) for name, options in editors}
        self.judges = {
            name: JudgeSpec.of(run_dir, name, load_protocol(protocol), options) for name, protocol, options in judges
        }
        self.panels = read_panels(dict(config.get("panels") or {}), list(self.judges))
        self._dataset = tables.read_provenance(items)
        self._items = tables.read_items(items)
        self._plan = self._read_plan(items, plan)

    @cached_property
    def criteria(self) -> list[str]:
        """The criteria of all judges, in order."""
        return list(dict.fromkeys(name for judge in self.judges.values() for name in judge.criteria))

    def provenance(self) -> dict[str, Any]:
        """Return how the rows were made, for the tables' metadata."""
        made: dict[str, Any] = {"editors": {}, "judges": {}, "dataset": self._dataset}
        for name, editor in self.editors.items():
            made["editors"] |= editor.describe(model_options(self.config["editors"][name]))
        for name, judge in self.judges.items():
            made["judges"] |= judge.describe(model_options(self.config["judges"][name]))
        return made | describe_panels(self.panels)

    def parts(self) -> Iterator[Part]:
        """Yield the rows of every editor with every judge, one pair at a time.

        After an editor's last judge come the rows of the panels, about what all of their judges have finished.
        """
        scores, controls = schemas.scores_schema(self.criteria), schemas.controls_schema(self.criteria)
        for name, editor in self.editors.items():
            edits = self._edits(editor)
            planned = self._plan.filter(pc.equal(self._plan["editor"], name)).to_pylist()
            of_judges: dict[str, Part] = {}
            for judge in self.judges.values():
                asked = select_lane_questions(planned, edits, name, 0, judge.samples)
                of_judges[judge.judge] = Part(
                    scores=tables.from_rows(self._scores(judge, name, edits), scores),
                    controls=tables.from_rows(self._scores(judge, name, asked), controls),
                )
            yield from of_judges.values()
            for panel in self.panels:
                parts = [of_judges[judge] for judge in panel.judges]
                yield Part(*(make_panel(panel, part) for part in zip(*parts, strict=True)))

    def _edits(self, editor: EditorSpec) -> list[QuestionRow]:
        finished = read_journal(self.paths.journal(editor.editor)).rows
        items = editor.give_edits_if_prepared(self._items)
        kept = editor.find_all_kept(items, finished)
        found = ((item, kept[item.item_id]) for item in items if item.item_id in kept)
        return [cast(QuestionRow, {**tables.item_row(item), **row}) for item, row in found]

    def _scores(self, judge: JudgeSpec, editor: str, edits: list[QuestionRow]) -> Iterator[Row]:
        finished = read_journal(self.paths.journal(editor, judge.judge)).rows
        for row in edits:
            score = finished.get(judge.key(row)) if is_judgeable(row) else None
            if score is not None or not is_judgeable(row):
                yield judge.score_row(row, score)

    def _read_plan(self, items: Path, stored: Path) -> pa.Table:
        """Plan the controls that the config asks for, and read the canaries, whose pictures are stored."""
        asked = {name: self._controls[name] for name in ("share", "least", "repeats")}
        table = tables.read_arrow(items, schemas.ITEMS.names)
        plan = plan_controls(table, list(self.editors), seed=self.config["seed"], **asked)
        if self._controls["canary"] and stored.exists():
            canaries = tables.read_arrow(stored, schemas.PLAN.names, pc.field("control") == str(Control.CANARY))
            plan = pa.concat_tables([plan, canaries.select(schemas.PLAN.names).cast(schemas.PLAN)])
        return plan
