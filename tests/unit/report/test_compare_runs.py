"""Comparing finished runs: what is matched, what is subtracted, what is not, and what the files say."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from compared_runs import JUDGE, change_report, made_items, made_scores, write_finished_run
from made_report import acceptance
from step_runs import Ended, run_step_program

from editlane.core import schemas, tables
from editlane.report.runs.changes import hide
from editlane.stats.comparisons import compare

COUNT = 24
BASE = made_scores(COUNT)
OTHER_PROTOCOL = JUDGE["protocol"] | {"version": "2", "sha256": "t" * 64, "text": "Judge it well.\nFrom 0 to 9.\n"}
FINISHED = Path(__file__).parents[2] / "workflow/finished_run/run"
FILES = ("comparison.html", "comparison.json", "comparison.md")


def run_program(folder: Path, *arguments: str) -> Ended:
    return run_step_program("compare_runs", [*arguments, "--out", "out"], folder)


def compare_folders(folder: Path, *arguments: str) -> dict[str, Any]:
    ended = run_program(folder, *arguments)
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads((folder / "out/comparison.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`a`, and `b`, which names its items otherwise, lacks two, has two others, fails one and scores 2 higher."""
    folder = tmp_path_factory.mktemp("two")
    write_finished_run(folder / "a", made_items(COUNT), {"甲": BASE, "z": BASE})
    higher: list[Any] = [round(score + 2 + 0.1 * (place % 3), 4) for place, score in enumerate(BASE)]
    higher[5] = ("edit_failed", "oom")
    later = [*higher[2:], 5.0, 5.0]
    write_finished_run(folder / "b", made_items(COUNT, "其他", first=2), {"甲": later, "y": later})
    for name in ("a", "b"):
        accepted = acceptance()
        accepted["editors"]["甲"] = accepted["editors"]["a"]
        change_report(folder / name, acceptance={"j": accepted})
    return folder


def test_items_are_matched_by_photo_and_instruction(two: Path) -> None:
    (one,) = compare_folders(two, "a", "b")["comparisons"]
    expected = {"matched": 22, "only_reference": 2, "only_run": 2, "doubled_reference": 0, "doubled_run": 0}
    assert one["items"] == expected | {"asked_otherwise": 0}


def test_differences_are_those_of_the_report_on_the_shared_items(two: Path) -> None:
    (one,) = compare_folders(two, "a", "b")["comparisons"]
    overall, *categories = one["judges"][0]["comparisons"]
    assert (overall["editor"], overall["editor_in_run"], overall["category"]) == ("甲", "甲", None)
    shared = range(2, COUNT)
    after = [np.nan if number == 5 else BASE[number] + 2 + 0.1 * (number % 3) for number in shared]
    wanted = compare(np.round(after, 4), BASE[2:], np.arange(22), [number % 2 for number in shared])
    assert overall["difference"] == pytest.approx(wanted["difference"])
    assert overall["interval"] == pytest.approx(wanted["interval"], abs=0.05)  # the photos are numbered otherwise
    assert (overall["n"], overall["left_out"], overall["not_scored"]) == (21, 1, {"run": 1, "reference": 0})
    assert overall["verdict"] == wanted["verdict"] == "a_better"
    assert sorted(row["category"] for row in categories) == ["物理", "环境"]
    assert sum(row["n"] for row in categories) == 21 and all(
        row["p_holm"] is None or row["p_holm"] >= row["p"] for row in categories
    )


def test_the_order_of_the_runs_turns_the_sign(two: Path) -> None:
    forth, back = (
        compare_folders(two, *names)["comparisons"][0]["judges"][0]["comparisons"][0]
        for names in (("a", "b"), ("b", "a"))
    )
    assert back["difference"] == pytest.approx(-forth["difference"])
    assert (forth["verdict"], back["verdict"]) == ("a_better", "b_better")
    assert back["not_scored"] == {"run": 0, "reference": 1}


