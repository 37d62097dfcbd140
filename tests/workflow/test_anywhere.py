"""The workflow used from other folders than its checkout: with -d, as a module, deployed, and read-only."""

import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from project import ROOT, Project
from step_runs import run_step_program

SNAKEFILE = ROOT / "workflow/Snakefile"
HANDLERS = "".join(f"on{name}:\n    editlane.on{name}()\n" for name in ("start", "success", "error"))
ITEMS = 6

LIST_CLUSTER_JOBS = """
print("cluster:", *(rule.name for rule in workflow.rules if not (rule.norun or rule.name in workflow._localrules)))
"""
MY_RULE = """
rule mine:
    input: "results/试验/items.parquet"
    output: "mine.txt"
    default_target: True
    shell: "python scripts/mine.py >{output}"
"""


class Folder(Project):
    """A working directory with a config and a dataset, and nothing of the workflow."""

    limits = ("--cores", "2")

    checkout = ROOT

    def _lay_out(self) -> None:
        (self.folder / "config").mkdir(parents=True)
        self.write_items(range(ITEMS))
        self.config["lanes"] = 1

    def command(self, *arguments: str) -> list[str]:
        own = (self.folder / "workflow/Snakefile").exists()
        snakefile = [] if own else ["--snakefile", str(self.checkout / "workflow/Snakefile")]
        return super().command(*snakefile, *arguments)

    def environment(self) -> dict[str, str]:
        """Have a `python`, which not every machine has, for the rules of other workflows."""
        found = super().environment()
        (self.folder / ".python").mkdir(exist_ok=True)
        if not (python := self.folder / ".python/python").exists():
            python.symlink_to(sys.executable)
        return found | {"PATH": f"{found['PATH']}{os.pathsep}{python.parent}"}

    def use_module(self, statement: str, more: str = "") -> None:
        """Write a Snakefile with a module statement, as snakedeploy and the catalog of workflows do."""
        (self.folder / "workflow").mkdir()
        (self.folder / "workflow/Snakefile").write_text(
            f'configfile: "config/config.yaml"\n\nmodule editlane:\n    {statement}\n    config: config\n\n{more}\n',
            encoding="utf-8",
        )


def snakemake(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run snakemake in a folder and return what it says."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "我的 数据")


@pytest.mark.runs
def test_another_working_directory(folder: Folder, tmp_path: Path) -> None:
    folder.config["controls"] |= {"canary": True}
    folder.command()  # writes the config
    (tmp_path / "elsewhere").mkdir()
    at = ["--snakefile", str(SNAKEFILE), "--directory", str(folder.folder)]
    said = snakemake(tmp_path / "elsewhere", *at)
    assert "report: results/试验/report/report.html" in said
    assert len(folder.scores()) == ITEMS
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert sorted(path.name for path in folder.folder.glob("*/")) == [
        ".snakemake",
        "config",
        "data",
        "resources",
        "results",
    ]
    built = {path.relative_to(folder.folder).as_posix() for path in (folder.folder / "resources").glob("*/[!.]*")}
    assert built == {"resources/canary/items.jsonl", "resources/canary/pictures", "resources/demo/photos"}
    kept = [path for path in folder.results.rglob("*") if path.is_file() and "logs" not in path.parts]
    assert [path for path in kept if os.fsencode(ROOT) in path.read_bytes()] == [], "a run can be moved"

    folder.checkout = tmp_path / "另一处"
    folder.checkout.symlink_to(ROOT)
    assert "Nothing to be done" in folder.run("--dry-run"), "a checkout that lies elsewhere runs nothing again"
    shutil.rmtree(folder.folder / "resources/canary/pictures")
    assert "rule draw_canary:" in folder.run("--dry-run", "--forcerun", "plan_controls")


@pytest.mark.runs
def test_without_a_config_the_demo_is_prepared_in_the_working_directory(tmp_path: Path) -> None:
    at = ["--snakefile", str(SNAKEFILE), "--directory", str(tmp_path)]
    planned = snakemake(tmp_path, *at, "--dry-run")
    assert all(f"rule {rule}:" in planned for rule in ("copy_list", "build_tiny_model", "score_lane", "make_report"))
    assert "results/demo/report/report.html" in planned
    snakemake(tmp_path, *at, "results/demo/items.parquet")
    assert pq.read_table(tmp_path / "results/demo/items.parquet")["source_sha256"].null_count == 0
    assert (tmp_path / "resources/demo/items.jsonl").read_bytes() == (ROOT / "resources/demo/items.jsonl").read_bytes()

    (tmp_path / "config").mkdir()
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(config | {"run": "mine"}), encoding="utf-8")
    assert "results/mine/report/report.html" in snakemake(tmp_path, *at, "--dry-run")


def test_setup_is_checked_from_another_folder(folder: Folder) -> None:
    folder.command()
    ended = run_step_program("check_setup", [], folder.folder)
    assert "rubric.yaml version" in ended.out
    assert not [line for line in ended.out.splitlines() if line.startswith("fail") and "memory" not in line], ended


