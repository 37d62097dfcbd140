"""Results that are moved, cleaned up, and robbed of an editor and a judge, by the book: config/running.md."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from project import ROOT, Project, wait_for

ITEMS = 20

pytestmark = pytest.mark.runs


class Moved(NamedTuple):
    project: Project
    elsewhere: Path
    """Where the run began; nothing is there any more."""
    kept: int
    """Edits that were finished before it moved."""


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Moved:
    """A run of two editors and two judges that was killed among its edits, moved to another project without
    `.snakemake`, renamed, and finished there."""
    project = Project(tmp_path_factory.mktemp("甲地"))
    project.config["lanes"] = 1
    slow = {"seconds": 0.2, "failure_rate": 0.2, "refusal_rate": 0.1}
    project.config["editors"] = {"fake-a": {"adapter": "fake", "params": slow}, "fake-b": {"adapter": "fake"}}
    project.config["judges"]["other"] = {"adapter": "fake", "params": {"unreadable_rate": 0.2, "failure_rate": 0.1}}
    project.config["controls"] |= {"share": 0.5, "least": 0, "repeats": 0.2}
    (project.folder / "data/照片/图 3.png").write_bytes(b"not an image")
    run = project.start()
    wait_for(lambda: project.computed("edit/fake-a") >= 3, seconds=120)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    other = Project(tmp_path_factory.mktemp("乙地"))
    shutil.rmtree(other.folder / "data")
    (project.folder / "data").rename(other.folder / "data")
    other.config = project.config | {"run": "搬来的"}
    (other.folder / "results").mkdir()
    project.results.rename(other.results)
    shutil.rmtree(project.folder)
    kept = other.computed("edit")
    other.run()
    return Moved(other, project.folder, kept)


def journal_of(project: Project) -> dict[str, bytes]:
    paths = (project.results / "journal").rglob("*.jsonl")
    return {str(path.relative_to(project.results)): path.read_bytes() for path in paths}


def keys_in(journal: bytes) -> list[bytes]:
    """The keys of the finished items, repeated ones repeatedly."""
    return [line.split(b'"')[3] for line in journal.splitlines() if line.startswith(b'{"key"')]


def text_of(path: Path) -> bytes:
    """The bytes of a file, uncompressed if it is a table."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    table = pq.read_table(path, partitioning=None)
    return f"{table.schema.metadata} {table.to_pylist()}".encode()


def test_a_moved_run_goes_on_where_it_was(moved: Moved) -> None:
    project = moved.project
    assert 3 <= moved.kept < 2 * ITEMS
    assert project.computed("edit") == 2 * ITEMS
    rows = project.scores()
    assert len(rows) == 2 * 2 * ITEMS
    assert {"source_unreadable", "edit_failed", "edit_refused", "judge_unreadable"} < {row["state"] for row in rows}
    for name, text in journal_of(project).items():
        keys = keys_in(text)
        assert len(keys) == len(set(keys)) > 0, f"{name}: nothing was computed twice"


def test_no_file_of_a_run_holds_an_absolute_path(moved: Moved) -> None:
    places = [moved.elsewhere, moved.project.folder, ROOT, Path.home(), Path(tempfile.gettempdir())]
    files = [path for path in moved.project.results.rglob("*") if path.is_file()]
    kinds = {"journal", "heartbeats", "report", "benchmarks", "shards", "fake-a"}
    assert kinds <= {path.relative_to(moved.project.results).parts[0] for path in files}
    found = [
        (str(path), str(place))
        for path in files
        for place in places
        if f"{place}/".encode() in text_of(path) and "logs" not in path.parts
    ]
    assert found == []


def test_the_processes_of_both_places_are_in_the_costs(moved: Moved) -> None:
    rows = pq.read_table(moved.project.results / "costs.parquet").to_pylist()
    assert len(rows) == 2 + 2
    assert max(row["attempts"] for row in rows) == 2
    edits = [row for row in rows if row["stage"] == "edit"]
    assert ITEMS < sum(row["items"] for row in edits) <= 2 * ITEMS  # a killed process takes its last half second along
    costs = moved.project.report()["costs"]
    assert costs["total"]["attempts"] == sum(row["attempts"] for row in rows)
    assert costs["total"]["gpu_hours"] is None


def rename(project: Project, elsewhere: Path) -> Project:
    """Give the run another name, where it is."""
    before = project.results
    project.config["run"] += "改名"
    before.rename(project.results)
    return project


def forget(project: Project, elsewhere: Path) -> Project:
    """Delete what Snakemake knows."""
    shutil.rmtree(project.folder / ".snakemake")
    return project


def copy(project: Project, elsewhere: Path) -> Project:
    """Copy the run into another project with the same dataset; times are kept."""
    elsewhere.mkdir()
    other = Project(elsewhere)
    other.config = project.config
    shutil.rmtree(other.folder / "data")
    for name in ("data", "results"):
        shutil.copytree(project.folder / name, other.folder / name)
    return other


def put_in_place(path: Path, content: bytes) -> None:
    """Put a file in place of another, with an old time, as `cp -p` and `tar` do."""
    path.write_bytes(content)
    os.utime(path, (1_000_000_000, 1_000_000_000))


def change_seed(project: Project) -> None:
    project.config["seed"] = 43