def test_editors_of_other_names_are_compared_if_asked(two: Path) -> None:
    (one,) = compare_folders(two, "a", "b", "--editors", "z=y")["comparisons"]
    rows = one["judges"][0]["comparisons"]
    assert [(row["editor"], row["editor_in_run"]) for row in rows if row["category"] is None] == [
        ("甲", "甲"),
        ("z", "y"),
    ]
    text = (two / "out/comparison.md").read_text(encoding="utf-8")
    assert "y (in a: z) scores higher in b than in a by the macro mean: +2.1" in text
    for wrong, message in (("q=y", "Unknown editor of a 'q'"), ("z=q", "Unknown editor of the other runs 'q'")):
        ended = run_program(two, "a", "b", "--editors", wrong)
        assert ended.code == 2 and message in ended.err


def test_the_same_runs_give_the_same_bytes(two: Path, tmp_path: Path) -> None:
    compare_folders(two, "a", "b")
    first = [(two / "out" / name).read_bytes() for name in FILES]
    shutil.copytree(two / "a", tmp_path / "a")
    shutil.copytree(two / "b", tmp_path / "b")
    compare_folders(tmp_path, "a", "b")
    assert [(tmp_path / "out" / name).read_bytes() for name in FILES] == first


def test_both_languages_have_the_same_numbers(two: Path) -> None:
    english = compare_folders(two, "a", "b")
    texts = [(two / "out/comparison.md").read_text(encoding="utf-8")]
    assert compare_folders(two, "a", "b", "--language", "zh") == english
    texts.append((two / "out/comparison.md").read_text(encoding="utf-8"))
    numbers = [sorted(re.findall(r"\d+\.\d+", text.replace("0.05", ""))) for text in texts]
    assert numbers[0] == numbers[1] and "甲 在 b 的得分高于在 a 的" in texts[1]


@pytest.mark.parametrize(
    ("judge", "setting", "values"),
    [
        ({"key": "x" * 16, "protocol": OTHER_PROTOCOL}, "protocol.version", ("1", "2")),
        ({"protocol": OTHER_PROTOCOL | {"version": "1"}}, "protocol.sha256", ("s" * 64, "t" * 64)),
        ({"key": "x" * 16, "revision": "def"}, "revision", ("abc", "def")),
        ({"key": "x" * 16, "params": {"batch_size": 2, "max_pixels": 9}}, "params.max_pixels", (None, "9")),
        ({"key": "x" * 16}, None, None),
    ],
)
def test_scores_of_another_judge_are_not_subtracted(
    tmp_path: Path, judge: dict[str, Any], setting: str | None, values: tuple[str | None, str | None]
) -> None:
    write_finished_run(tmp_path / "a", made_items(12), {"a": BASE[:12]})
    write_finished_run(tmp_path / "b", made_items(12), {"a": BASE[:12]}, judge=judge)
    (one,) = compare_folders(tmp_path, "a", "b")["comparisons"]
    assert one["judges"] == []
    (refused,) = one["not_compared"]
    assert (refused["judge"], refused["where"]) == ("j", "both")
    if setting:
        assert values in [(a["reference"], a["run"]) for a in refused["differences"] if a["setting"] == setting]
    else:
        assert refused["differences"] == []
    text = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert "Scores by j are not compared: in b it is not the judge that it is in a." in text
    assert "No score can be compared." in text


def test_a_judge_is_known_by_its_key_and_protocol_not_by_its_name(tmp_path: Path) -> None:
    write_finished_run(tmp_path / "a", made_items(12), {"a": BASE[:12]})
    write_finished_run(tmp_path / "b", made_items(12), {"a": BASE[:12]}, judge_name="k")
    (one,) = compare_folders(tmp_path, "a", "b")["comparisons"]
    assert (one["judges"][0]["judge"], one["judges"][0]["judge_in_run"], one["not_compared"]) == ("j", "k", [])
    assert "j (called k in b)" in (tmp_path / "out/comparison.md").read_text(encoding="utf-8")


