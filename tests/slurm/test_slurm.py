"""The workflow as jobs of a real SLURM."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from project import ROOT, Project, wait_for

pytestmark = pytest.mark.slurm

ITEMS = 20
DEVICES = {str(number) for number in range(6)}


class SlurmProject(Project):
    """A project whose lanes are jobs of the SLURM that `variables` leads to."""

    limits = (
        *("--executor", "slurm", "--workflow-profile", "workflow/profiles/slurm"),
        *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "5"),
    )

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        super().__init__(folder)
        self.variables = variables
        self.started: list[subprocess.Popen[str]] = []

    def environment(self) -> dict[str, str]:
        own = super().environment()
        path = f"{Path(own['PATH'].split(':')[0])}:{self.variables['PATH']}"
        return self.variables | {"GPULEASE_DIR": own["GPULEASE_DIR"], "PATH": path}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        self.started.append(super().start(*arguments))
        return self.started[-1]

    def finished(self, stage: str, lane: int) -> int:
        """How many items one lane has in its journals."""
        files = (self.results / "journal" / stage).rglob(f"lane{lane}.jsonl")
        return sum(path.read_bytes().count(b'{"key"') for path in files)

    def ask(self, *command: str) -> str:
        """What a command of SLURM prints."""
        done = subprocess.run(command, env=self.variables, capture_output=True, text=True, check=True)
        return done.stdout

    def waiting_or_running(self) -> list[str]:
        return self.ask("squeue", "--noheader", "--format=%i").split()

    def job_of(self, comment: str) -> str | None:
        """The running job of a lane, by the comment that Snakemake gives it."""
        lines = self.ask("squeue", "--noheader", "--states=RUNNING", "--format=%i %k").splitlines()
        return next((line.split()[0] for line in lines if line.split()[1:] == [comment]), None)


@pytest.fixture
def project(tmp_path: Path, slurm: dict[str, str]) -> Iterator[SlurmProject]:
    project = SlurmProject(tmp_path, slurm)
    yield project
    for run in project.started:  # where a test has failed
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    for job in project.waiting_or_running():
        project.ask("scancel", job)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The scores of the same items without SLURM."""
    project = Project(tmp_path_factory.mktemp("undisturbed"))
    project.run("merge_scores")
    return project.scores()


def slow(project: SlurmProject) -> None:
    """Half a minute of editing, on two lanes."""
    project.config["editors"]["fake-a"]["params"] = {"seconds": 3}


@dataclass(frozen=True)
class Stay:
    """A lane on a device, by its own log: from its first to its last line, in seconds since `began`."""

    lane: str
    job: str
    device: str
    start: float
    end: float


def read_stay(log: Path, began: time.struct_time) -> Stay:
    text = log.read_text(encoding="utf-8")
    (lease,) = re.findall(r"^gpulease: holds slurm-(\d+)-(\w+)$", text, re.MULTILINE)
    clock = [
        [float(part) for part in line.split(":")] for line in re.findall(r"^\d\d:\d\d:\d\d\.\d+", text, re.MULTILINE)
    ]
    times = [
        ((hours - began.tm_hour) * 3600 + (minutes - began.tm_min) * 60 + seconds) % 86400  # midnight may pass
        for hours, minutes, seconds in clock
    ]
    return Stay(str(log), *lease, min(times), max(times))


def test_lanes_use_the_devices_that_slurm_gave_them_one_lane_at_a_time(project, undisturbed) -> None:
    project.config["lanes"] = 7
    project.config["editors"]["fake-a"]["params"] = {"seconds": 3}
    project.config["judges"]["judge"]["params"]["seconds"] = 1
    began = time.localtime()
    output = project.run("--slurm-keep-successful-logs")
    assert project.scores() == undisturbed
    assert project.computed("edit") == project.computed("score") == ITEMS

    # What is small, and the hooks of the workflow, run where it was started and in no job.
    logs = list((project.folder / ".snakemake/slurm_logs").rglob("*.log"))
    assert {log.parts[-3] for log in logs} == {"rule_edit_lane", "rule_score_lane"}
    page = f"report: results/{project.config['run']}/report/report.html"
    assert output.count(page) == 1
    assert not [log for log in logs if page in log.read_text(encoding="utf-8")]

    stays = [read_stay(log, began) for log in (project.results / "logs").glob("*_lane/**/*.log")]
    assert len({stay.job for stay in stays}) == 14  # 7 lanes, each edited and scored
    assert {stay.device for stay in stays} <= DEVICES
    granted_devices = (Path(project.variables["SLURM_CONF"]).parent / "grants").read_text().splitlines()
    for stay in stays:
        assert f"{stay.job} {stay.device}" in granted_devices
        granted = project.ask("scontrol", "--details", "show", "job", stay.job)
        assert "TimeLimit=1-00:00:00" in granted
        assert "MinMemoryNode=96000M" in granted
        assert "NumCPUs=8" in granted
    together = [(a, b) for a in stays for b in stays if a != b and a.start <= b.start <= a.end]
    assert together, "no two lanes ran at the same time: this run proves nothing"
    assert not [pair for pair in together if pair[0].device == pair[1].device]

    table = pq.read_table(project.results / "scores.parquet").to_pydict()
    for stage in ("edit", "score"):
        assert set(table[f"{stage}_device"]) == {stay.device for stay in stays if f"/{stage}_lane/" in stay.lane}


