"""Write files so that a crash leaves the old file or the new one, never a part of either."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from editlane.core.errors import UserError

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing. It replaces `path` when the block ends without an error.

    The file is fsynced and renamed, and its folder is fsynced. After an error only the old file is there, if any. The
    OSError of a full or broken disk names the file.
    """
    make_folder(path.parent)
    partial = path.with_name(path.name + ".partial")
    try:
        with _open_new(partial) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            error.filename = error.filename or str(path)
        raise


def is_file(path: Path) -> bool:
    """Return whether the path is a file, and no pipe or device, which wait or act if they are opened."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a folder that may not be read, a name that is too long, a NUL
        return False


def check_regular(path: Path) -> None:
    """Raise UserError for a pipe, a socket or a device: it may wait for ever, act, or give its content only once.

    What is not there, and a folder, is left to whoever opens it.
    """
    try:
        kind = _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):
        return
    if kind:
        raise UserError(
            f"{path} is {kind}, and only regular files are read. Write its content to a file and name that."
        )


def replace_text(path: Path, text: str) -> None:
    """Replace a small file in one step. Readers see the old text or the new one; a power cut may lose both.

    Raises OSError, also if the folder does not exist.
    """
    partial, content = path.with_name(path.name + ".partial"), text.encode()
    try:
        with _open_new(partial) as file:
            file.write(content)
        os.replace(partial, path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise


def _open_new(path: Path) -> IO[bytes]:
    """Open a new file for writing. What lies there is removed: a leftover, or a link that leads to somebody's file."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), "wb")


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, and sync each new name to the disk."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush the folder's entries to the disk, if its file system supports that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
