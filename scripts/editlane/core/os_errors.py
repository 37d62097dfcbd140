"""What a user can do about an operating-system error: one paragraph for each kind."""

import errno
from typing import NamedTuple

_NO_SPACE = (
    "Free some space (`df -h` shows where there is none) and run the same command again; finished items are kept."
)
_DISK_FAILS = (
    "The disk, or the server behind it, fails (`dmesg` says more). Once it works, run the same command again; finished "
    "items are kept."
)
_REMEDIES = {
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "A part of this path is a file where a folder has to be.",
    errno.EISDIR: "A folder is where a file has to be; move it away or give another path.",
    errno.EEXIST: "Something is in the way there; move it away or give another path.",
    errno.ENOTEMPTY: "Something is in the way there; move it away or give another path.",
    errno.EACCES: "Check the rights of the file and of its folder.",
    errno.EPERM: "Check the rights of the file and of its folder.",
    errno.ENAMETOOLONG: "Use shorter names.",
    errno.ELOOP: "Symbolic links lead in a circle; fix them.",
    errno.EIO: _DISK_FAILS,
    errno.ESTALE: _DISK_FAILS,
    errno.EROFS: "The file system is read-only: mount it for writing, or choose another folder.",
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: f"The quota of this user is used up. {_NO_SPACE}",
}
"""The remedy for each OSError that a user can fix. Others (EBADF, EINVAL, EPIPE, ...) are bugs of the program."""

_NEEDS_NO_NAME = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)
"""Errors that are explained even without a file name; the others need one to be a mistake in a path."""


class Explained(NamedTuple):
    """A paragraph about an error, in two parts: several files may have the same."""

    files: str
    reason: str
    """What is wrong, and what to do."""

    def __str__(self) -> str:
        return f"cannot read or write {self.files}: {self.reason}"


def explain_os_error(error: OSError) -> Explained | None:
    """Explain the error and its remedy; None if a user cannot fix it."""
    if error.errno not in _REMEDIES or (error.filename is None and error.errno not in _NEEDS_NO_NAME):
        return None
    files = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return Explained(files or "a file", f"{error.strerror}. {_REMEDIES[error.errno]}")
