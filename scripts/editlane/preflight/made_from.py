"""What the outputs of a run were made from: Snakemake's records of them, kept in the run's folder as well.

Snakemake keeps its records in `.snakemake/`, by the paths of the outputs, and takes an output without a record for up
to date. After a run was renamed, moved or copied, or `.snakemake/` deleted, it would never notice that config or inputs
have changed since. Here the records move with the outputs, and are given back to Snakemake, which compares as ever.
"""

import base64
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from editlane.core.checkout import CHECKOUT
from editlane.core.files import is_file, replace_text
from editlane.core.paths import RunPaths

Record = dict[str, Any]

METADATA = Path(".snakemake/metadata")
"""Where Snakemake keeps a file for each output."""

COMPARED = ("rule", "input", "params", "code", "record_format_version", "input_checksums")
"""The entries of a record that are kept. Environments are left out: the paths of their folders are part of them."""

OUTDATED: Record = {
    "params": ["what it was made from has changed, or is not known"],
    "record_format_version": 1_000_000,  # Snakemake does not compare the params of records of an older format
}
"""The record of an output that is to be made again."""


class Kept(NamedTuple):
    """What is kept of one output."""

    written: int
    """Its modification time in whole seconds, as some ways of copying keep no more."""
    record: Record | None
    """None if Snakemake had no record of it, and so trusted it."""


def keep_records(paths: RunPaths) -> None:
    """Write down what the outputs that exist now were made from. Raises OSError."""
    before = _read_kept(paths) or {}
    kept: dict[str, Kept] = {}
    for output, written in _list_outputs(paths):
        name, found = _name(paths, output), _read_record(output)
        if found is not None:
            kept[name] = Kept(written, {entry: found.get(entry) for entry in COMPARED})
        else:
            old = before.get(name)
            kept[name] = Kept(written, old.record if old and old.written == written else None)
    _write_kept(paths, kept)


def redate_tables(paths: RunPaths, now: float) -> None:
    """Set the times of tables that are later than `now`, in seconds since 1970, to the clock's, in their old order.

    Such tables exist after the clock was set back. Snakemake would refuse the outputs made after them. Raises OSError.
    """
    written = {path: path.stat().st_mtime for path in paths.all_tables()}
    for path in sorted(written, key=lambda path: written[path]):
        if written[path] > now + 1:
            os.utime(path)


def restore_records(paths: RunPaths) -> list[Path]:
    """Give Snakemake the records that it lacks, and return the outputs about which nothing is known.

    An output that is not the one that was written down, such as one by a workflow that was killed, is marked to be made
    again, from its journals. Raises OSError.
    """
    kept = _read_kept(paths)
    unknown = []
    for output, written in _list_outputs(paths):
        found = _read_record(output)
        if found is not None and found.get("params") == OUTDATED["params"]:  # by a dry run with another config, perhaps
            _place(output).unlink()
            found = None
        if found is not None and (kept is None or _is_about(found, written)):
            continue
        known = kept.get(_name(paths, output)) if kept is not None else Kept(written, None)
        if known is None or known.written != written:
            _write_record(output, OUTDATED)
        elif known.record is not None:
            _write_record(output, _rename(known.record, {name: place for place, name in _list_places(paths).items()}))
        else:
            unknown.append(output)
    return unknown


def mark_outdated(outputs: Iterable[Path]) -> None:
    """Let Snakemake make these outputs again. All outputs of a job must be among them. Raises OSError."""
    for output in outputs:
        _write_record(output, OUTDATED)


def _read_kept(paths: RunPaths) -> dict[str, Kept] | None:
    """Return what was kept, by path in the run's folder; None if nothing was, or the file is damaged."""
    if not is_file(paths.made_from):
        return None
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        found = json.loads(paths.made_from.read_bytes())
        records = [None if one is None else {name: one[name] for name in COMPARED} for one in found["records"]]
        return {name: Kept(int(written), records[number]) for name, (written, number) in found["outputs"].items()}
    return None


def _write_kept(paths: RunPaths, kept: dict[str, Kept]) -> None:
    """Write each record once, because all outputs of a job have the same, and it names all of its inputs."""
    numbers: dict[str, int] = {}
    outputs = {}
    for name, one in kept.items():
        text = json.dumps(_rename(one.record, _list_places(paths)), sort_keys=True)
        outputs[name] = [one.written, numbers.setdefault(text, len(numbers))]
    content = {"records": [json.loads(text) for text in numbers], "outputs": outputs}
    replace_text(paths.made_from, json.dumps(content, ensure_ascii=False))


def _list_places(paths: RunPaths) -> dict[str, str]:
    """Return what stands for the folders in a kept record that may be elsewhere when it is read."""
    return {f"{paths.run_dir}/": "<results>/", f"{CHECKOUT}/": "<checkout>/"}


def _rename(value: Any, names: dict[str, str]) -> Any:
    """Replace names of folders in all texts of a record; Snakemake compares its inputs in sorted order."""
    if isinstance(value, str):
        for old, new in names.items():
            value = value.replace(old, new)
    if isinstance(value, list):
        return sorted((_rename(one, names) for one in value), key=str)
    if isinstance(value, dict):
        return {_rename(name, names): _rename(one, names) for name, one in value.items()}
    return value


def _name(paths: RunPaths, output: Path) -> str:
    return output.relative_to(paths.run_dir).as_posix()


def _list_outputs(paths: RunPaths) -> Iterator[tuple[Path, int]]:
    """Yield the outputs that can be looked at, with their modification times in seconds."""
    for output in paths.all_outputs():
        with suppress(OSError, UnicodeEncodeError):
            os.fspath(output).encode()  # a stray file with another encoding in its name is no output
            yield output, int(output.stat().st_mtime)


def _is_about(record: Record, written: int) -> bool:
    """Return whether a record of Snakemake is about a file of this time, and not about an earlier one of that name."""
    ended = record.get("endtime")
    return isinstance(ended, (int, float)) and int(ended) == written


def _read_record(output: Path) -> Record | None:
    """Return Snakemake's record; None if it has none or cannot read it."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(_place(output).read_bytes())
        return found if isinstance(found, dict) and found else None
    return None


def _write_record(output: Path, record: Record) -> None:
    if not METADATA.exists():
        for name in (
            "metadata",
            "incomplete",
        ):  # without the latter, Snakemake takes the folder for one of old and says so
            METADATA.with_name(name).mkdir(parents=True, exist_ok=True)
    place = _place(output)
    place.parent.mkdir(parents=True, exist_ok=True)
    replace_text(place, json.dumps(record | {"endtime": output.stat().st_mtime, "incomplete": False}))


def _place(output: Path) -> Path:
    """Return the file of Snakemake's record: the output's path in base 64, cut into names that are short enough."""
    name = base64.urlsafe_b64encode(str(output).encode()).decode()
    longest = os.pathconf(METADATA, "PC_NAME_MAX") - 1 if METADATA.exists() else 254
    parts = [name[start : start + longest] for start in range(0, len(name), longest)]
    return METADATA.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
