"""Memory of the GPUs and of the host against what the models need."""

from collections.abc import Iterator
from pathlib import Path

from editlane.editors.optimizations.apply import starts_on_cpu
from editlane.judges.qwen3_vl.vllm_engine import VllmParams
from editlane.lanes.lane_status import read_heartbeats
from editlane.models.host_memory import read_container_memory
from editlane.preflight.context import Part, Setup
from editlane.preflight.findings import Finding, amount, listed, plural
from editlane.preflight.weights import device_bytes, loaded_bytes, run_dtype

BASE, SHARE = 2e9, 0.08
"""The allowance beside the weights: bytes for the CUDA context and buffers, and a share of the weights for activations.

Qwen-Image-Edit at one megapixel, run by SGLang, was published with a peak of 64 GB on 57.7 GB of weights.
Larger images, longer texts and larger batches of a judge take more: a higher peak that a run measured counts instead. A
lower one does not: it may be of another model, or of smaller images.
"""

PROCESS = 4e9
"""Bytes of host memory that a lane with its model on a GPU is expected to take at most."""


def check_memory(setup: Setup) -> Iterator[Finding]:
    """The weights and an allowance against each GPU, or against the host where there is none."""
    if setup.devices.problem:
        return
    on_gpu = bool(setup.devices.gpus)
    needs = [
        (device_bytes(folder, part.settings["params"], on_gpu=on_gpu), part)
        for part in setup.parts
        if part.needs_model and (folder := part.folder()) is not None
    ]
    if on_gpu:
        yield from (_on_gpus(part, weights, setup) for weights, part in needs)
        if needs:
            yield _host_beside_gpus(setup)
    elif needs:
        yield _on_host(*max(needs, key=lambda one: one[0]), setup)


def _on_gpus(part: Part, weights: int, setup: Setup) -> Finding:
    dtype = run_dtype(part.settings["params"], on_gpu=True)
    allowance = BASE + SHARE * weights
    share = _vllm_share(part)
    peak = 0 if share else _measured_peak(part, setup)  # vLLM fills its share whatever the model is
    need = max(weights + allowance, peak)
    how = (
        f"{amount(peak)} at most in this folder's earlier run"
        if need == peak
        else f"about {amount(allowance)} for work"
    )
    text = f"{part}: weights {amount(weights)} in {dtype}{_saving(part)}, and {how}"
    known = [gpu for gpu in setup.devices.gpus if gpu.memory]
    if not known:
        return Finding("warn", "memory", f"{text}; how much the GPUs have is not known", "Compare it yourself.")
    sizes = f"the smallest GPU has {amount(min(gpu.memory or 0 for gpu in known))}"
    sizes += f", of which vLLM takes {share:g}" if share else ""
    usable = {gpu.label: (gpu.memory or 0) * (share or 1) for gpu in known}
    hopeless = [label for label, size in usable.items() if size < weights]
    if len(hopeless) == len(setup.devices.gpus):
        return Finding("fail", "memory", f"{text}; {sizes}", "Use a smaller or a quantised model, or larger GPUs.")
    if hopeless:
        remedy = "Leave them out with CUDA_VISIBLE_DEVICES."
        return Finding("warn", "memory", f"{text}; it does not fit on GPU {listed(hopeless)}", remedy)
    if any(size < need for size in usable.values()):
        return Finding("warn", "memory", f"{text}; {sizes}, which is tight", _TIGHT_VLLM if share else _TIGHT)
    return Finding("pass", "memory", f"{text}; {sizes}")


_TIGHT = "Items may fail with `oom`: use smaller images, smaller batch_tokens, or a smaller model."
_TIGHT_VLLM = (
    "vLLM does not start without room for the keys and values of one prompt: use a smaller max_model_len, a larger "
    "gpu_memory_utilization, or a smaller model."
)


def _vllm_share(part: Part) -> float | None:
    """Of a GPU's memory, what this part fills if it runs on vLLM."""
    if part.settings.get("engine") != "vllm":
        return None
    return VllmParams(**part.settings["params"]).gpu_memory_utilization


def _saving(part: Part) -> str:
    """What makes the weights on the GPU fewer than those of the checkpoint."""
    params = part.settings["params"]
    fp8 = " and fp8" if params.get("quantization") else ""
    return f"{fp8} at once with offload: {params['offload']}" if params.get("offload") else fp8


def _measured_peak(part: Part, setup: Setup) -> int:
    """Bytes that this part had allocated at most in a run on this folder; 0 where nobody measured it."""
    beats = read_heartbeats(setup.paths)
    own = (one for one in beats if (one.editor if one.stage == "edit" else one.judge) == part.name)
    stage = "edit" if part.kind == "editor" else "score"
    return max((one.peak_memory or 0 for one in own if one.stage == stage), default=0)


def _host_beside_gpus(setup: Setup) -> Finding:
    _, available = host_memory()
    lanes = setup.lanes_at_once
    kept = max(map(_kept_on_host, setup.parts))
    each = PROCESS + kept
    text = f"host: {amount(available)} available for {plural(lanes, 'lane')} at once, about {amount(each)} each"
    text += ", with weights on their way to the GPU" if kept else ""
    if lanes * each > available:
        return Finding("warn", "memory", text, "Free some, or run fewer lanes at once with --resources gpu=N.")
    return Finding("pass", "memory", text)


def _kept_on_host(part: Part) -> int:
    """Bytes of weights that a lane holds in the host's memory for its GPU: at least while it loads."""
    params, folder = part.settings["params"], part.folder()
    return loaded_bytes(folder, run_dtype(params, on_gpu=True)) if folder and starts_on_cpu(params) else 0


def _on_host(weights: int, part: Part, setup: Setup) -> Finding:
    """For the largest model: any lane may hold it."""
    total, available = host_memory()
    lanes = setup.lanes_at_once
    need = weights * (1 + SHARE) + 1e9
    text = f"{part}: weights {amount(weights)} in {run_dtype(part.settings['params'], on_gpu=False)} on the CPU"
    if weights > total:
        return Finding("fail", "memory", f"{text}; this machine has {amount(total)}", "Use a smaller model, or a GPU.")
    text += f", {plural(lanes, 'lane')} at once; {amount(available)} available"
    if lanes * need > available:
        fits = max(1, int(available / need))
        return Finding("warn", "memory", text, f"Give --resources gpu={fits}, which limits lanes on the CPU, too.")
    return Finding("pass", "memory", text)


def host_memory() -> tuple[int, int]:
    """(total, available) bytes of this machine with its swap space, or of the container that this is."""
    rows = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    known = {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}
    total, available = known["MemTotal"] + known["SwapTotal"], known["MemAvailable"] + known["SwapFree"]
    container = read_container_memory()
    return (min(total, container[0]), min(available, container[1])) if container else (total, available)
