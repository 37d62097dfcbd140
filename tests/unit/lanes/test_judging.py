"""The lane loop around a judge: batches, failures, what is handed on, what the journal key holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from editlane.core.errors import JudgeFailed, OutOfMemory
from editlane.core.params import JudgeParams
from editlane.core.paths import RunPaths
from editlane.core.types import Question, Readout, RunsOn
from editlane.images.files import file_sha256
from editlane.lanes.batches import WINDOW, cut_batches
from editlane.lanes.journal import Journal, read_journal
from editlane.lanes.journal_set import JournalSet
from editlane.lanes.judging import JudgeSpec, JudgeWork, group_by_item
from editlane.lanes.lane_status import read_heartbeats
from editlane.lanes.runner import run_lane
from editlane.lanes.stopping import StopRequest
from editlane.protocols.load import load_protocol

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
        "given_sha256": None, "sample_of": None, "references": None, "turns": None, "after": None,
        "editor": "e", "editor_key": "e1", "state": "edited", "error_kind": None, "error": None,
        "edited_path": f"edited{number}.png", "edited_sha256": file_sha256(run_dir / f"edited{number}.png"),
    }  # fmt: skip


def make_spec(run_dir: Path, protocol: Path = RUBRIC, **changed: Any) -> JudgeSpec:
    loaded = load_protocol(protocol)
    settings = {
        "judge": "j", "identity": {"adapter": "x"}, "run_dir": run_dir, "protocol": loaded,
        "criteria": loaded.select_criteria(), "samples": 1,
    }  # fmt: skip
    return JudgeSpec(**settings | changed)


@dataclass
class Judge:
    """Answers with the red value of the edited image; `errors` maps such a value to what its batch raises."""

    VERSION = "1"
    RUNS_ON = RunsOn.NOTHING
    PARAMS = JudgeParams

    errors: dict[int, Exception] = field(default_factory=dict)
    max_batch_cost: int = 4
    batches: list[list[int]] = field(default_factory=list)
    seeds: list[list[list[int]]] = field(default_factory=list)
    reply: str = "Score: {}.5"

    def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        return 1

    def prepare(self, asked: Sequence[Sequence[Question]]) -> list[list[int]]:
        return [[_last_image(question).getpixel((0, 0))[0] for question in questions] for questions in asked]

    def read_out(self, batch: list[list[int]], answers: Sequence[str]) -> list[list[Readout]]:
        self._see(batch)
        return [
            [Readout(probabilities=tuple(float(n == value) for n in range(10)), mass=1.0) for value in own]
            for own in batch
        ]

    @classmethod
    def samples(cls, params: dict[str, Any]) -> bool:
        return True

    def generate(self, batch: list[list[int]], max_new_tokens: int, seeds: Sequence[Sequence[int]]) -> list[list[str]]:
        self.seeds.append([list(own) for own in seeds])
        self._see(batch)
        return [[self.reply.format(value) for value in own] for own in batch]

    def _see(self, batch: list[list[int]]) -> None:
        self.batches.append([own[0] for own in batch])
        for own in batch:
            if own[0] in self.errors:
                raise self.errors[own[0]]


def _last_image(question: Question) -> Image.Image:
    return [part for part in question.parts if not isinstance(part, str)][-1]


def run(spec: JudgeSpec, judge: Judge, rows: list[dict]) -> dict[str, dict]:
    """The score columns by item, run as score_lane.py does."""
    work = JudgeWork(spec, 0, [group_by_item(rows)], lambda: judge)
    with JournalSet(work.list_journals(), work.lane.writer) as journal:
        scored = run_lane(work, journal, StopRequest())
    return {row["item_id"]: scored[spec.key(row)] for row in rows}


def journaled(spec: JudgeSpec, rows: list[dict], editor: str = "e") -> list[str]:
    """The items that the journal has a score of."""
    finished = read_journal(spec.run_dir / f"journal/score/{editor}/j").rows
    return sorted(row["item_id"] for row in rows if spec.key(row) in finished)


def test_every_edit_gets_the_score_of_its_own_image(tmp_path: Path) -> None:
    rows = [make_row(n, tmp_path) for n in range(9)]
    found = run(make_spec(tmp_path), Judge(), rows)
    assert [found[f"项-{n:02}"]["mode_category"] for n in range(9)] == [str(n) for n in range(9)]
    assert found["项-00"]["score"] == 0
    assert all(new["state"] == "scored" for new in found.values())


def test_all_criteria_of_a_batch_are_asked_together(tmp_path: Path) -> None:
    judge = Judge()
    run(make_spec(tmp_path), judge, [make_row(n, tmp_path) for n in range(8)])
    assert judge.batches == [[0, 1, 2, 3], [4, 5, 6, 7]]


def cut(rows: list[dict[str, Any]], max_cost: int = 4, cost=lambda row: 1, wanted=lambda row: True, **options: Any):
    options |= {"category": lambda row: row["category"], "cost": cost, "max_cost": max_cost, "wanted": wanted}
    batches = cut_batches(rows, **options)
    return [[int(row["item_id"][-2:]) for row in batch] for batch in batches]


def test_batches_never_mix_categories_and_do_not_shift_when_some_are_done(tmp_path: Path) -> None:
    rows = [make_row(n, tmp_path, "物理" if n < 5 else "因果") for n in range(8)]
    assert cut(rows) == [[0, 1, 2, 3], [4], [5, 6, 7]]
    assert cut(rows, wanted=lambda row: row["item_id"] not in {"项-01", "项-04"}) == [[0, 2, 3], [5, 6, 7]]


def test_a_batch_costs_at_most_so_much_padding_counted(tmp_path: Path) -> None:
    """Edits of a size meet; a shorter one is padded to the longest of its batch and so weighs as much."""
    rows = [make_row(n, tmp_path) for n in range(8)]
    weights = [10, 90, 30, 10, 200, 40, 30, 10]
    found = cut(rows, 100, lambda row: weights[int(row["item_id"][-2:])])
    assert found == [[4], [1], [5, 2], [6, 0, 3], [7]]
    assert all(len(batch) == 1 or len(batch) * max(weights[n] for n in batch) <= 100 for batch in found)


def test_only_so_many_edits_are_sorted_together(tmp_path: Path) -> None:
    row = make_row(0, tmp_path)
    rows = [row | {"number": number} for number in range(WINDOW + 3)]
    batches = cut_batches(
        rows,
        category=lambda row: row["category"],
        cost=lambda row: 1 + row["number"],
        max_cost=10**9,
        wanted=lambda row: True,
    )
    numbers = [[row["number"] for row in batch] for batch in batches]
    assert numbers == [list(range(WINDOW))[::-1], [WINDOW + 2, WINDOW + 1, WINDOW]]


def test_the_cost_of_an_edit_is_that_of_all_its_questions(tmp_path: Path) -> None:
    class Scales:
        def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
            weighed.append((list(sizes), text))
            return len(weighed)

    row = make_row(0, tmp_path) | {"edited_width": 20, "edited_height": 30, "instruction": "把杯子移开"}
    weighed: list[Any] = []
    assert make_spec(tmp_path).batch_cost(Scales(), row) == 1
    ((sizes, text),) = weighed
    assert sizes == [(16, 16), (20, 30)]
    assert "judge" not in text.lower()  # nor the rubric, which a category shares
    assert "把杯子移开" in text and text.count("0 to 9") >= 2
    weighed.clear()
    viescore = make_spec(tmp_path, Path("resources/protocols/viescore.yaml"))
    assert viescore.batch_cost(Scales(), row | {"edited_width": None, "edited_height": None}) == 1
    assert [sizes for sizes, _ in weighed] == [[(16, 16), (16, 16), (16, 16)]]  # both images, and one of them again


def test_a_generated_reply_costs_its_whole_prompt_for_each_question(tmp_path: Path) -> None:
    class Scales:
        def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
            weighed.append((list(sizes), text))
            return 1

    weighed: list[Any] = []
    legacy, viescore = (Path(f"resources/protocols/{name}.yaml") for name in ("legacy", "viescore"))
    spec = make_spec(tmp_path, legacy)
    spec.batch_cost(Scales(), make_row(0, tmp_path))
    make_spec(tmp_path, viescore).batch_cost(Scales(), make_row(0, tmp_path))
    (_, text), (sizes, instructed) = weighed
    assert spec.protocol.system[:40] in text
    assert len(sizes) == 3 and "做 0" in instructed


def test_a_row_that_is_to_stand_alone_gets_a_batch_of_its_own(tmp_path: Path) -> None:
    rows = [make_row(n, tmp_path) for n in range(5)]
    assert cut(rows, alone=lambda row: row["item_id"] in {"项-01", "项-03"}) == [[0, 2], [1], [3], [4]]


@pytest.mark.parametrize("error", [JudgeFailed("no", kind="model"), OutOfMemory("full")])
def test_a_failing_edit_is_a_row_and_the_rest_of_its_batch_is_scored(tmp_path: Path, error: Exception) -> None:
    found = run(make_spec(tmp_path), Judge({2: error}), [make_row(n, tmp_path) for n in range(4)])
    states = [found[f"项-{n:02}"]["state"] for n in range(4)]
    assert states == ["scored", "scored", "judge_failed", "scored"]
    assert found["项-02"]["score"] is None
    assert found["项-02"]["error_kind"] == ("oom" if isinstance(error, OutOfMemory) else "model")


def test_a_control_without_a_score_is_no_failed_item(tmp_path: Path) -> None:
    """The report counts items; so does the terminal."""
    rows = [make_row(n, tmp_path) for n in range(3)]
    control = make_row(3, tmp_path) | {"control": "swapped", "repeat": 0, "other_item_id": None}
    work = JudgeWork(
        make_spec(tmp_path), 0, [rows, [control]], lambda: Judge({2: OutOfMemory("x"), 3: OutOfMemory("x")})
    )
    with JournalSet(work.list_journals(), "lane0") as journals:
        found = run_lane(work, journals, StopRequest())
    assert [row["state"] for row in found.values()].count("judge_failed") == 2
    (status,) = read_heartbeats(RunPaths(tmp_path))
    assert (status.total, status.done, status.failed) == (4, 4, 1)


def test_a_failed_question_about_the_same_edit_by_two_editors_is_two_failed_items(tmp_path: Path) -> None:
    """The report has a row for each; so the terminal counts both."""
    rows = [edit_by(editor, number, tmp_path) for editor in "甲乙" for number in (1, 2)]
    for _ in range(2):  # the second time, the failures are in the journal
        run(make_spec(tmp_path), Judge({2: OutOfMemory("x")}), rows)
        rows.append(edit_by("甲", 3, tmp_path))
    first, second = sorted(read_heartbeats(RunPaths(tmp_path)), key=lambda one: one.total)
    assert (first.total, first.failed) == (2, 2)
    assert (second.total, second.failed) == (3, 2)


def test_an_edited_image_that_is_gone_or_changed_is_not_judged(tmp_path: Path) -> None:
    rows = [make_row(n, tmp_path) for n in range(3)]
    (tmp_path / "edited0.png").unlink()
    (tmp_path / "edited1.png").write_bytes((tmp_path / "edited2.png").read_bytes())
    found = run(make_spec(tmp_path), Judge(), rows)
    ended = [(found[f"项-{n:02}"]["state"], found[f"项-{n:02}"]["error_kind"]) for n in range(3)]
    assert ended == [("judge_failed", "missing"), ("judge_failed", "changed"), ("scored", None)]


def test_before_what_a_process_died_on_all_others_are_saved(tmp_path: Path) -> None:
    """Another death is then its own."""
    spec, rows = make_spec(tmp_path), [make_row(n, tmp_path) for n in range(6)]
    saved: list[int] = []

    class Watching(Judge):
        def read_out(self, batch: list[list[int]], answers: Sequence[str]) -> list[list[Readout]]:
            saved.append(len(journaled(spec, rows)))
            return super().read_out(batch, answers)

    with Journal(tmp_path / "journal/score/e/j", "lane0") as journal:
        journal.begin([spec.key(rows[2])])
    judge = Watching(max_batch_cost=1)
    run(spec, judge, rows)
    assert judge.batches[-1] == [2]
    assert saved[-1] == 5
    assert all(before - 1 <= count for before, count in enumerate(saved)), "a batch runs far ahead of the journal"


def test_what_two_processes_died_on_is_asked_alone_and_after_three_is_a_row(tmp_path: Path) -> None:
    spec, rows = make_spec(tmp_path), [make_row(n, tmp_path) for n in range(4)]
    with Journal(tmp_path / "journal/score/e/j", "lane0") as journal:
        for number in (1, 1, 3, 3, 3):
            journal.begin([spec.key(rows[number])])
    judge = Judge()
    found = run(spec, judge, rows)
    assert judge.batches == [[0, 2], [1]]
    assert (found["项-03"]["state"], found["项-03"]["error_kind"]) == ("judge_failed", "crash")


def test_of_two_equal_questions_one_is_asked(tmp_path: Path) -> None:
    row, judge = make_row(1, tmp_path), Judge()
    found = run(make_spec(tmp_path), judge, [row, row | {"item_id": "项-99"}])
    assert judge.batches == [[1]]
    assert found["项-01"] == found["项-99"]


def edit_by(editor: str, number: int, run_dir: Path) -> dict[str, Any]:
    """The edit of an item by one of several editors; the edited image's red value is `number`."""
    name = f"edited by {editor} {number}.png"
    Image.new("RGB", (16, 16), (number, 0, 0)).save(run_dir / name)
    made = {"edited_path": name, "edited_sha256": file_sha256(run_dir / name)}
    return make_row(number % 10, run_dir) | made | {"editor": editor, "editor_key": f"key of {editor}"}


