"""The old-name figures about several editors: when there are none, and what stands beside them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_report import acceptance, made_report

from editlane.report.division import FIGURES, compute_editors_together
from editlane.report.division_tables import make_division_tables
from editlane.report.markdown import format_table
from editlane.report.texts import load_texts

CATEGORIES = ("物理", "因果")


def rows(items: int, divided: float = 2.0, **more: Any) -> pd.DataFrame:
    """Two editors, each better in one category, and x slower."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "item_id": f"{category}-{place}",
            "first": f"{category}-{place}",
            "category": category,
            "editor": editor,
            "cluster": of * items + place,
            "score": float(np.clip(5 + divided * ((of == 0) == (editor == "x")) + rng.normal(), 0, 10)),
            "edit_device": "cuda:0 X",
            "edit_seconds": 9.0 + rng.random() if editor == "x" else 1.0 + rng.random(),
        }
        | more
        for of, category in enumerate(CATEGORIES)
        for place in range(items)
        for editor in ("x", "y")
    )


def test_one_editor_has_no_such_figures() -> None:
    assert compute_editors_together(rows(90), ["x"], CATEGORIES, acceptance()) is None


def test_below_80_items_there_is_no_figure_but_the_reason() -> None:
    found = compute_editors_together(rows(79), ["x", "y"], CATEGORIES, acceptance())
    assert found is not None and found["why"] == "too_few_items" and found["items"] == dict.fromkeys(CATEGORIES, 79)
    assert all(found[name] is None for name in FIGURES)


def test_an_item_without_a_score_of_every_editor_does_not_count() -> None:
    table = rows(80)
    table.loc[(table["item_id"] == "物理-3") & (table["editor"] == "y"), "score"] = np.nan
    found = compute_editors_together(table, ["x", "y"], CATEGORIES, acceptance())
    assert found is not None and found["categories"] == ["因果"]
    assert found["routing_gain"] is None and found["overall_differentiation"] is None
    assert found["competition_intensity"]["interval"] is not None


def test_a_judge_that_is_not_accepted_gives_none() -> None:
    found = compute_editors_together(rows(90), ["x", "y"], CATEGORIES, acceptance("not_accepted"))
    assert found is not None and found["why"] == "judge_not_accepted" and found["routing_gain"] is None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_figure_stands_beside_its_null_or_interval(language: str) -> None:
    found = compute_editors_together(rows(90), ["x", "y"], CATEGORIES, acceptance("accepted", editors={}))
    assert found is not None and found["definition_version"] == 1
    assert found["overall_differentiation"]["p"] < 0.01 and found["routing_gain"]["interval"][0] > 0
    assert found["routing_gain"]["choice"] == {"物理": "x", "因果": "y"}
    kings = found["volume_king_phenomenon"]
    assert kings["kings"] == [] or kings["editors"]["x"]["no_more_than"] == ["y"]
    report = made_report({"x": {}, "y": {}}, editors_together={"j": found})  # type: ignore[dict-item]
    text = "\n".join(format_table(table) for table in make_division_tables(report, load_texts(language)))
    assert ("if categories meant nothing" if language == "en" else "若类别无意义") in text
    assert ("only apparent" if language == "en" else "仅为表观值") in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_gain_that_no_part_chose_has_a_reason_and_no_interval(language: str) -> None:
    table = rows(80)
    table["score"] = np.where(table["editor"] == "x", 8.0, 3.0)
    found = compute_editors_together(table, ["x", "y"], CATEGORIES, acceptance())
    assert found is not None
    gain = found["routing_gain"]
    assert (gain["value"], gain["interval"], gain["why"]) == (0.0, None, "same_editor")
    report = made_report({"x": {}, "y": {}}, editors_together={"j": found})  # type: ignore[dict-item]
    text = format_table(make_division_tables(report, load_texts(language))[0])
    assert ("every part chose the same editor" if language == "en" else "都为所有类别选了同一个编辑模型") in text
    assert "0.00, 0.00" not in text


def test_more_seeds_of_an_item_are_no_more_items() -> None:
    once = rows(60)
    twice = pd.concat([once, once.assign(item_id=once["item_id"] + "-seed2")])
    found = compute_editors_together(twice, ["x", "y"], CATEGORIES, acceptance())
    assert found is not None and (found["why"], found["items"]) == ("too_few_items", {"物理": 60, "因果": 60})


def test_seconds_of_given_files_and_of_other_devices_crown_nobody() -> None:
    alike = rows(90, divided=0.0)
    for table, elsewhere in (
        (alike, ["y"]),
        (alike.assign(edit_device=alike["editor"].map({"x": "cuda:0 X", "y": "cuda:0 Y"})), []),
        (alike.assign(edit_device="server"), []),
    ):
        found = compute_editors_together(table, ["x", "y"], CATEGORIES, acceptance("accepted", editors={}), elsewhere)
        assert found is not None
        kings = found["volume_king_phenomenon"]
        assert kings["kings"] == [] and kings["editors"]["y"]["seconds"] is None
