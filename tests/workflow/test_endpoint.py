"""A run whose judge is a server: its lanes hold no device."""

import pytest
from endpoint_double import MODEL, serving

from editlane.core import tables


@pytest.mark.runs
def test_lanes_that_ask_a_server_take_no_device(project) -> None:
    project.devices = "GPU-one"
    project.write_items(range(6))
    project.config["lanes"] = 1
    with serving() as double:
        params = {"base_url": double.url, "max_image_side": 64}
        project.config["judges"] = {
            "远方": {"adapter": "qwen3-vl", "engine": "openai", "model": MODEL, "params": params}
        }
        said = project.run("merge_scores")
    assert f"WARNING: judge 远方: The judge's endpoint {double.url}" not in said
    rows = tables.read_rows(project.results / "scores.parquet")
    assert len(rows) == 6
    assert {row["edit_device"] for row in rows} == {"GPU-one"}
    assert {row["score_device"] for row in rows} == {"cpu"}
    assert {row["state"] for row in rows} <= {"scored", "judge_unreadable"}
    logs = project.results / "logs"
    assert "holds GPU-one" in (logs / "edit_lane/fake-a/lane0.log").read_text(encoding="utf-8")
    assert "holds" not in (logs / "score_lane/远方/lane0.log").read_text(encoding="utf-8")
