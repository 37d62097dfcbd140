"""How long a run will take, and what it will write: what is left to do times what it has cost before."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path

from editlane.preflight.context import Part, Setup
from editlane.preflight.estimate.disk import expected_output
from editlane.preflight.estimate.past_runs import Figure, earlier_runs, find_figure
from editlane.preflight.estimate.remaining_work import Workload, find_workload, is_of
from editlane.preflight.findings import Finding, lines, plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A lane of an editor, or of an editor and a judge, which starts after the editor's."""

    editor: str
    judge: str | None
    lane: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where the lanes run."""

    count: int
    on_gpu: bool

    @classmethod
    def of(cls, setup: Setup) -> "Place":
        """The GPUs that are asked for, perhaps of another machine; else those here; else this CPU's cores."""
        gpus = setup.gpu_limit or len(setup.devices.gpus)
        return cls(gpus or setup.slots, bool(gpus))

    def __str__(self) -> str:
        return plural(self.count, "GPU") if self.on_gpu else f"the CPU, {plural(self.count, 'lane')} at once"


def estimate(setup: Setup, earlier: Path | None, width: int | None) -> list[str]:
    """The lines to print. `earlier`: the one run to take figures from. Raises UserError for a wrong dataset."""
    work, place = find_workload(setup), Place.of(setup)
    runs = [earlier] if earlier else earlier_runs(setup.run_dir)
    own = earlier or setup.run_dir
    figures = {
        str(part): find_figure(part, work.keys[str(part)], runs, own=own, on_gpu=place.on_gpu) for part in setup.parts
    }
    jobs = {str(part): _jobs(part, figures[str(part)], work) for part in setup.parts}
    findings = [_scope(setup, work)]
    findings += [_stage(part, figures[str(part)], jobs[str(part)], work, place) for part in setup.parts]
    findings += _time(jobs, figures, place)
    expected = expected_output(setup, None if work.is_prepared else setup.scan)
    if expected is not None:
        findings.append(Finding("disk", "", str(expected)))
    return lines(findings, width)


def _scope(setup: Setup, work: Workload) -> Finding:
    text = f"{setup.run_dir}: {plural(work.items, 'item')}, {plural(setup.config['lanes'], 'lane')} an editor"
    even = "; nothing is prepared yet, so items are taken to be spread evenly"
    return Finding("run", "", text + ("" if work.is_prepared else even))


def _stage(part: Part, figure: Figure | None, jobs: list[Job], work: Workload, place: Place) -> Finding:
    stage, unit = ("edit", "item") if part.kind == "editor" else ("score", "question")
    left = sum(sum(counts) for names, counts in work.left.items() if is_of(part, names))
    text = f"{part.name}: {plural(left, unit)} left"
    if left and figure is None:
        where = "a GPU" if place.on_gpu else "the CPU"
        remedy = "Run a few items of it, then estimate again."
        return Finding(stage, "", f"{text}; no earlier figures on {where}", remedy)
    if left and figure:
        text += f" x {figure.item:.3g} s + {plural(len(jobs), 'load')} x {figure.load:.3g} s"
        text += f" = {_duration(sum(job.seconds for job in jobs))} of one device. From {figure.basis}"
    return Finding(stage, "", text)


def _jobs(part: Part, figure: Figure | None, work: Workload) -> list[Job]:
    """One for every lane that has something left."""
    return [
        Job(editor=names[0], judge=names[1], lane=lane, seconds=figure.load + count * figure.item)
        for names, counts in work.left.items()
        for lane, count in enumerate(counts)
        if figure is not None and count and is_of(part, names)
    ]


def _time(jobs: dict[str, list[Job]], figures: dict[str, Figure | None], place: Place) -> Iterator[Finding]:
    all_jobs = [job for of_part in jobs.values() for job in of_part]
    if not all_jobs:
        return
    text = f"{_duration(wall_seconds(all_jobs, place.count))} on {place}"
    if place.on_gpu:
        text += f", {sum(job.seconds for job in all_jobs) / 3600:.3g} GPU-hours"
    unknown = [name for name, figure in figures.items() if figure is None]
    yield Finding("time", "", text + (f", without {' and '.join(unknown)}" if unknown else ""))


def wall_seconds(jobs: list[Job], devices: int) -> float:
    """How long `devices` take for the jobs, as Snakemake starts them: editing first, a lane's judging after it."""
    free = [0.0] * devices
    edited: dict[tuple[str, int], float] = {}
    for job in (job for job in jobs if job.judge is None):
        edited[job.editor, job.lane] = heappop(free) + job.seconds
        heappush(free, edited[job.editor, job.lane])
    judging = [(edited.get((job.editor, job.lane), 0.0), job.seconds) for job in jobs if job.judge is not None]
    for ready, seconds in sorted(judging):
        heappush(free, max(heappop(free), ready) + seconds)
    return max(free)


def _duration(seconds: float) -> str:
    """2 h 05 min, 3 min 20 s, 14 s."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{seconds:.2g} s"
