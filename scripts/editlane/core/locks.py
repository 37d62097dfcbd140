"""Lock files of this machine that every user of it may open.

Whoever may write into their folder can put something else in their place: a link to a file of ours, a FIFO that never
answers. So a lock file is opened once, without following links, looked at, and from then on used by its handle alone.
"""

import errno
import os
import stat

from editlane.core.errors import UserError

_NO_FILE = {errno.ELOOP: "a link", errno.EISDIR: "a folder", errno.ENXIO: "a socket or a FIFO"}
"""What is there if opening a lock file fails with this error."""


def check_lock_folder(folder: str) -> None:
    """Raise UserError if somebody else may replace the locks in this folder. Raises OSError if there is none."""
    found = os.lstat(folder)
    where = f"{folder}, where the locks of this machine lie,"
    own = "or set GPULEASE_DIR to a folder of your own, in which leases of other users are not seen"
    if not stat.S_ISDIR(found.st_mode):
        what = "a link" if stat.S_ISLNK(found.st_mode) else "no folder"
        raise UserError(f"{where} is {what}. Remove it, {own}.")
    if found.st_uid not in (0, os.getuid()):
        raise UserError(
            f"{where} belongs to another user (uid {found.st_uid}), who could take yours away. An administrator makes "
            f"it safe for everybody with `chown root {folder} && chmod 1777 {folder}`. Have that done, {own}."
        )
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise UserError(f"in {folder} every user may remove the locks of others: `chmod +t {folder}`, {own}.")


def open_lock(path: str) -> int:
    """Return a handle on the lock file, creating it if it is missing. Raises UserError."""
    while True:
        try:  # the kernel refuses O_CREAT on another user's file in a shared folder
            return open_existing_lock(path)
        except FileNotFoundError:
            pass
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        except OSError as error:
            raise _refusal(path, error) from error
        os.fchmod(handle, 0o666)
        return handle


def open_existing_lock(path: str) -> int:
    """Return a handle on the lock file. Raises FileNotFoundError if there is none, UserError for anything else."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refusal(path, error) from error
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        return handle
    os.close(handle)
    if found.st_nlink == 0:  # removed since it was opened
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    raise _foreign(path, "a file with a second name" if stat.S_ISREG(found.st_mode) else "a FIFO or a device")


def _refusal(path: str, error: OSError) -> UserError:
    if error.errno in _NO_FILE:
        return _foreign(path, _NO_FILE[error.errno])
    return UserError(
        f"cannot open the lock file {path}: {error.strerror}. Check its rights (`ls -l {path}`), because every user "
        "has to read and write it, or set GPULEASE_DIR to another folder of this machine."
    )


def _foreign(path: str, what: str) -> UserError:
    return UserError(
        f"{path} is {what}, where a lock file has to be. See who put it there (`ls -l {path}`) and remove it, or set "
        "GPULEASE_DIR to another folder of this machine."
    )
