"""Lease the GPUs of this machine: a lock file per device, which the kernel releases when its last holder ends.

The lock files lie in a folder of this machine, the same for all users and containers, never on a network file system.
A machine without a GPU leases one slot a core. Under SLURM the allocation's devices are leased within the job only.
Standard library only, because every lane starts through here.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from editlane.core import last_words
from editlane.core.errors import UserError, format_value
from editlane.core.locks import explain_lock_folder, open_existing_lock, open_lock_folder
from editlane.core.text_width import pluralize
from editlane.lanes.gpu_locks import OpenLocks, try_lock
from editlane.lanes.gpu_strikes import Lease, quarantined, read_lease, write_lease

PATIENCE = 60.0
"""Seconds that a job waits for another device than the one it died on."""
NO_DEVICE = ("", "-1", "NoDevFiles")
"""Values of CUDA_VISIBLE_DEVICES that hide every GPU."""


@dataclass(frozen=True, slots=True)
class PooledDevice:
    """A device that can be leased, as it is now."""

    name: str
    """The name of its lease."""
    in_use: bool
    quarantined: bool


def lease_folder() -> str:
    """Return GPULEASE_DIR, else /run/lock/gpulease or /tmp/gpulease. (/dev/shm is emptied when its user logs out.)"""
    shared = "/run/lock"
    default = shared if os.path.isdir(shared) and os.stat(shared).st_mode & 0o1777 == 0o1777 else "/tmp"
    return os.environ.get("GPULEASE_DIR") or f"{default}/gpulease"


def make_lease_folder(folder: str) -> int:
    """Make a folder in which every user may lock, and return a handle on it.

    Raises UserError, also for one that another user controls.
    """
    try:
        os.makedirs(os.path.dirname(os.path.abspath(folder)), 0o755, exist_ok=True)  # no group may replace it
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            return open_lock_folder(folder)
        handle = open_lock_folder(folder)
        if os.fstat(handle).st_uid == os.getuid():
            os.fchmod(handle, 0o1777)  # only one that is new: this may be a folder that its owner wants for himself
        return handle
    except OSError as error:
        raise explain_lock_folder(folder, error) from error


def nvidia_uuids(timeout: float | None = None) -> list[tuple[str, str]]:
    """Return (index, uuid) of every GPU that nvidia-smi lists; empty without nvidia-smi.

    With one lost GPU nvidia-smi fails, but it still lists the others, which are returned. Raises UserError if it lists
    none, subprocess.TimeoutExpired after `timeout` seconds.
    """
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, errors="replace", timeout=timeout)
    if answer.returncode == 6:  # "No devices were found"
        return []
    lines = [line.strip() for line in (answer.stdout + answer.stderr).splitlines() if line.strip()]
    found = {line: re.fullmatch(r"(\d+) *, *(GPU-[\w-]+)", line) for line in lines}
    rows = [(row[1], row[2]) for row in found.values() if row]
    odd = [line for line, row in found.items() if not row]
    if not finds_gpu_lost(answer.returncode, odd) and (rows or not odd):
        if odd:  # such as a notice of a newer driver
            print(f"gpulease: note: nvidia-smi says {format_value(odd[0])}", file=sys.stderr, flush=True)
        return rows
    detail = format_value(odd[0]) if odd else f"exit code {answer.returncode}"
    if not rows:
        raise UserError(f"nvidia-smi fails: {detail}. Fix the driver, or set CUDA_VISIBLE_DEVICES= to use the CPU.")
    last_words.say(
        "warning",
        f"gpulease: nvidia-smi fails: {detail}. The run goes on with the {pluralize(len(rows), 'GPU')} that it lists. "
        "Look at the others (nvidia-smi -q, dmesg); a GPU that is lost comes back with a restart of the machine.",
    )
    return rows


def finds_gpu_lost(code: int, odd: Iterable[str]) -> bool:
    """Return whether nvidia-smi failed, or lists a GPU without its uuid; `odd` are its lines without one."""
    return code != 0 or any(re.match(r"\d+ *,", line) for line in odd)


def device_pool(timeout: float | None = None) -> dict[str, str]:
    """Return lease name -> value for CUDA_VISIBLE_DEVICES. An index and a uuid of one GPU share a lease name.

    Devices are those of CUDA_VISIBLE_DEVICES if it is set, else all that nvidia-smi lists. Raises like `nvidia_uuids`.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    job = os.environ.get("SLURM_JOB_ID")
    if job and visible not in (None, *NO_DEVICE):  # the scheduler's numbers may mean other GPUs in other jobs
        return {f"slurm-{job}-{name}": name for name in _split_names(visible)}
    if visible is None and not job:
        gpus = {uuid: uuid for _, uuid in nvidia_uuids(timeout)}
    elif visible in (None, *NO_DEVICE):
        gpus = {}
    else:
        known = nvidia_uuids(timeout)
        whole = {name: _canonical(name, known) for name in _split_names(visible)}
        # vLLM and NVML know whole uuids only, CUDA knows shortened ones, too
        gpus = {uuid: uuid if name.startswith("GPU-") else name for name, uuid in whole.items()}
    return gpus or {f"cpu-{slot}": "" for slot in range(len(os.sched_getaffinity(0)))}


