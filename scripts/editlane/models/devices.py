"""Choose and describe the device of this process. torch is imported only in the functions that need it."""

import gc
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from traceback import clear_frames
from typing import Any

from editlane.core.errors import ItemError, OutOfMemory, PassingError, Stopped, UserError, one_line
from editlane.core.types import Editor, Judge, RunsOn

log = logging.getLogger(__name__)

ALLOCATOR = {"expandable_segments": "True", "pinned_max_round_threshold_mb": "1"}
ALLOCATOR_SINCE = (2, 13)
"""The first version of torch of which it is known that it has these settings."""


def set_allocator() -> None:
    """Set what the user's PYTORCH_ALLOC_CONF leaves open. Call this before torch is imported.

    torch would round each pinned block of weights up to a power of two, and keep GPU memory in pieces of the sizes of
    earlier batches. Older versions of torch do not know the settings, and refuse to start.
    """
    if rounds_pinned_blocks():
        return
    given = os.environ.get("PYTORCH_ALLOC_CONF", "")
    added = [f"{name}:{value}" for name, value in ALLOCATOR.items() if name not in given]
    os.environ["PYTORCH_ALLOC_CONF"] = ",".join([given, *added] if given else added)


def rounds_pinned_blocks() -> bool:
    """Return whether torch rounds each pinned block up to a power of two, because `set_allocator` cannot forbid it."""
    return _find_torch_version() < ALLOCATOR_SINCE or "PYTORCH_CUDA_ALLOC_CONF" in os.environ  # its older name


def _find_torch_version() -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in re.findall(r"\d+", version("torch"))[:2])
    except PackageNotFoundError:
        return ()


def pick_device() -> str:
    """Return `cuda` if torch can use a GPU, else `cpu`. Raises UserError for a leased GPU that torch cannot use."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        raise PassingError(  # the next try may get another GPU
            f"This process holds the GPU {os.environ['CUDA_VISIBLE_DEVICES']}, but torch {torch.__version__} cannot "
            "use it (a CPU build, or a driver that is too old). Run with --sdm conda, or set CUDA_VISIBLE_DEVICES= "
            "to use the CPU."
        )
    return "cpu"


def describe_device() -> str:
    """Return the device's name for the tables: the GPU's model and its leased id, or `cpu`."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    cudnn: Any = torch.backends.cudnn
    log.info("torch %s, CUDA %s, cuDNN %s", torch.__version__, torch.version.cuda, cudnn.version())
    leased = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    return f"{torch.cuda.get_device_name()} ({leased})"


def find_loaded_cudnn() -> int | None:
    """Return the version of the cuDNN that torch uses in this process, e.g. 91002, whichever package it came from.

    It is None if torch has none, and in a lane that found everything in its journal, because that never imports torch.
    """
    torch = sys.modules.get("torch")
    found: int | None = torch.backends.cudnn.version() if torch else None
    return found


def device_label(loaded: Editor | Judge) -> str:
    """Return the device as the tables name it. For an adapter without a model this loads no torch."""
    return describe_device() if loaded.RUNS_ON == RunsOn.DEVICE else os.environ.get("CUDA_VISIBLE_DEVICES") or "cpu"


def read_usage() -> dict[str, int | float | None]:
    """Read peak_memory (most bytes allocated by this process), memory_used and memory_total (bytes of the device) and
    utilisation (0..1).

    The dict is empty without a GPU, and has only peak_memory without nvidia-ml-py.
    """
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
    except Exception:  # noqa: BLE001 (no package, no driver library, MIG: the values are unavailable)
        return peak
    return peak | {"memory_used": memory.used, "memory_total": memory.total, "utilisation": busy}


def pick_dtype(name: str | None, device: str) -> Any:
    """Return the torch dtype `name`. The default is bfloat16 on a GPU and float32 on the CPU."""
    import torch

    return getattr(torch, name or ("bfloat16" if device == "cuda" else "float32"))


@contextmanager
def convert_memory_errors() -> Iterator[None]:
    """Convert out-of-memory errors to OutOfMemory, and release the device's cache."""
    import torch

    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        message = (str(error) or "out of memory").splitlines()[0]
        clear_frames(error.__traceback__)  # they hold the tensors of the failed call
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise OutOfMemory(message)


@contextmanager
def convert_model_errors(failed: type[ItemError]) -> Iterator[None]:
    """Convert ordinary exceptions to `failed`, and out-of-memory errors to OutOfMemory.

    Editlane's own errors are not converted. Neither are errors that leave the GPU unusable, because everything after
    them would fail, too.
    """
    import torch

    try:
        with convert_memory_errors():
            yield
    except (ItemError, UserError, Stopped, torch.AcceleratorError):
        raise
    except Exception as error:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # raises if an earlier kernel broke the context
        log.info("the model failed", exc_info=True)
        clear_frames(error.__traceback__)  # they hold the tensors of the failed call
        raise failed(f"{type(error).__name__}: {one_line(error)}") from error


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether memory ran out. Only torch's own allocator has an exception class for it.

    The CUDA runtime, cuBLAS, cuDNN and the CPU's allocator can only be recognised by their messages.
    """
    import torch

    words = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)