def test_the_edits_of_an_item_by_all_editors_meet_in_a_batch(tmp_path: Path) -> None:
    rows = [edit_by(editor, 10 * place + n, tmp_path) for place, editor in enumerate("甲乙丙", 1) for n in range(4)]
    judge = Judge(max_batch_cost=6)
    run(make_spec(tmp_path), judge, rows)
    assert judge.batches == [[10, 20, 30, 11, 21, 31], [12, 22, 32, 13, 23, 33]]
    items = [f"项-{n:02}" for n in range(4)]
    assert [journaled(make_spec(tmp_path), rows, editor) for editor in "甲乙丙"] == [items] * 3


def test_an_added_editor_is_judged_alone_and_by_its_own_settings(tmp_path: Path) -> None:
    first, second = ([edit_by(name, n + 10 * place, tmp_path) for n in range(3)] for place, name in enumerate("甲乙"))
    run(make_spec(tmp_path), Judge(), first)
    judge = Judge(max_batch_cost=6)
    run(make_spec(tmp_path), judge, [*second, *first])
    assert judge.batches == [[10, 11, 12]]
    beats = read_heartbeats(RunPaths(tmp_path))
    assert [(one.editor, one.editor_key, one.total, one.kept) for one in beats] == [
        (None, "key of 甲", 3, 0), (None, "key of 乙", 6, 3),
    ]  # fmt: skip


