"""Check that the pictures of a run are still those that its tables record.

Snakemake watches the tables alone: a picture that is deleted or replaced under a run would keep its score.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from editlane.core import tables
from editlane.core.errors import UserError
from editlane.core.findings import Finding, join_names
from editlane.core.text_width import pluralize
from editlane.preflight.context import RunContext
from editlane.preflight.input_contents import THREADS, FileDigests, hash_image

MEMORY = Path(".snakemake/editlane_pictures.json")
"""Digests of pictures. They are not with those of the inputs, which each job of a workflow reads."""

SECONDS = 20.0
"""Time to read pictures at one start. All of a run that was copied are in doubt; the next start goes on."""

BATCH = 1000
"""Pictures between two looks at the clock."""

Recorded = dict[str, tuple[str, int]]
"""Path of a picture in the run's folder -> its SHA-256, and when the table that says so was written, in ns."""


def check_pictures(context: RunContext) -> Iterator[Finding]:
    """Check the edits of each editor, and the sources of all. Pictures that no table of edits names are left out."""
    digests, until = FileDigests(MEMORY), time.monotonic() + SECONDS
    sources, edits, lost, unread = Recorded(), 0, False, 0
    for editor in context.editors:
        written = [path for path in context.paths.all_edits() if path.is_relative_to(context.run_dir / editor.name)]
        sources |= _read_recorded(written, "source")
        recorded = _read_recorded(written, "edited")
        missing, left = _find_lost(recorded, context.run_dir, digests, until)
        edits, lost, unread = edits + len(recorded), lost or bool(missing), unread + left
        if missing:
            what = f"{pluralize(len(missing), 'edit')} of {editor.name}"
            yield _report(missing, what, "edit_lane")
    missing, left = _find_lost(sources, context.run_dir, digests, until)
    if missing:
        yield _report(missing, pluralize(len(missing), "source"), "prepare_items")
    if edits and not lost and not missing:
        text = f"{pluralize(edits, 'edit')} and {pluralize(len(sources), 'source')} of the run are as recorded"
        if unread + left:
            text += f", but for {unread + left:,} that were not read within {SECONDS:g} s; the next start goes on"
        yield Finding("pass", "pictures", text)


def _report(missing: Sequence[str], what: str, rule: str) -> Finding:
    text = f"{what} deleted or replaced since the tables were written: {join_names(missing, 3)}"
    remedy = (
        "Scores and report are about the pictures as they were. Put these back, or add "
        f"`--forcerun {rule}` to the command: it makes only these again, and judges those that came out differently."
    )
    return Finding("warn", "pictures", text, remedy)


def _read_recorded(written: Sequence[Path], kind: str) -> Recorded:
    recorded = Recorded()
    columns = [f"{kind}_path", f"{kind}_sha256"]
    for table in written:
        with suppress(UserError):  # the step that reads the table says what is wrong with it
            for row in tables.read_arrow(table, columns).select(columns).to_pylist():
                if all(row.values()):
                    recorded.setdefault(row[columns[0]], (row[columns[1]], table.stat().st_mtime_ns))
    return recorded


def _find_lost(recorded: Recorded, run_dir: Path, digests: FileDigests, until: float) -> tuple[list[str], int]:
    """Return the paths of pictures that are missing or have another content, and how many were not read in time.

    A picture whose inode has not changed since its table was written is not read.
    """

    def is_doubtful(path: str) -> bool:
        try:
            return (run_dir / path).stat().st_ctime_ns > recorded[path][1]
        except OSError:
            return True

    with ThreadPoolExecutor(THREADS) as pool:  # a network's disk answers several at a time
        doubtful = [path for path, doubt in zip(recorded, pool.map(is_doubtful, recorded), strict=True) if doubt]
    lost: list[str] = []
    read = 0
    while read < len(doubtful) and time.monotonic() < until:
        paths = doubtful[read : read + BATCH]
        found = digests.hash_each([run_dir / path for path in paths], hash_image)
        lost += [path for path, digest in zip(paths, found, strict=True) if digest != recorded[path][0]]
        read += len(paths)
    return lost, len(doubtful) - read
