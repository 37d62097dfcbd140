"""The section about editors against each other: from pairs and votes to the tables, in both languages."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_pairs import fail, made_pairs
from report_run import write, write_run

import make_report
from editlane.core import tables
from editlane.core.errors import UserError
from editlane.core.schemas import PAIRS as PAIR_COLUMNS
from editlane.ratings.votes import COLUMNS, SUBJECT_COLUMNS
from editlane.report.arena_tables import make_arena_tables
from editlane.report.load import load_report
from editlane.report.texts import LANGUAGES, load_texts

CATEGORIES = ("物理", "环境")
ITEMS = [
    (f"item-{place:02}", CATEGORIES[place % 2], "Make it night.", "en", f"photo of item-{place:02}")
    for place in range(40)
]
CATEGORY = {item[0]: item[1] for item in ITEMS}
EDITORS = ("a", "b", "c")


def scores_of(count: int = 40, means: dict[str, float] | None = None) -> dict[tuple[str, str], list[Any]]:
    rng = np.random.default_rng(0)
    means = means or dict.fromkeys(EDITORS, 5.0)
    return {
        (name, "j"): [float(np.clip(mean + rng.normal(), 0, 10)) for _ in range(count)] for name, mean in means.items()
    }


def make(folder: Path, pairs: pd.DataFrame | None = None, votes: pd.DataFrame | None = None, **made: Any):
    run = write_run(folder / "run", scores_of(), ITEMS)
    path = run / "pairs.parquet" if pairs is not None else None
    if pairs is not None and path is not None:
        rows = pairs.astype(object).where(pairs.notna(), None).to_dict("records")
        tables.write_table(path, rows, PAIR_COLUMNS, provenance=made)
    about = {"run": "run", "scores": run / "scores.parquet", "items": run / "items.parquet"}
    return run, load_report(**about, pairs=path, votes=votes)


def vote(item: str, a: str, b: str, said: str, rater: str = "anna", **more: str) -> dict[str, str]:
    names = dict(zip(COLUMNS, (item, a, b, rater, said), strict=True))
    return names | dict.fromkeys(SUBJECT_COLUMNS, "") | more


PAIRS = made_pairs({"a": 0.0, "b": 0.1, "c": 2.0}, CATEGORY)


def test_without_pairs_and_votes_there_is_no_arena(tmp_path: Path) -> None:
    run, report = make(tmp_path)
    assert report.numbers["arena"] is None
    assert "Strengths by" not in write(report, run)[".md"]


def test_the_stronger_editor_is_ranked_first_in_both_languages(tmp_path: Path) -> None:
    run, report = make(tmp_path, fail(PAIRS, "item-03", ["a"]))
    arena = report.numbers["arena"]
    assert arena["definition_version"] == 1 and arena["people"] is None
    found = arena["judges"]["j"]
    assert found["acceptance"]["verdict"] == "accepted" and found["believed"] == list(CATEGORIES)
    assert found["overall"]["editors"]["c"]["rank"] == (1, 1)
    assert found["overall"]["editors"]["a"]["rank"][1] == 3
    assert set(found["categories"]) == set(CATEGORIES)
    first = found["pairs"][0]
    assert (first["a"], first["b"], first["asked"], first["n"], first["failed_a"]) == ("a", "b", 40, 39, 1)
    losing = found["failure_loses"]
    assert losing["n"] == found["overall"]["n"] + 2 and (
        losing["editors"]["a"]["strength"] < found["overall"]["editors"]["a"]["strength"]
    )
    written = write(report, run)
    for told in ("Editors against each other", "Strengths by j", "c stronger", "Strength if failures lose", "39)"):
        assert told in written[".md"], told
    assert "Strengths by j" in written[".html"]
    assert json.loads(written[".json"])["arena"]["judges"]["j"]["overall"]["editors"]["c"]["rank"] == [1, 1]
    chinese = write(report, run, "zh")[".md"]
    assert "编辑模型两两对比" in chinese and "c 更强" in chinese


@pytest.mark.parametrize(
    ("more", "verdict"), [({"control": 0.0}, "not_accepted"), ({}, "not_tested")], ids=["blind", "no controls"]
)
def test_a_judge_that_is_not_accepted_ranks_nobody(tmp_path: Path, more: dict[str, float], verdict: str) -> None:
    pairs = made_pairs({"a": 0.0, "b": 0.1, "c": 2.0}, CATEGORY, **more)
    run, report = make(tmp_path, pairs if more else pairs[pairs["control"].isna()])
    found = report.numbers["arena"]["judges"]["j"]
    assert found["acceptance"]["verdict"] == verdict
    for ranking in (found["overall"], *found["categories"].values()):
        assert {one["verdict"] for one in ranking["differences"]} == {"not_believed"}
        assert {one["rank"] for one in ranking["editors"].values()} == {None}
    text = write(report, run)[".md"]
    assert "nothing is ranked" in text
    for title in ("Strengths by j", "Differences of strength by j", "How often the editor of the row wins, by j"):
        assert (title in text) == (verdict == "not_tested"), title
    assert "Pairs asked of j" in text
    assert "All believed categories" not in text


def test_too_few_photos_are_said_to_be_too_few(tmp_path: Path) -> None:
    few = {f"item-{place:02}" for place in range(8)}
    run, report = make(tmp_path, PAIRS[PAIRS["item_id"].isin(few)])
    assert report.numbers["arena"]["judges"]["j"]["categories"]["物理"]["why"] == "too_few_photos"
    assert "too few source images (4)" in write(report, run)[".md"]
    assert "原图太少（4 张）" in write(report, run, "zh")[".md"]


def test_pairs_of_another_run_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not belong to this run.*'item-00'"):
        make(tmp_path, PAIRS.assign(category="因果"))


def test_people_stand_beside_the_judge_and_earlier_edits_are_left_out(tmp_path: Path) -> None:
    said = [vote(item, "c", "a", "A") for item in list(CATEGORY)[:30]]
    said += [vote(item, "b", "c", "B", "陈") for item in list(CATEGORY)[:30]]
    said += [vote(item, "a", "b", ("A", "B", "tie", "both_bad")[at % 4]) for at, item in enumerate(CATEGORY)]
    instruction = hashlib.sha256(b"Make it night.").hexdigest()
    said += [
        vote("item-31", "a", "c", "A", instruction_sha256=instruction),
        vote("item-32", "a", "c", "A", instruction_sha256="f" * 64),
        vote("item-33", "a", "q", "A"),
        vote("elsewhere", "a", "c", "A"),
    ]
    run, report = make(tmp_path, PAIRS, pd.DataFrame(said))
    people = report.numbers["arena"]["people"]
    assert (people["votes"], people["raters"]) == (101, 2)
    assert people["left_out"] == {"unknown": 2, "outdated": 1}
    assert people["overall"]["editors"]["c"]["rank"] == (1, 1)
    judge = people["judges"]["j"]
    assert judge["agreement"]["votes"] == 101 and judge["agreement"]["accuracy"]["four"]["n"] == 101
    text = write(report, run)[".md"]
    assert "Strengths by people" in text and "101 votes of people (raters: 2)" in text and "Judges and people" in text
    assert "人工投票 101 张" in write(report, run, "zh")[".md"]
    names = [[table.about for table in make_arena_tables(report, load_texts(language))] for language in LANGUAGES]
    assert names[0] == names[1], "files of tables are called the same in every language"
    assert ("strengths", "j") in names[0] and ("strengths", "people") in names[0] and ("agreement",) in names[0]
    assert len(set(names[0])) == len(names[0])


def test_votes_without_a_judge_make_a_section_of_their_own(tmp_path: Path) -> None:
    _, report = make(tmp_path, None, pd.DataFrame([vote(item, "c", "a", "A") for item in CATEGORY]))
    arena = report.numbers["arena"]
    assert arena["judges"] == {} and arena["people"]["overall"]["differences"][0]["verdict"] == "b_better"


@pytest.mark.parametrize("said", [[vote("elsewhere", "a", "c", "A")], []], ids=["another run's", "none"])
def test_a_report_is_written_where_no_vote_counts(tmp_path: Path, said: list[dict[str, Any]]) -> None:
    votes = pd.DataFrame(said, columns=list(vote("item-00", "a", "c", "A")), dtype=object)
    run, report = make(tmp_path, PAIRS, votes)
    people = report.numbers["arena"]["people"]
    assert (people["votes"], people["left_out"]) == (0, {"unknown": len(said), "outdated": 0})
    assert {one["verdict"] for one in people["overall"].get("differences", [])} <= {"no_shared_items", "too_few"}
    assert people["judges"] == {"j": None}
    text = write(report, run)[".md"]
    assert "0 votes of people" in text and "Differences of strength by people" not in text
    assert "人工投票 0 张" in write(report, run, "zh")[".md"]


def test_the_program_reads_a_file_of_votes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", scores_of(), ITEMS)
    (tmp_path / "票.csv").write_text(
        "item,system_a,system_b,rater,vote\n" + "".join(f"{item},a,c,anna,B\n" for item in CATEGORY), encoding="utf-8"
    )
    flags = ["--scores", run / "scores.parquet", "--items", run / "items.parquet", "--run-dir", run]
    flags += ["--out-dir", tmp_path / "out", "--votes", tmp_path / "票.csv"]
    monkeypatch.setattr("sys.argv", ["make_report.py", *map(str, flags)])
    make_report.main()
    numbers = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert numbers["arena"]["people"]["votes"] == 40


PROTOCOL = {"name": "并排", "version": "3", "sha256": "f" * 64, "text": "Which edit is better?"}


@pytest.mark.parametrize(
    ("plan", "kind", "told"),
    [
        ({"rounds": 1, "pairs": 120, "possible": 120}, "all", "All pairs of editors were asked on all items."),
        ({"rounds": 1, "pairs": 60, "possible": 120}, "budget", "60 pairs of edits were asked, spread evenly"),
        ({"rounds": 4, "pairs": 120, "possible": 120}, "active", "Asked in 4 rounds, "),
        (None, None, ""),
    ],
)
def test_the_report_tells_how_the_arena_was_made(
    tmp_path: Path, plan: dict[str, int] | None, kind: str | None, told: str
) -> None:
    made = {"judges": {"j": {"model": "m", "protocol": PROTOCOL}}} | ({"plans": {"j": plan}} if plan else {})
    run, report = make(tmp_path, PAIRS, None, **made)
    method = report.numbers["arena"]["judges"]["j"]["method"]
    assert (method and method["kind"]) == kind
    assert report.numbers["provenance"]["arena"] == made
    written = write(report, run)
    assert told in written[".md"] and ("look larger" in written[".md"]) == (kind == "active")
    assert "Judges of the arena" in written[".md"] and "f" * 64 in written[".md"]
    assert "Protocol of j in the arena: 并排 3" in written[".html"] and PROTOCOL["text"] in written[".html"]
    assert PROTOCOL["text"] not in written[".md"]
    assert "j 的两两对比规程：并排 3" in write(report, run, "zh")[".html"]
