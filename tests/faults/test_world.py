"""What changes around a run: another run, its dataset, its photos, the clock."""

import os
import time

import pytest
import yaml
from audit import NONE, damage
from PIL import Image
from project import ROOT

EDITOR = "editlane.editors.fake:FakeEditor.edit"


@pytest.mark.faults
def test_of_two_workflows_started_at_once_one_is_refused_and_the_other_ends_well(trial) -> None:
    trial.strikes_now()
    pair = [trial.start(), trial.start()]
    trial.notices(lambda: any(run.poll() is not None for run in pair))
    trial.goes_on()
    codes = sorted(run.wait(120) for run in pair)
    assert codes == [0, 2], trial.said()[-3000:]
    assert "another workflow is running on results/试验" in trial.said()
    trial.verdict("two workflows on one results folder, at once")


@pytest.mark.faults
def test_two_runs_that_start_at_once_in_a_fresh_checkout_build_what_they_share_once(trial) -> None:
    """Two configs on two halves of the GPUs. One run is held up until the other has used what both wanted to build."""
    project = trial.project
    trial.unprepare()
    for name in ("demo", "canary"):
        (project.folder / "resources" / name).mkdir()
        (project.folder / f"resources/{name}/items.jsonl").symlink_to(ROOT / f"resources/{name}/items.jsonl")
    project.config["controls"]["canary"] = True
    other = yaml.safe_dump(project.config | {"run": "另一"}, allow_unicode=True)
    (project.folder / "config/other.yaml").write_text(other, encoding="utf-8")
    trial.plan("held", "editlane.cli.step:run_step", "wait", program="extract_demo_photos.py")
    targets = ("merge_scores", "merge_controls")
    pair = [trial.start(*targets), trial.start(*targets, "--configfile", "config/other.yaml")]
    trial.fires()
    trial.notices(lambda: any(run.poll() is not None for run in pair))
    built = stat_shared(project)
    assert len(built) > 20
    trial.let_go("held")
    trial.goes_on()
    assert [run.wait(120) for run in pair] == [0, 0], trial.said()[-3000:]
    assert stat_shared(project) == built, "nothing was taken from the run that was faster"
    project.config["run"] = "另一"
    assert damage(project.results, project.scores(), trial.expected) == NONE
    project.config["run"] = "试验"
    trial.verdict("two runs at once in a fresh checkout")


@pytest.mark.faults
def test_more_lanes_than_items(trial) -> None:
    """Most lanes have no item at all, and the others one. A lane dies among them."""
    trial.project.config["lanes"] = 64
    trial.unprepare()
    trial.plan("kill", EDITOR, "kill", signal="SIGKILL", match="第 7 次")
    trial.start()
    trial.gone(trial.fires())
    trial.goes_on()
    trial.run.wait(900)  # 128 processes
    trial.ends(0)
    trial.verdict("64 lanes for 20 items, and one of them dies")


@pytest.mark.faults
@pytest.mark.parametrize("numbers", [[3], [0, 1, 2, 3, 4]], ids=["one item, four categories without any", "one each"])
def test_hardly_any_items(trial, numbers: list[int]) -> None:
    trial.unprepare()
    trial.project.write_items(numbers)
    names = {f"项目-{number:02}" for number in numbers}
    trial.expected = [row for row in trial.expected if row["item_id"] in names]
    trial.plan("kill", EDITOR, "kill", signal="SIGKILL", match="第 3 次")
    trial.start()
    trial.gone(trial.fires())
    trial.goes_on()
    trial.ends(0)
    trial.verdict(f"{len(numbers)} of 5 categories with an item, of one each, and its lane dies")


def stat_shared(project):
    """Each file that two runs share, with what would be new if it had been written again."""
    folders = [project.folder / "resources/demo/photos", project.folder / "resources/canary/pictures"]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for folder in folders for path in folder.iterdir()}


@pytest.mark.faults
def test_a_dataset_that_changes_under_a_run_counts_from_the_next_run_on(trial, tmp_path) -> None:
    """The run ends with the items it began with; the same command then does what is new, and only that."""
    project = trial.project
    trial.plan("change", EDITOR, "wait", lane=1, nth=2)
    trial.start()
    trial.fires()
    project.write_items([*range(2, 18), 30, 31])
    trial.strikes_now()
    trial.let_go("change")
    trial.goes_on("edit/*/lane1.jsonl")
    trial.ends(0)
    assert damage(project.results, project.scores(), trial.expected) == NONE
    computed = project.computed("edit")
    trial.again()
    assert project.computed("edit") == computed + 2
    trial.expected = run_afresh(project, tmp_path)
    assert {row["item_id"] for row in trial.expected} == {f"项目-{n:02}" for n in (*range(2, 18), 30, 31)}
    trial.verdict("the dataset changes under the run")


