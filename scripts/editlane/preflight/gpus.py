"""GPUs visible, free and healthy, and as many lanes as there are GPUs."""

from collections import Counter
from collections.abc import Iterator, Sequence

from editlane.preflight.context import Setup
from editlane.preflight.devices import Gpu
from editlane.preflight.findings import Finding, amount, listed, plural

_IN_USE = 1e9
"""Bytes in use on a GPU, above which someone else is taken to work there."""


def check_gpus(setup: Setup) -> Iterator[Finding]:
    """GPUs visible and free."""
    devices = setup.devices
    if devices.is_slow:
        text = f"{devices.problem}; nothing is known about the GPUs"
        yield Finding("warn", "GPUs", text, "`nvidia-smi -pm 1` keeps them awake.")
    elif devices.problem:
        yield Finding("fail", "GPUs", devices.problem, "Fix the driver, or set CUDA_VISIBLE_DEVICES= to use the CPU.")
    elif not devices.gpus:
        yield _no_gpu(setup)
    else:
        hidden = f" (CUDA_VISIBLE_DEVICES hides {devices.hidden} more)" if devices.hidden else ""
        yield Finding("pass", "GPUs", f"{len(devices.gpus)} visible: {_models(devices.gpus)}{hidden}")
        yield from _occupied(devices.gpus)
        if setup.gpu_limit and setup.gpu_limit > len(devices.gpus):
            asked = f"{setup.gpu_limit} are asked for and {len(devices.gpus)} are visible; lanes wait for one another"
            yield Finding("warn", "GPUs", asked, f"Give --resources gpu={len(devices.gpus)}, or leave it out.")


def _no_gpu(setup: Setup) -> Finding:
    serious = [part.name for part in setup.parts if part.is_serious]
    hidden = setup.devices.hidden
    why = f"CUDA_VISIBLE_DEVICES hides all {hidden} of them" if hidden else "none is visible"
    if not serious:
        return Finding("pass", "GPUs", f"{why}; nothing here needs one")
    return Finding(
        "warn",
        "GPUs",
        f"{why}, so {listed(serious)} will run on the CPU in float32: minutes to hours an item with a large model",
        "Unset CUDA_VISIBLE_DEVICES." if hidden else "Run where nvidia-smi lists GPUs, or use a small model.",
    )


def _models(gpus: Sequence[Gpu]) -> str:
    kinds = Counter((gpu.model or "unknown model", gpu.memory) for gpu in gpus)
    return ", ".join(
        f"{count} x {model}" + (f" ({amount(memory)})" if memory else "") for (model, memory), count in kinds.items()
    )


def _occupied(gpus: Sequence[Gpu]) -> Iterator[Finding]:
    leased = [gpu.label for gpu in gpus if gpu.leased]
    if leased:
        text = f"{_numbered(leased)} held by a lane of a running workflow; other lanes wait for it"
        yield Finding("warn", "GPUs", text, "Wait, too, or leave it out with CUDA_VISIBLE_DEVICES.")
    for gpu in gpus:
        if gpu.quarantined:
            text = f"GPU {gpu.label} is left out, because commands died on it"
            remedy = f"Look at it with nvidia-smi, then `python scripts/gpulease.py --forgive {gpu.lease}`."
            yield Finding("warn", "GPUs", text, remedy)
        elif gpu.used and gpu.used > _IN_USE and not gpu.leased:
            text = f"GPU {gpu.label} has {amount(gpu.used)} in use by a process that holds no lease"
            yield Finding("warn", "GPUs", text, "nvidia-smi names it; end it, or leave this GPU out.")


def _numbered(labels: Sequence[str]) -> str:
    """`GPU 3 is`, `GPUs 3, 4 are`."""
    return f"GPU {labels[0]} is" if len(labels) == 1 else f"GPUs {listed(labels, 8)} are"


def check_lanes(setup: Setup) -> Iterator[Finding]:
    """As many lanes as GPUs, or more."""
    lanes, editors = setup.config["lanes"], len(setup.editors)
    gpus = min(len(setup.devices.gpus), setup.gpu_limit or len(setup.devices.gpus))
    jobs = lanes * editors
    what = plural(lanes, "lane") + (f" x {editors} editors" if editors > 1 else "")
    if setup.devices.problem:
        yield Finding("pass", "lanes", what)
    elif jobs >= gpus:
        yield Finding("pass", "lanes", what + (f" on {plural(gpus, 'GPU')}" if gpus else " on the CPU"))
    else:
        text = f"{what} on {gpus} GPUs: {gpus - jobs} stay{'s' * (gpus - jobs == 1)} idle"
        yield Finding("warn", "lanes", text, f"Set lanes: {-(-gpus // editors)}; changing it recomputes nothing.")
