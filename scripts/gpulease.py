"""Lease one GPU of this machine to a command for as long as it runs.

    python scripts/gpulease.py -- python scripts/edit_lane.py ...

Locks one file per device in GPULEASE_DIR (default /run/lock/gpulease or /tmp/gpulease), sets CUDA_VISIBLE_DEVICES and
replaces itself by the command. The folder must be the same for all users and containers, on a disk of this machine,
and belong to root or, if you are the only user, to you.
The command inherits the lock, so the kernel releases the device when the last process ends, however it ends.
The pool is CUDA_VISIBLE_DEVICES if set, else the list of nvidia-smi; without a GPU it is one slot per core. Under SLURM
devices are leased only within the job's allocation.
A GPU is quarantined after two processes of a run died on it before they finished an item. `--forgive NAME` ends the
quarantine. If all GPUs would be quarantined, none is. A command that died returns to the same GPU only after it waited
a minute for another. `--show` lists the GPUs. With `--with-parent PID`, the process that starts this one, the command
is killed once that process has ended.
Prints the leased devices to stderr. Exit codes: the command's own; 2 a flag or the machine is wrong; 75 the workflow
died while this command waited.
"""

import argparse
import hashlib
import os
import sys
import time

from editlane.core import last_words
from editlane.core.errors import UserError
from editlane.core.processes import end_with_parent
from editlane.lanes.gpu_lease import acquire, forgive, lease_folder, list_devices
from editlane.lanes.gpu_strikes import name_handle
from editlane.lanes.stopping import workflow_pid


def show(folder: str) -> None:
    """Print every device of the pool: free, in use, or quarantined because commands died on it."""
    for device in list_devices(folder):
        remedy = f", quarantined: commands died on it (python scripts/gpulease.py --forgive {device.name})"
        print(device.name, ("in use" if device.in_use else "free") + (remedy if device.quarantined else ""))


def run_command(command: list[str], devices: int, folder: str) -> None:
    """Lease the devices, then replace this process by the command."""
    workflow = workflow_pid()
    digest = hashlib.sha256("\0".join([os.getcwd(), *command]).encode()).hexdigest()
    job = f"{workflow or 'by hand'}:{digest[:16]}"
    held = acquire(folder, devices, job, workflow) if devices else {}
    visible = [name for name in held.values() if name]
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # number the GPUs as nvidia-smi does
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(visible)
    os.environ["GPULEASE_LOCKS"] = " ".join(map(name_handle, held)) if visible else ""  # only GPUs get strikes
    os.environ["GPULEASE_DIR"] = folder
    os.environ["GPULEASE_JOB"] = job
    os.environ["GPULEASE_SINCE"] = str(time.monotonic())
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise UserError(f"cannot start {command[0]!r}: {error.strerror}.") from error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1, help="number of devices to lease (default: 1); 0 hides all of them")
    parser.add_argument("--show", action="store_true", help="list the devices and exit")
    parser.add_argument("--forgive", metavar="NAME", help="end the quarantine of this device and exit")
    parser.add_argument("--with-parent", type=int, metavar="PID", help="be killed once this parent has ended")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND [ARG ...]")
    args = parser.parse_args()
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if args.n < 0 or [bool(command), args.show, args.forgive is not None].count(True) != 1:
        parser.error("give a command after --, and -n of 0 or more; or --show alone; or --forgive NAME alone")
    folder = lease_folder()
    last_words.begin()
    try:
        if args.show:
            show(folder)
        elif args.forgive is not None:
            forgive(folder, args.forgive)
        else:
            if args.with_parent is not None:
                end_with_parent(args.with_parent)
            run_command(command, args.n, folder)
    except UserError as error:
        last_words.say("error", f"gpulease: {error}")
        sys.exit(2)


if __name__ == "__main__":
    main()
