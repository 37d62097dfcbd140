"""What a run was made from changes between two starts, or between two of its lanes."""

import shutil

import pytest
import yaml
from PIL import Image
from project import ROOT
from test_world import EDITOR, run_afresh


@pytest.mark.faults
def test_a_killed_run_that_is_renamed_without_snakemakes_record_notices_another_seed(trial, tmp_path) -> None:
    project = trial.project
    trial.plan("kill", EDITOR, "kill", signal="SIGKILL", target="workflow", lane=1, nth=2)
    trial.start()
    trial.fires()
    trial.ends()
    trial.devices_come_back()
    before = project.results
    project.config |= {"run": "改名", "seed": 43}
    before.rename(project.results)
    project.faults = []
    trial.expected = run_afresh(project, tmp_path)
    shutil.rmtree(project.folder / ".snakemake")
    trial.again()
    trial.verdict("a killed run is renamed, without .snakemake, under another seed")


@pytest.mark.faults
def test_pictures_that_are_lost_are_named_and_made_again(trial) -> None:
    project = trial.project
    trial.start()
    trial.ends(0)
    edits = sorted((project.results / "fake-a/images").rglob("*.png"))
    edits[0].unlink()
    Image.new("RGB", (50, 40), "black").save(edits[1])
    trial.strikes_now()
    trial.start()
    trial.notices(lambda: "2 edits of fake-a deleted or replaced since the tables were written" in trial.said())
    assert "`--forcerun edit_lane`" in trial.said()
    trial.ends(0)
    assert project.scores() == trial.expected, "the tables are about the pictures as they were"
    trial.again("merge_scores", "--forcerun", "edit_lane")  # as the message says
    assert project.computed("edit") == 20 + 2
    trial.verdict("an edit is deleted and another replaced after they were judged", redone=2)


@pytest.mark.faults
def test_a_protocol_that_is_replaced_while_a_lane_waits_makes_no_mixed_table(trial, tmp_path) -> None:
    project = trial.project
    protocol = project.folder / "规则.yaml"
    shutil.copy(ROOT / "resources/protocols/rubric.yaml", protocol)
    project.config["judges"]["judge"]["protocol"] = protocol.name
    trial.plan("change", "editlane.cli.step:run_step", "wait", program="score_lane.py", lane=1)
    trial.start()
    trial.fires()
    trial.notices(lambda: list(project.results.glob("fake-a/scores/judge/*/lane0.parquet")))
    own = yaml.safe_load(protocol.read_text(encoding="utf-8"))
    own["rubrics"] = {name: f"{text}\nLook twice." for name, text in own["rubrics"].items()}
    protocol.write_text(yaml.safe_dump(own, allow_unicode=True, sort_keys=False), encoding="utf-8")
    trial.strikes_now()
    trial.let_go("change")
    trial.ends()
    trial.notices(lambda: "were made with different settings" in trial.said())
    project.faults = []
    trial.expected = run_afresh(project, tmp_path)
    trial.again()
    trial.verdict("a protocol is replaced while one lane waits")
