"""Choose the edits of a run that a rater is shown, and their order."""

import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from editlane.core import schemas, tables
from editlane.core.errors import SourceUnreadable, UnknownName, UserError
from editlane.core.paths import RunPaths
from editlane.core.text_width import pluralize
from editlane.core.types import EDITED
from editlane.datasets.item_ids import digest
from editlane.images.files import open_image
from editlane.ratings.tables import Subject, hash_instruction

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One edit to rate."""

    item_id: str
    editor: str
    category: str
    instruction: str
    language: str
    source: Path
    edit: Path
    subject: Subject
    references: tuple[Path, ...] = ()
    """The item's further images."""

    @property
    def pictures(self) -> dict[str, Path]:
        return {"source": self.source, "edit": self.edit}


def read_tasks(run_dir: Path, editors: Sequence[str] = ()) -> list[Task]:
    """Read all edits with an image of the run, or of these editors, sorted by item and editor.

    Raises UserError if the run, or a requested editor, has no edits yet.
    """
    paths = RunPaths(run_dir)
    items = {item.item_id: item for item in tables.read_items(paths.items)}
    found = {}
    for path in paths.all_edits():
        for row in tables.read_rows(path, schemas.EDITS.names):
            item = items.get(row["item_id"])
            # Tables left over from another number of lanes or another dataset do not belong to this run.
            if item is None or (item.source_sha256, item.instruction) != (row["source_sha256"], row["instruction"]):
                continue
            if row["state"] == EDITED:
                found[item.item_id, row["editor"]] = Task(
                    item_id=item.item_id,
                    editor=row["editor"],
                    category=item.category,
                    instruction=item.instruction,
                    language=item.language,
                    source=run_dir / item.source_path,
                    edit=run_dir / row["edited_path"],
                    subject=Subject(item.source_sha256, row["edited_sha256"] or "", hash_instruction(item.instruction)),
                    references=tuple(run_dir / one.path for one in item.references),
                )
    known = {editor for _, editor in found}
    if not found:
        raise UserError(f"{run_dir} has no edits to rate. Run the workflow up to the edits first.")
    for editor in editors:
        if editor not in known:
            raise UnknownName("editor", editor, known)
    return [task for _, task in sorted(found.items()) if not editors or task.editor in editors]


def choose_items(tasks: Sequence[Task], count: int | None, seed: int) -> list[Task]:
    """Choose the tasks of `count` items, or of all, taking the categories in turn. Equal for all raters."""
    by_category: defaultdict[str, set[str]] = defaultdict(set)
    for task in tasks:
        by_category[task.category].add(task.item_id)
    turns = [
        (turn, category, item_id)
        for category, item_ids in by_category.items()
        for turn, item_id in enumerate(sorted(item_ids, key=lambda item_id: digest(str(seed), item_id)))
    ]
    chosen = {item_id for _, _, item_id in sorted(turns)[:count]}
    return [task for task in tasks if task.item_id in chosen]


def shuffle(tasks: Sequence[Task], rater: str, seed: int) -> list[Task]:
    """Sort the tasks in this rater's own random order. Adding or removing tasks does not change it."""
    return sorted(tasks, key=lambda task: digest(str(seed), rater, task.item_id, task.editor))


def drop_unreadable(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks whose images can all be decoded. The others are logged."""
    paths = sorted({path for task in tasks for path in (task.source, task.edit, *task.references)})
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        problems = {
            path: problem for path, problem in zip(paths, pool.map(_find_problem, paths), strict=True) if problem
        }
    for problem in problems.values():
        log.warning("skipped: %s", problem)
    kept = [task for task in tasks if problems.keys().isdisjoint((task.source, task.edit, *task.references))]
    if len(kept) < len(tasks):
        skipped = f"{len(tasks) - len(kept)} of {pluralize(len(tasks), 'edit')}"
        log.warning("skipped %s, of which an image cannot be read", skipped)
    return kept


def _find_problem(path: Path) -> str | None:
    try:
        open_image(path)
    except SourceUnreadable as error:
        return str(error)
    return None