def _split_names(visible: str | None) -> list[str]:
    return [name.strip() for name in (visible or "").split(",") if name.strip()]


def _canonical(name: str, known: list[tuple[str, str]]) -> str:
    """Return the uuid behind an index or a shortened uuid; the name itself if nvidia-smi does not list it (MIG)."""
    for index, uuid in known:
        if name == index or (name.startswith("GPU-") and uuid.startswith(name)):
            return uuid
    if known and name.isdigit():
        raise UserError(f"CUDA_VISIBLE_DEVICES names the GPU {name}, but nvidia-smi sees only {len(known)}.")
    return name


def lock_path(folder: str, name: str) -> str:
    """Return the lock file of a device."""
    return os.path.join(folder, name.replace("/", "_") + ".lock")


def acquire(folder: str, wanted: int, job: str, workflow: int | None) -> dict[int, str]:
    """Wait until `wanted` devices are held; return the handles of their locks with their CUDA_VISIBLE_DEVICES.

    Acquires all devices or none, so a waiting process holds nothing and cannot deadlock. The locks are inherited by
    the program that replaces this process. Raises UserError if there are too few devices; exits with code 75 once the
    process `workflow`, if any, has died.
    """
    pool = device_pool()
    if wanted > len(pool):
        raise UserError(f"{wanted} devices were asked for, but this machine offers {len(pool)}: {', '.join(pool)}.")
    paths = {lock_path(folder, name): name for name in pool}
    place = make_lease_folder(folder)
    patient_until, told = time.monotonic() + PATIENCE, False
    while True:
        locks = OpenLocks(paths, place)
        held = locks.choose(wanted, job, patient=time.monotonic() < patient_until)
        locks.close_all_but(held)
        if held:
            break
        if not told:
            found = "; ".join(f"{name} is {locks.describe(path, job)}" for path, name in paths.items())
            print(f"gpulease: waits for {wanted} of {len(pool)} devices: {found}", file=sys.stderr, flush=True)
            told = True
        _pause(workflow)
    os.close(place)
    for path, handle in held.items():
        os.set_inheritable(handle, True)
        locks.save_holder(path, f"{os.getpid()} {' '.join(sys.argv[1:])[:200]}")
        print(f"gpulease: holds {paths[path]}", file=sys.stderr, flush=True)
    _warn_of_quarantine(paths[path] for path in sorted(locks.quarantined - held.keys()))
    return {handle: pool[paths[path]] for path, handle in held.items()}


def _warn_of_quarantine(names: Iterable[str]) -> None:
    for name in names:
        last_words.say(
            "warning",
            f"gpulease: {name} is quarantined: commands died on it before anything worked there. Look at it "
            f"(nvidia-smi -q, dmesg), then: python scripts/gpulease.py --forgive {name}",
        )


def _pause(workflow: int | None) -> None:
    """Wait a moment before the next try; exits with code 75 if the workflow has died."""
    if workflow is not None and not os.path.exists(f"/proc/{workflow}"):
        print("gpulease: the workflow that waited for a device is gone", file=sys.stderr)
        sys.exit(75)
    time.sleep(0.2 + 0.1 * random.random())  # so that two waiters do not keep step


def list_devices(folder: str, timeout: float | None = None) -> list[PooledDevice]:
    """Return every device of the pool. Creates no file. Raises like `device_pool`, and UserError for a wrong lock."""
    with _existing(folder) as place:
        found = {name: _look(lock_path(folder, name), place) for name in device_pool(timeout)}
    strikes = {name: lease.strikes if in_use else lease.settled_strikes() for name, (in_use, lease) in found.items()}
    out = quarantined(strikes)
    return [PooledDevice(name, in_use=in_use, quarantined=name in out) for name, (in_use, _) in found.items()]


@contextmanager
def _existing(folder: str) -> Iterator[int | None]:
    """Give the block a handle on the folder of leases, or None if there is none yet. Raises UserError."""
    try:
        place = open_lock_folder(folder)
    except FileNotFoundError:
        yield None
        return
    try:
        yield place
    finally:
        os.close(place)


def _look(path: str, place: int | None) -> tuple[bool, Lease]:
    """Return whether a device is in use, and its lease. `place`: the handle on the folder; None if there is none."""
    if place is None:
        return False, Lease()
    try:
        handle = open_existing_lock(path, folder=place)
    except FileNotFoundError:
        return False, Lease()
    try:
        return not try_lock(path, handle), read_lease(handle)
    finally:
        os.close(handle)


def forgive(folder: str, name: str) -> None:
    """Clear the strikes against a device. Raises UserError for a name that is not in the pool."""
    if name not in device_pool():
        raise UserError(f"there is no device {name!r} here; --show lists them.")
    with _existing(folder) as place, suppress(FileNotFoundError):
        if place is not None:
            handle = open_existing_lock(lock_path(folder, name), folder=place)
            write_lease(handle, Lease(holder=read_lease(handle).holder))
            os.close(handle)
