"""The canary set: asked at the start and again, and a judge that changed is told to everybody."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from reward_server import FAKE_JUDGE, RewardServer
from rewards import make_edit, to_json

from editlane.server.canary import compare, draw_pairs

SOON = {"minutes": 0.02}


def wait_for_round(server: RewardServer) -> dict[str, Any]:
    until = time.monotonic() + 30
    while not (found := server.get("/pool_status").json()["canary"]):
        assert time.monotonic() < until, server.stderr
        time.sleep(0.05)
    return dict(found)


@pytest.mark.runs
def test_an_unchanged_judge_moves_nothing_and_a_changed_one_is_told(tmp_path: Path) -> None:
    with RewardServer(tmp_path, canary=SOON) as server:
        first = wait_for_round(server)["fake"]
        assert first["n"] == 20 and not first["moved"] and first["difference"] == 0
        asked = server.get("/metrics").text.count("editlane_items_asked_total")
        assert asked and server.get("/pool_status").json()["known_scores"] == 0, "no canary is kept as a score"
        assert "X-Editlane-Warning" not in server.get("/ready").headers
    path = tmp_path / "results/servers/t/canary.json"
    kept = json.loads(path.read_text())
    kept["fake"]["scores"] = {key: max(0.0, score - 1) for key, score in kept["fake"]["scores"].items()}
    path.write_text(json.dumps(kept))  # as if the judge had given less on an earlier day
    with RewardServer(tmp_path, canary=SOON) as server:
        found = wait_for_round(server)["fake"]
        assert found["moved"] and found["difference"] > 0.5 and found["since"]
        response = server.post("/v1/score", json=to_json([make_edit(1)]))
        assert "fake by +" in response.headers["X-Editlane-Warning"] and response.status_code == 200
        assert server.get("/ready").status_code == 200
        assert 'editlane_canary_moved{judge="fake"} 1.0' in server.get("/metrics").text
        assert server.stderr.count("has changed") == 1, "said once, not every minute"


@pytest.mark.runs
def test_another_judge_of_the_same_name_has_a_reference_of_its_own(tmp_path: Path) -> None:
    with RewardServer(tmp_path, canary=SOON) as server:
        wait_for_round(server)
    other = FAKE_JUDGE | {"params": {"behaviour": "constant"}}
    with RewardServer(tmp_path, judges={"fake": other}, canary=SOON) as server:
        found = wait_for_round(server)["fake"]
        assert found["difference"] == 0 and not found["moved"]


@pytest.mark.runs
def test_a_damaged_reference_is_made_anew(tmp_path: Path) -> None:
    for content in ("{", "[]", '{"fake": 3}', '{"fake": {"key": 1}}'):
        folder = tmp_path / str(len(content))
        (folder / "results/servers/t").mkdir(parents=True)
        (folder / "results/servers/t/canary.json").write_text(content)
        with RewardServer(folder, canary=SOON) as server:
            assert not wait_for_round(server)["fake"]["moved"]


def test_twenty_pairs_are_drawn_without_a_file_of_ours() -> None:
    pairs = draw_pairs()
    assert len(pairs) == 20 and all(one.source.startswith(b"\x89PNG") for one in pairs)
    assert sum(one.source != one.edited for one in pairs) >= 15


def test_noise_is_no_change() -> None:
    scores = {str(number): 5 + (-1) ** number * 0.5 for number in range(20)}
    other = {str(number): 5 - (-1) ** number * 0.5 for number in range(20)}
    assert not compare("j", scores, other)["moved"]
    assert compare("j", scores, {key: value + 1 for key, value in scores.items()})["moved"]
    assert not compare("j", scores, {key: value + 0.01 for key, value in scores.items()})["moved"]
