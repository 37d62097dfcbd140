"""Read a dataset once, without writing: every record, and as many images as some seconds allow."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from editlane.core.errors import SourceUnreadable, UserError
from editlane.datasets.given_edits import EditedFolder
from editlane.datasets.parsing import ParsedRecord, Skipped
from editlane.datasets.prepare import check_records, decode_base64
from editlane.images.files import open_image, read_displayed_size

IMAGE_SECONDS, SECONDS = 2.0, 4.0
"""How long images are looked at, and records read."""
DECODING = 0.5
"""The share of the former that goes into decoding whole images; so those are spread over the dataset."""


@dataclass(slots=True)
class Scan:
    """What was seen of a dataset."""

    items: Counter[str] = field(default_factory=Counter)
    """By category."""
    left_out: Skipped = field(default_factory=Skipped)
    fallback: int = 0
    """Items without an instruction in the language asked for."""
    headers: int = 0
    decoded: int = 0
    """Images that were to be decoded whole; of these some are `unreadable`."""
    pixels: int = 0
    """Of all images whose header was read, as are `size` bytes."""
    size: int = 0
    seconds: float = 0.0
    """Spent on images, and of these on decoding them whole."""
    decoding: float = 0.0
    unreadable: list[str] = field(default_factory=list)
    mistake: str | None = None
    """Why the dataset cannot be prepared."""
    complete: bool = False
    """Whether it was read to its end."""


def scan_dataset(dataset: dict[str, Any], *, whole: bool) -> Scan:
    """Look at the dataset of a checked config until SECONDS have passed, or to its end."""
    scan = Scan()
    started = time.monotonic()
    try:
        for draft in _drafts(dataset, scan.left_out):
            scan.items[draft.category] += 1
            scan.fallback += draft.language != dataset["language"]
            if not whole and time.monotonic() - started > SECONDS:
                return scan
            if scan.seconds < IMAGE_SECONDS:
                _look_at(draft, scan)
    except UserError as error:
        scan.mistake = str(error)
    scan.complete = True
    return scan


def _drafts(dataset: dict[str, Any], left_out: Skipped) -> Iterator[ParsedRecord]:
    edits = EditedFolder(Path(dataset["edited_dir"])) if dataset["edited_dir"] else None
    path, categories = Path(dataset["path"]), tuple(dataset["categories"])
    return check_records(path, dataset["format"], dataset["language"], categories, left_out, edits)


def _look_at(draft: ParsedRecord, scan: Scan) -> None:
    """Read the header of an image and, as long as that took its share of the time only, decode it whole."""
    started = time.monotonic()
    with _file_of(draft.image) as path:
        if path.is_file():  # a missing one is a mistake in the dataset, which is told at its end
            scan.headers += 1
            scan.size += path.stat().st_size
            width, height = read_displayed_size(path) or (0, 0)
            scan.pixels += width * height
            begun = time.monotonic()
            if not width or scan.decoding <= DECODING * scan.seconds:
                _decode(path, draft.where, scan)
            scan.decoding += time.monotonic() - begun
    scan.seconds += time.monotonic() - started


def _decode(path: Path, where: str, scan: Scan) -> None:
    scan.decoded += 1
    try:
        open_image(path)
    except SourceUnreadable:
        scan.unreadable.append(where)


@contextmanager
def _file_of(image: Path | str | bytes) -> Iterator[Path]:
    """An image of the dataset as a file; one inside the dataset is put into the temporary folder for as long."""
    if isinstance(image, Path):
        yield image
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(decode_base64(image) if isinstance(image, str) else image)
        file.flush()
        yield Path(file.name)