def test_panels_are_left_out_and_their_judges_compared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run = write_finished_run(tmp_path / name, made_items(12), {"a": BASE[:12]})
        report = json.loads((run / "report/report.json").read_text(encoding="utf-8"))
        panels = {"both": {"judges": ["j", "k"], "combine": "mean", "quorum": 2, "weights": None}}
        accepted = report["acceptance"] | {"both": report["acceptance"]["j"]}
        change_report(run, acceptance=accepted, provenance=report["provenance"] | {"panels": panels})
    (one,) = compare_folders(tmp_path, "a", "b")["comparisons"]
    assert ([judge["judge"] for judge in one["judges"]], one["not_compared"]) == (["j"], [])


def test_doubled_items_and_items_asked_otherwise_are_counted_and_left_out(tmp_path: Path) -> None:
    items = made_items(12)
    write_finished_run(tmp_path / "a", [*items, *made_items(1, "again")], {"a": [*BASE[:12], 9.0]})
    described = made_items(3, first=1, rationale="because")
    write_finished_run(tmp_path / "b", [items[0], *described, *items[4:]], {"a": BASE[:12]})
    (one,) = compare_folders(tmp_path, "a", "b")["comparisons"]
    expected = {"matched": 8, "only_reference": 0, "only_run": 0, "doubled_reference": 2, "doubled_run": 1}
    assert one["items"] == expected | {"asked_otherwise": 3}
    assert one["judges"][0]["comparisons"][0]["n"] == 8


def test_identical_edits_show_whether_the_judge_drifted(tmp_path: Path) -> None:
    pictures = {"a": [f"p{place}" for place in range(COUNT)]}
    write_finished_run(tmp_path / "a", made_items(COUNT), {"a": BASE}, edits=pictures)
    shifts = [0.0 if place in (18, 19) else 0.2 + 0.1 * (place % 5) for place in range(COUNT)]
    moved = [round(score + shift, 4) for score, shift in zip(BASE, shifts, strict=True)]
    pictures = {"q": [*pictures["a"][:20], "other", "other2", "other3", "other4"]}
    write_finished_run(tmp_path / "b", made_items(COUNT), {"q": moved}, edits=pictures)
    (one,) = compare_folders(tmp_path, "a", "b")["comparisons"]
    (drift,) = one["judges"][0]["drift"]
    assert (drift["kind"], drift["n"], drift["equal"], drift["moved"]) == ("edits", 20, 2, True)
    assert drift["difference"] == pytest.approx(
        np.mean([new - old for new, old in zip(moved[:20], BASE, strict=False)])
    )
    low, high = drift["interval"]
    assert low < drift["difference"] < high and one["judges"][0]["comparisons"] == []
    text = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert "j may have changed between a and b" in text and "2 of 20 scores equal" in text
    assert "b and a have no editor of the same name." in text


def test_a_difference_that_may_be_the_judges_drift_is_no_verdict(tmp_path: Path) -> None:
    edits = {"a": [f"p{place}" for place in range(COUNT)], "b": [f"q{place}" for place in range(COUNT)]}
    write_finished_run(tmp_path / "a", made_items(COUNT), {"a": BASE, "b": BASE}, edits=edits)
    moved = [round(score + 1 + 0.1 * (place % 5), 4) for place, score in enumerate(BASE)]
    much = [round(score + 2.8 + 0.1 * (place % 5), 4) for place, score in enumerate(BASE)]
    edits = {"a": edits["a"], "b": [f"new{place}" for place in range(COUNT)]}
    write_finished_run(tmp_path / "b", made_items(COUNT), {"a": moved, "b": much}, edits=edits)
    (one,) = compare_folders(tmp_path, "a", "b")["comparisons"]
    verdicts = {row["editor"]: row["verdict"] for row in one["judges"][0]["comparisons"] if row["category"] is None}
    assert verdicts == {"a": "drift", "b": "a_better"}, "1.2 of drift is less than half of 3.0"
    text = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert "a differs in b and a, but the judge itself may have changed as much: +1.19" in text


