"""Turns in the report: scores by turn, chains that an editor edited to their end, the turn on a card."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, Browser
from gallery_page import make_report, write_page
from made_report import acceptance, made_report
from report_run import load, write, write_run

from editlane.report.breakdown_tables import make_breakdown_tables
from editlane.report.breakdowns import compute_explorations
from editlane.report.chains import compute_chains, list_turns
from editlane.report.exports.tidy import make_tidy_tables
from editlane.report.page.gallery import make_gallery
from editlane.report.texts import LANGUAGES, load_texts

CHAINS = 7


def make_items() -> pd.DataFrame:
    """Seven chains of three turns, the last of which has only two, and an item that is no turn."""
    ids = [f"{chain}-turn{turn}" for chain in range(CHAINS) for turn in (1, 2, 3)][:-1]
    after = [None if name.endswith("1") else f"{name[0]}-turn{int(name[-1]) - 1}" for name in ids]
    return pd.DataFrame({"item_id": ["单", *ids], "after": [None, *after]})


def make_rows(items: pd.DataFrame, **failed: list[str]) -> pd.DataFrame:
    """Rows of judge `j`: the score of a turn is 9 minus twice its number, one more for editor `b`."""
    rows = []
    for editor, names in failed.items():
        for name in items["item_id"]:
            turn = int(name[-1]) if "turn" in name else 0
            score = np.nan if name in names else 9.0 - 2 * turn + (editor == "b")
            state = "edit_failed" if name in names else "scored"
            rows.append({"item_id": name, "editor": editor, "judge": "j", "score": score, "state": state})
    return pd.DataFrame(rows).assign(category="指代", cluster=lambda all: pd.factorize(all["item_id"].str[0])[0])


def explore(rows: pd.DataFrame, items: pd.DataFrame) -> dict[str, Any]:
    cells = {editor: {"j": {"macro": {"mean": 5.0}}} for editor in "ab"}
    return compute_explorations(rows, items, ["a", "b"], {"j": acceptance()}, cells, {})


def test_turns_are_numbered_in_their_chain_and_other_items_are_none() -> None:
    turns = list_turns(make_items())
    assert "单" not in set(turns["item_id"])
    found = turns.set_index("item_id").loc[["0-turn3", "6-turn2"], ["first", "turn", "turns"]].to_numpy().tolist()
    assert found == [["0-turn1", 3, 3], ["6-turn1", 2, 2]]
    assert list_turns(pd.DataFrame({"item_id": ["a", "b"]})).empty


def test_scores_are_summed_up_by_the_number_of_the_turn() -> None:
    items = make_items()
    found = explore(make_rows(items, a=["0-turn2", "0-turn3"], b=[]), items)["breakdowns"]["turn"]
    assert found["values"] == {"1": 7, "2": 7, "3": 6} and list(found["values"]) == ["1", "2", "3"]
    assert (found["without"], found["more"]) == (1, 0)
    first, third = (found["judges"]["j"][turn] for turn in "13")
    assert (first["a"]["mean"], first["a"]["n"], first["a"]["too_few"]) == (7.0, 7, False)
    assert (third["a"]["scored"], third["a"]["n"], third["a"]["mean"], third["b"]["mean"]) == (5, 6, 3.0, 4.0)
    assert third["a"]["too_few"], "five source images"
    plain = items[items["item_id"] == "单"]
    assert explore(make_rows(plain, a=[], b=[]), plain)["breakdowns"]["turn"]["values"] == {}


def test_a_chain_is_whole_if_every_turn_has_an_edit() -> None:
    items = make_items()
    rows = make_rows(items, a=["0-turn2", "0-turn3", "3-turn3", "单"], b=[])
    rows.loc[(rows["editor"] == "b") & (rows["item_id"] == "1-turn2"), "state"] = "judge_failed"
    again = rows.assign(judge="k")
    found = compute_chains(pd.concat([rows, again]), items, ["a", "b"])
    assert found is not None and (found["chains"], found["definition_version"]) == (7, 1)
    assert {name: (one["count"], one["n"]) for name, one in found["editors"].items()} == {"a": (5, 7), "b": (7, 7)}
    partial = rows[rows["item_id"] != "2-turn3"]
    found = compute_chains(partial, items, ["a", "b"])
    assert found is not None and found["editors"]["a"]["n"] == 6, "a chain that is not edited to its end yet"
    assert compute_chains(rows, items.assign(after=None), ["a", "b"]) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tables_name_turns_and_chains(language: str) -> None:
    items, t = make_items(), load_texts(language)
    rows = make_rows(items, a=["0-turn2", "0-turn3"], b=[])
    numbers = explore(rows, items) | {"chains": compute_chains(rows, items, ["a", "b"])}
    report = made_report({"a": {}, "b": {}}, **numbers)
    turn, chains = make_breakdown_tables(report, t)
    assert turn.about == ("turn", "j") and [group.name for group in turn.groups] == ["1", "2", "3"]
    assert turn.groups[2].lines[0].cells[3] == t("breakdowns.too_few")
    assert chains.about == ("chains",) and chains.groups[0].lines[0].cells[:2] == ("7", "6")
    assert chains.groups[0].lines[0].cells[2].startswith("85.7%")
    tidy = make_tidy_tables(report.numbers | {"editors": {}, "comparisons": {}})
    assert [(one["editor"], one["chains"], one["whole"]) for one in tidy["chains"].records] == [
        ("a", 7, 6),
        ("b", 7, 7),
    ]
    assert {one["value"] for one in tidy["breakdowns"].records} == {"1", "2", "3"}


def test_a_run_without_turns_has_none_in_its_report(tmp_path: Path) -> None:
    report = load(write_run(tmp_path))
    assert report.numbers["chains"] is None and report.numbers["breakdowns"]["turn"]["values"] == {}
    assert "chains" not in make_tidy_tables(report.numbers)


def test_failed_turns_count_in_the_coverage_and_a_card_says_which_turn_it_is(tmp_path: Path) -> None:
    items = [(f"链-turn{turn}", "指代", f"到第 {turn} 轮", "zh", "photo") for turn in (1, 2, 3)]
    lost = [("edit_failed", "oom"), ("edit_failed", "former_turn")]
    after = {"链-turn2": "链-turn1", "链-turn3": "链-turn2"}
    run = write_run(tmp_path, {("a", "j"): [8.0, *lost], ("b", "j"): [7.0, 6.0, 5.0]}, items, after)
    report = load(run)
    overall = report.numbers["editors"]["a"]["j"]["overall"]
    assert (overall["n"], overall["scored"], overall["clusters"]) == (3, 1, 1)
    assert report.numbers["chains"]["editors"]["a"]["count"] == 0
    page = write(report, run)[".html"]
    cards = json.loads(re.search(r'id="gallery-items-0">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    assert cards["turn"] == [[1, 3], [2, 3], [3, 3]]
    assert '"turn {n} of {all}"' in page


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")
@pytest.mark.parametrize(("language", "words"), [("en", "turn 2 of 2"), ("zh", "第 2 轮，共 2 轮")])
def test_a_reader_sees_which_turn_an_item_is(tmp_path: Path, language: str, words: str) -> None:
    report = make_report(tmp_path / "演示")
    report.items["after"] = [None, report.items["item_id"][0], None, None, None]
    out = tmp_path / "演示/report"
    page = write_page(report, make_gallery(report, tmp_path / "演示", out), out, language)
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(page.resolve().as_uri())
        browser.run("(async () => { while (document.getElementById('cards').ariaBusy !== 'false')"
                    " await new Promise((next) => setTimeout(next, 10)); })()")  # fmt: skip
        found = browser.run("[...document.querySelectorAll('#cards .item header p')].map(p => p.innerText)")
    finally:
        browser.close()
    assert [words in line for line in found] == [False, True, False, False, False]