def test_the_edits_of_an_added_editor_fill_their_batches(tmp_path: Path) -> None:
    editors = "甲乙丙丁戊"
    rows = [[edit_by(name, 10 * place + n, tmp_path) for n in range(8)] for place, name in enumerate(editors, 1)]
    spec, judge = make_spec(tmp_path), Judge(max_batch_cost=4)
    run(spec, Judge(), [row for own in rows[:4] for row in own])
    run(spec, judge, [row for own in rows for row in own])
    assert [len(batch) for batch in judge.batches] == [4, 4]


def test_the_edits_of_an_item_stay_together_whatever_their_sizes(tmp_path: Path) -> None:
    class Sized(Judge):
        def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
            return max(width for width, _ in sizes)

    sizes = {"甲": 100, "乙": 400}
    rows = [
        edit_by(name, 10 * place + n, tmp_path) | {"edited_width": sizes[name] + n, "edited_height": 9}
        for place, name in enumerate(sizes, 1)
        for n in range(4)
    ]
    judge = Sized(max_batch_cost=2 * 403)
    run(make_spec(tmp_path), judge, rows)
    assert judge.batches == [[13, 23], [12, 22], [11, 21], [10, 20]]


def test_the_same_edit_by_two_editors_is_judged_once_and_is_in_both_journals(tmp_path: Path) -> None:
    spec, judge = make_spec(tmp_path), Judge()
    rows = [edit_by(editor, 1, tmp_path) for editor in "甲乙"]
    run(spec, judge, rows)
    run(spec, judge, [*rows, edit_by("丙", 1, tmp_path)])  # an editor that is added finds it, too
    assert judge.batches == [[1]]
    assert [journaled(spec, rows[:1], editor) for editor in "甲乙丙"] == [["项-01"]] * 3


