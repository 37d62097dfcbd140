"""Rating files and score tables: read, refused, laid out; the program compare_ratings.py on them."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import compare_ratings
from editlane.core.errors import UnknownName, UserError
from editlane.ratings.tables import (
    Rating,
    Score,
    Subject,
    align,
    drop_outdated,
    hash_instruction,
    list_judges,
    read_ratings,
    read_scores,
    write_ratings,
)

RATINGS = [
    Rating("树-1", "a", "陈", 3.0),
    Rating("树-1", "b", "陈", 7.5),
    Rating("cat", "a", "anna", 0.0),
]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_ratings(tmp_path / "r.csv", RATINGS)
    header = "item,system,rater,score,source_sha256,edited_sha256,instruction_sha256"
    assert (tmp_path / "r.csv").read_text("utf-8").splitlines()[:2] == [header, "树-1,a,陈,3,,,"]
    assert read_ratings([tmp_path / "r.csv"]) == RATINGS


def test_csv_tsv_and_parquet_give_the_same_ratings(tmp_path: Path) -> None:
    lines = [["item_id", "note", "editor", "rater", "score"], *([r.item, "x", *map(str, r[1:4])] for r in RATINGS)]
    write(tmp_path / "r.tsv", "\ufeff" + "\r\n".join("\t".join(line) for line in lines))
    columns = dict(zip(("item", "system", "rater", "score"), zip(*(r[:4] for r in RATINGS), strict=True), strict=True))
    pq.write_table(pa.table({name: pa.array(list(values)) for name, values in columns.items()}), tmp_path / "r.parquet")
    assert read_ratings([tmp_path / "r.tsv"]) == read_ratings([tmp_path / "r.parquet"]) == RATINGS


def test_several_files_are_put_together(tmp_path: Path) -> None:
    write_ratings(tmp_path / "1.csv", RATINGS[:1])
    write_ratings(tmp_path / "2.csv", RATINGS[1:])
    assert read_ratings([tmp_path / "1.csv", tmp_path / "2.csv"]) == RATINGS


def test_names_that_macos_writes_otherwise_are_the_same_names(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "item,system,rater,score\ncafe\u0301 ,a,x,1\n")
    assert read_ratings([path])[0].item == "caf\u00e9"


def test_a_rating_without_a_score_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "item,system,rater,score\n1,a,x,\n2,a,x,NaN\n\n3,a,x, 4 \n")
    assert [rating.score for rating in read_ratings([path])] == [pytest.approx(NAN, nan_ok=True)] * 2 + [4.0]


NAN = math.nan
HEAD = "item,system,rater,score\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HEAD + "1,a,x,2\n2,a,x,3\n1,a,x,2\n",
            "line 4: a second rating of item '1', system 'a' by rater 'x'. Remove",
        ),
        (HEAD + "1,a,x,good\n", "line 2: score is 'good'; give a number"),
        (HEAD + "1,a,x,inf\n", "line 2: score is 'inf'"),
        (HEAD + "1,a,,2\n", "line 2: rater is empty"),
        (HEAD + "1,a,x,2,3\n", "line 2 has more cells than the header has names"),
        (HEAD + '1,"a,x,2\n', "is broken near line 2"),
        ("item,system,score\n1,a,2\n", "has no column rater; it has: item, system, score."),
        ("item;system;rater;score\n1;a;x;2\n", "has no column item and no column system and no column rater"),
        ("", "has no column item and no column system and no column rater and no column score; it has: none."),
    ],
)
def test_a_row_that_is_no_rating_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        read_ratings([write(tmp_path / "r.csv", text)])


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("item,system,rater,score,score\n1,a,x,1,9\n")
    with pytest.raises(UserError, match="has the column score twice"):
        read_ratings([tmp_path / "r.csv"])


def test_files_that_are_no_ratings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        read_ratings([tmp_path / "none.csv"])
    with pytest.raises(UserError, match=r"ends in '\.xlsx'"):
        read_ratings([write(tmp_path / "r.xlsx", "")])
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_ratings([write(tmp_path / "r.parquet", "no")])
    (tmp_path / "gbk.csv").write_bytes("item,system,rater,score\n树,a,x,1\n".encode("gbk"))
    with pytest.raises(UserError, match="is not UTF-8"):
        read_ratings([tmp_path / "gbk.csv"])


def test_the_same_rating_in_two_files_names_both(tmp_path: Path) -> None:
    for name in ("1.csv", "2.csv"):
        write_ratings(tmp_path / name, RATINGS)
    with pytest.raises(UserError, match=r"2\.csv, line 2: a second rating .* \(also in .*1\.csv\)"):
        read_ratings([tmp_path / "1.csv", tmp_path / "2.csv"])


def scores_parquet(path: Path, rows: list[tuple[str, str, str, str, float | None]]) -> Path:
    names = ("item_id", "editor", "judge", "state", "score")
    table: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) | {"source_sha256": "p" + row[0]} for row in rows]
    pq.write_table(pa.Table.from_pylist(table), path)
    return path


def test_only_scored_rows_of_a_run_have_a_score(tmp_path: Path) -> None:
    rows = [("1", "a", "j", "scored", 4.0), ("2", "a", "j", "edit_failed", None), ("1", "a", "k", "scored", 9.0)]
    scores = read_scores(scores_parquet(tmp_path / "scores.parquet", rows))
    assert scores[0] == Score("1", "a", "j", 4.0, "p1")
    assert math.isnan(scores[1].score)
    assert list_judges(scores) == ["j", "k"] and list_judges(scores, "k") == ["k"]
    with pytest.raises(UnknownName, match=r"Unknown judge 'kk'\. Did you mean 'k'"):
        list_judges(scores, "kk")


def test_released_answers_are_named_after_their_file(tmp_path: Path) -> None:
    scores = read_scores(write(tmp_path / "gpt4o.tsv", "item\tsystem\tscore\n1\ta\t4\n1\tb\t\n"))
    assert [(row.judge, row.source) for row in scores] == [("gpt4o", "1"), ("gpt4o", "1")]
    with pytest.raises(UserError, match="a second row of item '1', system 'a', judge 'x'"):
        read_scores(write(tmp_path / "x.csv", "item,system,score\n1,a,4\n1,a,5\n"))
    with pytest.raises(UserError, match="has no rows"):
        read_scores(write(tmp_path / "x.csv", "item,system,score\n"))


SCORES = [Score(item, system, "j", 1.0, item) for item in ("1", "2", "3") for system in "ab"]


def test_unknown_names_are_counted_and_the_rest_is_used() -> None:
    ratings = [Rating("1", "a", "x", 1), Rating("1", "b", "x", 2), Rating("9", "a", "x", 3), Rating("1", "zz", "y", 4)]
    unscored = [*SCORES[1:], Score("1", "a", "j", NAN, "1")]
    found = align([*ratings, Rating("2", "a", "x", NAN)], unscored, "j")
    assert found.unknown == {"items": {"9": 1}, "systems": {"zz": 1}}
    assert (found.items, found.systems, found.raters, found.not_scored) == (["1"], ["b"], ["x"], 1)
    assert found.ratings.tolist() == [[[2.0]]] and found.scores.tolist() == [[1.0]]


def test_arrays_hold_every_rating_at_its_place() -> None:
    ratings = [Rating("1", "a", "x", 1), Rating("3", "a", "y", 2), Rating("3", "b", "x", 3)]
    found = align(ratings, SCORES[:-1], "j")  # item 3 has no score of b
    assert (found.items, found.systems, found.raters) == (["1", "3"], ["a"], ["x", "y"])
    np.testing.assert_array_equal(found.ratings, [[[1, NAN]], [[NAN, 2]]])


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ([], "The ratings files have no rows."),
        ([Rating("1", "a", "x", NAN)], "None of 1 rating has a score."),
        ([Rating("8", "a", "x", 1), Rating("9", "c", "x", 1)], "2 items that it has no scores of (8, 9) and 1 system"),
        ([Rating("1", "c", "x", 1)], "The ratings have 1 system that it has no scores of (c)."),
    ],
)
def test_nothing_to_compare_is_an_error(ratings: list[Rating], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        align(ratings, SCORES, "j")


def compare(monkeypatch: pytest.MonkeyPatch, *flags: str | Path) -> None:
    monkeypatch.setattr("sys.argv", ["compare_ratings.py", *map(str, flags)])
    compare_ratings.main()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two raters on 12 items of three editors, one of them unknown; a judge that knows the truth, one that is blind."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, (12, 3))
    noise = rng.integers(-1, 2, (12, 3, 2))
    ratings = [
        Rating(f"图{i:02}", f"e{s}", rater, float(truth[i, s] + noise[i, s, r]))
        for i in range(12)
        for s in range(3)
        for r, rater in enumerate(("anna", "陈"))
    ]
    write_ratings(tmp_path / "r.csv", [*ratings, Rating("图99", "e0", "anna", 1.0)])
    rows = [
        (f"图{i:02}", f"e{s}", judge, "scored", float(truth[i, s]) if judge == "sees" else 5.0)
        for judge in ("sees", "blind")
        for i in range(12)
        for s in range(3)
    ]
    return tmp_path / "r.csv", scores_parquet(tmp_path / "scores.parquet", rows)


def test_the_program_prints_a_table_and_writes_json(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings, scores = files
    compare(monkeypatch, "--ratings", ratings, "--scores", scores, "--out", tmp_path / "a.json")
    written = (tmp_path / "a.json").read_text("utf-8")
    found = json.loads(written)
    assert found["raters"]["ratings"] == {"anna": 37, "陈": 36}
    assert found["raters"]["alpha"]["value"] > 0.9
    sees, blind = found["judges"]["sees"], found["judges"]["blind"]
    assert sees["left_out"]["unknown"] == {"items": {"图99": 1}, "systems": {}}
    assert sees["spearman"]["mean"]["value"] > 0.9
    assert blind["spearman"]["systems"]["e0"] == {"value": None, "interval": None, "why": "all scores are equal"}
    assert blind["pairwise"]["tied_by_judge"] + blind["pairwise"]["tied_by_both"] == 36
    printed = capsys.readouterr().out
    assert re.search(r"alpha \(ordinal\), all ratings +0\.9\d\d  \[0\.\d{3}, 0\.9\d\d\]", printed)
    assert "left out: 1 rating of unknown items (1: 图99)" in printed
    assert re.search(r"e0 +not defined: all scores are equal", printed)
    assert "average of 3 systems (arctanh" in printed and "WRONG" not in printed
    assert "compared by name alone: 73 ratings of files that do not tell which edit was rated" in printed
    compare(monkeypatch, "--ratings", ratings, "--scores", scores, "--out", tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text("utf-8") == written


INSTRUCTIONS = {"图0": "下雨", "图1": "下雪", "图2": "起风", "图3": "天晴"}


def subject_of(item: str, **other: str) -> Subject:
    return Subject(item.encode().hex().ljust(64, "0"), "e" * 64, hash_instruction(INSTRUCTIONS[item]))._replace(**other)


@pytest.fixture
def scored_run(tmp_path: Path) -> Path:
    """A run's table, which tells the subject of each score."""
    rows = [
        {"item_id": item, "editor": "e", "judge": "j", "state": "scored", "score": float(number)}
        | {"source_sha256": subject_of(item).source, "edited_sha256": "e" * 64, "instruction": INSTRUCTIONS[item]}
        for number, item in enumerate(INSTRUCTIONS)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "scores.parquet")
    return tmp_path / "scores.parquet"


