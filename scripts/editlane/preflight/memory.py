"""Check that the models fit into the memory of the GPUs and of the host."""

from collections.abc import Iterator
from pathlib import Path

from editlane.core.findings import Finding, format_bytes, join_names
from editlane.core.text_width import pluralize
from editlane.editors.optimizations.apply import starts_on_cpu
from editlane.judges.vllm_runs import VllmParams
from editlane.lanes.lane_status import read_heartbeats
from editlane.models.devices import rounds_pinned_blocks
from editlane.models.host_memory import read_available_memory, read_container_memory
from editlane.preflight.context import Part, RunContext
from editlane.preflight.weights import choose_dtype, count_device_bytes, count_loaded_bytes

BASE, SHARE = 2e9, 0.08
"""Allowance besides the weights: bytes for the CUDA context and buffers, and a share of the weights for activations.

Published for Qwen-Image-Edit at one megapixel with SGLang: a peak of 64 GB for 57.7 GB of weights. Larger images,
longer texts and larger batches of a judge take more. A higher peak measured in a run replaces the estimate. A lower
peak does not: it may belong to another model or to smaller images.
"""

LANE_BYTES = 4e9
"""Most host memory that a lane is expected to take while its model is on a GPU."""


def check_memory(context: RunContext) -> Iterator[Finding]:
    """Compare weights and allowance with each GPU, or with the host if there is no GPU."""
    if context.devices.problem:
        return
    on_gpu = bool(context.devices.gpus)
    needs = [
        (count_device_bytes(folder, part.settings["params"], on_gpu=on_gpu), part)
        for part in context.parts
        if part.needs_model and (folder := part.find_folder()) is not None
    ]
    if on_gpu:
        yield from (_compare_with_gpus(part, weights, context) for weights, part in needs)
        if needs:
            yield _compare_lanes_with_host(context)
    elif needs:
        yield _compare_with_host(*max(needs, key=lambda one: one[0]), context)


def _compare_with_gpus(part: Part, weights: int, context: RunContext) -> Finding:
    dtype = choose_dtype(part.settings["params"], on_gpu=True)
    allowance = BASE + SHARE * weights
    share = _find_vllm_share(part)
    peak = 0 if share else _read_peak(part, context)  # the peak of vLLM is always its share
    need = max(weights + allowance, peak)
    how = (
        f"{format_bytes(peak)} peak in an earlier run in this folder"
        if need == peak
        else f"about {format_bytes(allowance)} for activations and buffers"
    )
    text = f"{part}: weights {format_bytes(weights)} in {dtype}{_describe_saving(part)}, and {how}"
    known = [gpu for gpu in context.devices.gpus if gpu.memory]
    if not known:
        return Finding(
            "warn", "memory", f"{text}; the memory of the GPUs is unknown", "Compare it with the data sheet."
        )
    sizes = f"the smallest GPU has {format_bytes(min(gpu.memory or 0 for gpu in known))}"
    sizes += f", of which vLLM takes {share:g}" if share else ""
    usable = {gpu.label: (gpu.memory or 0) * (share or 1) for gpu in known}
    hopeless = [label for label, size in usable.items() if size < weights]
    if len(hopeless) == len(context.devices.gpus):
        return Finding("fail", "memory", f"{text}; {sizes}", "Use a smaller or a quantised model, or larger GPUs.")
    if hopeless:
        remedy = "Exclude them with CUDA_VISIBLE_DEVICES."
        return Finding("warn", "memory", f"{text}; it does not fit on GPU {join_names(hopeless)}", remedy)
    if any(size < need for size in usable.values()):
        return Finding("warn", "memory", f"{text}; {sizes}, which is tight", _TIGHT_VLLM if share else _TIGHT)
    return Finding("pass", "memory", f"{text}; {sizes}")


_TIGHT = "Items may fail with `oom`: use smaller images, smaller batch_tokens, or a smaller model."
_TIGHT_VLLM = (
    "vLLM does not start without room for the keys and values of one prompt: use a smaller max_model_len, a larger "
    "gpu_memory_utilization, or a smaller model."
)


