"""Read a dataset once, without writing: every record, and as many images as some seconds allow."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from editlane.core.checkout import find_dataset
from editlane.core.errors import SourceUnreadable, UserError
from editlane.datasets.base64_text import decode_base64
from editlane.datasets.checking import check_records
from editlane.datasets.given_edits import open_folders
from editlane.datasets.parsing import RawImage, Selection, Skipped
from editlane.images.files import open_image, read_displayed_size
from editlane.models.registry import find_adapter

IMAGE_SECONDS, RECORD_SECONDS = 2.0, 4.0
"""Time limits for reading images and for reading records, in seconds."""
DECODE_SHARE = 0.5
"""Largest share of the image time spent on decoding, so that decoded images spread over the dataset."""


@dataclass(slots=True)
class Scan:
    """Contents of a dataset, as far as it was read."""

    items: Counter[str] = field(default_factory=Counter)
    """Number of items by category."""
    instructions: dict[str, set[str]] = field(default_factory=dict)
    """Up to two different instructions of each category."""
    skipped: Skipped = field(default_factory=Skipped)
    fallback: int = 0
    """Items without an instruction in the requested language."""
    images: int = 0
    """Images of all items so far."""
    headers: int = 0
    decoded: int = 0
    """Images decoded in full, including the `unreadable` ones."""
    pixels: int = 0
    """Total pixels of all images whose header was read."""
    size: int = 0
    """Total bytes of the same images."""
    seconds: float = 0.0
    """Time spent on images."""
    decode_seconds: float = 0.0
    """Part of this time that was spent on decoding."""
    unreadable: list[str] = field(default_factory=list)
    gaps: dict[str | None, list[str]] = field(default_factory=dict)
    """Items without an edit and files without an item, by the editor whose folder it is. None: `edited_dir`."""
    error: str | None = None
    """Reason why the dataset cannot be prepared."""
    complete: bool = False
    """True if the dataset was read to its end."""

    @property
    def uniform(self) -> set[str]:
        """Categories whose items all have the same instruction."""
        return {category for category, different in self.instructions.items() if len(different) < 2}


def make_selection(dataset: dict[str, Any]) -> Selection:
    """Return which records become items, by the dataset of a checked config."""
    return Selection(
        dataset=find_dataset(dataset["path"]),
        format=dataset["format"],
        language=dataset["language"],
        categories=tuple(dataset["categories"]),
        limit=dataset.get("limit"),
        edits_apart=dataset["edited_dir"] is not None,
    )


def find_edits_folders(config: dict[str, Any]) -> dict[str, Path]:
    """Return the folders of edits by the editor that has one for itself."""
    found = {
        name: find_adapter("editor", editor["adapter"]).PARAMS.find_edits_folder(editor["params"])
        for name, editor in config["editors"].items()
    }
    return {name: folder for name, folder in found.items() if folder}


def scan_dataset(config: dict[str, Any], *, whole: bool, images: bool = True) -> Scan:
    """Read the dataset of a checked config for RECORD_SECONDS, or with `whole` to its end; and some of its images."""
    dataset = config["dataset"]
    scan = Scan()
    started = time.monotonic()
    try:
        of_dataset = Path(dataset["edited_dir"]) if dataset["edited_dir"] else None
        folders = open_folders(of_dataset, find_edits_folders(config))
        for record in check_records(make_selection(dataset), scan.skipped, folders):
            instructions = record.list_instructions()
            scan.items[record.category] += len(instructions)
            if len(different := scan.instructions.setdefault(record.category, set())) < 2:
                different |= set(instructions[:2])
            scan.images += 1 + len(record.references)
            scan.fallback += len(instructions) * (record.language != dataset["language"])
            if not whole and time.monotonic() - started > RECORD_SECONDS:
                return scan
            if images and scan.seconds < IMAGE_SECONDS:
                for image in (record.image, *record.references):
                    _check_image(image, record.where, scan)
        scan.gaps = {editor: folder.describe_gaps() for editor, folder in folders.items()}
    except UserError as error:
        scan.error = str(error)
    scan.complete = True
    return scan


def _check_image(image: RawImage, where: str, scan: Scan) -> None:
    """Read the header of an image, and decode the image if DECODE_SHARE allows."""
    started = time.monotonic()
    with _open_as_file(image) as path:
        if path.is_file():  # check_records raises for a missing file
            scan.headers += 1
            scan.size += path.stat().st_size
            width, height = read_displayed_size(path) or (0, 0)
            scan.pixels += width * height
            begun = time.monotonic()
            if not width or scan.decode_seconds <= DECODE_SHARE * scan.seconds:
                _decode(path, where, scan)
            scan.decode_seconds += time.monotonic() - begun
    scan.seconds += time.monotonic() - started


def _decode(path: Path, where: str, scan: Scan) -> None:
    scan.decoded += 1
    try:
        open_image(path)
    except SourceUnreadable:
        scan.unreadable.append(where)


@contextmanager
def _open_as_file(image: Path | str | bytes) -> Iterator[Path]:
    """Yield the path of an image. Images inside the dataset file are written to a temporary file."""
    if isinstance(image, Path):
        yield image
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(decode_base64(image) if isinstance(image, str) else image)
        file.flush()
        yield Path(file.name)
