"""Check that checkpoints and LoRAs are present, complete and trained."""

from collections.abc import Iterator
from pathlib import Path

from editlane.core.findings import Finding, format_bytes
from editlane.models.checkpoints import find_problem, is_hub_id, is_randomly_initialised
from editlane.models.lora import parse_hub_file
from editlane.models.weight_files import find_cached_snapshot
from editlane.models.weight_formats import find_format_problem
from editlane.preflight.context import Part, RunContext
from editlane.preflight.weights import count_stored_bytes, is_offline


def check_models(context: RunContext) -> Iterator[Finding]:
    """Yield one finding per model. The check of the config has already refused incomplete folders."""
    for part in context.parts:
        if part.is_served:
            yield Finding("pass", "models", f"{part}: served by an endpoint")
        elif not part.needs_model:
            yield Finding("pass", "models", f"{part}: the adapter {part.settings['adapter']!r} has no model")
        elif is_hub_id(part.model) and not part.is_built:
            yield _check_hub_model(part, context)
        else:
            yield _check_folder(part)
        lora = part.settings["params"].get("lora")
        if lora is not None:
            yield _check_lora(part, lora)


def _check_lora(part: Part, lora: str) -> Finding:
    found = parse_hub_file(lora)
    if found is None:  # the check of the config has already refused damaged files
        return Finding("pass", "models", f"{part}: LoRA {lora}, {format_bytes(Path(lora).stat().st_size)}")
    folder = find_cached_snapshot(found.id, found.revision)
    if folder is not None and (folder / found.file).is_file():
        pinned = "" if found.revision else "; its revision is not pinned"
        return Finding("pass", "models", f"{part}: LoRA {lora} is in the hub's cache{pinned}")
    wanted = f" --revision {found.revision}" if found.revision else ""
    remedy = f"`hf download {found.id} {found.file}{wanted}` downloads it before the run."
    text = f"{part}: LoRA {lora} is not in the hub's cache"
    if is_offline():
        return Finding("fail", "models", f"{text}, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set", remedy)
    return Finding("warn", "models", f"{text}; the run would download it", remedy)


def _check_folder(part: Part) -> Finding:
    folder = part.find_folder()
    if folder is None:
        return Finding("pass", "models", f"{part}: {part.model} is built by the workflow, with random weights")
    problem = find_problem(folder)
    if problem:  # only a tiny model: the check of the config skips those
        return Finding(
            "warn",
            "models",
            f"{part}: {folder} is incomplete: {problem}",
            f"Delete {folder}; the workflow builds it again.",
        )
    random = "; random weights: its results mean nothing" if is_randomly_initialised(part.model) else ""
    return Finding(
        "pass", "models", f"{part}: {folder} is complete, {format_bytes(count_stored_bytes(folder))}{random}"
    )


def _check_hub_model(part: Part, context: RunContext) -> Finding:
    revision = part.settings["revision"]
    folder = part.find_folder()
    problem = find_problem(folder) if folder else None
    allowed = part.settings["params"].get("allow_pickle") is True
    if folder and (found := find_format_problem(folder, allow_pickle=allowed)):
        return Finding("fail", "models", f"{part}: {part.model} {found[0]}", found[1])
    if folder and not problem:
        pinned = "" if revision else "; its `revision:` is not pinned"
        return Finding(
            "pass",
            "models",
            f"{part}: {part.model} is in the hub's cache, {format_bytes(count_stored_bytes(folder))}{pinned}",
        )
    state = f"incomplete in the hub's cache ({problem})" if folder else "not in the hub's cache"
    wanted = f" --revision {revision}" if revision else ""
    remedy = f"`hf download {part.model}{wanted}` downloads it before the run."
    if is_offline():
        return Finding(
            "fail",
            "models",
            f"{part}: {part.model} is {state}, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set",
            remedy,
        )
    lanes = context.lanes_at_once
    once = "the run" if lanes == 1 else f"{lanes} lanes at once"
    text = f"{part}: {part.model} is {state}; {once} would download it, and its memory cannot be checked"
    return Finding("warn", "models", text, remedy)
