"""Votes of people and of a judge on pairs of edits."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from step_runs import run_step_program

from editlane.ratings.votes import find_vote

GENAI_BENCH = Path(__file__).parent / "genai_bench"
HEADER = "item,system_a,system_b,rater,vote"


def compare(folder: Path, *flags: str) -> tuple[str, dict]:
    """Run the program and return what it printed, and its JSON."""
    result = run_step_program("compare_votes", [*flags, "--out", "out.json"], folder)
    assert result.code == 0, result.err
    return result.out, json.loads((folder / "out.json").read_text(encoding="utf-8"))


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def genai_bench(folder: Path, judge: str) -> str:
    """Write a file as GenAI-Bench releases it: one JSON object a line, null for a missing vote."""
    with (GENAI_BENCH / f"{judge}.csv").open(encoding="utf-8", newline="") as file:
        rows = [row | {"model_vote": row["model_vote"] or None, "response": "..."} for row in csv.DictReader(file)]
    return write(folder / f"{judge}.jsonl", *map(json.dumps, rows))


def test_gpt_4o_on_genai_bench_has_its_published_accuracy(tmp_path: Path) -> None:
    text, found = compare(tmp_path, "--votes", genai_bench(tmp_path, "gpt4o"))
    assert round(100 * found["agreement"]["accuracy"]["four"]["share"], 2) == 53.54
    assert "four classes, unreadable votes are wrong: 492 / 919" in text
    assert found["agreement"]["unreadable"] == 0


def test_votes_that_cannot_be_read_count_as_wrong_and_are_told_apart(tmp_path: Path) -> None:
    text, found = compare(tmp_path, "--votes", genai_bench(tmp_path, "qwenVL"))
    accuracy = found["agreement"]["accuracy"]
    assert (accuracy["four"]["count"], accuracy["four"]["n"]) == (137, 919)
    assert round(100 * accuracy["four"]["share"], 2) == 14.91
    assert round(100 * accuracy["four_of_readable"]["share"], 2) == 20.73
    assert "it gave no vote that can be read on 258 of them" in text
    first = found["agreement"]["first_better"]
    assert first["judge"]["share"] > 0.9 > 0.5 > first["people"]["share"], "it prefers what it is shown first"


@pytest.mark.parametrize(
    ("said", "vote"),
    [
        ("A", "A"),
        (" leftvote ", "A"),
        ("[[B>A]]", "B"),
        ("Both look fine. **Verdict**: [[A=B=Good]]", "tie"),
        ("bothbad_vote", "both_bad"),
        ("Both Bad", "both_bad"),
        ("[[A>B]], and again: [[A>B]]", "A"),
        ("[[A>B]] Model B is better: [[B>A]]", "contradictory"),
        ("[[A>>B]]", None),
        ("A is better", None),
        ("", None),
        (None, None),
    ],
)
def test_what_counts_as_a_vote(said: str | None, vote: str | None) -> None:
    assert find_vote(said) == vote


def test_pairs_are_found_in_either_order_and_ties_are_one_of_three_classes(tmp_path: Path) -> None:
    people = ["图-1,甲,乙,r1,A", "图-2,甲,乙,r1,tie", "图-3,甲,乙,r1,B", "图-4,甲,乙,r1,", "图-5,甲,乙,r1,A"]
    judge = ["图-1,乙,甲,,B", "图-2,甲,乙,,both bad", "图-3,甲,乙,,no idea", "图-4,甲,乙,,A"]
    flags = ["--votes", write(tmp_path / "people.csv", HEADER, *people)]
    text, found = compare(tmp_path, *flags, "--judge", write(tmp_path / "judge.csv", HEADER, *judge))
    agreement = found["agreement"]
    counts = {name: (share["count"], share["n"]) for name, share in agreement["accuracy"].items()}
    assert counts == {"four": (1, 3), "three": (2, 3), "four_of_readable": (1, 2), "three_of_readable": (2, 2)}
    assert (agreement["votes"], agreement["unreadable"], found["left_out"]) == (3, 1, 1)
    assert "left out: 1 vote on other pairs" in text


def test_a_judge_that_saw_both_orders_may_contradict_itself(tmp_path: Path) -> None:
    people = [f"{n},甲,乙,r1,A" for n in range(3)]
    judge = ["0,甲,乙,,A", "0,乙,甲,,B", "1,甲,乙,,A", "1,乙,甲,,A", "2,甲,乙,,tie", "2,乙,甲,,tie"]
    flags = ["--votes", write(tmp_path / "people.csv", HEADER, *people)]
    _, found = compare(tmp_path, *flags, "--judge", write(tmp_path / "judge.csv", HEADER, *judge))
    consistent = found["agreement"]["consistent"]
    assert (consistent["count"], consistent["n"]) == (2, 3)


def vote_by_strength(path: Path, sign: int, rng: np.random.Generator) -> str:
    """Write 300 votes on four systems, the later of which are the better ones if `sign` is 1."""
    rows = []
    for item in range(300):
        first, second = (int(place) for place in rng.permutation(4)[:2])
        better = rng.random() < 1 / (1 + np.exp(-sign * (first - second)))
        rows.append(
            {"item": str(item), "system_a": f"s{first}", "system_b": f"s{second}"} | {"vote": "BA"[int(better)]}
        )
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


@pytest.mark.parametrize("sign", [pytest.param(1, marks=pytest.mark.runs), -1])
def test_the_ranking_of_the_judge_is_held_against_that_of_people(tmp_path: Path, sign: int) -> None:
    people = vote_by_strength(tmp_path / "people.parquet", 1, np.random.default_rng(0))
    judge = vote_by_strength(tmp_path / "judge.parquet", sign, np.random.default_rng(0))
    text, found = compare(tmp_path, "--votes", people, "--judge", judge)
    ranking = found["ranking"]
    assert sorted(ranking["people"], key=lambda name: ranking["people"][name]["value"]) == ["s0", "s1", "s2", "s3"]
    assert ranking["kendall"]["value"] == pytest.approx(sign)
    for one in ranking["people"].values():
        assert one["interval"][0] < one["value"] < one["interval"][1]
    assert "Kendall's tau of both" in text


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([HEADER, "1,a,b,r,maybe"], "line 2: the vote is 'maybe'. Give A, B, tie or both_bad"),
        ([HEADER, "1,a,a,r,A"], "system_a and system_b are both 'a'"),
        ([HEADER, "1,a,b,r,A", "1,a,b,r,B"], "a second vote of 'r' on item '1', 'a' against 'b'"),
        (["item,system_a,vote", "1,a,A"], "there is one of system_a and system_b"),
        (["item,vote", "1,A"], "has no column judge_vote"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, lines: list[str], words: str) -> None:
    result = run_step_program("compare_votes", ["--votes", write(tmp_path / "v.csv", *lines)], tmp_path)
    assert result.code == 2 and "Traceback" not in result.err
    assert words in result.err


def test_a_file_that_is_given_twice_and_two_judges_in_one_file_are_refused(tmp_path: Path) -> None:
    people = write(tmp_path / "people.csv", HEADER, "1,a,b,r,A")
    result = run_step_program("compare_votes", ["--votes", people, "--votes", people, "--judge", people], tmp_path)
    assert result.code == 2 and "a second vote of 'r' on item '1'" in result.err
    judges = write(tmp_path / "judges.csv", HEADER, "1,a,b,gpt,A", "1,a,b,qwen,B")
    result = run_step_program("compare_votes", ["--votes", people, "--judge", judges], tmp_path)
    assert result.code == 2 and "a second vote of the judge on item '1', 'a' against 'b'" in result.err


def test_files_without_a_common_pair_are_told(tmp_path: Path) -> None:
    people, judge = (write(tmp_path / f"{n}.csv", HEADER, f"{n},a,b,r,A") for n in (1, 2))
    result = run_step_program("compare_votes", ["--votes", people, "--judge", judge], tmp_path)
    assert result.code == 2 and "No vote of a person is on a pair that the judge was asked about" in result.err
