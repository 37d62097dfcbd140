"""A trial on the first items of a dataset, and edits that only partly match: both are told before the run."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from preflight_project import CATEGORIES, fake_config, levels, make_context, prepare, write_project
from step_runs import run_step_program

from editlane.core import tables
from editlane.core.errors import UserError
from editlane.preflight import checks
from editlane.preflight import dataset_scan as scan
from editlane.preflight.config import check_config
from editlane.preflight.dataset import check_dataset, check_edits
from editlane.preflight.estimate.estimate import estimate_run
from editlane.preflight.estimate.remaining_work import find_remaining_work
from editlane.preflight.rule_params import RuleParams
from editlane.preflight.workflow_run import load_config


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    return tmp_path


def dataset(**changes: Any) -> dict[str, Any]:
    return {"path": "资料/items.jsonl", "categories": CATEGORIES} | changes


def edited(folder: Path, *names: str) -> dict[str, Any]:
    """A config with edits of these names."""
    (folder / "edits").mkdir()
    for name in names:
        Image.new("RGB", (8, 8)).save(folder / "edits" / f"{name}.png")
    return fake_config(editors={"given": {"adapter": "given"}}, dataset=dataset(edited_dir="edits"))


# given edits


def test_a_partial_match_of_edits_is_a_warning(project: Path) -> None:
    (found,) = check_edits(make_context(edited(project, "i0", "i1", "x", "y")))
    assert found.level == "warn"
    assert "4 of 6 items have no edit: i2, i3, i4 and 1 more" in found.text
    assert "2 of 4 files belong to no item: x.png, y.png" in found.text
    assert "`edit_failed` (missing)" in found.remedy


def test_a_full_match_passes_and_other_runs_are_not_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = check_edits(make_context(edited(project, *(f"i{number}" for number in range(6)))))
    assert (found.level, found.text) == ("pass", "edits: every item has its edit, every file its item")
    monkeypatch.setattr(scan, "check_records", lambda *args: pytest.fail("read"))
    assert list(check_edits(make_context())) == []


def test_edits_of_a_long_dataset_are_left_to_the_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "RECORD_SECONDS", 0.0)
    (found,) = check_edits(make_context(edited(project, "i0")))
    assert (found.level, "not checked" in found.text) == ("pass", True)


def test_the_start_of_a_workflow_tells_it_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = check_config(edited(project, "i0"))
    assert checks.check_start(config, [], gpu_limit=None, with_conda=False, lanes_here=False)
    assert "5 of 6 items have no edit: i1, i2, i3 and 2 more" in capsys.readouterr().err


# edits of several systems


def two_systems(folder: Path) -> dict[str, Any]:
    """A config with two systems: one has all edits, the other two and a file too many."""
    for name in (*(f"甲/i{number}" for number in range(6)), "b/i0", "b/i1", "b/x"):
        path = folder / f"systems/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    editors = {name: {"adapter": "given", "params": {"dir": f"systems/{name}"}} for name in ("甲", "b")}
    return fake_config(editors=editors)


def test_each_system_is_compared_with_the_items(project: Path) -> None:
    whole, part = check_edits(make_context(two_systems(project)))
    assert (whole.level, whole.text) == ("pass", "systems/甲 of 甲: every item has its edit, every file its item")
    assert part.level == "warn"
    assert part.text == (
        "systems/b of b: 4 of 6 items have no edit: i2, i3, i4 and 1 more; 1 of 3 files belongs to no item: x.png"
    )


def test_a_system_without_any_edit_of_the_items_fails_the_check(project: Path) -> None:
    config = two_systems(project)
    (project / "systems/b/i0.png").unlink()
    (project / "systems/b/i1.png").unlink()
    (found,) = check_dataset(make_context(config))
    assert found.level == "fail"
    assert found.text.startswith("editors.b.params.dir: systems/b has no edit of any item")


def test_systems_and_edited_dir_may_stand_beside_each_other(project: Path) -> None:
    config = two_systems(project)
    assert list(check_config(config)["editors"]) == ["甲", "b"]
    (project / "edits").mkdir()
    config["dataset"] = dataset(edited_dir="edits")
    with pytest.raises(UserError, match="no editor has the adapter 'given' without `dir`, which reads them"):
        check_config(config)
    config["editors"]["mine"] = {"adapter": "given", "params": {"dir": None}}
    assert len(check_config(config)["editors"]) == 3


def test_only_runs_with_systems_have_the_table_of_given_edits(project: Path) -> None:
    others = RuleParams(check_config(fake_config()), str)
    assert (others.find_given(), others.find_given("a"), others.make_dataset_flags()) == ([], [], [])
    config = two_systems(project)
    config["editors"]["fake"] = {"adapter": "fake"}
    params = RuleParams(check_config(config), str)
    table = "results/试验/given.parquet"
    assert [params.find_given(name) for name in (None, "甲", "b", "fake")] == [table, table, table, []]
    assert params.make_dataset_flags() == ["--given", "甲=systems/甲", "b=systems/b"]
    before = params.hash_dataset()
    path = project / "systems/b/i1.png"
    times = path.stat()
    path.write_bytes(path.read_bytes() + b" ")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns - 10**15))
    assert RuleParams(check_config(config), str).hash_dataset() != before


def test_an_estimate_of_items_that_were_prepared_before_a_system_came(project: Path) -> None:
    context = make_context(two_systems(project))
    prepare(project, context.run_dir)
    assert find_remaining_work(context).left["b", None] == [3, 3]


# the limit


def test_the_limit_on_the_command_line_is_the_datasets(capsys: pytest.CaptureFixture[str]) -> None:
    workflow = SimpleNamespace(configfiles=[])
    assert load_config(fake_config(limit=2), workflow)["dataset"]["limit"] == 2
    with pytest.raises(SystemExit):
        load_config(fake_config(limit=0), workflow)
    assert "`--config limit=` is 0; it takes a whole number of 1 or more" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        load_config({"limit": 2}, workflow)


def test_without_a_limit_rules_have_the_params_that_finished_runs_recorded() -> None:
    config = check_config(fake_config())
    assert "limit" not in config["dataset"]
    assert RuleParams(config, str).make_dataset_flags() == []
    assert "limit" not in check_config(fake_config(dataset=dataset(limit=None)))["dataset"]
    limited = check_config(fake_config(dataset=dataset(limit=2)))
    assert RuleParams(limited, str).make_dataset_flags() == ["--limit", "2"]


def test_a_limit_is_told_and_counted() -> None:
    found = list(check_dataset(make_context(fake_config(dataset=dataset(limit=2)))))
    assert levels(found) == ["pass", "pass"]
    assert found[0].text == "资料/items.jsonl: 4 items (物理 2, 因果 2); `limit` leaves out 2 more records"


def test_an_estimate_after_a_trial_is_of_the_whole_dataset(project: Path) -> None:
    trial = make_context(fake_config(dataset=dataset(limit=1)), count_all=True)
    flags = ["--dataset", "资料/items.jsonl", "--format", "items", "--language", "en", "--categories", *CATEGORIES]
    flags += ["--limit", "1", "--run-dir", str(trial.run_dir), "--out", str(trial.paths.items)]
    assert run_step_program("prepare_items", flags, project).code == 0
    assert len(tables.read_items(trial.paths.items)) == 2
    told = estimate_run(trial, None, None)
    assert "2 items left" in "".join(told)
    assert "a trial by `dataset.limit`" in told[0]
    whole = estimate_run(make_context(count_all=True), None, None)
    assert "6 items left" in "".join(whole)
    assert "trial" not in whole[0]


# several samples of each item


def test_samples_multiply_the_edits_left_but_not_the_controls(project: Path) -> None:
    once, thrice = (
        find_remaining_work(
            make_context(fake_config(samples=samples, controls={"share": 1, "repeats": 0, "canary": False}))
        )
        for samples in (1, 3)
    )
    assert (once.items, thrice.items) == (6, 18)
    assert sum(thrice.left["a", None]) == 3 * sum(once.left["a", None])
    assert sum(thrice.left["a", "j"]) - sum(once.left["a", "j"]) == 12, "scores of the further edits alone"


def test_edits_made_elsewhere_have_no_further_samples(project: Path) -> None:
    with pytest.raises(UserError, match=r"`samples` is 2, but the edits of 'given' were made elsewhere"):
        check_config(edited(project, "i0") | {"samples": 2})


def test_without_samples_rules_have_the_params_that_finished_runs_recorded() -> None:
    flags = [RuleParams(check_config(fake_config(samples=count)), str).make_dataset_flags() for count in (1, 2)]
    assert flags == [[], ["--samples", "2"]]
