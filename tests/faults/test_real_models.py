"""Faults while a real pipeline is at work: tiny weights, on the CPU."""

import shutil

import pytest
from trial import Trial, final_lines

pytestmark = [
    pytest.mark.faults,
    # diffusers' EulerAncestralDiscreteScheduler, numpy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

TINY = {"adapter": "diffusers", "params": {"num_inference_steps": 2}}


@pytest.fixture(scope="module")
def tiny(prepared, tiny_model, tmp_path_factory):
    """A project with a real pipeline on four items, in two lanes; how its edits come out undisturbed."""
    project = prepared.copy(tmp_path_factory.mktemp("tiny") / "project")
    shutil.copytree(tiny_model("instruct-pix2pix"), project.folder / "resources/pix2pix")
    project.devices = ""
    project.config |= {"lanes": 2, "editors": {"pix2pix": TINY | {"model": "resources/pix2pix"}}}
    project.write_items(range(4))
    project.run("split_lanes", "plan_controls")
    reference = project.copy(tmp_path_factory.mktemp("tiny-undisturbed") / "project")
    reference.run("merge_scores")
    return project, reference.scores()


@pytest.fixture
def trial(tiny, tmp_path, record_property):
    project, expected = tiny
    trial = Trial(project.copy(tmp_path / "project"), expected, record_property)
    yield trial
    trial.clean_up()


def test_a_lane_with_a_real_model_is_killed_between_two_denoising_steps(trial) -> None:
    trial.plan("kill", "editlane.lanes.heartbeat:Heartbeat.step", "kill", signal="SIGKILL", lane=1, nth=2)
    trial.start()
    trial.gone(trial.fires())
    trial.goes_on("edit/*/lane1.jsonl")
    trial.ends(0)
    trial.verdict("SIGKILL to one lane with a real pipeline, denoising")


def test_a_model_that_vanished_stops_its_lanes_and_says_so(trial) -> None:
    """The folder goes away after the workflow has planned and before the lanes start."""
    project = trial.project
    trial.plan("vanishing", "editlane.cli.step:run_step", "wait", program="edit_lane.py", times=2)
    trial.start()
    trial.fires()
    away = (project.folder / "resources/pix2pix").rename(project.folder / "resources/elsewhere")
    trial.strikes_now()
    trial.let_go("vanishing")
    trial.notices(lambda: "error: " in trial.said())
    out = trial.ends(1)
    assert "resources/pix2pix" in final_lines(out)
    assert "Traceback" not in out
    away.rename(project.folder / "resources/pix2pix")
    trial.again()
    trial.verdict("the model's folder vanishes before the lanes load it")
