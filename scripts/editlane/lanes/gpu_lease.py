"""Lease the GPUs of this machine: a lock file per device, which the kernel releases when its last holder ends.

The lock files lie in a folder of this machine, the same for all users and containers, never on a network file system.
A machine without a GPU leases one slot a core. Under SLURM the allocation's devices are leased within the job only.
Standard library only, because every lane starts through here.
"""

import fcntl
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from editlane.core import last_words
from editlane.core.errors import UserError
from editlane.core.locks import open_lock
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


def make_lease_folder(folder: str) -> None:
    """Make a folder in which every user may lock. Raises UserError."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the lease folder {folder}: {error.strerror}. Set GPULEASE_DIR to a folder of this machine."
        ) from error
    if os.stat(folder).st_uid == os.getuid():
        os.chmod(folder, 0o1777)


def nvidia_uuids(timeout: float | None = None) -> list[tuple[str, str]]:
    """Return (index, uuid) of every GPU that nvidia-smi lists; empty without nvidia-smi.

    Raises UserError if nvidia-smi fails, subprocess.TimeoutExpired after `timeout` seconds.
    """
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=timeout)
    if answer.returncode == 6:  # "No devices were found"
        return []
    if answer.returncode != 0:
        detail = (answer.stdout + answer.stderr).strip().splitlines()[:1]
        raise UserError(
            f"nvidia-smi fails: {' '.join(detail)}. Fix the driver, or set CUDA_VISIBLE_DEVICES= to use the CPU."
        )
    rows = (line.split(",") for line in answer.stdout.splitlines() if line.strip())
    return [(index.strip(), uuid.strip()) for index, uuid in rows]


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


def acquire(folder: str, wanted: int, job: str, workflow: int | None) -> dict[str, str]:
    """Wait until `wanted` devices are held; return their lock files with their values for CUDA_VISIBLE_DEVICES.

    Acquires all devices or none, so a waiting process holds nothing and cannot deadlock. The locks are inherited by
    the program that replaces this process. Raises UserError if there are too few devices; exits with code 75 once the
    process `workflow`, if any, has died.
    """
    pool = device_pool()
    if wanted > len(pool):
        raise UserError(f"{wanted} devices were asked for, but this machine offers {len(pool)}: {', '.join(pool)}.")
    paths = {lock_path(folder, name): name for name in pool}
    held: dict[str, int] = {}
    patient_until = time.monotonic() + PATIENCE

    def acquire_free() -> bool:
        held.update(_lock_free(list(paths), wanted, job, patient=time.monotonic() < patient_until))
        return bool(held)

    _wait_until(acquire_free, workflow)
    for path, handle in held.items():
        os.set_inheritable(handle, True)
        holder = f"{os.getpid()} {' '.join(sys.argv[1:])[:200]}"
        _save(path, Lease(holder=holder, strikes=read_lease(path).strikes))
        print(f"gpulease: holds {paths[path]}", file=sys.stderr, flush=True)
    _warn_of_quarantine(paths, held)
    return {path: pool[paths[path]] for path in held}


def _lock_free(paths: list[str], wanted: int, job: str, *, patient: bool) -> dict[str, int]:
    """Return `wanted` of these lock files, locked; nothing if too few are free.

    Devices in quarantine are not taken. One on which this job died is taken last; while the job is `patient`, it is
    not taken at all if another device is busy.
    """
    free: dict[str, int] = {}
    for path in paths:
        handle = open_lock(path)
        if _try_lock(handle):
            free[path] = handle
            _turn_trial_into_strike(path)
        else:
            os.close(handle)
    strikes = _strikes_of(paths)
    out = quarantined(strikes)
    usable = [path for path in free if path not in out]
    usable.sort(key=lambda path: job in strikes[path])
    elsewhere = any(path not in free and path not in out and job not in strikes[path] for path in paths)
    if patient and elsewhere:
        usable = [path for path in usable if job not in strikes[path]]
    chosen = {path: free[path] for path in usable[:wanted]} if len(usable) >= wanted else {}
    for path, handle in free.items():
        if path not in chosen:
            os.close(handle)
    return chosen


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def _turn_trial_into_strike(path: str) -> None:
    """Turn a dead process's trial into a strike. The caller must hold the lock."""
    lease = read_lease(path)
    if lease.trial:
        _save(path, Lease(strikes=lease.settled_strikes()))


def _save(path: str, lease: Lease) -> None:
    with suppress(OSError):  # on a full disk strikes are lost, the lease is not
        write_lease(path, lease)


def _strikes_of(paths: Iterable[str]) -> dict[str, list[str]]:
    return {path: read_lease(path).strikes for path in paths}


def _warn_of_quarantine(paths: dict[str, str], held: Iterable[str]) -> None:
    for path in sorted(quarantined(_strikes_of(paths)) - set(held)):
        last_words.say(
            "warning",
            f"gpulease: {paths[path]} is quarantined: commands died on it before anything worked there. Look at it "
            f"(nvidia-smi -q, dmesg), then: python scripts/gpulease.py --forgive {paths[path]}",
        )


def _wait_until(done: Callable[[], bool], workflow: int | None) -> None:
    while not done():
        if workflow is not None and not os.path.exists(f"/proc/{workflow}"):
            print("gpulease: the workflow that waited for a device is gone", file=sys.stderr)
            sys.exit(75)
        time.sleep(0.2 + 0.1 * random.random())  # so that two waiters do not keep step


def list_devices(folder: str, timeout: float | None = None) -> list[PooledDevice]:
    """Return every device of the pool. Creates no file. Raises like `device_pool`."""
    paths = {lock_path(folder, name): name for name in device_pool(timeout)}
    free = {path for path in paths if _is_free(path)}
    found = {path: read_lease(path) for path in paths}
    strikes = {path: lease.settled_strikes() if path in free else lease.strikes for path, lease in found.items()}
    out = quarantined(strikes)
    return [PooledDevice(name, in_use=path not in free, quarantined=path in out) for path, name in paths.items()]


def _is_free(path: str) -> bool:
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        return _try_lock(handle)
    finally:
        os.close(handle)


def forgive(folder: str, name: str) -> None:
    """Clear the strikes against a device. Raises UserError for a name that is not in the pool."""
    path = lock_path(folder, name)
    if name not in device_pool():
        raise UserError(f"there is no device {name!r} here; --show lists them.")
    if os.path.exists(path):
        write_lease(path, Lease(holder=read_lease(path).holder))
