"""Online and offline, one judge: the same scores under the same keys, and never two processes on one device."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from project import Project
from reward_server import FAKE_JUDGE, RewardServer
from rewards import to_json

from editlane.lanes.journal import read_journal


def edits_of(project: Project) -> list[dict[str, Any]]:
    """Return the judged edits of a run as items of a request."""
    return [
        {
            "id": f"{row['editor']}/{row['item_id']}",
            "source": (project.results / row["source_path"]).read_bytes(),
            "edited": (project.results / row["edited_path"]).read_bytes(),
            "instruction": row["instruction"],
            "category": row["category"],
        }
        for row in project.scores()
        if row["edited_path"]
    ]


ONE_CORE = ("taskset", "--cpu-list", "0")
"""A machine with one device to lease."""


class OneCoreProject(Project):
    leases: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        return [*ONE_CORE, *super().command(*arguments)]

    def environment(self) -> dict[str, str]:
        return super().environment() | self.leases


@pytest.mark.runs
def test_a_reward_is_the_score_of_the_benchmark(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    project = Project(tmp_path / "run")
    project.run("merge_scores")
    expected = {f"{row['editor']}/{row['item_id']}": row for row in project.scores()}
    edits = edits_of(project)
    with RewardServer(tmp_path / "新", judges={"judge": FAKE_JUDGE}) as server:
        answers = server.post("/v1/score", json=to_json(edits)).json()["items"]
        for one in answers:
            row = expected[one["id"]]
            assert (one["state"], one["score"], one["judge_key"]) == (row["state"], row["score"], row["judge_key"])
            assert one["scores"] == {name: row[f"score_{name}"] for name in ("category", "instruction")}
            assert not one["cached"]
        journal = server.folder / "results/servers/t/journal"
    (run_journal,) = (project.results / "journal/score").glob("*/*")
    assert set(read_journal(journal).rows) <= set(read_journal(run_journal).rows), "the same keys"

    before = run_journal.stat().st_mtime_ns
    with RewardServer(tmp_path / "知", judges={"judge": FAKE_JUDGE}, store={"runs": [str(project.results)]}) as server:
        known = server.post("/v1/score", json=to_json(edits)).json()["items"]
        assert all(one["cached"] for one in known), "edits of the benchmark cost nothing"
        assert [one["score"] for one in known] == [one["score"] for one in answers]
    assert run_journal.stat().st_mtime_ns == before


@pytest.mark.runs
def test_a_lane_and_a_worker_never_share_a_device(tmp_path: Path, tiny_model: Callable[[str], Path]) -> None:
    leases = {"GPULEASE_DIR": str(tmp_path / "leases"), "CUDA_VISIBLE_DEVICES": ""}
    (tmp_path / "run").mkdir()
    project = OneCoreProject(tmp_path / "run")
    project.leases = leases
    judge = FAKE_JUDGE | {"adapter": "qwen3-vl", "model": str(tiny_model("qwen3-vl")), "params": {"max_image_side": 64}}
    limits = {"idle_seconds": 2}
    with RewardServer(
        tmp_path / "s", judges={"q": judge}, environment=leases, limits=limits, prefix=ONE_CORE
    ) as server:
        run = project.start("merge_scores")
        lock, seen = tmp_path / "leases/cpu-0.lock", set()
        try:
            while run.poll() is None:
                state = server.get("/pool_status").json()["workers"][0]["state"]
                seen.add((state, "judge_worker" if "judge_worker" in lock.read_text() else "lane"))
                time.sleep(0.05)
            assert run.returncode == 0, (project.folder / "snakemake.log").read_text()[-2000:]
        finally:
            if run.poll() is None:
                run.kill()
                run.wait()
        assert {("ready", "judge_worker"), ("idle", "lane")} <= seen and ("ready", "lane") not in seen, seen
        edits = edits_of(project)
        answers = server.post("/v1/score", json=to_json(edits)).json()["items"]
        assert all(one["score"] is not None for one in answers), "it waits for the device and comes again"


@pytest.mark.runs
def test_scores_of_a_real_model_do_not_depend_on_company(tmp_path: Path, tiny_model: Callable[[str], Path]) -> None:
    """The tiny Qwen3-VL, alone and in a batch of others, and offline: equal to four decimals."""
    from rewards import RUBRIC, make_edit

    from editlane.core.types import Item
    from editlane.images.files import open_image
    from editlane.models import registry
    from editlane.protocols.asking import ask, prepare
    from editlane.protocols.load import load_protocol
    from editlane.protocols.scoring import build_questions

    params = {"batch_tokens": 4096, "max_image_side": 128}
    model = str(tiny_model("qwen3-vl"))
    settings = {"adapter": "qwen3-vl", "model": model, "protocol": "resources/protocols/rubric.yaml", "params": params}
    edits = [make_edit(number) for number in range(10)]
    protocol = load_protocol(RUBRIC)
    judge = registry.build("judge", adapter="qwen3-vl", model=model, revision=None, params=params)
    offline = []
    for number, edit in enumerate(edits):
        for name in ("source", "edited"):
            (tmp_path / f"{name}{number}.png").write_bytes(edit[name])
        source, edited = (open_image(tmp_path / f"{name}{number}.png") for name in ("source", "edited"))
        item = Item(
            item_id="", category=edit["category"], instruction=edit["instruction"], language="", source_path="",
            source_sha256="", width=None, height=None, cost=1.0,
        )  # fmt: skip
        questions = build_questions(protocol, item, source, edited, protocol.select_criteria())
        offline += ask(protocol, judge, prepare(judge, [questions]), [0])
    with RewardServer(tmp_path / "s", judges={"q": settings}) as server:
        together = server.post("/v1/score", json=to_json(edits)).json()["items"]
        alone = [server.post("/v1/score", json=to_json([make_edit(50 + n)])).json()["items"][0] for n in range(2)]
    assert all(one["state"] == "scored" for one in alone)
    assert [one["score"] for one in together] == pytest.approx([row["score"] for row in offline], abs=1e-4)
