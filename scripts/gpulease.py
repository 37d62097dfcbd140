"""Hold one GPU of this machine for as long as a command runs, whoever else wants it.

    python scripts/gpulease.py -- python scripts/edit_lane.py ...

Takes a lock file per device in a folder of this machine (GPULEASE_DIR, default /run/lock/gpulease or /tmp/gpulease: the
same for all users and containers, never on a network file system), sets CUDA_VISIBLE_DEVICES and becomes the command.
The command inherits the lock, so the kernel gives the device back when its last process ends, however it ends.
Pool: CUDA_VISIBLE_DEVICES if set, else nvidia-smi; a machine without a GPU gets one slot a core. Under SLURM the
allocation's devices are leased within the job only.
A GPU on which two commands of a run died before they finished an item is left out, until something works there (it is
the last choice) or `--forgive NAME`; a command that died goes back to the same GPU only after a minute of waiting for
another. `--show` lists the GPUs. Under SLURM this is left to SLURM.
Prints what it took to stderr. Exit codes: the command's own; 2 no such devices; 75 the workflow that waited has died.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

from editlane.core.locks import open_lock
from editlane.lanes.gpu_strikes import Lease, deaths, left_out, read_lease, write_lease
from editlane.lanes.stopping import supervisor

PATIENCE = 60.0
"""Seconds that a command waits for another device than the one it died on."""
NO_DEVICE = ("", "-1", "NoDevFiles")
"""Values of CUDA_VISIBLE_DEVICES that hide every GPU."""


def default_dir() -> str:
    """The same for every user: /run/lock where all may write. (/dev/shm is emptied when its user logs out.)"""
    shared = "/run/lock"
    return (
        f"{shared}/gpulease"
        if os.path.isdir(shared) and os.stat(shared).st_mode & 0o1777 == 0o1777
        else "/tmp/gpulease"
    )


def nvidia_uuids() -> list[tuple[str, str]]:
    """(index, uuid) of every GPU that nvidia-smi sees; empty where there is no nvidia-smi."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True)
    if answer.returncode == 6:  # "No devices were found"
        return []
    if answer.returncode != 0:
        detail = (answer.stdout + answer.stderr).strip().splitlines()[:1]
        fail(f"nvidia-smi fails: {' '.join(detail)}. Mend the driver, or set CUDA_VISIBLE_DEVICES= to use the CPU.")
    rows = (line.split(",") for line in answer.stdout.splitlines() if line.strip())
    return [(index.strip(), uuid.strip()) for index, uuid in rows]


def device_pool() -> dict[str, str]:
    """Lock name -> value for CUDA_VISIBLE_DEVICES. An index and a uuid of one GPU share one lock name."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    job = os.environ.get("SLURM_JOB_ID")
    if job and visible not in (None, *NO_DEVICE):  # the scheduler's numbers may mean other GPUs in other jobs
        return {f"slurm-{job}-{name}": name for name in split_names(visible)}
    if visible is None and not job:
        gpus = {uuid: uuid for _, uuid in nvidia_uuids()}
    elif visible in (None, *NO_DEVICE):
        gpus = {}
    else:
        known = nvidia_uuids()
        gpus = {canonical(name, known): name for name in split_names(visible)}
    return gpus or {f"cpu-{slot}": "" for slot in range(len(os.sched_getaffinity(0)))}


def split_names(visible: str | None) -> list[str]:
    return [name.strip() for name in (visible or "").split(",") if name.strip()]


def canonical(name: str, known: list[tuple[str, str]]) -> str:
    """The uuid behind an index or a shortened uuid; the name itself where nvidia-smi does not know it (MIG)."""
    for index, uuid in known:
        if name == index or (name.startswith("GPU-") and uuid.startswith(name)):
            return uuid
    if known and name.isdigit():
        fail(f"CUDA_VISIBLE_DEVICES names the GPU {name}, but nvidia-smi sees only {len(known)}.")
    return name


def try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def lock_path(folder: str, name: str) -> str:
    return os.path.join(folder, name.replace("/", "_") + ".lock")


def take(folder: str, wanted: int, job: str) -> dict[str, str]:
    """Wait until `wanted` devices are held, and return their lock files with their CUDA names.

    All at once or none: who waits holds nothing, so nobody waits for a device that is free, and there is no deadlock.
    """
    pool = device_pool()
    if wanted > len(pool):
        fail(f"{wanted} devices were asked for, but this machine offers {len(pool)}: {', '.join(pool)}.")
    paths = {lock_path(folder, name): name for name in pool}
    held: dict[str, int] = {}
    patient_until = time.monotonic() + PATIENCE

    def take_free() -> bool:
        held.update(lock_free(list(paths), wanted, job, patient=time.monotonic() < patient_until))
        return bool(held)

    wait_until(take_free, supervisor())
    for path, handle in held.items():
        os.set_inheritable(handle, True)
        holder = f"{os.getpid()} {' '.join(sys.argv[1:])[:200]}"
        save(path, Lease(holder=holder, strikes=read_lease(path).strikes))
        print(f"gpulease: holds {paths[path]}", file=sys.stderr, flush=True)
    warn_of_struck(paths, held)
    return {path: pool[paths[path]] for path in held}


def lock_free(paths: list[str], wanted: int, job: str, *, patient: bool) -> dict[str, int]:
    """`wanted` of these lock files, locked; nothing where too few are free.

    What is left out is not taken. Where this job died is taken last and, while it is `patient`, not if another is busy.
    """
    free: dict[str, int] = {}
    for path in paths:
        handle = open_lock(path)
        if try_lock(handle):
            free[path] = handle
            settle(path)
        else:
            os.close(handle)
    struck = strikes_of(paths)
    out = left_out(struck)
    usable = [path for path in free if path not in out]
    usable.sort(key=lambda path: job in struck[path])
    elsewhere = any(path not in free and path not in out and job not in struck[path] for path in paths)
    if patient and elsewhere:
        usable = [path for path in usable if job not in struck[path]]
    chosen = {path: free[path] for path in usable[:wanted]} if len(usable) >= wanted else {}
    for path, handle in free.items():
        if path not in chosen:
            os.close(handle)
    return chosen


def settle(path: str) -> None:
    """The trial of a process that died becomes a strike; for who has the lock."""
    lease = read_lease(path)
    if lease.trial:
        save(path, Lease(strikes=deaths(lease)))


def save(path: str, lease: Lease) -> None:
    with contextlib.suppress(OSError):  # on a full disk strikes are lost, the lease is not
        write_lease(path, lease)


def strikes_of(paths: Iterable[str]) -> dict[str, list[str]]:
    return {path: read_lease(path).strikes for path in paths}


def warn_of_struck(paths: dict[str, str], held: Iterable[str]) -> None:
    """Tell which devices are left out."""
    for path in sorted(left_out(strikes_of(paths)) - set(held)):
        print(
            f"warning: gpulease: {paths[path]} is left out: commands died on it before anything worked there. Look at "
            f"it (nvidia-smi -q, dmesg), then: python scripts/gpulease.py --forgive {paths[path]}",
            file=sys.stderr,
            flush=True,
        )


def show(folder: str) -> None:
    """Print every device of the pool: free, in use or left out. Makes no file."""
    paths = {lock_path(folder, name): name for name in device_pool()}
    free = {path for path in paths if is_free(path)}
    found = {path: read_lease(path) for path in paths}
    out = left_out({path: deaths(lease) if path in free else lease.strikes for path, lease in found.items()})
    for path, name in paths.items():
        remedy = f", left out: commands died on it (python scripts/gpulease.py --forgive {name})"
        print(name, ("free" if path in free else "in use") + (remedy if path in out else ""))


def is_free(path: str) -> bool:
    """Whether nobody holds this lock file, or there is none yet."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        return try_lock(handle)
    finally:
        os.close(handle)