def _find_vllm_share(part: Part) -> float | None:
    """Return the share of a GPU's memory that vLLM fills; None if this part does not run on vLLM."""
    if part.settings.get("engine") != "vllm":
        return None
    return VllmParams(**part.settings["params"]).gpu_memory_utilization


def _describe_saving(part: Part) -> str:
    """Describe the params that make the weights on the GPU smaller than the checkpoint."""
    params = part.settings["params"]
    fp8 = " and fp8" if params.get("quantization") else ""
    return f"{fp8} at once with offload: {params['offload']}" if params.get("offload") else fp8


def _read_peak(part: Part, context: RunContext) -> int:
    """Return the peak bytes that this part allocated in earlier runs in this folder; 0 if none was measured."""
    beats = read_heartbeats(context.paths)
    own = (one for one in beats if (one.editor if one.stage == "edit" else one.judge) == part.name)
    stage = "edit" if part.kind == "editor" else "score"
    return max((one.peak_memory or 0 for one in own if one.stage == stage), default=0)


def _compare_lanes_with_host(context: RunContext) -> Finding:
    pinned = any(part.settings["params"].get("offload") == "blocks" for part in context.parts)
    available = read_available_memory() if pinned else read_host_memory()[1]  # pinned memory is never swapped out
    lanes = context.lanes_at_once
    kept = max(_count_host_bytes(part, context) for part in context.parts)
    each = LANE_BYTES + kept
    text = f"host: {format_bytes(available)} available for {pluralize(lanes, 'lane')} at once"
    text += f", about {format_bytes(each)} each"
    text += ", including weights that pass through host memory" if kept else ""
    if pinned:
        text += ", where `offload: blocks` pins them"
        text += "; this torch rounds each block up, to twice its size at most" if _rounds_up(context) else ""
    if lanes * each > available:
        return Finding("warn", "memory", text, "Free some memory, or run fewer lanes at once with --resources gpu=N.")
    return Finding("pass", "memory", text)


def _count_host_bytes(part: Part, context: RunContext) -> int:
    """Return the bytes of weights that a lane holds in host memory, if only while it loads."""
    params, folder = part.settings["params"], part.find_folder()
    if not folder or not starts_on_cpu(params):
        return 0
    rounded = params.get("offload") == "blocks" and _rounds_up(context)
    return count_loaded_bytes(folder, choose_dtype(params, on_gpu=True)) * (2 if rounded else 1)


def _rounds_up(context: RunContext) -> bool:
    return not context.conda and rounds_pinned_blocks()


def _compare_with_host(weights: int, part: Part, context: RunContext) -> Finding:
    """Compare the largest model with the host's memory, because any lane may hold it."""
    total, available = read_host_memory()
    lanes = context.lanes_at_once
    need = weights * (1 + SHARE) + 1e9
    text = (
        f"{part}: weights {format_bytes(weights)} in {choose_dtype(part.settings['params'], on_gpu=False)} on the CPU"
    )
    if weights > total:
        return Finding(
            "fail", "memory", f"{text}; this machine has {format_bytes(total)}", "Use a smaller model, or a GPU."
        )
    text += f", {pluralize(lanes, 'lane')} at once; {format_bytes(available)} available"
    if lanes * need > available:
        fits = max(1, int(available / need))
        return Finding("warn", "memory", text, f"Use --resources gpu={fits}, which also limits lanes on the CPU.")
    return Finding("pass", "memory", text)


def read_host_memory() -> tuple[int, int]:
    """Return (total, available) bytes of this machine including swap, or of the container if it has less."""
    rows = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    known = {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}
    total, available = known["MemTotal"] + known["SwapTotal"], known["MemAvailable"] + known["SwapFree"]
    container = read_container_memory()
    return (min(total, container[0]), min(available, container[1])) if container else (total, available)
