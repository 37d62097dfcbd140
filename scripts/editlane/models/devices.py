"""The device of this process. torch is imported only inside the functions that need it."""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import clear_frames
from typing import Any

from editlane.core.errors import ItemError, OutOfMemory, Stopped, UserError, one_line
from editlane.core.types import Editor, Judge

log = logging.getLogger(__name__)


def pick_device() -> str:
    """`cuda` where torch can use a GPU, else `cpu`. Raises UserError for a leased GPU that torch cannot use."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        raise UserError(
            f"This process holds the GPU {os.environ['CUDA_VISIBLE_DEVICES']}, but torch {torch.__version__} cannot "
            "use it (a CPU build, or a driver that is too old). Run with --sdm conda, or set CUDA_VISIBLE_DEVICES= "
            "to use the CPU."
        )
    return "cpu"


def device_name() -> str:
    """What the tables say about the device: the leased id and the model's name, or `cpu`."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    leased = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    return f"{torch.cuda.get_device_name()} ({leased})"


def device_label(loaded: Editor | Judge) -> str:
    """Return the device as the tables name it. For an adapter without a model this loads no torch."""
    return device_name() if loaded.NEEDS_MODEL else os.environ.get("CUDA_VISIBLE_DEVICES") or "cpu"


def read_usage() -> dict[str, int | float | None]:
    """peak_memory (bytes that this process had allocated at most), memory_used and memory_total (bytes, of the device),
    utilisation (0..1). Holds only what can be known: nothing without a GPU, the first alone without nvidia-ml-py."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    peak = {"peak_memory": torch.cuda.max_memory_allocated()}
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(0).uuid}")
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    except Exception:  # noqa: BLE001 (no package, no driver library, MIG: then nobody knows)
        return peak
    return peak | {"memory_used": memory.used, "memory_total": memory.total, "utilisation": busy}


def pick_dtype(name: str | None, device: str) -> Any:
    """The torch dtype called `name`; without a name bfloat16 on a GPU and float32 on the CPU."""
    import torch

    return getattr(torch, name or ("bfloat16" if device == "cuda" else "float32"))


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn an out-of-memory error into ours, with the device's cache given back."""
    import torch

    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        message = (str(error) or "out of memory").splitlines()[0]
        clear_frames(error.__traceback__)  # their variables are the tensors of the failed call
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise OutOfMemory(message)


@contextmanager
def model_errors(failed: type[ItemError]) -> Iterator[None]:
    """An ordinary failure ends what was asked for as `failed`, too little memory as OutOfMemory. Our own errors pass,
    and so does one that leaves the GPU unusable: everything later would fail, too."""
    import torch

    try:
        with memory_errors():
            yield
    except (ItemError, UserError, Stopped, torch.AcceleratorError):
        raise
    except Exception as error:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # raises where an earlier kernel broke the context
        log.info("the model failed", exc_info=True)
        clear_frames(error.__traceback__)  # their variables are the tensors of the failed call
        raise failed(f"{type(error).__name__}: {one_line(error)}") from error


def _is_out_of_memory(error: Exception) -> bool:
    """torch has a class for its own allocator; the CUDA runtime, cuBLAS, cuDNN and the CPU's allocator only say it."""
    import torch

    words = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)