def change_params(project: Project) -> None:
    project.config["editors"]["fake-a"]["params"] = {"noop_rate": 1}


def change_protocol(project: Project) -> None:
    text = (ROOT / "resources/protocols/rubric.yaml").read_text(encoding="utf-8")
    (project.folder / "resources/protocols").unlink()
    (project.folder / "resources/protocols").mkdir()
    path = project.folder / "resources/protocols/rubric.yaml"
    put_in_place(path, text.replace('version: "1"', 'version: "9"', 1).encode())


def change_photo(project: Project) -> None:
    photo = project.folder / "data/照片/图 1.png"
    put_in_place(photo, (project.folder / "data/照片/图 2.png").read_bytes())


def change_dataset(project: Project) -> None:
    records = project.folder / "data/items.jsonl"
    put_in_place(records, records.read_bytes().replace("第 3 次".encode(), "第 9 次".encode()))


def planned(project: Project) -> set[str]:
    """The rules that have jobs to run."""
    return set(re.findall(r"^(?:local)?rule (\w+):", project.run("--dry-run"), re.MULTILINE)) - {"all"}


@pytest.mark.parametrize(
    ("move", "change", "edits", "scores"),
    [
        (rename, change_params, 20, 20),
        (forget, change_photo, 3, 3),
        (forget, change_protocol, 0, 20),
        (copy, change_seed, 20, 20),
        (copy, change_dataset, 1, 1),
    ],
)
def test_a_start_after_a_move_does_again_what_depends_on_a_change_and_only_that(
    finished, tmp_path, move, change, edits, scores
) -> None:
    project = move(finished, tmp_path / "elsewhere")
    assert planned(project) == ({"make_report"} if move is rename else set()), "the report names the run"
    change(project)
    kept = {path: path.read_bytes() for path in project.results.rglob("*.parquet")}
    assert {"score_lane", "merge_scores", "make_report"} <= planned(project)
    assert kept == {path: path.read_bytes() for path in project.results.rglob("*.parquet")}
    project.run()
    assert (project.computed("edit"), project.computed("score")) == (20 + edits, 20 + scores)
    assert project.report()["run"] == project.config["run"]
    assert planned(project) == set()


def drop(project: Project) -> None:
    """The commands of config/running.md, with this run's names in them."""
    page = (ROOT / "config/running.md").read_text(encoding="utf-8")
    text = page.split("## Dropping an editor or a judge\n")[1].split("\n## ")[0]
    commands = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert len(commands) == 2
    names = {"results/demo": f"results/{project.config['run']}", "tiny-pix2pix": "fake-b", "tiny-qwen3-vl": "other"}
    for command in commands:
        for name, mine in names.items():
            command = command.replace(name, mine)
        subprocess.run(["bash", "-e", "-c", command], cwd=project.folder, check=True, timeout=60)


def test_an_editor_and_a_judge_are_dropped_and_put_back(moved: Moved) -> None:
    project, config = moved.project, moved.project.config
    before, journal = project.scores(), journal_of(project)
    others = {name: text for name, text in journal.items() if not {"fake-b", "other"} & set(Path(name).parts)}

    project.config = config | {name: only(config[name], left) for name, left in LEFT.items()}
    again = project.run("--dry-run")
    assert all(f"rule {rule}:" in again for rule in ("merge_scores", "merge_controls", "merge_costs", "make_report"))
    drop(project)
    assert not [path for name in ("fake-b", "other") for path in project.results.rglob(name)]
    assert journal_of(project) == others
    shutil.rmtree(project.folder / ".snakemake")
    project.run("--forceall")
    assert journal_of(project) == others, "nothing was computed again"
    assert project.scores() == [row for row in before if (row["editor"], row["judge"]) == ("fake-a", "judge")]
    report = project.report()
    assert {editor: list(judges) for editor, judges in report["editors"].items()} == {"fake-a": ["judge"]}
    assert {(one["editor"], one["judge"]) for one in report["costs"]["lanes"]} == {("fake-a", None), (None, "judge")}

    kept = files_of(project)
    project.run("--delete-all-output")
    assert files_of(project) == kept
    left = {path.relative_to(project.results).parts[0] for path in project.results.rglob("*") if path.is_file()}
    kept_beside = {"benchmarks", "fake-a", "heartbeats", "journal", "logs", "sources", "report"}
    assert left - {".lock", "made_from.json"} == kept_beside
    assert {path.name for path in (project.results / "report").iterdir()} == {"tables"}

    project.config = config
    project.run("merge_scores")
    after = journal_of(project)
    assert {name: after[name] for name in others} == others
    counts = [{name: len(keys_in(text)) for name, text in one.items()} for one in (after, journal)]
    assert counts[0] == counts[1], "what was deleted was computed again, once"
    assert project.scores() == before


LEFT = {"editors": "fake-a", "judges": "judge"}


def only(settings: dict[str, Any], name: str) -> dict[str, Any]:
    return {name: settings[name]}


def files_of(project: Project) -> dict[str, bytes]:
    """What is no output of a rule."""
    folders = ("sources", "fake-a/images", "journal", "heartbeats")
    paths = [path for folder in folders for path in (project.results / folder).rglob("*.*") if path.is_file()]
    assert len({path.suffix for path in paths}) >= 3
    return {str(path): path.read_bytes() for path in paths}