def test_a_cancelled_lane_is_done_by_a_new_job_that_keeps_its_items(project, undisturbed) -> None:
    slow(project)
    run = project.start("merge_scores")
    lane = "rule_edit_lane_wildcards_fake-a_0"
    wait_for(lambda: project.finished("edit", lane=0) >= 2, seconds=180)
    first = project.job_of(lane)
    project.ask("scancel", first)
    wait_for(lambda: project.job_of(lane) not in (None, first), seconds=180)
    assert run.wait(timeout=300) == 0
    assert project.computed("edit") == project.computed("score") == ITEMS
    assert project.scores() == undisturbed


def test_ctrl_c_cancels_the_jobs_and_the_same_command_goes_on(project, undisturbed) -> None:
    slow(project)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would hand down "ignore"
    run = project.start("merge_scores")
    wait_for(lambda: project.computed("edit") >= 2, seconds=180)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(timeout=120) != 0
    wait_for(lambda: not project.waiting_or_running(), seconds=60)
    assert 2 <= project.computed("edit") < ITEMS
    project.run("merge_scores")
    assert project.computed("edit") == project.computed("score") == ITEMS
    assert project.scores() == undisturbed


def test_jobs_outlive_a_killed_workflow_and_the_same_command_does_nothing_twice(project, undisturbed) -> None:
    slow(project)
    run = project.start("merge_scores")
    wait_for(lambda: project.computed("edit") >= 2, seconds=180)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert project.waiting_or_running()
    project.run("merge_scores")
    assert project.computed("edit") == project.computed("score") == ITEMS
    assert project.scores() == undisturbed


def test_a_copy_of_the_profile_names_a_partition_and_real_models_run_in_it(project) -> None:
    text = (ROOT / "workflow/profiles/slurm/config.yaml").read_text(encoding="utf-8")
    text = text.replace('# slurm_partition: "gpu"', 'slurm_partition: "nocuda"')
    text = text.replace('# slurm_partition: "cpu"', 'slurm_partition: "gpu"')
    text = text.replace("# gpu_model: h200", "gpu_model: h200")
    text = text.replace("# cpus_per_gpu: 8", "cpus_per_gpu: 4")
    (project.folder / "mine").mkdir()
    (project.folder / "mine/config.yaml").write_text(text, encoding="utf-8")
    project.limits = tuple("mine" if option == "workflow/profiles/slurm" else option for option in project.limits)

    project.write_items(range(4))
    project.config["editors"] = {
        "tiny": {
            "adapter": "diffusers",
            "model": "resources/models/tiny-instruct-pix2pix",
            "params": {"num_inference_steps": 2},
        }
    }
    project.config["judges"] = {
        "tiny-qwen3-vl": {
            "adapter": "qwen3-vl",
            "model": "resources/models/tiny-qwen3-vl",
            "params": {"batch_tokens": 512},
        }
    }
    run = project.start()
    lane = "rule_edit_lane_wildcards_tiny_0"
    wait_for(lambda: project.job_of(lane), seconds=180)
    granted = project.ask("scontrol", "--details", "show", "job", project.job_of(lane))
    assert "Partition=nocuda" in granted
    assert "GRES=gpu:h200:1" in granted
    assert re.search(r"CpusPerTres=\S*gpu:4", granted)
    assert run.wait(timeout=400) == 0
    states = [row["state"] for row in project.scores()]
    assert states == ["scored"] * 4
    assert project.computed("edit") == project.computed("score") == 4
