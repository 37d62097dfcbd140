"""Folders that the runs of a working directory share: whoever comes first builds them, beside their place, once.

A folder appears whole, and stays: two runs that start together both want it, and neither may take it from the other.
"""

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from editlane.core.files import atomic_write, make_folder, sync_folder
from editlane.core.locks import open_lock

log = logging.getLogger(__name__)


@contextmanager
def hold_build_lock(folder: Path) -> Iterator[None]:
    """Wait until nobody else builds this folder, and keep others from it meanwhile. Raises UserError."""
    make_folder(folder.parent)
    handle = open_lock(str(folder.with_name(f".{folder.name}.lock")))
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("waits for another run, which builds %s", folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise
        log.warning("%s is on a disk without file locks; make sure that no other run starts at this moment", folder)


def put_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Make sure that the folder has these files. One that is there already is not touched, since others may read it."""
    with hold_build_lock(folder):
        if folder.exists():
            _write({folder / name: content for name, content in contents.items()})
            return
        part = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(part, ignore_errors=True)
        make_folder(part)
        _write({part / name: content for name, content in contents.items()})
        os.replace(part, folder)
        sync_folder(folder.parent)


def _write(contents: Mapping[Path, bytes]) -> None:
    for path, content in contents.items():
        if not (path.is_file() and path.read_bytes() == content):
            with atomic_write(path) as file:
                file.write(content)