def test_what_was_judged_is_saved_where_the_next_batch_ends_the_lane(tmp_path: Path) -> None:
    spec, rows = make_spec(tmp_path), [make_row(n, tmp_path) for n in range(3)]
    with pytest.raises(RuntimeError, match="device-side assert"):
        run(spec, Judge({2: RuntimeError("device-side assert")}, max_batch_cost=1), rows)
    assert journaled(spec, rows) == ["项-00", "项-01"]


def test_a_full_disk_ends_the_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Journal, rows: dict[str, Any]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "finish", full)
    with pytest.raises(OSError, match="No space left"):
        run(make_spec(tmp_path), Judge(), [make_row(0, tmp_path)])


def test_an_error_of_the_whole_device_ends_the_lane(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="device-side assert"):
        run(make_spec(tmp_path), Judge({1: RuntimeError("device-side assert")}), [make_row(1, tmp_path)])


def test_a_generated_protocol_reads_the_reply(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, Path("resources/protocols/legacy.yaml"))
    found = run(spec, Judge(), [make_row(3, tmp_path)])
    assert found["项-03"]["score"] == 3.5
    assert found["项-03"]["reply"] == "Score: 3.5"


def test_two_questions_fill_four_criteria(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, Path("resources/protocols/viescore.yaml"))
    judge = Judge(reply='{{"score": [{}, 9]}}')
    found = run(spec, judge, [make_row(n, tmp_path) for n in (4, 7)])
    assert judge.batches == [[4, 7]]
    new = found["项-07"]
    assert [new[f"score_{name}"] for name in spec.criteria] == [7, 9, 7, 9]
    assert new["score"] == 7
    row = spec.score_row(make_row(7, tmp_path) | {"unchanged": False}, new)
    assert (row["score_artefacts"], row["mode_artefacts"]) == (9, None)