def test_controls_and_canaries_of_both_runs_are_compared(tmp_path: Path) -> None:
    for name, shift in (("a", 0.0), ("b", 0.5)):
        run = write_finished_run(tmp_path / name, made_items(12), {"a": BASE[:12]})
        rows = tables.read_rows(run / "scores.parquet")
        extra = {"repeat": 0, "other_item_id": None}
        asked = [row | extra | {"control": "source_as_edit", "edited_sha256": row["source_sha256"]} for row in rows]
        asked += [row | extra | {"control": "blank_edit", "edited_sha256": None} for row in rows]
        asked += [row | extra | {"control": "repeat", "repeat": 1, "score": 9.0} for row in rows]
        frozen = {"control": "canary", "editor": "canary", "edited_sha256": "frozen"}
        asked += [
            row | extra | frozen | {"item_id": f"c{n}", "score": 5 + shift + n / 100 * shift}
            for n, row in enumerate(rows)
        ]
        schema = schemas.controls_schema(["category", "instruction"])
        tables.write_table(run / "controls.parquet", asked, schema)
    (one,) = compare_folders(tmp_path, "a", "b")["comparisons"]
    found = {drift["kind"]: drift for drift in one["judges"][0]["drift"]}
    assert list(found) == ["controls", "canary"], "the edits are other pictures, and a repeat is another draw"
    assert (found["controls"]["n"], found["controls"]["equal"], found["controls"]["moved"]) == (24, 24, False)
    assert found["canary"]["n"] == 12 and found["canary"]["moved"]
    assert found["canary"]["difference"] == pytest.approx(0.5 + 0.5 * np.mean(range(12)) / 100)


def test_nothing_is_said_by_a_judge_that_is_not_accepted_in_one_run(tmp_path: Path) -> None:
    write_finished_run(tmp_path / "a", made_items(12), {"a": BASE[:12]})
    higher = [score + 2 for score in BASE[:12]]
    write_finished_run(tmp_path / "b", made_items(12), {"a": higher}, accepted="not_accepted")
    (one,) = compare_folders(tmp_path, "a", "b")["comparisons"]
    rows = one["judges"][0]["comparisons"]
    assert {row["verdict"] for row in rows} == {"not_believed"} and rows[0]["difference"] == pytest.approx(2)
    text = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert "j is not accepted in b, as the report there says" in text and "scores higher" not in text


def test_what_changed_between_the_runs_without_secrets(tmp_path: Path) -> None:
    write_finished_run(tmp_path / "a", made_items(12), {"a": BASE[:12], "old": BASE[:12]})
    secret = {"params": {"steps": 8, "api_key": "swordfish", "base_url": "https://me:pw@host/v1"}, "key": "n" * 16}
    judge = {"packages": {"torch": "2.14.0"}, "params": {"batch_size": 2, "note": "sk-abcdefgh12345678"}}
    write_finished_run(tmp_path / "b", made_items(12), {"a": BASE[:12]}, editor=secret, judge=judge)
    found = compare_folders(tmp_path, "a", "b")["changes"]
    changes = {(change["part"], change["setting"]): change["values"] for change in found}
    assert changes["editors.a", "params.steps"] == ["4", "8"]
    assert changes["editors.a", "params.api_key"] == [None, "***"]
    assert changes["editors.a", "params.base_url"] == [None, "https://***@host/v1"]
    assert changes["judges.j", "packages.torch"] == ["2.13.0", "2.14.0"]
    assert changes["judges.j", "params.note"] == [None, "***"]
    assert changes["editors.old", ""] == ["+", None]
    assert ("editors.a", "model") not in changes
    for name in FILES:
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert not re.search("swordfish|sk-abcdefgh|me:pw", text), name


@pytest.mark.parametrize(
    ("setting", "shown"), [("params.token", "***"), ("params.max_new_tokens", "x"), ("tokenizers", "x"), ("key", "x")]
)
def test_only_settings_that_are_named_like_secrets_are_hidden(setting: str, shown: str) -> None:
    assert hide(setting, "x") == shown


