"""What an item and a load have cost in earlier runs: from their heartbeats, else from their costs tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from editlane.core import tables
from editlane.core.errors import UserError
from editlane.core.paths import RunPaths
from editlane.core.types import Row
from editlane.lanes.costs import lane_costs
from editlane.lanes.lane_status import LaneStatus, read_heartbeats
from editlane.preflight.context import Part

SAME_SETTINGS, SAME_MODEL, SAME_NAME = range(3)
"""How near an earlier run comes to an editor or judge, the nearest first."""

_WORDS = {
    SAME_SETTINGS: "same settings",
    SAME_MODEL: "same adapter and model, other settings",
    SAME_NAME: "same name, perhaps other settings",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Seconds on one device."""

    item: float
    """Of a lane for each item, waiting included; of a judge for each question."""
    load: float
    """Of a process until its model was loaded."""
    basis: str
    """The run, how near it comes, how many items, which device."""


def find_figure(part: Part, key: str | None, runs: Sequence[Path], *, own: Path, on_gpu: bool) -> Figure | None:
    """The figure of the nearest run, of equally near ones the first; None where no run has any.

    `key` is of the part's settings, as the lanes note it. A name alone counts in the folder `own` only. Figures of the
    CPU say nothing about a GPU, nor the other way round.
    """
    found: list[tuple[int, Path, list[Row]]] = []
    for run in runs:
        rows = [row for row in _costs_of(run) if _worked(row, part, on_gpu)]
        about = _provenance_of(run, part.kind) if rows else {}
        for near in (SAME_SETTINGS, SAME_MODEL, SAME_NAME):
            fitting = [row for row in rows if _is_near(near, row, part, key, about, is_own=run == own)]
            if fitting:
                found.append((near, run, fitting))
                break
    if not found:
        return None
    near, run, rows = min(found, key=lambda one: one[0])  # the first of the nearest
    items = sum(row["items"] for row in rows)
    device = "the CPU" if not on_gpu else sorted(row["device"].partition(" (")[0] for row in rows)[0]
    return Figure(
        item=sum(row["busy_seconds"] + row["idle_seconds"] for row in rows) / items,
        load=sum(row["load_seconds"] + (row["lost_seconds"] or 0.0) for row in rows)
        / sum(row["attempts"] for row in rows),
        basis=f"{run}: {_WORDS[near]}, {items:,} {'items' if part.kind == 'editor' else 'questions'} on {device}",
    )


def _worked(row: Row, part: Part, on_gpu: bool) -> bool:
    stage = "edit" if part.kind == "editor" else "score"
    return bool(row["stage"] == stage and row["items"] > 0 and (row["device"] != "cpu") == on_gpu)


def _is_near(near: int, row: Row, part: Part, key: str | None, about: dict[str, Any], *, is_own: bool) -> bool:
    name: str = row[part.kind]
    if near == SAME_SETTINGS:
        return key is not None and bool(row[f"{part.kind}_key"] == key)
    if near == SAME_MODEL:
        there, model = about.get(name, {}), part.settings["model"]
        known = (there.get("adapter"), there.get("model"))
        return known in {(part.settings["adapter"], model), (part.settings["adapter"], Path(model or "").name or None)}
    return is_own and name == str(part.name)


def _costs_of(run: Path) -> list[Row]:
    statuses = read_heartbeats(RunPaths(run))
    if statuses:
        return list(_from_heartbeats(statuses))
    try:
        return [dict(row) for row in tables.read_costs(RunPaths(run).costs)]
    except UserError:
        return []


def _from_heartbeats(statuses: Sequence[LaneStatus]) -> Iterator[Row]:
    """As a costs table, but of all settings that ever ran there."""

    def settings(one: LaneStatus) -> tuple[str, ...]:
        return (one.stage, one.editor, one.judge or "", one.editor_key or "", one.judge_key or "")

    for _, group in groupby(sorted(statuses, key=settings), key=settings):
        members = list(group)
        one = members[0]
        judges = {one.judge: {"key": one.judge_key}} if one.judge is not None else {}
        yield from lane_costs(members, {"editors": {one.editor: {"key": one.editor_key}}, "judges": judges}, 0)


def _provenance_of(run: Path, kind: str) -> dict[str, Any]:
    """Name -> what the run's scores say about its editors or judges."""
    try:
        found: dict[str, Any] = tables.read_provenance(RunPaths(run).scores).get(f"{kind}s", {})
    except UserError:
        return {}
    return found


def earlier_runs(own: Path) -> list[Path]:
    """The run's own folder, then those beside it, the latest first."""
    others = (folder for folder in own.parent.glob("*") if folder.is_dir() and folder != own)
    return [own, *sorted(others, key=lambda folder: folder.stat().st_mtime, reverse=True)]
