"""Scores of several judges become those of a panel; a missing score stays missing."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from editlane.core import schemas, tables
from editlane.core.errors import UserError
from editlane.lanes.panels import Panel, add_panel_rows, add_panels, make_panel, read_panels

SCORES = schemas.scores_schema(["category"])
CONTROLS = schemas.controls_schema(["category"])
NAMES = ("a", "b", "c")


def panel(**more: Any) -> Panel:
    return Panel(**{"name": "all", "judges": NAMES, "combine": "mean", "quorum": 2} | more)


def row(item: str, judge: str, result: Any, **more: Any) -> dict[str, Any]:
    scored = not isinstance(result, tuple)
    found = dict.fromkeys(SCORES.names) | {"item_id": item, "category": "物理", "editor": "e", "judge": judge}
    found |= {"state": "scored" if scored else result[0], "error_kind": None if scored else result[1]}
    found |= {"error": None if scored else "why", "score": result if scored else None, "score_category": 1.0}
    found |= {"entropy": 0.1, "mass": 0.9, "reply": "7", "instruction": "x", "language": "zh", "unchanged": False}
    found |= {"source_path": "s", "source_sha256": "s", "edited_path": "e.png", "edited_sha256": "e", "seed": 1}
    found |= {"edit_seconds": 2.0, "score_seconds": 1.0, "edit_device": "gpu", "score_device": "gpu"}
    return found | {"editor_key": "k", "judge_key": f"key of {judge}", "protocol_version": "1"} | more


def table(judge: str, results: list[Any], schema: pa.Schema = SCORES, **more: Any) -> pa.Table:
    return tables.from_rows([row(f"项-{place}", judge, one, **more) for place, one in enumerate(results)], schema)


def combined(results: dict[str, list[Any]], **more: Any) -> list[dict[str, Any]]:
    return make_panel(panel(**more), [table(judge, of) for judge, of in results.items()]).to_pylist()


BAD, DOWN = ("judge_unreadable", "mass"), ("judge_failed", "transport")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"combine": "mean"}, 5.0),
        ({"combine": "median"}, 4.0),
        ({"combine": "weighted", "weights": {"a": 2.0, "b": 1.0, "c": 1.0}}, 4.5),
    ],
)
def test_three_scores_become_one(settings: dict[str, Any], expected: float) -> None:
    (found,) = combined({"a": [3.0], "b": [4.0], "c": [8.0]}, **settings)
    assert (found["judge"], found["state"], found["score"]) == ("all", "scored", expected)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"combine": "mean"}, 5.5),
        ({"combine": "median"}, 5.5),
        ({"combine": "weighted", "weights": {"a": 3.0, "b": 9.0, "c": 1.0}}, (3 * 3.0 + 8.0) / 4),
    ],
)
def test_a_missing_score_is_not_filled(settings: dict[str, Any], expected: float) -> None:
    (found,) = combined({"a": [3.0], "b": [BAD], "c": [8.0]}, **settings)
    assert found["score"] == pytest.approx(expected)


def test_below_the_quorum_there_is_a_reason_and_no_score() -> None:
    found = combined({"a": [3.0, 3.0, 3.0], "b": [BAD, DOWN, 4.0], "c": [BAD, BAD, BAD]}, quorum=2)
    assert [one["score"] for one in found] == [None, None, 3.5]
    assert [one["state"] for one in found] == ["judge_unreadable", "judge_failed", "scored"]
    assert [one["error_kind"] for one in found] == ["quorum", "quorum", None]
    assert found[1]["error"] == "1 of 3 judges scored it, and the quorum is 2: b judge_failed, c judge_unreadable"


def test_an_item_without_an_edit_keeps_its_own_reason() -> None:
    (found,) = combined({judge: [("edit_failed", "oom")] for judge in NAMES})
    assert (found["state"], found["error_kind"], found["error"], found["score"]) == ("edit_failed", "oom", "why", None)


def test_what_only_a_judge_knows_is_null_and_what_is_of_the_edit_stays() -> None:
    (found,) = combined({"a": [3.0], "b": [4.0], "c": [8.0]})
    of_judges = ("entropy", "mass", "reply", "score_category", "mode_category", "score_seconds", "score_device")
    assert [found[name] for name in of_judges] == [None] * len(of_judges)
    assert (found["edited_sha256"], found["edit_seconds"], found["unchanged"]) == ("e", 2.0, False)


def test_a_panel_has_the_rows_that_all_of_its_judges_have() -> None:
    found = make_panel(panel(), [table("a", [1.0, 2.0, 3.0]), table("b", [3.0]).slice(0), table("c", [5.0, 6.0])])
    assert found["item_id"].to_pylist() == ["项-0"]
    assert len(make_panel(panel(), [table(judge, []) for judge in NAMES])) == 0


def test_the_key_of_a_panel_tells_its_settings_and_its_judges() -> None:
    results = {"a": [3.0], "b": [4.0], "c": [8.0]}
    keys = {combined(results, **more)[0]["judge_key"] for more in ({}, {"quorum": 3}, {"combine": "median"})}
    others = [table(judge, of) for judge, of in results.items()]
    others[2] = table("c", [8.0], judge_key="of other weights")
    assert len(keys | {make_panel(panel(), others)["judge_key"][0].as_py()}) == 4
    assert combined(results)[0]["judge_key"] == combined(results, name="renamed")[0]["judge_key"]


def test_controls_are_combined_as_the_scores_are() -> None:
    rows = pa.concat_tables(
        table(judge, [score], CONTROLS, control=control, repeat=repeat)
        for judge, score in (("a", 2.0), ("b", 3.0), ("c", 7.0))
        for control, repeat in (("swapped", 0), ("repeat", 1), *([("repeat", 2)] if judge == "b" else []))
    )
    found = add_panel_rows(rows, [panel()]).filter(pa.compute.field("judge") == "all").to_pylist()
    assert [(one["control"], one["repeat"], one["score"]) for one in found] == [("swapped", 0, 4.0), ("repeat", 1, 4.0)]


def test_panels_follow_the_judges_of_each_editor() -> None:
    parts = [(editor, judge, table(judge, [1.0], editor=editor)) for editor in "xy" for judge in NAMES]
    panels = [panel(), panel(name="two", judges=("a", "c"))]
    found = [(one["editor"][0].as_py(), one["judge"][0].as_py()) for one in add_panels(parts, panels)]
    assert found == [(editor, judge) for editor in "xy" for judge in (*NAMES, "all", "two")]
    assert len(list(add_panels(parts, []))) == len(parts)


def test_combining_uses_no_score_that_is_not_there() -> None:
    scores = np.array([[1.0, math.nan, math.nan], [math.nan] * 3])
    assert np.isnan(panel().combine_scores(scores)).all()


def test_a_panel_of_a_judge_that_the_run_lacks_is_refused() -> None:
    settings = {"judges": ["a", "z"], "combine": "mean", "quorum": 2, "weights": None}
    with pytest.raises(UserError, match="The panel both has the judge z, which is none of: a, b"):
        read_panels({"both": settings}, ["a", "b"])
