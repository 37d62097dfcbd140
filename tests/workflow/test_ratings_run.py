"""People's ratings are given to a finished run: only its report is made again, and it follows the file."""

import re

import pyarrow.parquet as pq
import pytest
from project import Project

from editlane.ratings.tables import Rating, Subject, hash_instruction, write_ratings

JUDGES = {
    "sees": {"adapter": "fake", "params": {"behaviour": "sees"}},
    "guesses": {"adapter": "fake", "params": {"behaviour": "random"}},
}


def rate(project: Project, count: int) -> list[Rating]:
    """Rate the first edits by one person, as one point less than the judge that sees."""
    rows = [row for row in project.scores() if row["judge"] == "sees"][:count]
    return [
        Rating(
            row["item_id"],
            row["editor"],
            "anna",
            round(row["score"]) - 1,
            Subject(row["source_sha256"], row["edited_sha256"], hash_instruction(row["instruction"])),
        )
        for row in rows
    ]


def plan(project: Project) -> set[str]:
    return set(re.findall(r"^(?:local)?rule (\w+):", project.run("--dry-run"), re.MULTILINE))


@pytest.mark.runs
def test_ratings_are_added_to_a_finished_run_and_only_its_report_is_made_again(project: Project) -> None:
    project.config |= {"judges": JUDGES, "controls": {"share": 1, "repeats": 0.2, "canary": False}}
    project.run()
    assert project.report()["people"] is None
    judged = project.computed("score")
    file = project.folder / "评 分.csv"
    ratings = rate(project, 15)
    write_ratings(file, ratings)
    project.config["ratings"] = "评 分.csv"
    assert plan(project) == {"make_report", "all"}
    project.run()
    assert project.report()["people"]["edits"] == 15 and project.computed("score") == judged
    assert plan(project) == set()
    old = ratings[0]._replace(subject=Subject("0" * 64, "0" * 64, "0" * 64))
    write_ratings(file, [old, *ratings[1:]])
    assert plan(project) == {"make_report", "all"}
    project.run()
    people = project.report()["people"]
    assert (people["edits"], sum(people["outdated"].values())) == (14, 1)
    assert "## People's ratings" in (project.results / "report/report.md").read_text(encoding="utf-8")
    project.run("partial_report")
    assert pq.read_table(project.results / "partial_report/scores.parquet").num_rows == 40
    del project.config["ratings"]
    project.run()
    assert project.report()["people"] is None
