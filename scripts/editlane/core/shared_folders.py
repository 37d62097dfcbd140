"""Folders that the runs of a working directory share: whoever comes first builds them, beside their place, once.

A folder appears whole. Two runs that start together both want it, and neither may take it from the other. In a working
directory of several users others may put links into its place, so nothing is written through one.
"""

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from editlane.core.errors import UserError
from editlane.core.files import atomic_write, make_folder, sync_folder
from editlane.core.locks import open_lock

log = logging.getLogger(__name__)


@contextmanager
def hold_build_lock(folder: Path) -> Iterator[None]:
    """Wait until nobody else builds this folder, and keep others from it meanwhile. Raises UserError."""
    make_folder(folder.parent)
    lock = str(folder.with_name(f".{folder.name}.lock"))
    handle = open_lock(lock, otherwise="work in a folder of your own (snakemake -d)")
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


@contextmanager
def build_folder(folder: Path) -> Iterator[Path]:
    """Give the block an empty folder, which takes the place of `folder` when the block ends without an error.

    Whoever has files of an earlier folder open can still read them. The caller must hold the build lock.
    """
    prefix, suffix = f".{folder.name}.", ".partial"
    for leftover in folder.parent.glob(f"{escape(prefix)}*{suffix}"):  # of a build that was killed
        shutil.rmtree(leftover, ignore_errors=True)  # follows no links
    with TemporaryDirectory(suffix, prefix, folder.parent, ignore_cleanup_errors=True) as private:
        new, old = Path(private, "new"), Path(private, "old")
        new.mkdir()
        yield new
        with suppress(FileNotFoundError):
            os.replace(folder, old)
        os.replace(new, folder)
        sync_folder(folder.parent)


def put_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Make sure that the folder has these files, and leave those alone that are there already: others may read them.

    A file of one of these names with another content is replaced. Raises UserError.
    """
    _check_link(folder)
    files = {folder / name: content for name, content in contents.items()}
    if all(_is_there(path, content) for path, content in files.items()):
        return  # also where this user may not write
    with hold_build_lock(folder):
        if folder.exists():
            for path, content in files.items():
                if not _is_there(path, content):
                    _write(path, content)
            return
        with build_folder(folder) as new:
            for name, content in contents.items():
                _write(new / name, content)


def _check_link(folder: Path) -> None:
    """Raise UserError if the folder is a link that another user made, or that leads to no folder."""
    if not folder.is_symlink():
        return
    owner = folder.lstat().st_uid
    if owner not in (0, os.getuid()):
        raise UserError(
            f"{folder} is a link that another user made (uid {owner}), and what a run puts there would go where it "
            "leads. Remove it."
        )
    if not folder.is_dir():
        raise UserError(f"{folder} is a link to something that is no folder. Remove it.")


def _is_there(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)
