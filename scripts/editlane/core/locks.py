"""Lock files of this machine that every user of it may open."""

import os


def open_lock(path: str) -> int:
    """Return a handle on the lock file, creating it if it is missing."""
    while True:
        try:  # the kernel refuses O_CREAT on another user's file in a shared folder
            return os.open(path, os.O_RDWR)
        except FileNotFoundError:
            pass
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        os.fchmod(handle, 0o666)
        return handle
