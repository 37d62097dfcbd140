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
import hashlib
import os
import sys
import time

from editlane.core.errors import UserError
from editlane.lanes.gpu_lease import acquire, forgive, lease_folder, list_devices, make_lease_folder
from editlane.lanes.stopping import workflow_pid


def show(folder: str) -> None:
    """Print every device of the pool: free, in use or left out."""
    for device in list_devices(folder):
        remedy = f", left out: commands died on it (python scripts/gpulease.py --forgive {device.name})"
        print(device.name, ("in use" if device.in_use else "free") + (remedy if device.quarantined else ""))


def run_command(command: list[str], devices: int, folder: str) -> None:
    """Become the command once the devices are held."""
    make_lease_folder(folder)
    workflow = workflow_pid()
    digest = hashlib.sha256("\0".join([os.getcwd(), *command]).encode()).hexdigest()
    job = f"{workflow or 'by hand'}:{digest[:16]}"
    held = acquire(folder, devices, job, workflow) if devices else {}
    visible = [name for name in held.values() if name]
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # the order in which nvidia-smi counts
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(visible)
    os.environ["GPULEASE_LOCKS"] = "\n".join(held) if visible else ""  # cores get no strikes
    os.environ["GPULEASE_DIR"] = folder
    os.environ["GPULEASE_JOB"] = job
    os.environ["GPULEASE_SINCE"] = str(time.monotonic())
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise UserError(f"cannot start {command[0]!r}: {error.strerror}.") from error


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
    folder = lease_folder()
    try:
        if args.show:
            show(folder)
        elif args.forgive is not None:
            forgive(folder, args.forgive)
        else:
            run_command(command, args.n, folder)
    except UserError as error:
        print(f"error: gpulease: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
