"""Read one editor's tables of a judge's lane, and write what the judge answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from editlane.core import schemas, tables
from editlane.core.paths import RunPaths
from editlane.core.schemas import QuestionRow
from editlane.core.types import Row
from editlane.lanes.judging import JudgeSpec, is_judgeable
from editlane.protocols.controls import select_lane_questions


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneTables:
    """The edits of one editor in one lane, by category, and the controls about them."""

    spec: JudgeSpec
    editor: str
    lane: int
    edits: dict[str, list[QuestionRow]]
    controls: list[QuestionRow]
    made_by: dict[str, Any]
    """The provenance of the edits."""

    @classmethod
    def read(cls, spec: JudgeSpec, editor: str, lane: int, categories: Sequence[str], plan: Path) -> Self:
        """Read the edits tables, and choose the controls from the plan. Raises UserError for a wrong table."""
        places = {category: RunPaths(spec.run_dir).edits(editor, category, lane) for category in categories}
        edits = {category: tables.read_edits(path, editor) for category, path in places.items()}
        rows = [row for shard in edits.values() for row in shard]
        planned = tables.read_plan(plan, editor, [row["item_id"] for row in rows])
        return cls(
            spec=spec,
            editor=editor,
            lane=lane,
            edits=edits,
            controls=select_lane_questions(planned, rows, editor, lane, spec.samples),
            made_by=tables.read_provenance(places[categories[0]]),
        )

    @property
    def journal(self) -> Path:
        """The folder of the judge's journal about these edits."""
        return RunPaths(self.spec.run_dir).journal(self.editor, self.spec.judge)

    def write(self, scored: Mapping[str, Row], judge: dict[str, Any]) -> None:
        """Write the scores tables and the controls table. `scored`: score columns by key. `judge`: its provenance."""
        paths, source = RunPaths(self.spec.run_dir), self.made_by | {"judge": judge}
        scores, controls = (make(self.spec.criteria) for make in (schemas.scores_schema, schemas.controls_schema))
        for category, rows in self.edits.items():
            path = paths.lane_scores(self.editor, self.spec.judge, category, self.lane)
            tables.write_table(path, self._fill_in(rows, scored), scores, provenance=source)
        path = paths.lane_controls(self.editor, self.spec.judge, self.lane)
        tables.write_table(path, self._fill_in(self.controls, scored), controls, provenance=source)

    def _fill_in(self, rows: Sequence[QuestionRow], scored: Mapping[str, Row]) -> list[Row]:
        answers = (scored[self.spec.key(row)] if is_judgeable(row) else None for row in rows)
        return [self.spec.score_row(row, answer) for row, answer in zip(rows, answers, strict=True)]
