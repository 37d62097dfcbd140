"""Check the records of a dataset against each other and against the files that they name."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from editlane.core.errors import UserError
from editlane.core.files import is_file
from editlane.core.text_width import agree, pluralize, shorten_name
from editlane.datasets.given_edits import EditedFolders, find_edits
from editlane.datasets.parsing import ParsedRecord, Selection, Skipped, parse_records

_LISTED = 5
_LONGEST_NAME = 200
"""Columns of a name in a message."""


def check_records(selection: Selection, skipped: Skipped, folders: EditedFolders) -> Iterator[ParsedRecord]:
    """Yield the records of `parse_records` that become items with their edits, and check them against each other.

    Raises UserError for every error that would stop `prepare_items` half way; some of them only after the last record.
    """
    dataset = selection.dataset
    places: dict[str, str] = {}
    missing: list[str] = []
    empty = True
    for record in find_edits(parse_records(selection, skipped, others=bool(folders)), folders):
        if record.left_out:
            continue
        empty = False
        if record.given_id and not selection.is_public:  # users cannot fix a duplicate key of a published dataset
            other = places.setdefault(unicodedata.normalize("NFC", record.given_id), record.where)
            if other != record.where:
                raise UserError(f"{dataset}: the same item_id twice: {other}, and {record.where}. Give each its own.")
        named = zip((record.name, *record.reference_names), (record.image, *record.references), strict=True)
        for number, (name, image) in enumerate(named, 1):
            if isinstance(image, Path) and not is_file(image):
                place = f", image {number} of its {1 + len(record.references)}" if record.references else ""
                missing.append(f"{shorten_name(str(name), _LONGEST_NAME)} ({record.where}{place})")
        yield record
    if missing:
        listed = ", ".join(missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
        raise UserError(
            f"{pluralize(len(missing), 'image file')} of {dataset} {agree(len(missing), 'is')} missing: {listed}. "
            "Paths are relative to the folder of the dataset file. Correct them, or put the files there."
        )
    if empty:
        others = ", ".join(sorted(skipped.categories))
        found = f"{dataset} has only: {others}" if others else f"{dataset} has no records"
        raise UserError(f"No items are left. The requested categories are {', '.join(selection.categories)}; {found}.")
    for folder in folders.values():
        folder.check_used()
