"""Lock files of this machine that every user of it may open.

Whoever may write into their folder can put something else in their place: a link to a file of ours, a FIFO that never
answers. So a lock file is opened once, without following links, looked at, and from then on used by its handle alone.
So is the folder of the leases.
"""

import errno
import os
import pwd
import shlex
import stat
from contextlib import suppress
from pathlib import Path

from editlane.core.errors import UserError

OWN_LEASES = "set GPULEASE_DIR to a folder of your own, in which leases of other users are not seen"
OTHER_LEASES = "set GPULEASE_DIR to another folder of this machine"

_NO_FILE = {errno.ELOOP: "a link", errno.EISDIR: "a folder", errno.ENXIO: "a socket or a FIFO"}
"""What is there if opening a lock file fails with this error."""


def open_lock_folder(folder: str) -> int:
    """Return a handle on a folder of locks that nobody else may replace.

    Raises FileNotFoundError if there is none, UserError for anything else.
    """
    where = f"{folder}, where the locks of this machine lie,"
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        if os.path.lexists(folder) and error.errno in (errno.ELOOP, errno.ENOTDIR):
            what = "a link" if Path(folder).is_symlink() else "no folder"
            raise UserError(f"{where} is {what}. Remove it, or {OWN_LEASES}.") from error
        raise explain_lock_folder(folder, error) from error
    try:
        _check_rights(where, folder, os.fstat(handle), os.stat("..", dir_fd=handle))
    except BaseException:
        os.close(handle)
        raise
    return handle


def explain_lock_folder(folder: str, error: OSError) -> UserError:
    """Make the error of a folder of locks that cannot be made or opened."""
    place = error.filename or folder
    return UserError(
        f"cannot use {folder} for the locks of this machine: {place}: {error.strerror}. Check its rights and that it "
        f"is no file, or {OTHER_LEASES}."
    )


def _check_rights(where: str, folder: str, found: os.stat_result, parent: os.stat_result) -> None:
    """Raise UserError if another user owns the folder, or may remove the locks in it, or the folder itself."""
    quoted, above = shlex.quote(folder), Path(folder).absolute().parent
    if found.st_uid not in (0, os.getuid()) and not _is_hidden_root(found.st_uid):
        raise UserError(
            f"{where} belongs to {_name_user(found.st_uid)}, who could take yours away. An administrator makes it "
            f"safe for everybody with `sudo chown root {quoted} && sudo chmod 1777 {quoted}`. Have that done, or "
            f"{OWN_LEASES}."
        )
    if _is_open_to_others(found):
        raise UserError(f"in {folder} other users may remove the locks: `chmod +t {quoted}`, or {OWN_LEASES}.")
    if _is_open_to_others(parent):
        raise UserError(
            f"in {above} other users may replace {folder}, where the locks of this machine lie: "
            f"`chmod +t {shlex.quote(str(above))}`, or {OWN_LEASES}."
        )


def _is_open_to_others(found: os.stat_result) -> bool:
    """Return whether others may rename what lies in a folder: they may write to it, and it has no sticky bit."""
    is_private_group = found.st_gid == os.getgid() == os.getuid() != 0  # a user's own group, as Debian and RHEL make it
    others = stat.S_IWOTH if is_private_group else stat.S_IWOTH | stat.S_IWGRP
    return bool(found.st_mode & others) and not found.st_mode & stat.S_ISVTX


def _is_hidden_root(uid: int) -> bool:
    """Return whether this may be the machine's root: a rootless container shows users that it lacks as one number."""
    with suppress(OSError, ValueError):
        first, outside, count = map(int, Path("/proc/self/uid_map").read_text().splitlines()[0].split())
        sees_all = (first, outside) == (0, 0) and count == 2**32 - 1
        return not sees_all and uid == int(Path("/proc/sys/kernel/overflowuid").read_text())
    return False


def _name_user(uid: int) -> str:
    with suppress(KeyError):
        return f"the user {pwd.getpwuid(uid).pw_name} (uid {uid})"
    return f"another user (uid {uid})"


def open_lock(path: str, *, folder: int | None = None, otherwise: str = OTHER_LEASES, mode: int | None = 0o666) -> int:
    """Return a handle on the lock file, creating it if it is missing. Raises UserError.

    `folder`: the handle on its folder, if that was checked. `otherwise`: the way out, if the file cannot be put right.
    `mode`: its rights, whatever the umask; None for those of any file.
    """
    while True:
        try:  # the kernel refuses O_CREAT on another user's file in a shared folder
            return open_existing_lock(path, folder=folder, otherwise=otherwise)
        except FileNotFoundError:
            pass
        try:
            handle = os.open(_name(path, folder), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
        except FileExistsError:
            continue
        except OSError as error:
            raise _refusal(path, error, otherwise) from error
        if mode is not None:
            os.fchmod(handle, mode)
        return handle


def open_existing_lock(path: str, *, folder: int | None = None, otherwise: str = OTHER_LEASES) -> int:
    """Return a handle on the lock file. Raises FileNotFoundError if there is none, UserError for anything else."""
    try:
        handle = os.open(_name(path, folder), os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refusal(path, error, otherwise) from error
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        return handle
    os.close(handle)
    if found.st_nlink == 0:  # removed since it was opened
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    what = "a file with a second name" if stat.S_ISREG(found.st_mode) else "a FIFO or a device"
    raise _foreign(path, what, otherwise)


def _name(path: str, folder: int | None) -> str:
    return path if folder is None else Path(path).name


def _refusal(path: str, error: OSError, otherwise: str) -> UserError:
    if error.errno in (errno.EROFS, errno.ENOSPC, errno.EDQUOT):  # no rights would help
        return UserError(f"cannot write to {Path(path).parent}: {error.strerror}. Check its disk, or {otherwise}.")
    if error.errno in _NO_FILE:
        return _foreign(path, _NO_FILE[error.errno], otherwise)
    return UserError(
        f"cannot open the lock file {path}: {error.strerror}. Check its rights (`ls -l {path}`), because every user "
        f"has to read and write it, or {otherwise}."
    )


def _foreign(path: str, what: str, otherwise: str) -> UserError:
    return UserError(
        f"{path} is {what}, where a lock file has to be. See who put it there (`ls -l {path}`) and remove it, or "
        f"{otherwise}."
    )


def check_links(folder: Path) -> None:
    """Raise UserError if a file in the folder, or a folder at any depth, is a link that another user made.

    What a run writes there would go where that user wants it. Links of one's own, for results on several disks, are
    followed.
    """
    entries = list(folder.iterdir())
    for parent, folders, _ in os.walk(folder):
        entries += (Path(parent, name) for name in folders)
    for path in entries:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) and status.st_uid not in (0, os.getuid()):
            raise UserError(
                f"{path} is a link that belongs to {_name_user(status.st_uid)}; what a run writes there would go to "
                f"{path.readlink()}. Remove it (`rm {shlex.quote(str(path))}`), or choose another `run:`."
            )
