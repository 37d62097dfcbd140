"""Check that GPUs are visible, free and healthy, and that there are enough lanes for them."""

from collections import Counter
from collections.abc import Iterator, Sequence

from editlane.core.findings import Finding, format_bytes, join_names
from editlane.core.text_width import agree, pluralize
from editlane.preflight.context import RunContext
from editlane.preflight.devices import Gpu

_OCCUPIED_BYTES = 1e9
"""A GPU with more memory in use than this counts as occupied."""


def check_gpus(context: RunContext) -> Iterator[Finding]:
    """Check that GPUs are visible and free."""
    devices = context.devices
    if devices.is_slow:
        text = f"{devices.problem}; the GPUs were not checked"
        yield Finding("warn", "GPUs", text, "`nvidia-smi -pm 1` keeps them awake.")
    elif devices.problem:
        yield Finding("fail", "GPUs", devices.problem, "Fix that, or set CUDA_VISIBLE_DEVICES= to use the CPU.")
    elif not devices.gpus:
        yield _report_no_gpu(context)
    else:
        hidden = f" (CUDA_VISIBLE_DEVICES hides {devices.hidden} more)" if devices.hidden else ""
        yield Finding("pass", "GPUs", f"{len(devices.gpus)} visible: {_describe_models(devices.gpus)}{hidden}")
        if devices.lost:
            text = f"nvidia-smi cannot reach a GPU: {devices.lost}; lanes use the others"
            remedy = "Look at it (nvidia-smi -q, dmesg); one that is lost comes back with a restart of the machine."
            yield Finding("warn", "GPUs", text, remedy)
        yield from _find_occupied(devices.gpus)
        if context.gpu_limit and context.gpu_limit > len(devices.gpus):
            text = (
                f"{context.gpu_limit} requested, but only {len(devices.gpus)} visible; lanes will wait for each other"
            )
            yield Finding("warn", "GPUs", text, f"Use --resources gpu={len(devices.gpus)}, or omit it.")


def _report_no_gpu(context: RunContext) -> Finding:
    trained = [part.name for part in context.parts if part.is_trained]
    hidden = context.devices.hidden
    why = f"CUDA_VISIBLE_DEVICES hides all {hidden} of them" if hidden else "none is visible"
    if not trained:
        return Finding("pass", "GPUs", f"{why}; this run needs none")
    return Finding(
        "warn",
        "GPUs",
        f"{why}, so {join_names(trained)} will run on the CPU in float32: minutes to hours per item if large",
        "Unset CUDA_VISIBLE_DEVICES." if hidden else "Run where nvidia-smi lists GPUs, or use a small model.",
    )


def _describe_models(gpus: Sequence[Gpu]) -> str:
    kinds = Counter((gpu.model or "unknown model", gpu.memory) for gpu in gpus)
    return ", ".join(
        f"{count} x {model}" + (f" ({format_bytes(memory)})" if memory else "")
        for (model, memory), count in kinds.items()
    )


def _find_occupied(gpus: Sequence[Gpu]) -> Iterator[Finding]:
    leased = [gpu.label for gpu in gpus if gpu.leased]
    if leased:
        text = f"{_name_gpus(leased)} held by a lane of a running workflow; new lanes will wait"
        yield Finding("warn", "GPUs", text, "Wait, or exclude it with CUDA_VISIBLE_DEVICES.")
    for gpu in gpus:
        if gpu.quarantined:
            text = f"GPU {gpu.label} is quarantined because commands died on it"
            remedy = f"Inspect it with nvidia-smi, then run `python scripts/gpulease.py --forgive {gpu.lease}`."
            yield Finding("warn", "GPUs", text, remedy)
        elif gpu.used and gpu.used > _OCCUPIED_BYTES and not gpu.leased:
            text = f"GPU {gpu.label} has {format_bytes(gpu.used)} in use by a process that holds no lease"
            yield Finding(
                "warn",
                "GPUs",
                text,
                "Find the process with nvidia-smi and end it, or exclude this GPU with CUDA_VISIBLE_DEVICES.",
            )


def _name_gpus(labels: Sequence[str]) -> str:
    """Format labels as the start of a sentence: `GPU 3 is`, `GPUs 3, 4 are`."""
    return f"GPU {labels[0]} is" if len(labels) == 1 else f"GPUs {join_names(labels, 8)} are"


def check_lanes(context: RunContext) -> Iterator[Finding]:
    """Check that there are at least as many lanes as GPUs, without those of editors on servers, which hold none."""
    lanes, editors = context.config["lanes"], sum(not part.is_served for part in context.editors)
    gpus = min(len(context.devices.gpus), context.gpu_limit or len(context.devices.gpus))
    jobs = lanes * editors
    what = pluralize(lanes, "lane") + (f" x {editors} editors" if editors > 1 else "")
    if context.devices.problem or not editors:
        yield Finding("pass", "lanes", what)
    elif jobs >= gpus:
        yield Finding("pass", "lanes", what + (f" on {pluralize(gpus, 'GPU')}" if gpus else " on the CPU"))
    else:
        text = f"{what} on {gpus} GPUs: {gpus - jobs} {agree(gpus - jobs, 'stays')} idle"
        yield Finding("warn", "lanes", text, f"Set lanes: {-(-gpus // editors)}; changing it recomputes nothing.")
