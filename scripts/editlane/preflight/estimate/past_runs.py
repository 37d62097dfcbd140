"""Find what items and model loads cost in earlier runs, from heartbeats or else from costs tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from editlane.core import tables
from editlane.core.errors import UserError
from editlane.core.paths import RunPaths
from editlane.core.types import Row
from editlane.lanes.costs import sum_lanes
from editlane.lanes.lane_status import LaneStatus, read_heartbeats
from editlane.preflight.context import Part

SAME_SETTINGS, SAME_MODEL, SAME_NAME = range(3)
"""Degrees to which an earlier run matches an editor or judge, closest first."""

_WORDS = {
    SAME_SETTINGS: "same settings",
    SAME_MODEL: "same adapter and model, other settings",
    SAME_NAME: "same name, perhaps other settings",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCost:
    """Seconds on one device in an earlier run."""

    item: float
    """Seconds per item, or per question of a judge, including waiting."""
    load: float
    """Seconds until a process has loaded its model."""
    basis: str
    """Description of the run, the match, the number of items and the device."""


def find_past_cost(part: Part, key: str | None, runs: Sequence[Path], *, own: Path, on_gpu: bool) -> PastCost | None:
    """Return the cost from the run that matches best, the first of equals; None if no run matches.

    `key` is the key of the part's settings. A match by name counts only in the folder `own`. Costs on the CPU and on a
    GPU are never mixed.
    """
    found: list[tuple[int, Path, list[Row]]] = []
    for run in runs:
        rows = [row for row in _read_costs(run) if _is_comparable(row, part, on_gpu)]
        provenance = _read_provenance(run, part.kind) if rows else {}
        for match in (SAME_SETTINGS, SAME_MODEL, SAME_NAME):
            matching = [row for row in rows if _matches(match, row, part, key, provenance, is_own=run == own)]
            if matching:
                found.append((match, run, matching))
                break
    if not found:
        return None
    match, run, rows = min(found, key=lambda one: one[0])
    items = sum(row["items"] for row in rows)
    device = "the CPU" if not on_gpu else sorted(row["device"].partition(" (")[0] for row in rows)[0]
    return PastCost(
        item=sum(row["busy_seconds"] + row["idle_seconds"] for row in rows) / items,
        load=sum(row["load_seconds"] + (row["lost_seconds"] or 0.0) for row in rows)
        / sum(row["attempts"] for row in rows),
        basis=f"{run}: {_WORDS[match]}, {items:,} {'items' if part.kind == 'editor' else 'questions'} on {device}",
    )


def _is_comparable(row: Row, part: Part, on_gpu: bool) -> bool:
    stage = "edit" if part.kind == "editor" else "score"
    return bool(row["stage"] == stage and row["items"] > 0 and (row["device"] != "cpu") == on_gpu)


def _matches(match: int, row: Row, part: Part, key: str | None, provenance: dict[str, Any], *, is_own: bool) -> bool:
    name: str = row[part.kind]
    if match == SAME_SETTINGS:
        return key is not None and bool(row[f"{part.kind}_key"] == key)
    if match == SAME_MODEL:
        past, model = provenance.get(name, {}), part.settings["model"]
        known = (past.get("adapter"), past.get("model"))
        return known in {(part.settings["adapter"], model), (part.settings["adapter"], Path(model or "").name or None)}
    return is_own and name == str(part.name)


def _read_costs(run: Path) -> list[Row]:
    """Read the costs of a run; of one that cannot be read, as one of another user, there are none."""
    try:
        statuses = read_heartbeats(RunPaths(run))
        if statuses:
            return list(_sum_heartbeats(statuses))
        return [dict(row) for row in tables.read_costs(RunPaths(run).costs)]
    except (UserError, PermissionError):
        return []


def _sum_heartbeats(statuses: Sequence[LaneStatus]) -> Iterator[Row]:
    """Yield rows as in a costs table, but for all settings that ever ran there."""

    def get_settings(one: LaneStatus) -> tuple[str, ...]:
        return (one.stage, one.editor or "", one.judge or "", one.editor_key or "", one.judge_key or "")

    for _, group in groupby(sorted(statuses, key=get_settings), key=get_settings):
        members = list(group)
        names = {name: getattr(members[0], name) for name in ("stage", "editor", "judge", "editor_key", "judge_key")}
        yield from sum_lanes(members, names, 0)


def _read_provenance(run: Path, kind: str) -> dict[str, Any]:
    """Read name -> provenance of the run's editors or judges from its scores table."""
    try:
        found = tables.read_provenance(RunPaths(run).scores).get(f"{kind}s")
    except UserError:
        return {}
    return {name: one for name, one in found.items() if isinstance(one, dict)} if isinstance(found, dict) else {}


def list_runs(own: Path) -> list[Path]:
    """List the run's own folder, then its siblings, latest first."""
    others = (one.run_dir for one in RunPaths(own).runs_beside() if one.run_dir != own)
    return [own, *sorted(others, key=lambda folder: folder.stat().st_mtime, reverse=True)]