@pytest.mark.parametrize("field", Subject._fields)
def test_ratings_of_another_edit_source_or_instruction_are_left_out_and_named(
    scored_run: Path, field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = subject_of("图3", **{field: "f" * 64})
    ratings = [Rating(item, "e", "anna", n, subject_of(item)) for n, item in enumerate(list(INSTRUCTIONS)[:3])]
    write_ratings(tmp_path / "r.csv", [*ratings, Rating("图3", "e", "anna", 0, changed)])
    compare(monkeypatch, "--ratings", tmp_path / "r.csv", "--scores", scored_run, "--out", tmp_path / "a.json")
    printed = capsys.readouterr().out
    assert "left out: 1 rating of another edit, source or instruction than was scored: 图3 by e" in printed
    assert "3 edits both rated and scored; 3 items, 3 source images" in printed and "3 items, 1 system," in printed
    found = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert found["raters"]["outdated"] == {"图3 by e": 1} and found["raters"]["items"] == 3
    assert found["judges"]["j"]["spearman"]["systems"]["e"]["value"] == 1.0


def test_ratings_of_other_edits_alone_are_an_error(scored_run: Path, tmp_path: Path, monkeypatch) -> None:
    write_ratings(tmp_path / "r.csv", [Rating("图3", "e", "anna", 0, subject_of("图3", edit="f" * 64))])
    with pytest.raises(UserError, match="No rating of the 1 is of an edit"):
        compare(monkeypatch, "--ratings", tmp_path / "r.csv", "--scores", scored_run)


def test_a_rater_may_rate_an_edit_and_its_successor_but_neither_twice(tmp_path: Path) -> None:
    one, two = (Rating("图1", "e", "anna", n, subject_of("图1", edit=str(n) * 64)) for n in (1, 2))
    write_ratings(tmp_path / "1.csv", [one, two])
    assert read_ratings([tmp_path / "1.csv"]) == [one, two]
    for again in (one, one._replace(subject=None)):
        write_ratings(tmp_path / "2.csv", [again])
        with pytest.raises(UserError, match=r"a second rating of item '图1'.*also in .*1\.csv"):
            read_ratings([tmp_path / "1.csv", tmp_path / "2.csv"])


def test_of_two_ratings_of_one_name_the_one_that_was_scored_counts_or_neither(tmp_path: Path) -> None:
    one, two = (Rating("图1", "e", "anna", n, subject_of("图1", edit=str(n) * 64)) for n in (1, 2))
    score = Score("图1", "e", "j", 5.0, "s", one.subject)
    assert drop_outdated([one, two], [score]) == ([one], [two])
    assert drop_outdated([one, two], [score._replace(item="图2")]) == ([two], [one])
    with pytest.raises(UserError, match=r"two edits under the name of item '图1'.*Give the run's scores\.parquet"):
        drop_outdated([one, two], [score._replace(subject=None)])


def test_a_hash_that_is_none_is_refused(tmp_path: Path) -> None:
    text = "item,system,rater,score,source_sha256,edited_sha256,instruction_sha256\n1,a,x,3,abc,,\n"
    with pytest.raises(UserError, match=r"line 2: source_sha256 is 'abc', which is not a SHA-256"):
        read_ratings([write(tmp_path / "r.csv", text)])


def test_one_judge_can_be_chosen(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(monkeypatch, "--ratings", files[0], "--scores", files[1], "--judge", "sees")
    printed = capsys.readouterr().out
    assert "Judge sees" in printed and "blind" not in printed
