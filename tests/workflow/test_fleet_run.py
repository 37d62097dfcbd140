"""A run whose judges are adapters of one fleet: each asks for its own weights, and new weights judge anew."""

from collections import Counter

import pytest
from endpoint_double import Double, serving
from fleet_double import LENIENT, PUBLISHED, STRICT, make_node, tell, write_fleet

from editlane.core import tables
from editlane.core.fleet_accounts import read_accounts
from editlane.core.paths import FleetPaths

THIRD, NEWER = "third@333333333333", "strict@222222222222"


def count_asked(double: Double) -> Counter[str]:
    """The requests for each model since the last call."""
    found = Counter(body["model"] for body in double.asked)
    double.asked.clear()
    return found


@pytest.mark.runs
def test_three_adapters_of_one_fleet_judge_one_run(project) -> None:
    project.write_items(range(6))
    project.config["lanes"] = 1
    published = PUBLISHED | {"third": THIRD}
    with serving() as double:
        double.models = [*published, *published.values(), NEWER]
        groups = {"base": None, "strict": "A", "lenient": "A", "third": "B"}
        fleet = write_fleet(project.folder, make_node(double.url, published=published, groups=groups))
        params = {"fleet": fleet, "max_image_side": 64}
        project.config["judges"] = {
            name: {"adapter": "qwen3-vl", "engine": "openai", "model": name, "params": params}
            for name in ("strict", "lenient", "third")
        }
        said = project.run("merge_scores")
        assert "does not run" not in said
        first = count_asked(double)
        assert set(first) == {STRICT, LENIENT, THIRD}
        rows = tables.read_rows(project.results / "scores.parquet")
        assert Counter(row["judge"] for row in rows) == dict.fromkeys(project.config["judges"], 6)
        accounts = read_accounts(project.folder / FleetPaths("judges").accounts)
        assert {name: one.success_calls for name, one in accounts.models.items()} == dict(first)
        assert accounts.groups["A"].total_calls == first[STRICT] + first[LENIENT]
        before = {row["judge"]: row["judge_key"] for row in rows}

        newer = make_node(double.url, published=published | {"strict": NEWER}, groups=groups)
        tell(newer, project.folder)
        project.run("merge_scores")
        assert set(count_asked(double)) == {NEWER}, "the other judges' scores stay"
        rows = tables.read_rows(project.results / "scores.parquet")
        after = {row["judge"]: row["judge_key"] for row in rows}
        assert {name for name in before if before[name] != after[name]} == {"strict"}
        assert len(rows) == 18

        newer.pid = 2**22 + 1
        tell(newer, project.folder)
    assert "Nothing to be done" in project.run("merge_scores"), "a finished run needs no fleet"
