"""Name and make the files of `report/tables/`."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from editlane.report.cells import Table
from editlane.report.exports import csv_text, latex
from editlane.report.exports.paper import NAME
from editlane.report.exports.tidy import make_tidy_tables
from editlane.report.sections import Section

FOLDER = "tables"
"""The folder beside the page."""

_SAFE = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def make_table_files(
    numbers: Mapping[str, Any], sections: Iterable[Section], papers: Mapping[str, str]
) -> dict[str, bytes]:
    """Make all files: path relative to the page -> content. `papers` are the tables of `make_paper_tables`."""
    texts = {
        f"{name}.csv": csv_text.format_records(tidy.records, tidy.columns)
        for name, tidy in make_tidy_tables(numbers).items()
    }
    for name, table in _name_tables(sections, {path.removesuffix(".csv") for path in texts}):
        texts |= {f"{name}.csv": csv_text.format_table(table), f"{name}.tex": latex.format_table(table)}
    names = name_apart([f"{NAME}-{name_safely(judge)}" for judge in papers])
    texts |= {f"{name}.tex": text for name, text in zip(names, papers.values(), strict=True)}
    return {f"{FOLDER}/{name}": text.encode() for name, text in texts.items()}


def _name_tables(sections: Iterable[Section], taken: set[str]) -> list[tuple[str, Table]]:
    """Name each table by its section and what it is about. Names that some disks take for the same get a number."""
    tables = [(section.name, table) for section in sections for table in section.tables]
    stems = ["-".join([section, *map(name_safely, table.about)]) for section, table in tables]
    return list(zip(name_apart(stems, taken), (table for _, table in tables), strict=True))


def name_apart(stems: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return each name as it is, or with the lowest number that tells it from those before and from `taken`."""
    named, used = [], {name.lower() for name in taken}
    for stem in stems:
        name, number = stem, 1
        while name.lower() in used:
            number += 1
            name = f"{stem}-{number}"
        used.add(name.lower())
        named.append(name)
    return named


def name_safely(name: str) -> str:
    """Return a name as a part of a file's name: as it is, if that is safe anywhere, or else in ASCII with a hash."""
    if _SAFE.fullmatch(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.")[:32]
    return "-".join(filter(None, [plain, hashlib.sha256(name.encode()).hexdigest()[:8]]))
