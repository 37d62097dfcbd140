"""Compare free space and inodes with the expected output of the run."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from editlane.core import tables
from editlane.core.findings import Finding, format_bytes
from editlane.core.text_width import pluralize
from editlane.preflight.context import Part, RunContext
from editlane.preflight.dataset_scan import Scan
from editlane.preflight.folders import find_existing_folder

PNG_BYTES = 2.0
"""Bytes per pixel of an edit as PNG. The demo's photos measured 0.7 to 2.0, at their own size and at one megapixel."""
ROW_BYTES = 3000
"""Bytes per item in the tables and journals of one editor; the same again for each judge."""
MIN_FREE = 1e9
"""A disk with fewer free bytes counts as nearly full if the output is unknown."""
_SAMPLE = 200
_ROWS = 10_000
_MEGAPIXEL = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedOutput:
    """Output that the run has yet to write."""

    items: int
    size: int
    """Bytes."""
    files: int
    source: str
    """Basis of the estimate."""

    def __str__(self) -> str:
        if not self.size:
            return "all edits exist already"
        return f"about {format_bytes(self.size)} yet to be written: {self.source}"


def check_disk(context: RunContext, scan: Scan | None) -> Iterator[Finding]:
    """Check free space and free inodes. Without `scan`, the output is unknown until the items are prepared."""
    folder = find_existing_folder(context.run_dir)
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    expected = estimate_output(context, scan)
    if expected is None:
        yield _check_minimum(free)
        return
    text = f"{format_bytes(free)} free; {expected}"
    if expected.size / 4 > free:  # fail late, because edits with flat colours take only a third
        yield Finding("fail", "disk", text, "Free some space, or run in a folder on a larger disk.")
    elif expected.size * 1.2 > free:
        yield Finding("warn", "disk", text, "This may not be enough: free some space.")
    else:
        yield Finding("pass", "disk", text)
    if disk.f_files and expected.files > disk.f_favail:
        text = f"{disk.f_favail:,} inodes free; about {expected.files:,} more files are expected"
        yield Finding("fail", "disk", text, "Free inodes (`df -i`), or run in a folder on another disk.")


def _check_minimum(free: int) -> Finding:
    text = f"{format_bytes(free)} free"
    if free < MIN_FREE:
        return Finding("warn", "disk", text, "Free some space; check_setup.py estimates how much the run needs.")
    return Finding("pass", "disk", text)


def estimate_output(context: RunContext, scan: Scan | None) -> ExpectedOutput | None:
    """Estimate the output from the prepared items, else from the dataset; None without either."""
    prepared = context.paths.items
    if context.is_prepared:
        sizes = tables.read_arrow(prepared, ["width", "height"]).select(["width", "height"])
        items, sources = len(sizes), 0.0
        pixels = _average_pixels(sizes.slice(0, _ROWS).to_pydict())
    elif scan is not None and scan.headers:
        items = scan.items.total() * context.config["samples"]
        pixels, sources = scan.pixels / scan.headers, scan.size / scan.headers * scan.items.total()
    else:
        return None
    size: float = sources
    files, measured = (items if sources else 0), 0
    for editor in context.editors:
        existing = _ImageStats.measure(context.paths.images(editor.name))
        left = max(0, items - existing.count)
        size += left * (existing.mean_size or PNG_BYTES * _count_edit_pixels(editor, pixels))
        size += left * ROW_BYTES * (1 + len(context.judges))
        files += left
        measured += bool(existing.mean_size)
    basis = "as large as the existing edits" if measured else f"{PNG_BYTES:g} bytes per pixel of an edit"
    if scan is not None and not scan.complete:
        basis += "; a lower bound, because the dataset was not read to its end"
    source = f"{pluralize(items, 'item')} x {pluralize(len(context.editors), 'editor')}, {basis}"
    return ExpectedOutput(items=items, size=int(size), files=files, source=source)


def _average_pixels(sizes: dict[str, list[int | None]]) -> float:
    """Return the mean pixels of the images whose size is known."""
    known = [width * height for width, height in zip(*sizes.values(), strict=True) if width and height]
    return sum(known) / len(known) if known else float(_MEGAPIXEL)


def _count_edit_pixels(editor: Part, source: float) -> float:
    """Return the pixels of an edit: from the params, else a megapixel for Qwen-Image-Edit, else as the source."""
    params = editor.settings["params"]
    if params.get("width") and params.get("height"):
        return float(params["width"] * params["height"])
    return float(_MEGAPIXEL) if editor.settings["adapter"] == "qwen-image-edit" else source


@dataclass(frozen=True, slots=True)
class _ImageStats:
    count: int
    mean_size: float
    """Bytes; 0 without images."""

    @classmethod
    def measure(cls, folder: Path) -> "_ImageStats":
        """Count the edits of all categories and average some sizes. `scandir` counts a million files in a second."""
        count, sizes = 0, list[int]()
        for category in folder.iterdir() if folder.is_dir() else ():
            with os.scandir(category) as entries:
                for entry in entries:
                    count += 1
                    if len(sizes) < _SAMPLE:
                        sizes.append(entry.stat().st_size)
        return cls(count, sum(sizes) / len(sizes) if sizes else 0.0)
