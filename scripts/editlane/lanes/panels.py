"""Combine the scores that several judges gave the same edits, into the rows of a panel: a judge of its own.

Nothing is asked, and no missing score is filled. A panel has controls like any judge, combined in the same way, so that
it is accepted by the same tests.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from editlane.core.errors import UserError
from editlane.core.schemas import EDIT_COLUMNS, ITEMS
from editlane.core.types import State

Floats = npt.NDArray[np.float64]

KEY = ("editor", "control", "item_id", "repeat")
"""Columns that name a row of one judge; only controls have `control` and `repeat`."""

OF_THE_EDIT = {*ITEMS.names, *EDIT_COLUMNS, "control", "repeat", "other_item_id"} - {"state", "error_kind", "error"}
"""Columns about the edit and not about what a judge said; they are the same for all judges."""

JUDGED = (State.SCORED, State.JUDGE_UNREADABLE, State.JUDGE_FAILED)

NO_QUORUM = "quorum"
"""Kind of the error of a row that too few judges scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Several judges whose scores are combined into one."""

    name: str
    judges: tuple[str, ...]
    """Two or more, in the order of the config."""
    combine: Literal["mean", "median", "weighted"]
    quorum: int
    """Scores that a row needs to get one, 2..len(judges)."""
    weights: Mapping[str, float] | None = None
    """By judge, above 0; only for `weighted`. They need not add up to 1."""

    @classmethod
    def of(cls, name: str, settings: Mapping[str, Any]) -> Self:
        """Read the settings of a checked config. Raises UserError if they are not whole."""
        try:
            named = {key: settings[key] for key in ("combine", "quorum", "weights")}
            return cls(name=name, judges=tuple(settings["judges"]), **named)
        except (KeyError, TypeError) as error:
            raise UserError(
                f"The panel {name} is not whole ({error}). Give its judges, combine, quorum and weights; the workflow "
                "passes those of its config."
            ) from error

    def describe(self) -> dict[str, Any]:
        """Return the settings, for the tables' metadata."""
        return {key: value for key, value in asdict(self).items() if key != "name"}

    def combine_scores(self, scores: Floats) -> Floats:
        """Combine scores (rows, judges), NaN = no score, into (rows,); NaN below the quorum.

        Only the scores that exist are combined; weights are those of the judges that gave them.
        """
        enough = (~np.isnan(scores)).sum(axis=1) >= self.quorum
        combined, kept = np.full(len(scores), np.nan), scores[enough]
        if not len(kept):
            return combined
        match self.combine:
            case "mean":
                combined[enough] = np.nanmean(kept, axis=1)
            case "median":
                combined[enough] = np.nanmedian(kept, axis=1)
            case "weighted":
                weights = np.array([(self.weights or {})[judge] for judge in self.judges])
                there = np.where(np.isnan(kept), 0.0, weights)
                combined[enough] = (np.nan_to_num(kept) * there).sum(axis=1) / there.sum(axis=1)
        return combined


def read_panels(settings: Mapping[str, Any], judges: Sequence[str]) -> list[Panel]:
    """Read panels by name. Raises UserError if one lacks a setting or has a judge that is none of `judges`."""
    panels = [Panel.of(name, one if isinstance(one, Mapping) else {}) for name, one in settings.items()]
    for panel in panels:
        if unknown := [judge for judge in panel.judges if judge not in judges]:
            raise UserError(
                f"The panel {panel.name} has the judge {unknown[0]}, which is none of: {', '.join(judges)}."
            )
    return panels


def add_panels(parts: Iterable[tuple[str, str, pa.Table]], panels: Sequence[Panel]) -> Iterator[pa.Table]:
    """Yield the tables of all judges, and after an editor's last one those of the panels.

    `parts`: (editor, judge, its rows), all judges of an editor one after the other.
    """
    of_editor: dict[str, pa.Table] = {}
    before = None
    for editor, judge, table in parts:
        if editor != before:
            yield from _make_panels(of_editor, panels)
            of_editor, before = {}, editor
        if panels:
            of_editor[judge] = table
        yield table
    yield from _make_panels(of_editor, panels)


def add_panel_rows(rows: pa.Table, panels: Sequence[Panel]) -> pa.Table:
    """Return the rows of all judges followed by those of the panels."""
    made = [
        make_panel(panel, [rows.filter(pc.equal(rows["judge"], judge)) for judge in panel.judges]) for panel in panels
    ]
    return pa.concat_tables([rows, *made])


