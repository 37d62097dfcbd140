"""The lane loop around a judge: batches, failures, what is handed on, what the journal key holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from editlane.errors import JudgeFailed, OutOfMemory
from editlane.images import file_sha256
from editlane.judging import JudgeLane, cut_batches, score_batches
from editlane.progress import Heartbeat
from editlane.protocols import load_protocol
from editlane.types import Question, Readout

RUBRIC = Path("resources/protocols/rubric.yaml")


def make_row(number: int, run_dir: Path, category: str = "物理") -> dict[str, Any]:
    """A row of an edits table; the edited image's red value is the item's number."""
    for name, color in (("source", (9, 9, 9)), ("edited", (number, 0, 0))):
        Image.new("RGB", (16, 16), color).save(run_dir / f"{name}{number}.png")
    return {
        "item_id": f"项-{number:02}", "category": category, "instruction": f"做 {number}", "language": "zh",
        "source_path": f"source{number}.png",
        "source_sha256": file_sha256(run_dir / f"source{number}.png"), "width": 16, "height": 16, "cost": 1.0,
        "description": None, "rationale": None, "tags": [], "difficulty": None, "given_path": None,
        "given_sha256": None, "editor": "e", "state": "edited", "error_kind": None, "error": None,
        "edited_path": f"edited{number}.png", "edited_sha256": file_sha256(run_dir / f"edited{number}.png"),
    }  # fmt: skip


def make_lane(run_dir: Path, protocol: Path = RUBRIC, **changed: Any) -> JudgeLane:
    loaded = load_protocol(protocol)
    settings = {
        "judge": "j", "identity": {"adapter": "x"}, "run_dir": run_dir, "protocol": loaded,
        "criteria": loaded.asked(), "samples": 1,
    }  # fmt: skip
    return JudgeLane(**settings | changed)


@dataclass
class Judge:
    """Answers with the red value of the edited image; `errors` maps such a value to what its batch raises."""

    VERSION = "1"
    NEEDS_MODEL = False
    SPEED_PARAMS = frozenset()

    errors: dict[int, Exception] = field(default_factory=dict)
    batch_size: int = 4
    batches: list[list[int]] = field(default_factory=list)
    seeds: list[list[int]] = field(default_factory=list)
    reply: str = "Score: {}.5"

    def prepare(self, questions: Sequence[Question]) -> list[int]:
        images = [[part for part in question.parts if not isinstance(part, str)] for question in questions]
        return [pair[-1].getpixel((0, 0))[0] for pair in images]

    def read_out(self, batch: list[int], answers: Sequence[str]) -> list[Readout]:
        self.batches.append(batch)
        for value in batch:
            if value in self.errors:
                raise self.errors[value]
        return [Readout(probabilities=tuple(float(n == value) for n in range(10)), mass=1.0) for value in batch]

    @classmethod
    def samples(cls, params: dict[str, Any]) -> bool:
        return True

    def generate(self, batch: list[int], max_new_tokens: int, seeds: Sequence[int]) -> list[str]:
        self.seeds.append(list(seeds))
        self.batches.append(batch)
        for value in batch:
            if value in self.errors:
                raise self.errors[value]
        return [self.reply.format(value) for value in batch]


def run(lane: JudgeLane, judge: Judge, rows: list[dict], wanted=lambda row: True) -> dict[str, dict]:
    found: dict[str, dict] = {}
    heartbeat = Heartbeat(lane.run_dir, stage="score", editor="e", judge="j", lane=0, total=len(rows), kept=0)
    batches = list(cut_batches(rows, judge.batch_size, wanted))
    score_batches(
        lane, judge, batches, device="cpu", check=lambda: None, heartbeat=heartbeat, begin=lambda rows: None,
        died=lambda rows: False, finished=lambda batch: found.update({row["item_id"]: new for row, new in batch}),
    )  # fmt: skip
    return found


def test_every_edit_gets_the_score_of_its_own_image(tmp_path: Path) -> None:
    rows = [make_row(n, tmp_path) for n in range(9)]
    found = run(make_lane(tmp_path), Judge(), rows)
    assert [found[f"项-{n:02}"]["mode_category"] for n in range(9)] == [str(n) for n in range(9)]
    assert found["项-00"]["score"] == 0
    assert all(new["state"] == "scored" for new in found.values())


def test_one_forward_per_batch_and_criterion(tmp_path: Path) -> None:
    judge = Judge()
    run(make_lane(tmp_path), judge, [make_row(n, tmp_path) for n in range(8)])
    assert judge.batches == [[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7], [4, 5, 6, 7]]


def test_batches_never_mix_categories_and_do_not_shift_when_some_are_done(tmp_path: Path) -> None:
    rows = [make_row(n, tmp_path, "物理" if n < 5 else "因果") for n in range(8)]
    whole = [[row["item_id"][-1] for row in batch] for batch in cut_batches(rows, 4, lambda row: True)]
    assert whole == [["0", "1", "2", "3"], ["4"], ["5", "6", "7"]]
    left = cut_batches(rows, 4, lambda row: row["item_id"] not in {"项-01", "项-04"})
    assert [[row["item_id"][-1] for row in batch] for batch in left] == [["0", "2", "3"], ["5", "6", "7"]]


def test_a_row_that_is_to_stand_alone_gets_a_batch_of_its_own(tmp_path: Path) -> None:
    rows = [make_row(n, tmp_path) for n in range(5)]
    batches = cut_batches(rows, 4, wanted=lambda row: True, alone=lambda row: row["item_id"] in {"项-01", "项-03"})
    assert [[row["item_id"][-1] for row in batch] for batch in batches] == [["0", "2"], ["1"], ["3"], ["4"]]


@pytest.mark.parametrize("error", [JudgeFailed("no", kind="model"), OutOfMemory("full")])
def test_a_failing_edit_is_a_row_and_the_rest_of_its_batch_is_scored(tmp_path: Path, error: Exception) -> None:
    found = run(make_lane(tmp_path), Judge({2: error}), [make_row(n, tmp_path) for n in range(4)])
    states = [found[f"项-{n:02}"]["state"] for n in range(4)]
    assert states == ["scored", "scored", "judge_failed", "scored"]
    assert found["项-02"]["score"] is None
    assert found["项-02"]["error_kind"] == ("oom" if isinstance(error, OutOfMemory) else "model")


def test_an_edited_image_that_is_gone_or_changed_is_not_judged(tmp_path: Path) -> None:
    rows = [make_row(n, tmp_path) for n in range(3)]
    (tmp_path / "edited0.png").unlink()
    (tmp_path / "edited1.png").write_bytes((tmp_path / "edited2.png").read_bytes())
    found = run(make_lane(tmp_path), Judge(), rows)
    ended = [(found[f"项-{n:02}"]["state"], found[f"项-{n:02}"]["error_kind"]) for n in range(3)]
    assert ended == [("judge_failed", "missing"), ("judge_failed", "changed"), ("scored", None)]


def test_an_error_of_the_whole_device_ends_the_lane(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="device-side assert"):
        run(make_lane(tmp_path), Judge({1: RuntimeError("device-side assert")}), [make_row(1, tmp_path)])


def test_a_generated_protocol_reads_the_reply(tmp_path: Path) -> None:
    lane = make_lane(tmp_path, Path("resources/protocols/legacy.yaml"))
    found = run(lane, Judge(), [make_row(3, tmp_path)])
    assert found["项-03"]["score"] == 3.5
    assert found["项-03"]["reply"] == "Score: 3.5"


def test_two_questions_fill_four_criteria(tmp_path: Path) -> None:
    lane = make_lane(tmp_path, Path("resources/protocols/viescore.yaml"))
    judge = Judge(reply='{{"score": [{}, 9]}}')
    found = run(lane, judge, [make_row(n, tmp_path) for n in (4, 7)])
    assert judge.batches == [[4, 7], [4, 7]]
    new = found["项-07"]
    assert [new[f"score_{name}"] for name in lane.criteria] == [7, 9, 7, 9]
    assert new["score"] == 7
    row = lane.score_row(make_row(7, tmp_path) | {"unchanged": False}, new)
    assert (row["score_artefacts"], row["mode_artefacts"]) == (9, None)


def test_the_seed_of_a_reply_is_its_questions_alone(tmp_path: Path) -> None:
    """Neither neighbours nor order change it; another repeat and another question of the same edit do."""
    lane = make_lane(tmp_path, Path("resources/protocols/viescore.yaml"))
    rows = [make_row(n, tmp_path) for n in range(3)] + [make_row(0, tmp_path) | {"item_id": "项-09", "repeat": 1}]
    whole, alone, halved = Judge(), Judge(batch_size=1), Judge({1: JudgeFailed("no", kind="model")})
    for judge, chosen in ((whole, rows), (alone, rows[::-1]), (halved, rows)):
        run(lane, judge, chosen)
    first, second = whole.seeds
    assert len({*first, *second}) == 8 and min(first) >= 0
    assert alone.seeds == [[seed] for pair in zip(first[::-1], second[::-1], strict=True) for seed in pair]
    assert halved.seeds[-2:] == [first[2:], second[2:]]


def test_an_item_without_an_edit_hands_its_state_on(tmp_path: Path) -> None:
    row = make_row(0, tmp_path) | {"state": "edit_refused", "error_kind": "refused", "error": "unsafe"}
    new = make_lane(tmp_path).unjudged(row)
    assert (new["state"], new["error_kind"], new["error"], new["score"]) == ("edit_refused", "refused", "unsafe", None)


def test_the_key_holds_the_text_of_its_own_category_only(tmp_path: Path) -> None:
    row = make_row(0, tmp_path)
    data = yaml.safe_load(RUBRIC.read_text(encoding="utf-8"))

    def key(changed: dict[str, Any], **edit: Any) -> str:
        path = tmp_path / "p.yaml"
        path.write_text(yaml.safe_dump(data | changed, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return make_lane(tmp_path, path).key(row | edit)

    same = key({})
    assert key({"rubrics": data["rubrics"] | {"因果": "another text"}}) == same
    assert key({}, item_id="renamed", category="物理", tags=["x"]) == same
    different = {
        same,
        key({"rubrics": data["rubrics"] | {"物理": "another text"}}),
        key({"version": "99"}),
        key({}, edited_sha256="0"),
        key({}, source_sha256="0"),
        key({}, instruction="别的"),
        key({}, rationale="why"),
        make_lane(tmp_path, identity={"adapter": "y"}).key(row),
        make_lane(tmp_path, criteria=("category",)).key(row),
    }
    assert len(different) == 9
