"""Digests of what a config names by path, so that a change of content alone reruns the steps that depend on it.

Snakemake compares the times of files. A file that `cp -p`, `rsync -a`, `tar` or `mv` puts in place of another brings
its own, older time along, and its run would seem up to date.
"""

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from editlane.core.checkout import find_dataset
from editlane.core.errors import UserError
from editlane.core.files import replace_text
from editlane.datasets.given_edits import find_edits, open_folders
from editlane.datasets.parsing import Skipped, parse_records
from editlane.datasets.public_formats import find_annotation_files
from editlane.images.files import MAX_BYTES, file_sha256
from editlane.models.checkpoints import fingerprint_file, walk_files
from editlane.preflight.dataset_scan import make_selection

MEMORY = Path(".snakemake/editlane_inputs.json")
"""Where the digests are remembered, with the other state that Snakemake keeps of a working directory."""

THREADS = 8
"""Files read at the same time: hashing releases Python's lock, and disks serve several readers faster."""

SETTLED_SECONDS = 2.0
"""A file that changed so shortly before it was read may change again without a new time; it is read again next time."""

EMBEDDING = 100
"""A dataset whose first records, this many, hold their images themselves is not searched for paths: it may be large."""


class FileDigests:
    """Digests of files, remembered as long as a file's size, times and inode stay."""

    def __init__(self, memory: Path = MEMORY) -> None:
        self._memory = memory
        self._known: dict[str, Any] = {}
        with suppress(OSError, ValueError, TypeError):  # a damaged memory costs time alone
            known = dict(json.loads(memory.read_bytes()))
            self._known = {name: one for name, one in known.items() if isinstance(one, list) and len(one) == 2}

    def hash_files(self, paths: Iterable[Path], hash_file: Callable[[Path], str] = file_sha256) -> str:
        """Return a digest of the contents of these files, in their order, with a place for each missing one."""
        return self._combine([("", path) for path in paths], hash_file)

    def hash_folder(self, folder: Path, hash_file: Callable[[Path], str]) -> str:
        """Return a digest of the names and contents of the files below a folder."""
        named = [(os.path.relpath(path, folder), path) for path in sorted(walk_files(folder))]
        return self._combine(named, hash_file)

    def hash_each(self, paths: Iterable[Path], hash_file: Callable[[Path], str] = file_sha256) -> list[str | None]:
        """Return the digest of each file, in order; None for one that is missing or no file."""
        before = dict(self._known)
        with ThreadPoolExecutor(THREADS) as pool:
            digests = list(pool.map(lambda path: self._hash(path, hash_file), paths))
        if self._known != before:
            with suppress(OSError):
                self._memory.parent.mkdir(exist_ok=True)
                replace_text(self._memory, json.dumps(self._known))  # in ASCII: names need not be UTF-8
        return digests

    def _combine(self, named: list[tuple[str, Path]], hash_file: Callable[[Path], str]) -> str:
        digests = self.hash_each((path for _, path in named), hash_file)
        listed = [(name, digest) for (name, _), digest in zip(named, digests, strict=True)]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    def _hash(self, path: Path, hash_file: Callable[[Path], str]) -> str | None:
        """Return the digest of a file, from memory if its stamp is the remembered one; None if it is no file."""
        name = f"{hash_file.__name__} {path}"
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # a pipe would wait for a writer
                return None
            stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            known = self._known.get(name)
            if known and known[0] == stamp:
                return str(known[1])
            digest = hash_file(path)
        except OSError:
            return None  # the checks and the steps name the file
        if time.time() - max(status.st_mtime, status.st_ctime) > SETTLED_SECONDS:
            self._known[name] = [stamp, digest]
        return digest


def hash_image(path: Path) -> str:
    """Return the SHA-256 of an image file. Of one that is too large to be read, size and samples count."""
    return file_sha256(path) if path.stat().st_size <= MAX_BYTES else fingerprint_file(path)


def find_images(dataset: dict[str, Any]) -> list[Path]:
    """List the images that the records of a checked config's dataset name: photos, and edits made elsewhere.

    The list ends early where the dataset is wrong; the checks of the start say so.
    """
    images: list[Path] = []
    with suppress(UserError, OSError):
        folders = open_folders(Path(dataset["edited_dir"]) if dataset["edited_dir"] else None)
        records = find_edits(parse_records(make_selection(dataset), Skipped()), folders)
        for number, record in enumerate(records):
            named = (record.image, *record.references, record.edited)
            images += (image for image in named if isinstance(image, Path))
            if number >= EMBEDDING and not images:
                break
    return list(dict.fromkeys(images))


def find_annotations(dataset: dict[str, Any]) -> list[Path]:
    """List the files that hold the dataset's records; none if the dataset is wrong."""
    with suppress(UserError, OSError):
        return find_annotation_files(find_dataset(dataset["path"]), dataset["format"])
    return []