def test_a_folder_that_is_no_finished_run_ends_with_one_paragraph(two: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "half", "old", "foreign", "swapped", "broken", "partial"):
        shutil.copytree(two / ("b" if name == "b" else "a"), tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "half/report/report.json").unlink()
    change_report(tmp_path / "old", acceptance={"j": {"verdict": "accepted"}})
    change_report(tmp_path / "partial", missing=3)
    (tmp_path / "broken/report/report.json").write_text('{"missing": ')
    shutil.copy(tmp_path / "b/scores.parquet", tmp_path / "foreign/scores.parquet")
    shutil.copy(tmp_path / "b/items.parquet", tmp_path / "swapped/items.parquet")
    for arguments, message in (
        (("a",), "Only one run is given."),
        (("a", "a"), "are the same run"),
        (("a", "link"), "link and a are the same run. Name each run once."),
        (("a", "empty"), "empty is no finished run: there is no items.parquet."),
        (("a", "half"), "half is no finished run: there is no report/report.json."),
        (("a", "old"), "old/report/report.json is no report of this version. Make it again"),
        (("a", "broken"), "broken/report/report.json is no report of this version."),
        (("a", "partial"), "its report lacks 3 rows"),
        (("a", "foreign"), "foreign/report/report.json is not the report of the tables foreign/scores.parquet"),
        (("a", "swapped"), "is not the report of the tables swapped/scores.parquet and swapped/items.parquet"),
    ):
        ended = run_program(tmp_path, *arguments)
        assert ended.code == 2 and message in ended.err and "Traceback" not in ended.err, (arguments, ended.err)
        assert len(ended.err.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


def test_runs_without_a_shared_item_say_so(tmp_path: Path) -> None:
    write_finished_run(tmp_path / "a", made_items(12), {"a": BASE[:12]})
    write_finished_run(tmp_path / "b", made_items(12, first=50), {"a": BASE[:12]})
    (one,) = compare_folders(tmp_path, "a", "b")["comparisons"]
    assert (one["items"]["matched"], one["items"]["only_run"]) == (0, 12)
    (row,) = one["judges"][0]["comparisons"]
    assert (row["n"], row["difference"], row["verdict"]) == (0, None, "no_common_items")
    text = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert "b and a share no item, so nothing is compared." in text


def test_three_runs_are_corrected_together_and_told_apart_by_number(tmp_path: Path) -> None:
    shifts = {"x/run": 0.0, "y/run": 1.5, "third": 0.4}
    for place, (name, shift) in enumerate(shifts.items()):
        scores = [round(a + shift * b, 4) for a, b in zip(BASE, made_scores(COUNT, -4, seed=place), strict=True)]
        write_finished_run(tmp_path / name, made_items(COUNT), {"a": scores, "b": scores[::-1]})
    found = compare_folders(tmp_path, *shifts)
    assert [run["name"] for run in found["runs"]] == ["run", "run (2)", "third"]
    rows = [row for one in found["comparisons"] for row in one["judges"][0]["comparisons"] if row["category"] is None]
    tested = [row for row in rows if row["p_holm"] is not None]
    assert len(rows) == 4 and len(tested) > 1
    smallest = min(tested, key=lambda row: row["p"])
    assert smallest["p_holm"] == pytest.approx(min(1, 4 * smallest["p"]))


def test_a_difference_that_may_be_the_judges_preference_is_no_verdict(tmp_path: Path) -> None:
    for name, shift in (("a", 0.0), ("b", 2.0)):
        scores = [round(score + shift + 0.01 * place * shift, 4) for place, score in enumerate(BASE)]
        run = write_finished_run(tmp_path / name, made_items(COUNT), {"a": scores})
        rows = tables.read_rows(run / "scores.parquet")
        wrong = {"control": "other_instruction", "repeat": 0, "other_item_id": None}
        asked = [row | wrong | {"score": 1 + shift + place % 5 / 10} for place, row in enumerate(rows)]
        schema = schemas.controls_schema(["category", "instruction"])
        tables.write_table(run / "controls.parquet", asked, schema)
    (one,) = compare_folders(tmp_path, "a", "b")["comparisons"]
    overall = one["judges"][0]["comparisons"][0]
    assert overall["difference"] > 2 and overall["verdict"] == "prefers"


def test_a_real_run_and_its_copy_with_other_scores_and_another_machine(tmp_path: Path) -> None:
    for name in ("试验", "later"):
        shutil.copytree(FINISHED, tmp_path / name, ignore=shutil.ignore_patterns("journal", "logs", "shards"))
    path = tmp_path / "later/scores.parquet"
    rows = [row | {"score": row["score"] + 0.5} for row in tables.read_rows(path)]
    criteria = schemas.criteria_among(tables.read_columns(path))
    tables.write_table(path, rows, schemas.scores_schema(criteria), provenance=tables.read_provenance(path))
    path = tmp_path / "later/costs.parquet"
    lanes = [row | {"host": "node-2"} for row in tables.read_rows(path)]
    tables.write_table(path, lanes, schemas.COSTS)
    for name in ("试验", "later"):
        given = {"--scores": "scores", "--items": "items", "--controls": "controls", "--costs": "costs"}
        flags = [text for flag, table in given.items() for text in (flag, f"{name}/{table}.parquet")]
        made = run_step_program("make_report", [*flags, "--run-dir", name, "--out-dir", f"{name}/report"], tmp_path)
        assert made.code == 0, made.err
    found = compare_folders(tmp_path, "试验", "later")
    (judge,) = found["comparisons"][0]["judges"]
    assert [row["difference"] for row in judge["comparisons"]] == pytest.approx([0.5] * 3)
    assert [(drift["kind"], drift["n"], drift["equal"]) for drift in judge["drift"]] == [
        ("edits", 4, 0),
        ("controls", 4, 4),
    ]
    (change,) = found["changes"]
    assert (change["part"], change["setting"], change["values"][1]) == ("machine", "host", "node-2")
    text = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert "Scores of fake models mean nothing." in text and "judge is not accepted in 试验, later" in text


HOSTILE = "<img src=x onerror=alert(1)>|`*\u202e\x1b[31m"
LONG = "qwen-image-edit-2511-lightning-8-steps-fp8-with-a-very-long-name-that-nobody-remembers-变体"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    names = [HOSTILE, LONG, "编辑甲"]
    for run, shift in (("基准 <b>&amp;", 0.0), ("a-run-with-a-long-name-2026-11-30-" * 3, 2.0)):
        items = made_items(12, "<script>alert(1)</script>")
        write_finished_run(folder / run, items, {name: made_scores(12, shift) for name in names}, judge_name="</title>")
        accepted = acceptance()
        accepted["editors"] = dict.fromkeys(names, accepted["editors"]["a"])
        change_report(folder / run, acceptance={"</title>": accepted})
    compare_folders(folder, *sorted(path.name for path in folder.glob("*")), "--language", "en")
    return folder


def test_hostile_names_are_only_text(hostile: Path) -> None:
    page, _, text = ((hostile / "out" / name).read_text(encoding="utf-8") for name in FILES)
    for written in (page, text):
        assert not re.search("[\u202e\x1b]", written) and r"\u202e\x1b[31m" in written.replace("\\\\", "\\").replace(
            "\\[", "["
        )
    assert "<img" not in page and page.count("</title>") == 1 and "\\<img" in text


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")
def test_the_page_in_a_browser_asks_nothing_and_fits_a_phone(hostile: Path, tmp_path: Path) -> None:
    browser = Browser(tmp_path / "profile")
    try:
        for width in (390, 1440):
            browser.send(
                "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
            )
            browser.open(hostile / "out/comparison.html")
            assert browser.run("document.documentElement.scrollWidth") <= width
            assert browser.run("document.querySelectorAll('.panels svg').length") == 3
            requests = [one for one in browser.events if one["method"] == "Network.requestWillBeSent"]
            assert len(requests) == 1, "only the page itself"
            assert not [one for one in browser.events if one["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")]
        targets = "[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.getAttribute('href')))"
        assert browser.run(targets)
        ids: list[str] = browser.run("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))
    finally:
        browser.close()