def test_the_seed_of_a_reply_is_its_questions_alone(tmp_path: Path) -> None:
    """Neither neighbours nor order change it; another repeat and another question of the same edit do."""
    viescore = Path("resources/protocols/viescore.yaml")
    rows = [make_row(n, tmp_path) for n in range(3)] + [make_row(0, tmp_path) | {"item_id": "项-09", "repeat": 1}]
    whole, alone, halved = Judge(), Judge(max_batch_cost=1), Judge({1: JudgeFailed("no", kind="model")})
    for name, judge, chosen in (("whole", whole, rows), ("alone", alone, rows[::-1]), ("halved", halved, rows)):
        run(make_spec(tmp_path, viescore, judge=name), judge, chosen)
    (seeds,) = whole.seeds
    assert len({seed for own in seeds for seed in own}) == 8 and min(map(min, seeds)) >= 0
    assert alone.seeds == [[own] for own in seeds[::-1]]
    assert halved.seeds[-1] == seeds[2:]


def test_an_item_without_an_edit_hands_its_state_on(tmp_path: Path) -> None:
    row = make_row(0, tmp_path) | {"state": "edit_refused", "error_kind": "refused", "error": "unsafe"}
    new = make_spec(tmp_path).score_row(row, None)
    assert (new["state"], new["error_kind"], new["error"], new["score"]) == ("edit_refused", "refused", "unsafe", None)


def test_the_key_holds_the_text_of_its_own_category_only(tmp_path: Path) -> None:
    row = make_row(0, tmp_path)
    data = yaml.safe_load(RUBRIC.read_text(encoding="utf-8"))

    def key(changed: dict[str, Any], **edit: Any) -> str:
        path = tmp_path / "p.yaml"
        path.write_text(yaml.safe_dump(data | changed, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return make_spec(tmp_path, path).key(row | edit)

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
        make_spec(tmp_path, identity={"adapter": "y"}).key(row),
        make_spec(tmp_path, criteria=("category",)).key(row),
    }
    assert len(different) == 9


def test_references_are_shown_and_part_of_the_key_only_where_an_item_has_them(tmp_path: Path) -> None:
    spec, row = make_spec(tmp_path), make_row(5, tmp_path)
    Image.new("RGB", (16, 16), (77, 0, 0)).save(tmp_path / "帽子.png")
    reference = {"path": "帽子.png", "sha256": file_sha256(tmp_path / "帽子.png"), "width": 16, "height": 16}
    several = row | {"references": [reference]}
    shown = [[part for part in one.parts if not isinstance(part, str)] for one in spec.questions(several).values()]
    assert [[image.getpixel((0, 0))[0] for image in images] for images in shown] == [[9, 77, 5]] * len(shown)
    without = {name: value for name, value in row.items() if name != "references"}
    assert spec.key(row) == spec.key(without) != spec.key(several)
    assert run(spec, Judge(), [several])["项-05"]["state"] == "scored"
    (tmp_path / "帽子.png").write_bytes(b"")
    changed = run(make_spec(tmp_path, judge="other"), Judge(), [several])["项-05"]
    assert (changed["state"], changed["error_kind"]) == ("judge_failed", "changed")
    assert changed["error"].startswith("image 2 of the item: ")
