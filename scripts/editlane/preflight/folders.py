"""Check that results and leases can be written and locked, and that leases are on this machine."""

import errno
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from editlane.core.errors import UserError
from editlane.core.findings import Finding
from editlane.core.locks import open_lock_folder
from editlane.lanes.gpu_lease import lease_folder
from editlane.preflight.context import RunContext

NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "beegfs", "ceph", "gpfs", "lustre", "panfs", "wekafs"}
"""File systems shared by several machines. Nearly all FUSE file systems are, too."""


def check_results(context: RunContext) -> Iterator[Finding]:
    """Check that the results can be written and locked: the lock keeps two workflows off one folder."""
    folder = find_existing_folder(context.run_dir)
    kind = find_file_system(folder)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            remedy = "Run only one workflow at a time there, or mount it with locks."
            yield Finding("warn", "results", f"{context.run_dir} is on {kind} without file locks", remedy)
            return
        remedy = "Check the folder's rights and its disk, or start from another folder."
        yield Finding("fail", "results", f"{folder} cannot be written to: {error.strerror}", remedy)
        return
    yield Finding("pass", "results", f"{context.run_dir} can be written, on {kind}")


def check_leases(context: RunContext) -> Iterator[Finding]:
    """Check that the lease folder is on a disk of this machine."""
    folder = Path(lease_folder())
    kind = find_file_system(find_existing_folder(folder))
    remedy = "Set GPULEASE_DIR to a folder on a disk of this machine, the same for all users."
    if problem := _find_danger(folder):
        yield Finding("fail", "leases", problem, remedy)
    elif not os.access(find_existing_folder(folder), os.W_OK | os.X_OK):
        yield Finding("fail", "leases", f"{folder} cannot be written to", remedy)
    elif kind in NETWORK or kind.startswith("fuse."):
        text = f"{folder} is on {kind}: locks of a network file system may fail, and other machines see them"
        yield Finding("warn", "leases", text, remedy)
    else:
        yield Finding("pass", "leases", f"{folder} is on {kind}")


def _find_danger(folder: Path) -> str | None:
    """Return why lanes would refuse this folder of locks; None if they would not, or if they will make it."""
    try:
        os.close(open_lock_folder(str(folder)))
    except UserError as error:
        return str(error)
    except FileNotFoundError:
        pass
    return None


def find_existing_folder(folder: Path) -> Path:
    """Return the folder itself, or the nearest parent that exists."""
    places = (folder.absolute(), *folder.absolute().parents)
    return next(place for place in places if os.path.isdir(place))  # noqa: PTH112  Path.is_dir raises without rights


def find_file_system(folder: Path) -> str:
    """Return the kernel's name for the type of the folder's file system."""
    best = ("", "an unknown file system")
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, mounted, kind = line.split()[:3]
        mounted = re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), mounted)
        if folder.resolve().is_relative_to(mounted) and len(mounted) >= len(best[0]):
            best = (mounted, kind)
    return best[1]
