"""Read each checkpoint from the disk once, into the page cache, ahead of the loaders.

Lanes that start together on a machine load the same checkpoint. One of them reads it into the page cache, which all
processes share, with several threads. The loaders find it in memory, and wait as usual for the parts not yet read.
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

from editlane.core.errors import UserError
from editlane.core.locks import open_lock
from editlane.models.host_memory import read_available_memory

log = logging.getLogger(__name__)

BLOCK = 16 * 2**20
"""Bytes that a thread reads at a time."""
THREADS = 8
"""Parallel readers, because one reader does not saturate a disk or a network file system."""
DONE = b"read"
"""Content of a checkpoint's lock file after its files were read completely."""

_readers: list[threading.Thread] = []
_read_until = 0.0

Block = tuple[Path, int]
"""A file and the offset in bytes at which the block begins."""


def read_ahead(find_files: Callable[[], Iterable[Path]]) -> None:
    """Start a thread that reads the files of a checkpoint into the page cache; one process per machine at a time.

    `find_files` is called in that thread. Nothing is read if the files do not fit into the available memory. Errors are
    ignored here, because the model loader reports them with more context.
    """

    def read() -> None:
        global _read_until
        try:
            _read_once(find_files())
        except Exception:  # for instance not a checkpoint
            log.debug("not read ahead", exc_info=True)
        finally:
            _read_until = time.monotonic()

    reader = threading.Thread(target=read, daemon=True, name="read-ahead")
    _readers.append(reader)
    reader.start()


def get_read_end(now: float) -> float:
    """Return the time at which reading ended, or `now` if it is still going on."""
    return now if any(reader.is_alive() for reader in _readers) else min(now, _read_until)


def _read_once(files: Iterable[Path]) -> None:
    """Read the files unless another process does. Files already in memory cost one core about 1 s per 30 GB."""
    paths = sorted(set(files))
    try:
        sizes = {path: path.stat().st_size for path in paths}
        size, available = sum(sizes.values()), read_available_memory()
        if size > available:
            log.info(
                "not reading the checkpoint ahead: it has %s, available are %s", _format_gb(size), _format_gb(available)
            )
            return
        with _take_turn(paths) as is_mine:
            if is_mine:
                started = time.monotonic()
                _read_blocks([(path, start) for path in paths for start in range(0, sizes[path], BLOCK)])
                log.info("read the checkpoint of %s in %.1f s", _format_gb(size), time.monotonic() - started)
    except OSError as error:
        log.warning("cannot read the checkpoint ahead (%s); it is read while loading", error)


def _read_blocks(blocks: list[Block]) -> None:
    """Read blocks with several threads. Raises the first OSError of a thread."""
    blocks.reverse()
    errors: list[OSError] = []

    def work() -> None:
        try:
            while not errors:
                _read_block(*blocks.pop())
        except IndexError:  # no blocks left
            return
        except OSError as error:
            errors.append(error)

    # daemons: a process that fails must not wait for a checkpoint that is no longer needed
    threads = [threading.Thread(target=work, daemon=True, name="page-cache") for _ in range(min(THREADS, len(blocks)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _read_block(path: Path, start: int) -> None:
    """Send the block to /dev/null, which fills the page cache without copying the data."""
    with path.open("rb", buffering=0) as file, Path(os.devnull).open("wb", buffering=0) as nowhere:
        sent = 0
        while sent < BLOCK and (more := os.sendfile(nowhere.fileno(), file.fileno(), start + sent, BLOCK - sent)):
            sent += more


@contextmanager
def _take_turn(paths: list[Path]) -> Iterator[bool]:
    """Hold the lock of these files, stored beside the GPU leases. Yields whether the files still have to be read.

    They do not after a wait for a process that read them completely. A process that dies releases the lock. If no lock
    can be created, continue without one.
    """
    inodes = [(found.st_dev, found.st_ino) for found in map(os.stat, paths)]  # paths differ between containers
    name = f"checkpoint-{hashlib.sha256(repr(inodes).encode()).hexdigest()[:16]}.lock"
    path = f"{os.environ.get('GPULEASE_DIR') or tempfile.gettempdir()}/{name}"
    try:
        handle = open_lock(path)
    except UserError as error:
        log.info("other processes may read the checkpoint at the same time: %s", error)
        yield True
        return
    try:
        is_mine = not (_had_to_wait(handle, path) and os.pread(handle, len(DONE), 0) == DONE)
        if is_mine:
            os.ftruncate(handle, 0)
        yield is_mine
        os.pwrite(handle, DONE, 0)
    finally:
        os.close(handle)


def _had_to_wait(handle: int, path: str) -> bool:
    """Acquire the lock. Returns whether another process held it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("another process is reading the checkpoint, and holds %s", path)
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    return False


def _format_gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