@pytest.mark.faults
def test_photos_that_change_under_a_run_count_from_the_next_run_on(trial, tmp_path) -> None:
    """A run works on its own copies. The next one edits the new photos, however old their times are."""
    trial.plan("change", EDITOR, "wait", lane=1, nth=2)
    trial.start()
    trial.fires()
    blacken_photos(trial.project)
    trial.strikes_now()
    trial.let_go("change")
    trial.goes_on("edit/*/lane1.jsonl")
    trial.ends(0)
    assert damage(trial.project.results, trial.project.scores(), trial.expected) == NONE
    trial.expected = run_afresh(trial.project, tmp_path)
    trial.start()
    trial.ends(0)
    trial.verdict("the dataset's photos change under the run")


@pytest.mark.faults
def test_a_dataset_with_other_instructions_and_the_old_time_is_read_again(trial, tmp_path) -> None:
    """As `cp -p` or `mv` puts it in place."""
    project = trial.project
    trial.start()
    trial.ends(0)
    dataset = project.folder / "data/items.jsonl"
    times = dataset.stat().st_mtime_ns
    other = dataset.with_name("other")
    other.write_text(dataset.read_text(encoding="utf-8").replace("下雨", "下雪"), encoding="utf-8")
    os.utime(other, ns=(times - 10**15, times - 10**15))
    trial.strikes_now()
    other.rename(dataset)
    trial.expected = run_afresh(project, tmp_path)
    trial.start()
    trial.notices(lambda: project.computed("edit") > 20)
    trial.goes_on()
    trial.ends(0)
    assert all("下雪" in row["instruction"] for row in project.scores())
    trial.verdict("another dataset with an older time is put in place")


def blacken_photos(project) -> None:
    """Replace each photo by another one with the same time."""
    for path in (project.folder / "data/照片").iterdir():
        times = path.stat().st_mtime_ns
        Image.new("RGB", (33, 33), "black").save(path)
        os.utime(path, ns=(times, times))


def run_afresh(project, folder):
    """The scores of a run without faults on a copy of the project as it is now."""
    fresh = project.copy(folder / "fresh")
    fresh.faults = []
    for name in ("results", ".snakemake"):
        (fresh.folder / name).rename(fresh.folder / f"{name}-before")
    fresh.run("merge_scores")
    return fresh.scores()


@pytest.mark.faults
def test_a_copied_source_that_changes_under_a_run_gives_rows_without_scores_until_it_is_back(trial) -> None:
    project = trial.project
    trial.plan("change", "editlane.cli.step:run_step", "wait", program="edit_lane.py", times=3)
    trial.start()
    trial.fires()
    source = sorted((project.results / "sources").rglob("*.png"))[0]
    before = source.read_bytes()
    Image.new("RGB", (50, 40), "black").save(source)
    trial.strikes_now()
    trial.let_go("change")
    trial.notices(lambda: "has changed since it was recorded" in trial.logs())
    trial.ends(0)
    expected = {row["item_id"]: row for row in trial.expected}
    path = str(source.relative_to(project.results))
    struck = {row["item_id"] for row in trial.expected if row["source_path"] == path}
    assert struck
    for row in project.scores():
        if row["item_id"] in struck:
            assert (row["state"], row["error_kind"], row["score"]) == ("source_unreadable", "changed", None)
        else:
            assert row == expected[row["item_id"]]
    source.write_bytes(before)
    trial.again("merge_scores", "--forcerun", "edit_lane")
    trial.verdict("a copied source changes under the run")


@pytest.mark.faults
def test_a_clock_that_is_set_back_under_a_run_makes_nothing_twice(trial) -> None:
    """Simulated: the machine's clock stays, but all files that the run has written so far are a day ahead of it."""
    trial.plan("clock", EDITOR, "wait", lane=1, nth=2)
    trial.start()
    trial.fires()
    into_the_future(trial.project.folder)
    trial.strikes_now()
    trial.let_go("clock")
    trial.notices(lambda: "older modification time" in trial.said())
    trial.ends()
    trial.again()
    trial.verdict("the clock is set back by a day (file times)")


def into_the_future(folder) -> None:
    tomorrow = time.time() + 86400
    for name in ("results", ".snakemake", "data", "config"):
        for path in (folder / name).rglob("*"):
            os.utime(path, (tomorrow, tomorrow), follow_symlinks=False)