def describe_panels(panels: Sequence[Panel]) -> dict[str, Any]:
    """Return the panels for the tables' metadata; nothing without any, as in older tables."""
    return {"panels": {panel.name: panel.describe() for panel in panels}} if panels else {}


def _make_panels(tables: Mapping[str, pa.Table], panels: Sequence[Panel]) -> Iterator[pa.Table]:
    if tables:
        yield from (make_panel(panel, [tables[judge] for judge in panel.judges]) for panel in panels)


def make_panel(panel: Panel, tables: Sequence[pa.Table]) -> pa.Table:
    """Make the rows of a panel from its judges' tables, of one schema: those that all of them have.

    An unfinished run lacks rows of a judge. A judge that draws its replies has more repeats than others.
    """
    aligned = _align(tables)
    first = aligned[0]
    scores = np.column_stack([one["score"].to_numpy() for one in aligned]).astype(np.float64)
    states = [one["state"].to_pylist() for one in aligned]
    combined = panel.combine_scores(scores)
    whys = [
        _explain(panel, first, [of[row] for of in states], row) if missing else (str(State.SCORED), None, None)
        for row, missing in enumerate(np.isnan(combined).tolist())
    ]
    made: dict[str, Sequence[Any]] = {
        "judge": [panel.name] * len(first),
        "state": [state for state, _, _ in whys],
        "error_kind": [kind for _, kind, _ in whys],
        "error": [error for _, _, error in whys],
        "score": [None if np.isnan(one) else one for one in combined.tolist()],
        "judge_key": _join_keys(panel, aligned),
        "protocol_version": _join_versions(aligned),
    }
    return _fill(first, made)


def _fill(first: pa.Table, made: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Take over what is about the edits from `first`. What only a judge that was asked knows is null."""
    columns = []
    for field in first.schema:
        if field.name in made:
            columns.append(pa.array(made[field.name], field.type))
        else:
            is_kept = field.name in OF_THE_EDIT
            columns.append(first[field.name] if is_kept else pa.nulls(len(first), field.type))
    return pa.Table.from_arrays(columns, schema=first.schema)


def _align(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Return the rows that all tables have, in the order of the first."""
    names = [name for name in KEY if name in tables[0].column_names]
    keys = [
        pc.binary_join_element_wise(*(table[name].cast(pa.string()) for name in names), "\x1f").combine_chunks()
        for table in tables
    ]
    places = [pc.index_in(keys[0], value_set=one) for one in keys]
    there = np.logical_and.reduce([pc.is_valid(one).to_numpy(zero_copy_only=False) for one in places])
    return [table.take(one.filter(pa.array(there))) for table, one in zip(tables, places, strict=True)]


def _explain(panel: Panel, first: pa.Table, states: Sequence[str], row: int) -> tuple[str, str | None, str | None]:
    """Return (state, error_kind, error) of a row without a score.

    An item without an edit keeps its reason. Else too few judges scored it: `judge_unreadable` if all others gave no
    legal answer, and `judge_failed` if one of them failed.
    """
    if states[0] not in JUDGED:
        state, kind, error = (first[name][row].as_py() for name in ("state", "error_kind", "error"))
        return state, kind, error
    others = [(judge, state) for judge, state in zip(panel.judges, states, strict=True) if state != State.SCORED]
    failed = any(state != State.JUDGE_UNREADABLE for _, state in others)
    error = (
        f"{len(states) - len(others)} of {len(states)} judges scored it, and the quorum is {panel.quorum}: "
        f"{', '.join(f'{judge} {state}' for judge, state in others)}"
    )
    return str(State.JUDGE_FAILED if failed else State.JUDGE_UNREADABLE), NO_QUORUM, error


def _join_keys(panel: Panel, tables: Sequence[pa.Table]) -> list[str]:
    """Return a key for each row, which tells the panel's settings and its judges' keys."""
    known: dict[tuple[str, ...], str] = {}
    rows = list(zip(*(table["judge_key"].to_pylist() for table in tables), strict=True))
    for keys in dict.fromkeys(rows):
        content = json.dumps([panel.describe(), keys], sort_keys=True, ensure_ascii=False)
        known[keys] = hashlib.sha256(content.encode()).hexdigest()
    return [known[keys] for keys in rows]


def _join_versions(tables: Sequence[pa.Table]) -> list[str]:
    rows = zip(*(table["protocol_version"].to_pylist() for table in tables), strict=True)
    return [", ".join(dict.fromkeys(versions)) for versions in rows]