def forgive(folder: str, name: str) -> None:
    """Forget the strikes against a device."""
    path = lock_path(folder, name)
    if name not in device_pool():
        fail(f"there is no device {name!r} here; --show lists them.")
    if os.path.exists(path):
        write_lease(path, Lease(holder=read_lease(path).holder))


def wait_until(done: Callable[[], bool], workflow: int | None) -> None:
    """Ask again and again; end this process where the workflow that waits for the device has died."""
    while not done():
        if workflow is not None and not os.path.exists(f"/proc/{workflow}"):
            print("gpulease: the workflow that waited for a device is gone", file=sys.stderr)
            sys.exit(75)
        time.sleep(0.2 + 0.1 * random.random())  # so that two waiters do not keep step


def fail(message: str) -> None:
    print(f"error: gpulease: {message}", file=sys.stderr)
    sys.exit(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1, help="devices to hold (default 1); 0 hides them all")
    parser.add_argument("--show", action="store_true", help="list the devices and end")
    parser.add_argument("--forgive", metavar="NAME", help="use this device again and end; as --show names it")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND [ARG ...]")
    args = parser.parse_args()
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if args.n < 0 or [bool(command), args.show, args.forgive is not None].count(True) != 1:
        parser.error("give a command after --, and -n of 0 or more; or --show alone; or --forgive NAME alone")
    folder = os.environ.get("GPULEASE_DIR") or default_dir()
    if args.show:
        show(folder)
        return
    if args.forgive is not None:
        forgive(folder, args.forgive)
        return
    make_folder(folder)
    digest = hashlib.sha256("\0".join([os.getcwd(), *command]).encode()).hexdigest()
    job = f"{supervisor() or 'by hand'}:{digest[:16]}"
    held = take(folder, args.n, job) if args.n else {}
    devices = [device for device in held.values() if device]
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as nvidia-smi counts
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    os.environ["GPULEASE_LOCKS"] = "\n".join(held) if devices else ""  # a core takes no blame
    os.environ["GPULEASE_DIR"] = folder
    os.environ["GPULEASE_JOB"] = job
    os.environ["GPULEASE_SINCE"] = str(time.monotonic())
    try:
        os.execvp(command[0], command)
    except OSError as error:
        fail(f"cannot start {command[0]!r}: {error.strerror}.")


def make_folder(folder: str) -> None:
    """A folder in which every user may lock."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        fail(f"cannot make the lease folder {folder}: {error.strerror}. Set GPULEASE_DIR to a folder of this machine.")
    if os.stat(folder).st_uid == os.getuid():
        os.chmod(folder, 0o1777)


if __name__ == "__main__":
    main()
