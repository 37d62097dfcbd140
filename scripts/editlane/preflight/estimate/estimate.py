"""Estimate the time and output of a run: the work left times its cost in earlier runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path

from editlane.core.findings import Finding, format_findings
from editlane.core.text_width import pluralize
from editlane.preflight.context import Part, RunContext
from editlane.preflight.estimate.disk import estimate_output
from editlane.preflight.estimate.past_runs import PastCost, find_past_cost, list_runs
from editlane.preflight.estimate.remaining_work import RemainingWork, belongs_to, find_remaining_work


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One lane of an editor, or of a judge, which starts after the lanes of all editors with its number."""

    judge: str | None
    """None for an editor."""
    lane: int
    seconds: float
    holds_device: bool = True
    """False if a server has the model. Then the job waits for no device."""


@dataclass(frozen=True, slots=True)
class DevicePool:
    """Devices that the lanes run on."""

    count: int
    on_gpu: bool

    @classmethod
    def for_run(cls, context: RunContext) -> "DevicePool":
        """Return the requested GPUs, perhaps of another machine; else the GPUs here; else the cores of this CPU."""
        gpus = context.gpu_limit or len(context.devices.gpus)
        return cls(gpus or context.slots, bool(gpus))

    def __str__(self) -> str:
        return pluralize(self.count, "GPU") if self.on_gpu else f"the CPU, {pluralize(self.count, 'lane')} at once"


def estimate_run(context: RunContext, earlier: Path | None, width: int | None) -> list[str]:
    """Return the lines to print. If given, costs come only from `earlier`. Raises UserError for a wrong dataset."""
    work, pool = find_remaining_work(context), DevicePool.for_run(context)
    runs = [earlier] if earlier else list_runs(context.run_dir)
    own = earlier or context.run_dir
    costs = {
        str(part): find_past_cost(part, work.keys[str(part)], runs, own=own, on_gpu=pool.on_gpu and not part.is_served)
        for part in context.parts
    }
    jobs = {str(part): _list_jobs(part, costs[str(part)], work) for part in context.parts}
    findings = [_describe_run(context, work)]
    findings += [_describe_stage(part, costs[str(part)], jobs[str(part)], work, pool) for part in context.parts]
    findings += _describe_arena(context, work.items)
    findings += _estimate_time(jobs, costs, pool)
    expected = estimate_output(context, None if work.is_prepared else context.scan)
    if expected is not None:
        findings.append(Finding("disk", "", str(expected)))
    return format_findings(findings, width)


def _describe_run(context: RunContext, work: RemainingWork) -> Finding:
    text = (
        f"{context.run_dir}: {pluralize(work.items, 'item')}, {pluralize(context.config['lanes'], 'lane')} per editor"
    )
    even = "; nothing is prepared yet, so the lanes are assumed to be equal"
    trial = "; a trial by `dataset.limit`: without it, the estimate is of the whole dataset"
    return Finding("run", "", text + ("" if work.is_prepared else even) + (trial if context.limit else ""))


def _describe_arena(context: RunContext, items: int) -> Iterator[Finding]:
    """Yield how many pairs are compared at most. Their time is not part of the estimate."""
    if arena := context.config["arena"]:
        editors = len(context.editors)
        most = items * editors * (editors - 1) // 2
        pairs = pluralize(min(most, arena["budget"] or most), "pair")
        text = f"arena: at most {pairs} of edits for {', '.join(arena['judges'])}, each asked twice, and controls"
        yield Finding("compare", "", f"{text}; not part of the time below")


def _describe_stage(
    part: Part, cost: PastCost | None, jobs: list[Job], work: RemainingWork, pool: DevicePool
) -> Finding:
    stage, unit = ("edit", "item") if part.kind == "editor" else ("score", "question")
    left = sum(sum(counts) for names, counts in work.left.items() if belongs_to(part, names))
    text = f"{part.name}: {pluralize(left, unit)} left"
    if left and cost is None:
        where = "a server" if part.is_served else "a GPU" if pool.on_gpu else "the CPU"
        remedy = "Run a few items, then estimate again."
        return Finding(stage, "", f"{text}; no earlier run on {where} to estimate from", remedy)
    if left and cost:
        text += f" x {cost.item:.3g} s + {pluralize(len(jobs), 'load')} x {cost.load:.3g} s"
        total, where = _format_duration(sum(job.seconds for job in jobs)), "device"
        if part.is_served:
            total, where = _format_duration(max(job.seconds for job in jobs)), "server, without a GPU here"
        text += f" = {total} on one {where}. From {cost.basis}"
    return Finding(stage, "", text)


def _list_jobs(part: Part, cost: PastCost | None, work: RemainingWork) -> list[Job]:
    """List a job for each lane with work left."""
    if cost is None:
        return []
    judge = part.name if part.kind == "judge" else None
    counts = zip(*(counts for names, counts in work.left.items() if belongs_to(part, names)), strict=True)
    left = [sum(of_lane) for of_lane in counts]
    return [
        Job(judge=judge, lane=lane, seconds=cost.load + count * cost.item, holds_device=not part.is_served)
        for lane, count in enumerate(left)
        if count
    ]


def _estimate_time(
    jobs: dict[str, list[Job]], costs: dict[str, PastCost | None], pool: DevicePool
) -> Iterator[Finding]:
    all_jobs = [job for part_jobs in jobs.values() for job in part_jobs]
    if not all_jobs:
        return
    text = f"{_format_duration(estimate_wall_seconds(all_jobs, pool.count))} on {pool}"
    if pool.on_gpu:
        text += f", {sum(job.seconds for job in all_jobs if job.holds_device) / 3600:.3g} GPU-hours"
    unknown = [name for name, cost in costs.items() if cost is None]
    yield Finding("time", "", text + (f", without {' and '.join(unknown)}" if unknown else ""))


def estimate_wall_seconds(jobs: list[Job], devices: int) -> float:
    """Simulate the jobs on `devices` as Snakemake starts them: edits first, then each lane's judging.

    Those that hold no device start at once.
    """
    free = [0.0] * devices
    edited: dict[int, float] = {}
    last = 0.0

    def run(job: Job, ready: float) -> float:
        ended = (max(heappop(free), ready) if job.holds_device else ready) + job.seconds
        if job.holds_device:
            heappush(free, ended)
        return ended

    for job in (job for job in jobs if job.judge is None):
        edited[job.lane] = max(run(job, 0.0), edited.get(job.lane, 0.0))
    judging = [job for job in jobs if job.judge is not None]
    for job in sorted(judging, key=lambda job: (edited.get(job.lane, 0.0), job.seconds)):
        last = max(last, run(job, edited.get(job.lane, 0.0)))
    return max(last, *edited.values(), *free)


def _format_duration(seconds: float) -> str:
    """Format seconds as 2 h 05 min, 3 min 20 s or 14 s."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{seconds:.2g} s"
