"""The GPUs that lanes can lease, as nvidia-smi and the leases know them."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from editlane.core.errors import UserError
from editlane.lanes.gpu_lease import PooledDevice, lease_folder, list_devices

_MIB = 2**20
_PATIENCE = 5
"""Seconds; without its persistence daemon nvidia-smi wakes every GPU first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU of the pool that `gpulease` gives out."""

    label: str
    """As nvidia-smi numbers it, or the name by which it is leased."""
    model: str | None = None
    memory: int | None = None
    """Bytes; None where nvidia-smi does not say, as for a MIG slice."""
    used: int | None = None
    leased: bool = False
    """Whether a process of some run holds it now."""
    quarantined: bool = False
    """Whether it is not leased any more, because commands died on it."""
    lease: str = ""
    """The name of its lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """What lanes on this machine can lease; no GPUs: they run on the CPU."""

    gpus: tuple[Gpu, ...] = ()
    hidden: int = 0
    """GPUs of this machine that CUDA_VISIBLE_DEVICES hides."""
    problem: str | None = None
    """Why the GPUs cannot be asked."""
    is_slow: bool = False
    """Whether the problem is that the answer took too long: lanes are more patient."""


def find_devices() -> Devices:
    """Ask nvidia-smi and the leases. Loads nothing onto a GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shutil.which("nvidia-smi") is None and not visible:
        return Devices()
    try:
        known = _ask_nvidia_smi()
        pool = list_devices(lease_folder(), timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return Devices(problem=f"nvidia-smi does not answer within {_PATIENCE} seconds", is_slow=True)
    except (OSError, UserError) as error:
        return Devices(problem=str(error))
    gpus = tuple(_gpu(device, known) for device in pool if not device.name.startswith("cpu-"))
    return Devices(gpus=gpus, hidden=max(0, len(known) - len(gpus)))


def _gpu(device: PooledDevice, known: dict[str, Gpu]) -> Gpu:
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


def _ask_nvidia_smi() -> dict[str, Gpu]:
    """Return uuid -> GPU. Raises OSError if nvidia-smi fails, TimeoutExpired if it does not answer."""
    if shutil.which("nvidia-smi") is None:
        return {}
    query = ["nvidia-smi", "--query-gpu=index,uuid,name,memory.total,memory.used", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=_PATIENCE)
    if answer.returncode == 6:  # "No devices were found"
        return {}
    if answer.returncode:
        raise OSError(f"nvidia-smi fails: {_first_line(answer)}")
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.stdout.splitlines() if "," in line]
    return {row[1]: Gpu(label=row[0], model=_cell(row, 2), memory=_bytes(row, 3), used=_bytes(row, 4)) for row in rows}


def _first_line(answer: subprocess.CompletedProcess[str]) -> str:
    return next(iter((answer.stderr + answer.stdout).strip().splitlines()), f"exit code {answer.returncode}")


def _cell(row: Sequence[str], place: int) -> str | None:
    return row[place] if place < len(row) else None


def _bytes(row: Sequence[str], place: int) -> int | None:
    cell = _cell(row, place) or ""
    return int(cell) * _MIB if cell.isdigit() else None
