"""Read each checkpoint from the disk once: into the page cache, ahead of the loaders.

Several lanes of a machine that start together want the same checkpoint. One of them reads it into the page cache, which
all processes share, with several threads. The loaders find in memory what was read, and wait for the rest as usual.
"""

import fcntl
import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from editlane.core.locks import open_lock
from editlane.models.host_memory import available_memory

log = logging.getLogger(__name__)

BLOCK = 16 * 2**20
"""Bytes that a thread reads at a time."""
THREADS = 8
"""A disk or a network file system gives more to several readers."""
DONE = b"read"
"""In the lock file of a checkpoint once its files have been read to the end."""

_readers: list[threading.Thread] = []
_read_until = 0.0

Block = tuple[Path, int]
"""A file and the offset in bytes at which the block begins."""


def read_ahead(find_files: Callable[[], Iterable[Path]]) -> None:
    """Begin to read the files of a checkpoint into the page cache, in a thread; one process of a machine at a time.

    `find_files` is called in that thread. Nothing is read where the files do not fit into the memory that is available.
    Whatever is wrong with a file, the model's loader says it better.
    """

    def read() -> None:
        global _read_until
        try:
            _read_once(find_files())
        except Exception:  # a checkpoint that is none
            log.debug("not read ahead", exc_info=True)
        finally:
            _read_until = time.monotonic()

    reader = threading.Thread(target=read, daemon=True, name="read-ahead")
    _readers.append(reader)
    reader.start()


def reading_until(now: float) -> float:
    """Until when files were read, at most `now`."""
    return now if any(reader.is_alive() for reader in _readers) else min(now, _read_until)


def _read_once(files: Iterable[Path]) -> None:
    """Those that are in memory are gone through again, at some 30 GB a second of one processor."""
    paths = sorted(set(files))
    try:
        sizes = {path: path.stat().st_size for path in paths}
        size, available = sum(sizes.values()), available_memory()
        if size > available:
            log.info("the checkpoint has %s, available are %s: not read ahead", _gb(size), _gb(available))
            return
        with _turn(paths) as is_mine:
            if is_mine:
                started = time.monotonic()
                _read_blocks([(path, start) for path in paths for start in range(0, sizes[path], BLOCK)])
                log.info("read the checkpoint of %s in %.1f s", _gb(size), time.monotonic() - started)
    except OSError as error:
        log.warning("cannot read the checkpoint ahead (%s); it is read as it is loaded", error)


def _read_blocks(blocks: list[Block]) -> None:
    """Raises the first thread's OSError."""
    blocks.reverse()
    errors: list[OSError] = []

    def work() -> None:
        try:
            while not errors:
                _read_block(*blocks.pop())
        except IndexError:  # all are taken
            return
        except OSError as error:
            errors.append(error)

    # daemons: a process that ends with an error does not wait for a checkpoint that nobody needs
    threads = [threading.Thread(target=work, daemon=True, name="page-cache") for _ in range(min(THREADS, len(blocks)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _read_block(path: Path, start: int) -> None:
    """Into nowhere: the pages come into the cache, and no copy of them is made."""
    with path.open("rb", buffering=0) as file, Path(os.devnull).open("wb", buffering=0) as nowhere:
        sent = 0
        while sent < BLOCK and (more := os.sendfile(nowhere.fileno(), file.fileno(), start + sent, BLOCK - sent)):
            sent += more


@contextmanager
def _turn(paths: list[Path]) -> Iterator[bool]:
    """Hold the lock of these files, beside the leases of the GPUs; gives whether they are to be read: not after a wait
    for a process that has read them to the end. A process that dies gives the lock back. Without a lock if none can be
    made."""
    inodes = [(found.st_dev, found.st_ino) for found in map(os.stat, paths)]  # whatever name a container gives them
    name = f"checkpoint-{hashlib.sha256(repr(inodes).encode()).hexdigest()[:16]}.lock"
    folder = os.environ.get("GPULEASE_DIR") or tempfile.gettempdir()
    try:
        handle = open_lock(f"{folder}/{name}")
    except OSError as error:
        log.info("no lock in %s (%s): other processes may read the checkpoint at the same time", folder, error.strerror)
        yield True
        return
    try:
        is_mine = not (_had_to_wait(handle) and os.pread(handle, len(DONE), 0) == DONE)
        if is_mine:
            os.ftruncate(handle, 0)
        yield is_mine
        os.pwrite(handle, DONE, 0)
    finally:
        os.close(handle)


def _had_to_wait(handle: int) -> bool:
    """Whether another process has had the lock until now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("another process reads the checkpoint")
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    return False


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
