"""Check that the pictures of a run are still those that its tables record.

Snakemake watches the tables alone: a picture that is deleted or replaced under a run would keep its score.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from editlane.core import tables
from editlane.core.errors import UserError
from editlane.core.text_width import pluralize
from editlane.preflight.context import RunContext
from editlane.preflight.findings import Finding, join_names
from editlane.preflight.input_contents import FileDigests

Recorded = dict[str, tuple[str, int]]
"""Path of a picture in the run's folder -> its SHA-256, and when the table that says so was written, in ns."""


def check_pictures(context: RunContext) -> Iterator[Finding]:
    """Check the edits of each editor, and the sources of all. Pictures that no table of edits names are left out."""
    digests, sources, count = FileDigests(), Recorded(), 0
    lost = False
    for editor in context.editors:
        written = [path for path in context.paths.all_edits() if path.is_relative_to(context.run_dir / editor.name)]
        sources |= _read_recorded(written, "source")
        edits = _read_recorded(written, "edited")
        count += len(edits)
        if missing := _find_lost(edits, context.run_dir, digests):
            lost = True
            what = f"{pluralize(len(missing), 'edit')} of {editor.name}"
            yield _report(missing, what, context.paths.edits_folder(editor.name))
    if missing := _find_lost(sources, context.run_dir, digests):
        lost = True
        yield _report(missing, pluralize(len(missing), "source"), context.paths.items)
    if count and not lost:
        text = f"{pluralize(count, 'edit')} and {pluralize(len(sources), 'source')} of the run are as recorded"
        yield Finding("pass", "pictures", text)


def _report(missing: Sequence[str], what: str, table: Path) -> Finding:
    text = f"{what} deleted or replaced since the tables were written: {join_names(missing, 3)}"
    remedy = (
        f"Scores and report are about the pictures as they were. Put these back, or delete {table}: the same command "
        "then makes them again and judges them."
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


def _find_lost(recorded: Recorded, run_dir: Path, digests: FileDigests) -> list[str]:
    """Return the paths of pictures that are missing or have another content.

    A picture whose inode has not changed since its table was written is not read.
    """
    doubtful = []
    for path, (_, written) in recorded.items():
        try:
            if (run_dir / path).stat().st_ctime_ns > written:
                doubtful.append(path)
        except OSError:
            doubtful.append(path)
    found = digests.hash_each([run_dir / path for path in doubtful])
    return [path for path, digest in zip(doubtful, found, strict=True) if digest != recorded[path][0]]
