"""Find the GPUs that lanes can lease, from nvidia-smi and the lease folder."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from editlane.core.errors import UserError, format_value
from editlane.lanes.gpu_lease import PooledDevice, finds_gpu_lost, lease_folder, list_devices

_MIB = 2**20
_TIMEOUT = 5
"""Seconds. Without the persistence daemon nvidia-smi wakes every GPU first, which is slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU that `gpulease` can lease."""

    label: str
    """Index in nvidia-smi, or else the name of its lease."""
    model: str | None = None
    memory: int | None = None
    """Bytes; None if nvidia-smi does not report it, as for a MIG slice."""
    used: int | None = None
    leased: bool = False
    """True while a process of any run holds it."""
    quarantined: bool = False
    """True if it is no longer leased because commands died on it."""
    lease: str = ""
    """Name of its lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """GPUs that lanes on this machine can lease. Without any, lanes run on the CPU."""

    gpus: tuple[Gpu, ...] = ()
    hidden: int = 0
    """GPUs of this machine that CUDA_VISIBLE_DEVICES hides."""
    lost: str | None = None
    """What nvidia-smi says of a GPU that it cannot reach, while it lists others."""
    problem: str | None = None
    """Reason why the GPUs cannot be queried."""
    is_slow: bool = False
    """True if nvidia-smi timed out. Lanes use a longer timeout, so this is only a warning."""


def find_devices() -> Devices:
    """Query nvidia-smi and the leases. Loads nothing onto a GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shutil.which("nvidia-smi") is None and not visible:
        return Devices()
    try:
        known, lost = _ask_nvidia_smi()
        pool = list_devices(lease_folder(), timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        return Devices(problem=f"nvidia-smi does not answer within {_TIMEOUT} seconds", is_slow=True)
    except (OSError, UserError) as error:
        return Devices(problem=str(error))
    gpus = tuple(_make_gpu(device, known) for device in pool if not device.name.startswith("cpu-"))
    return Devices(gpus=gpus, hidden=max(0, len(known) - len(gpus)), lost=lost)


def _make_gpu(device: PooledDevice, known: dict[str, Gpu]) -> Gpu:
    wanted = re.sub(r"^slurm-\d+-", "", device.name)
    found = known.get(wanted) or next((gpu for gpu in known.values() if gpu.label == wanted), Gpu(label=wanted))
    return Gpu(
        label=found.label,
        model=found.model,
        memory=found.memory,
        used=found.used,
        leased=device.in_use,
        quarantined=device.quarantined,
        lease=device.name,
    )


def _ask_nvidia_smi() -> tuple[dict[str, Gpu], str | None]:
    """Return uuid -> GPU, and what nvidia-smi says of one that is lost.

    Raises OSError if nvidia-smi fails, TimeoutExpired if it does not answer.
    """
    if shutil.which("nvidia-smi") is None:
        return {}, None
    query = ["nvidia-smi", "--query-gpu=index,uuid,name,memory.total,memory.used", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT)
    if answer.returncode == 6:  # "No devices were found"
        return {}, None
    lines = [line.strip() for line in (answer.stdout + answer.stderr).splitlines() if line.strip()]
    rows = [[cell.strip() for cell in line.split(",")] for line in lines if ", GPU-" in line]
    odd = [line for line in lines if ", GPU-" not in line]
    if answer.returncode and not rows:  # with one lost GPU it fails, too, and lists the others
        raise OSError(f"nvidia-smi fails: {_get_first_line(answer)}")
    lost = format_value(odd[0]) if odd else f"exit code {answer.returncode}"
    known = {
        row[1]: Gpu(label=row[0], model=_get_cell(row, 2), memory=_parse_bytes(row, 3), used=_parse_bytes(row, 4))
        for row in rows
    }
    return known, lost if finds_gpu_lost(answer.returncode, odd) else None


def _get_first_line(answer: subprocess.CompletedProcess[str]) -> str:
    return next(iter((answer.stderr + answer.stdout).strip().splitlines()), f"exit code {answer.returncode}")


def _get_cell(row: Sequence[str], place: int) -> str | None:
    return row[place] if place < len(row) else None


def _parse_bytes(row: Sequence[str], place: int) -> int | None:
    cell = _get_cell(row, place) or ""
    return int(cell) * _MIB if cell.isdigit() else None
