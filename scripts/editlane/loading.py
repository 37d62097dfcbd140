"""What a process does before its first item: how long each part took, and checkpoints read from the disk only once.

Several lanes of a machine that start together want the same checkpoint. One of them reads it into the page cache, which
all processes share, with several threads and ahead of the loaders; these find in memory what is read, and wait for the
rest as ever.
"""

import fcntl
import gc
import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from editlane.locks import open_lock

log = logging.getLogger(__name__)

PHASES = ("imports", "reading", "transfer", "warm-up")
"""Python and modules; what of the next one passed while the files were still read, by this process or another; weights
to the device and all that is built with them; first calls that compile or measure."""

BLOCK = 16 * 2**20
"""Bytes that a thread reads at a time."""
THREADS = 8
"""A disk or a network file system gives more to several readers."""
DONE = b"read"
"""In the lock file of a checkpoint once its files have been read to the end."""

CGROUP = Path("/sys/fs/cgroup")

_spent = dict.fromkeys(PHASES, 0.0)
_running: list[str] = []
_readers: list[threading.Thread] = []
_read_until = 0.0

Block = tuple[Path, int]
"""A file and where the block begins in it."""


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Add the seconds spent in here to `name`, one of PHASES. For one thread; raises ValueError for another name and
    inside of another phase."""
    if name not in _spent or _running:
        raise ValueError(f"phase {name!r} inside of {_running[0]!r}" if _running else f"unknown phase {name!r}")
    _running.append(name)
    started = time.monotonic()
    if name == "imports":
        gc.disable()  # modules make objects by the hundred thousand, all of which stay: searching them finds nothing
    try:
        yield
    finally:
        if name == "imports":
            gc.enable()
            gc.freeze()  # nor are they searched later, or at the end
        _running.clear()
        now = time.monotonic()
        if name == "transfer":
            waited = max(0.0, _reading_until(now) - started)
            _spent["reading"] += waited
            started += waited
        _spent[name] += now - started


def began() -> float:
    """When this process began, in seconds of time.monotonic: when it got its device. The wait for a free device is
    no part of it; without a lease it is now."""
    return float(os.environ.get("GPULEASE_SINCE") or time.monotonic())


def imported() -> None:
    """The modules of the step program are imported: what passed since the process began went into that."""
    _spent["imports"] += time.monotonic() - began()


def spent() -> dict[str, float]:
    """Seconds of this process by phase, of all PHASES."""
    return dict(_spent)


class Warmup:
    """What the first batch of a lane took longer than the next ones: kernels are compiled and memory is found.

    Compared are seconds an item with the median of the batches after it; an estimate, as items differ in size. Without
    FEWEST batches after the first it is 0.
    """

    FEWEST, MOST = 3, 9
    """Batches that say something, and that suffice: later ones may be of another size."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._first: tuple[int, float] | None = None
        self._later: list[float] = []

    def add(self, count: int, seconds: float) -> None:
        """`count` items, of which none failed, took so many seconds together."""
        if self._first is None:
            self._first = count, seconds
        elif len(self._later) < self.MOST:
            self._later.append(seconds / count)
            if len(self._later) >= self.FEWEST:
                usual = sorted(self._later)[len(self._later) // 2]
                self.seconds = max(0.0, self._first[1] - self._first[0] * usual)


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


def _reading_until(now: float) -> float:
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


def available_memory() -> int:
    """Bytes that can be had without swapping, on this machine or in the container that this is."""
    rows = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    available = next(int(row[1]) * 1024 for row in rows if row[0] == "MemAvailable:")
    container = container_memory()
    return min(available, container[1]) if container else available


def container_memory() -> tuple[int, int] | None:
    """(limit, what is left of it) in bytes, of the container that this is; None where there is no limit. Files that are
    only cached count as left."""
    try:
        limit = int((CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        lines = (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):  # no such file, or "max"
        return None
    cached = sum(int(line.split()[1]) for line in lines if line.split()[0] in ("active_file", "inactive_file"))
    return limit, max(0, limit - used + cached)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
