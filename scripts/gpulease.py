"""Hold one GPU of this machine for as long as a command runs, whoever else wants it.

    python scripts/gpulease.py -- python scripts/edit_lane.py ...

Takes a lock file per device in a folder of this machine (GPULEASE_DIR, default /run/lock/gpulease or /tmp/gpulease: the
same for all users and containers, never on a network file system), sets CUDA_VISIBLE_DEVICES and becomes the command.
The command inherits the lock, so the kernel gives the device back when its last process ends, however it ends.
Pool: CUDA_VISIBLE_DEVICES if set, else nvidia-smi; a machine without a GPU gets one slot a core. Under SLURM the
allocation's devices are leased within the job only.
A GPU on which this command died before it finished an item is left to others, one on which two commands of a workflow
died is left out, until something works there or nothing else is left. `--show` lists the pool; deleting a lock file
forgives.
Prints what it took to stderr. Exit codes: the command's own; 2 no such devices; 75 the workflow that waited has died.
"""

import argparse
import fcntl
import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from editlane.lifeline import supervisor
from editlane.strikes import QUARANTINE, count_strikes, read_strikes, write_lease

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


def open_lock(path: str) -> int:
    """A lock file that every user of this machine may open."""
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

    def take_free() -> bool:
        held.update(lock_free(list(paths), wanted, job))
        return bool(held)

    wait_until(take_free, supervisor())
    warn_of_struck(paths, held)
    for path, handle in held.items():
        os.set_inheritable(handle, True)
        write_lease(path, holder=f"{os.getpid()} {' '.join(sys.argv[1:])[:200]}", strikes=read_strikes(path))
        print(f"gpulease: holds {paths[path]}", file=sys.stderr, flush=True)
    return {path: pool[paths[path]] for path in held}


def lock_free(paths: list[str], wanted: int, job: str) -> dict[str, int]:
    """`wanted` of these lock files, locked; nothing where too few are free. Struck devices are the last choice."""
    sound: dict[str, int] = {}
    struck: dict[str, int] = {}
    busy = False
    for path in paths:
        handle = open_lock(path)
        if not try_lock(handle):
            os.close(handle)
            busy = True
            continue
        strikes = read_strikes(path)
        (struck if job in strikes or count_strikes(strikes) >= QUARANTINE else sound)[path] = handle
        if len(sound) == wanted:
            break
    free = sound if busy else sound | struck  # a fault of every device is not the devices'
    chosen = dict(list(free.items())[:wanted]) if len(free) >= wanted else {}
    for path, handle in (sound | struck).items():
        if path not in chosen:
            os.close(handle)
    return chosen


def warn_of_struck(paths: dict[str, str], held: dict[str, int]) -> None:
    """Tell which devices are left out, and which one is used all the same."""
    for path, name in paths.items():
        deaths = count_strikes(read_strikes(path))
        if deaths >= QUARANTINE:
            done = "is used although" if path in held else "is left out:"
            print(
                f"warning: gpulease: {name} {done} {deaths} commands died on it before anything worked there. Look at "
                f"it (nvidia-smi -q, dmesg), then delete {path} to use it again.",
                file=sys.stderr,
                flush=True,
            )


def show(folder: str) -> None:
    """Print every device of the pool: free or in use, and the strikes against it."""
    for name in device_pool():
        path = lock_path(folder, name)
        handle = open_lock(path)
        state = "free" if try_lock(handle) else "in use"
        os.close(handle)
        strikes = count_strikes(read_strikes(path))
        left_out = f", left out: {strikes} commands died on it (delete {path} to forgive)"
        print(name, state + (left_out if strikes >= QUARANTINE else ""))


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
    parser.add_argument("-n", type=int, default=1, help="devices to hold (default 1)")
    parser.add_argument("--show", action="store_true", help="list the devices and end")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND [ARG ...]")
    args = parser.parse_args()
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if args.n < 1 or bool(command) == args.show:
        parser.error("give a command after --, and -n of 1 or more; or --show alone")
    folder = os.environ.get("GPULEASE_DIR") or default_dir()
    make_folder(folder)
    if args.show:
        show(folder)
        return
    digest = hashlib.sha256("\0".join([os.getcwd(), *command]).encode()).hexdigest()
    job = f"{supervisor() or 'by hand'}:{digest[:16]}"
    held = take(folder, args.n, job)
    devices = [device for device in held.values() if device]
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as nvidia-smi counts
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    os.environ["GPULEASE_LOCKS"] = "\n".join(held) if devices else ""  # a core takes no blame
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
