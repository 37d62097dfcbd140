"""Items of several turns: each edits the result of the one before, and the last edit is the item's."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image

from editlane.core.errors import EditFailed, OutOfMemory
from editlane.core.types import Edit, EditRequest, Item, RunsOn
from editlane.images.files import file_sha256
from editlane.lanes.editing import EditorSpec, EditWork
from editlane.lanes.journal import Journal
from editlane.lanes.runner import run_lane
from editlane.lanes.stopping import StopRequest
from editlane.lanes.turns import derive_seed, edit_in_turns

TURNS = ("戴上帽子", "换成绿色", "撤销上一步")


@pytest.fixture
def item(tmp_path: Path) -> Item:
    Image.new("RGB", (20, 10), (1, 0, 0)).save(tmp_path / "图.png")
    return Item(
        item_id="三轮", category="指代", instruction="共 3 轮", language="zh", source_path="图.png",
        source_sha256=file_sha256(tmp_path / "图.png"), width=20, height=10, cost=1.0, turns=TURNS,
    )  # fmt: skip


@dataclass
class Adder:
    """Adds 1 to the red of its source; `errors` maps a text to what its first call raises."""

    RUNS_ON = RunsOn.NOTHING

    errors: dict[str, Exception] = field(default_factory=dict)
    cut: dict[str, bool | None] = field(default_factory=dict)
    mode: str = "RGB"
    seen: list[tuple[str, int, int]] = field(default_factory=list)

    def edit(self, request: EditRequest) -> Edit:
        request.on_step(1, 2)
        request.on_step(2, 2)
        red = request.source.getpixel((0, 0))[0]
        self.seen.append((request.item.instruction, red, request.seed))
        if error := self.errors.pop(request.item.instruction, None):
            raise error
        made = Image.new("RGB", request.source.size, (red + 1, 0, 0)).convert(self.mode)
        return Edit(image=made, prompt_truncated=self.cut.get(request.item.instruction, False))


def make_request(item: Item, steps: list[tuple[int, int]] | None = None) -> EditRequest:
    told = [] if steps is None else steps
    source = Image.new("RGB", (20, 10), (1, 0, 0))
    return EditRequest(item=item, source=source, given=None, seed=7, on_step=lambda *step: told.append(step))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_each_turn_gets_its_own_text_and_seed_and_the_edit_before(item: Item, mode: str) -> None:
    editor, steps = Adder(mode=mode), list[tuple[int, int]]()
    edit = edit_in_turns(editor, make_request(item, steps))
    assert [(text, red) for text, red, _ in editor.seen] == list(zip(TURNS, (1, 2, 3), strict=True))
    seeds = [seed for *_, seed in editor.seen]
    assert seeds == [derive_seed(7, turn) for turn in (1, 2, 3)] and seeds[0] == 7 and len(set(seeds)) == 3
    assert (edit.image.mode, edit.image.getpixel((0, 0))[0]) == (mode, 4)
    assert steps == [(1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]


@pytest.mark.parametrize(
    ("cut", "expected"), [({}, False), ({TURNS[0]: True, TURNS[1]: None}, True), ({TURNS[1]: None}, None)]
)
def test_a_cut_prompt_of_any_turn_is_told(item: Item, cut: dict[str, bool | None], expected: bool | None) -> None:
    assert edit_in_turns(Adder(cut=cut), make_request(item)).prompt_truncated is expected


def make_spec(run_dir: Path) -> EditorSpec:
    return EditorSpec(editor="e", identity={"adapter": "x"}, editor_key="k", run_dir=run_dir, seed=42)


def run(run_dir: Path, editor: Adder, item: Item) -> dict:
    spec = make_spec(run_dir)
    work = EditWork(spec, 0, [item], lambda: editor)  # type: ignore[arg-type, return-value]
    with Journal(work.paths.journal("e"), work.lane.writer, work.wanted.keys()) as journal:
        return run_lane(work, journal, StopRequest())[spec.key(item)]


def test_a_failed_turn_fails_the_item_and_says_which_one_it_was(item: Item, tmp_path: Path) -> None:
    editor = Adder({TURNS[1]: EditFailed("no luck", kind="nonfinite")})
    row = run(tmp_path, editor, item)
    assert (row["state"], row["error_kind"], row["error"]) == ("edit_failed", "nonfinite", "turn 2 of 3: no luck")
    assert [text for text, *_ in editor.seen] == list(TURNS[:2])
    assert row["edited_path"] is None


def test_out_of_memory_in_a_turn_begins_the_item_again(item: Item, tmp_path: Path) -> None:
    editor = Adder({TURNS[1]: OutOfMemory("full")})
    row = run(tmp_path, editor, item)
    assert (row["state"], row["tiled_vae"]) == ("edited", True)
    assert [text for text, *_ in editor.seen] == [*TURNS[:2], *TURNS]
    assert Image.open(tmp_path / row["edited_path"]).getpixel((0, 0)) == (4, 0, 0)


def test_only_turns_that_are_there_are_part_of_a_key(item: Item, tmp_path: Path) -> None:
    spec, plain = make_spec(tmp_path), replace(item, turns=())
    assert len({spec.key(plain), spec.key(item), spec.key(replace(item, turns=TURNS[::-1]))}) == 3
