"""Space and files against what the run is expected to write."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from editlane.preflight.context import Part, Setup
from editlane.preflight.dataset_scan import Scan
from editlane.preflight.findings import Finding, amount, plural
from editlane.preflight.folders import nearest

PNG_BYTES = 2.0
"""A pixel of an edit as PNG: 0.7 to 2.0 were measured on the demo's photos, at their size and at one megapixel."""
ROW_BYTES = 3000
"""An item in the tables and journals of one editor, and again of each judge."""
ENOUGH = 1e9
"""Bytes, below which a disk is nearly full whatever is expected."""
_SAMPLE = 200
_ROWS = 10_000
_MEGAPIXEL = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the run is still going to write."""

    items: int
    size: int
    """Bytes."""
    files: int
    source: str
    """What the size of an edit was taken from."""

    def __str__(self) -> str:
        if not self.size:
            return "all edits are there already"
        return f"about {amount(self.size)} to be written: {self.source}"


def check_disk(setup: Setup, scan: Scan | None) -> Iterator[Finding]:
    """Free space and free inodes. Without `scan` what is expected is known only once the items are prepared."""
    folder = nearest(setup.run_dir)
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    expected = expected_output(setup, scan)
    if expected is None:
        yield _at_least(free)
        return
    text = f"{amount(free)} free; {expected}"
    if expected.size / 4 > free:  # an estimate: edits of flat colours take a third of it
        yield Finding("fail", "disk", text, "Free some space, or run in a folder on a larger disk.")
    elif expected.size * 1.2 > free:
        yield Finding("warn", "disk", text, "This may not be enough: free some space before it is short.")
    else:
        yield Finding("pass", "disk", text)
    if disk.f_files and expected.files > disk.f_favail:
        text = f"{disk.f_favail:,} files can still be made; about {expected.files:,} are to be"
        yield Finding("fail", "disk", text, "Free inodes (`df -i`), or run in a folder on another disk.")


def _at_least(free: int) -> Finding:
    text = f"{amount(free)} free"
    if free < ENOUGH:
        return Finding("warn", "disk", text, "Free some space; check_setup.py says how much the run needs.")
    return Finding("pass", "disk", text)


def expected_output(setup: Setup, scan: Scan | None) -> Expected | None:
    """From the items of an earlier start, else from the dataset; None where neither is known."""
    prepared = setup.paths.items
    if prepared.is_file():
        sizes = pq.ParquetFile(prepared).read(["width", "height"])
        items, sources = len(sizes), 0.0
        pixels = _mean_pixels(sizes.slice(0, _ROWS).to_pydict())
    elif scan is not None and scan.headers:
        items = scan.items.total()
        pixels, sources = scan.pixels / scan.headers, scan.size / scan.headers * items
    else:
        return None
    size: float = sources
    files, measured = (items if sources else 0), 0
    for editor in setup.editors:
        there = _Images.of(setup.paths.images(editor.name))
        left = max(0, items - there.count)
        size += left * (there.mean_size or PNG_BYTES * _edit_pixels(editor, pixels))
        size += left * ROW_BYTES * (1 + len(setup.judges))
        files += left
        measured += bool(there.mean_size)
    every = "as large as those that are there" if measured else f"{PNG_BYTES:g} bytes a pixel of an edit"
    if scan is not None and not scan.complete:
        every += "; more, because the dataset was not read to its end"
    source = f"{plural(items, 'item')} x {plural(len(setup.editors), 'editor')}, {every}"
    return Expected(items=items, size=int(size), files=files, source=source)


def _mean_pixels(sizes: dict[str, list[int | None]]) -> float:
    """Of an image, from those whose size is known."""
    known = [width * height for width, height in zip(*sizes.values(), strict=True) if width and height]
    return sum(known) / len(known) if known else float(_MEGAPIXEL)


def _edit_pixels(editor: Part, source: float) -> float:
    """Of an edit: what the params say, else a megapixel (Qwen-Image-Edit) or those of the source."""
    params = editor.settings["params"]
    if params.get("width") and params.get("height"):
        return float(params["width"] * params["height"])
    return float(_MEGAPIXEL) if editor.settings["adapter"] == "qwen-image-edit" else source


@dataclass(frozen=True, slots=True)
class _Images:
    count: int
    mean_size: float
    """Bytes; 0 where there are none."""

    @classmethod
    def of(cls, folder: Path) -> "_Images":
        """The edits that are there, of any category; `scandir` counts a million in a second."""
        count, sizes = 0, list[int]()
        for category in folder.iterdir() if folder.is_dir() else ():
            with os.scandir(category) as entries:
                for entry in entries:
                    count += 1
                    if len(sizes) < _SAMPLE:
                        sizes.append(entry.stat().st_size)
        return cls(count, sum(sizes) / len(sizes) if sizes else 0.0)