@pytest.mark.runs
def test_a_module_with_renamed_rules(folder: Folder) -> None:
    folder.use_module(
        f'snakefile: "{SNAKEFILE}"', f"use rule * from editlane as bench_*\n\n{HANDLERS}{LIST_CLUSTER_JOBS}"
    )
    said = folder.run()
    assert len(folder.scores()) == ITEMS
    assert "bench_score_lane judge lane 0" in said
    assert "report: results/试验/report/report.html" in said
    lanes = ("edit_lane", "score_lane", "score_edited", "measure_preservation")
    assert f"cluster: {' '.join(f'bench_{name}' for name in lanes)}\n" in said, "the other steps run here"
    assert json.loads((folder.results / "heartbeats/workflow.json").read_text())["phase"] == "done"
    with (folder.results / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another workflow is running" in folder.run("--forcerun", "bench_make_report", code=2)
        folder.run("bench_partial_report")


def test_a_module_beside_rules_of_another_workflow(folder: Folder) -> None:
    """Without the handlers of config/running.md it runs, and another rule's `python` and files are its own."""
    (folder.folder / "scripts").mkdir()
    (folder.folder / "scripts/mine.py").write_text("print('mine')")
    folder.use_module(f'snakefile: "{SNAKEFILE}"', f"use rule * from editlane\n\n{MY_RULE}")
    folder.run()
    assert (folder.folder / "mine.txt").read_text() == "mine\n"
    assert pq.read_table(folder.results / "items.parquet").num_rows == ITEMS


MOVES = ['prefix: "sub"', 'pathvars: results="out"', 'replace_prefix: {"results": "out"}']


@pytest.mark.parametrize("statement", [MOVES[0], *(pytest.param(move, marks=pytest.mark.runs) for move in MOVES[1:])])
def test_a_module_that_moves_files_is_refused(folder: Folder, statement: str) -> None:
    folder.use_module(f'snakefile: "{SNAKEFILE}"\n    {statement}', "use rule * from editlane")
    assert "error: the `module` statement moves the results to " in folder.run(code=2)


def test_a_module_of_a_remote_repository_is_refused(folder: Folder) -> None:
    remote = folder.folder / "remote"
    shutil.copytree(ROOT / "workflow", remote / "workflow")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "--initial-branch=main"], ["add", "."], [*identity, "commit", "-m", "a"]):
        subprocess.run(["git", *command], cwd=remote, check=True, capture_output=True)
    place = f'gitfile("{remote}", path="workflow/Snakefile", ref="main")'
    folder.use_module(f"snakefile: {place}", "use rule * from editlane")
    assert "error: Editlane cannot be used from a remote repository" in folder.run(code=2)


@pytest.mark.runs
def test_a_folder_that_snakedeploy_made(folder: Folder, tmp_path: Path) -> None:
    deploying = pytest.importorskip("snakedeploy.deploy", reason="pip install snakedeploy (Python 3.12 or older)")
    source = tmp_path / "editlane"
    for name in ("workflow", "config", "scripts", "envs", "resources"):
        shutil.copytree(ROOT / name, source / name)
    deployed = tmp_path / "部署"
    deploying.deploy(str(source), name="editlane", tag=None, branch="main", dest_path=deployed)
    snakefile = deployed / "workflow/Snakefile"
    written = snakefile.read_text(encoding="utf-8")
    assert '"workflow/Snakefile"' in written, "the line that config/running.md says to change"
    snakefile.write_text(written.replace('"workflow/Snakefile"', f'"{source}/workflow/Snakefile"'), encoding="utf-8")
    assert "results/demo/report/report.html" in snakemake(deployed, "--dry-run")
    shutil.copytree(folder.folder / "data", deployed / "data")
    project = Folder(deployed)
    project.config["lanes"] = 1
    project.run("merge_scores")
    assert len(project.scores()) == ITEMS


@pytest.fixture
def read_only_checkout(tmp_path: Path) -> Iterator[Path]:
    checkout = tmp_path / "只读"
    for name in ("workflow", "config", "scripts", "envs", "resources/protocols", "resources/canary"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "pictures"))
    (checkout / "resources/demo").mkdir()
    shutil.copy(ROOT / "resources/demo/items.jsonl", checkout / "resources/demo")
    set_modes(checkout, writable=False)
    yield checkout
    set_modes(checkout, writable=True)


def set_modes(folder: Path, writable: bool) -> None:
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | stat.S_IWUSR if writable else mode & ~0o222)


def as_user(command: Sequence[str]) -> list[str]:
    """Take root's power to write where nobody may."""
    return [*(["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []), *command]


@pytest.mark.runs
def test_a_read_only_checkout_that_two_users_share(read_only_checkout: Path, tmp_path: Path) -> None:
    before = sorted(read_only_checkout.rglob("*"))
    assert subprocess.run(as_user(["touch", str(read_only_checkout / "x")]), capture_output=True).returncode == 1
    running = []
    for name in ("甲", "乙"):
        mine = Folder(tmp_path / name)
        mine.checkout = read_only_checkout
        mine.config["controls"] |= {"canary": True}
        (mine.folder / "home").mkdir()
        environment = mine.environment() | {"HOME": str(mine.folder / "home")}
        environment.pop("XDG_CACHE_HOME", None)
        with (mine.folder / "said").open("w") as said:
            command = as_user(mine.command("merge_scores", "merge_controls"))
            running.append(
                (mine, subprocess.Popen(command, cwd=mine.folder, env=environment, stdout=said, stderr=said))
            )
    for mine, process in running:
        assert process.wait(timeout=300) == 0, (mine.folder / "said").read_text()
        assert len(mine.scores()) == ITEMS
    inside = as_user([sys.executable, "-m", "snakemake", "--cores", "1"])
    refused = subprocess.run(inside, cwd=read_only_checkout, text=True, capture_output=True)
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    assert f"error: cannot write to {read_only_checkout}" in refused.stderr
    assert sorted(read_only_checkout.rglob("*")) == before
