"""Let one lane at a time change the files that all lanes of an editor share."""

import errno
import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, against other threads, processes and, where the file system can, machines.

    Without locks on the file system it is not held, which the log says. Raises OSError like `open`.
    """
    with (folder / "lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                raise
            log.info("%s: this file system has no locks; lanes of several machines may get in each other's way", folder)
        yield
