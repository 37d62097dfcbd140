"""Lanes that hang, devices that fail, memory that runs out."""

import os

import pytest
from trial import final_lines

EDITOR, JUDGE = "editlane.editors.fake:FakeEditor.edit", "editlane.judges.fake:FakeJudge.read_out"


@pytest.mark.parametrize(
    ("name", "how", "where", "writer"),
    [
        pytest.param(
            "hangs while editing, the interpreter held", "freeze", {"at": EDITOR, "nth": 3},
            "edit/*/lane1.jsonl", marks=pytest.mark.runs,
        ),
        pytest.param(
            "hangs while loading", "hang", {"at": "editlane.models.registry:build", "program": "edit_lane.py"},
            "edit/*/lane1.jsonl", marks=pytest.mark.faults,
        ),
        pytest.param(
            "hangs while saving", "hang", {"at": "os:replace", "match": "/images/", "nth": 2},
            "edit/*/lane1.jsonl", marks=pytest.mark.faults,
        ),
        pytest.param(
            "hangs while judging", "hang", {"at": JUDGE, "nth": 3}, "score/*/*/lane1.jsonl", marks=pytest.mark.faults,
        ),
    ],
)  # fmt: skip
def test_a_lane_that_hangs_is_ended_and_the_run_goes_on_by_itself(trial, name, how, where, writer) -> None:
    trial.project.config["lane_timeout"] = 4
    where = dict(where)
    trial.plan("hang", where.pop("at"), how, lane=1, **where)
    trial.start()
    pid = trial.fires()
    trial.gone(pid)
    trial.goes_on(writer)
    out = trial.ends(0)
    assert "it made no progress for 4 s and was ended" in out
    trial.verdict(f"a lane {name}")


@pytest.mark.faults
def test_a_lane_that_always_hangs_is_named_at_the_end(trial) -> None:
    trial.project.config["lane_timeout"] = 2
    trial.plan("hang", "editlane.models.registry:build", "hang", lane=1, program="edit_lane.py", times=4)
    trial.start()
    trial.gone(trial.fires())
    out = trial.ends(1)
    assert "made no progress for 2 s" in final_lines(out)
    trial.again()
    trial.verdict("a lane hangs at each of its tries")


@pytest.mark.runs
def test_a_device_that_fails_every_job_is_quarantined_after_two_strikes(trial) -> None:
    trial.plan("broken", "editlane.models.registry:build", "device", device="gpu1", times=30)
    trial.start()
    trial.gone(trial.fires())
    trial.goes_on()
    out = trial.ends(0)
    fired = list((trial.project.folder / "faults/fired").glob("broken.*"))
    assert len(fired) == 2
    assert "warning: gpulease: gpu1 is quarantined" in final_lines(out)
    devices = {row[f"{kind}_device"] for kind in ("edit", "score") for row in trial.tables(f"{kind}s")}
    assert devices - {None} == {"gpu0", "gpu2"}
    trial.verdict("a device fails every job")


@pytest.mark.runs
def test_out_of_memory_is_tried_once_more_tiled_and_else_a_row_that_is_not_kept(trial) -> None:
    trial.plan("once", EDITOR, "oom", match="第 7 次")
    trial.plan("always", EDITOR, "oom", match="第 11 次", onwards=True, times=2)
    trial.start()
    trial.fires("always")
    trial.notices(lambda: "out of memory" in trial.logs())
    trial.ends(0)
    edits = {row["item_id"]: row for row in trial.tables("edits")}
    assert (edits["项目-07"]["state"], edits["项目-07"]["tiled_vae"]) == ("edited", True)
    lost = edits["项目-11"]
    assert (lost["state"], lost["error_kind"], lost["tiled_vae"]) == ("edit_failed", "oom", True)
    undisturbed = {row["item_id"]: row for row in trial.expected}
    for row in trial.project.scores():
        if row["item_id"] == "项目-11":
            assert (row["state"], row["error_kind"], row["score"]) == ("edit_failed", "oom", None)
        else:
            assert row == undisturbed[row["item_id"]]
    trial.again("merge_scores", "--forcerun", "edit_lane")
    trial.verdict("out of memory: one edit passes at the second attempt, one does not")


@pytest.mark.runs
def test_an_item_that_kills_every_process_becomes_a_row_and_its_lane_goes_on(trial) -> None:
    """Three deaths on one item are enough; the lane's last try finishes all others. Run again, the lane tries again."""
    trial.plan("poison-edit", EDITOR, "kill", signal="SIGKILL", match="第 3 次", times=3)
    trial.plan("poison-question", JUDGE, "kill", signal="SIGKILL", match="第 6 次", times=3)
    trial.start()
    trial.gone(trial.fires("poison-edit"))
    trial.goes_on()
    assert "quarantined" not in trial.ends(0)  # no device is blamed for an item
    dead = {"项目-03": ("edit_failed", "crash"), "项目-06": ("judge_failed", "crash")}
    undisturbed = {row["item_id"]: row for row in trial.expected}
    for row in trial.project.scores():
        if row["item_id"] in dead:
            assert (row["state"], row["error_kind"], row["score"]) == (*dead[row["item_id"]], None)
        else:
            assert row == undisturbed[row["item_id"]]
    trial.again("merge_scores", "--forcerun", "edit_lane")
    trial.verdict("an item kills every process that tries it")


@pytest.mark.faults
@pytest.mark.parametrize("what", ["a link", "a FIFO"])
def test_what_another_user_puts_in_the_place_of_a_lease_stops_the_run_and_writes_nowhere(trial, tmp_path, what) -> None:
    precious, place = tmp_path / "precious", trial.project.folder / "leases/gpu1.lock"
    precious.write_text("mine")
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    if what == "a link":
        place.symlink_to(precious)
    else:
        os.mkfifo(place)
    trial.strikes_now()
    trial.start()
    trial.notices(lambda: trial.run.poll() is not None)
    out = trial.ends(2)
    assert f"{place} is {what}" in out
    assert "Traceback" not in out
    assert precious.read_text() == "mine"
    place.unlink()
    trial.again()
    trial.verdict(f"{what} lies in the place of a lease")
