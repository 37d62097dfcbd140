"""The lane loop around an editor: order of work, rows for failures, what the journal gives back."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from editlane.core import schemas, tables
from editlane.core.errors import EditFailed, EditRefused, OutOfMemory, Stopped, UserError
from editlane.core.types import Edit, EditRequest, Item, Reference, RunsOn
from editlane.editors.given import GivenEditor, GivenParams
from editlane.images.files import file_sha256
from editlane.images.unchanged import RULE
from editlane.lanes import editor_spec
from editlane.lanes.editing import EditWork
from editlane.lanes.editor_spec import EditorSpec
from editlane.lanes.journal import Journal, read_journal
from editlane.lanes.runner import run_lane
from editlane.lanes.stopping import StopRequest


def make_item(number: int, run_dir: Path, *, readable: bool = True) -> Item:
    path = run_dir / f"sources/{number}.png"
    path.parent.mkdir(exist_ok=True)
    if readable:
        Image.new("RGB", (20, 10), (number, 0, 0)).save(path)
    else:
        path.write_bytes(b"broken")
    return Item(
        item_id=f"项-{number}",
        category="物理",
        instruction=f"做 {number}",
        language="zh",
        source_path=f"sources/{number}.png",
        source_sha256=file_sha256(path),
        width=20,
        height=10,
        cost=1.0,
    )


def make_spec(run_dir: Path, **changed: object) -> EditorSpec:
    settings = {"editor": "e", "identity": {"adapter": "x"}, "editor_key": "k", "run_dir": run_dir, "seed": 42}
    return EditorSpec(**settings | changed)  # type: ignore[arg-type]


class Editor:
    """Inverts; `plan` maps an instruction to the errors of its attempts."""

    RUNS_ON = RunsOn.NOTHING

    def __init__(self, plan: dict[str, list[BaseException]] | None = None) -> None:
        self.plan = plan or {}
        self.requests: list[EditRequest] = []

    def edit(self, request: EditRequest) -> Edit:
        self.requests.append(request)
        request.on_step(1, 1)
        errors = self.plan.get(request.item.instruction, [])
        if errors:
            raise errors.pop(0)
        return Edit(
            image=Image.eval(request.source, lambda value: 255 - value), requested_size=(20, 10), prompt_truncated=True
        )


def run(spec: EditorSpec, editor: Editor, items: list[Item], stop: StopRequest | None = None) -> dict[str, dict]:
    """The rows of a lane by item, run as edit_lane.py does."""
    work = EditWork(spec, 0, items, lambda: editor)
    with Journal(work.paths.journal("e"), work.lane.writer, work.wanted.keys()) as journal:
        rows = run_lane(work, journal, stop or StopRequest())
    return {item.item_id: rows[spec.key(item)] for item in items}


def journaled(spec: EditorSpec, items: list[Item]) -> list[str]:
    """The items that the journal has, in the order of the dataset."""
    rows = read_journal(spec.run_dir / "journal/edit/e").rows
    return [item.item_id for item in items if spec.key(item) in rows]


def test_an_edit_becomes_an_image_and_a_row(tmp_path: Path) -> None:
    spec, item = make_spec(tmp_path), make_item(7, tmp_path)
    row = run(spec, Editor(), [item])["项-7"]
    assert row["state"] == "edited"
    assert row["prompt_truncated"] is True
    assert row["edited_path"] == "e/images/物理/项-7.png"
    assert Image.open(tmp_path / row["edited_path"]).getpixel((0, 0)) == (248, 255, 255)
    assert row["edited_sha256"] == file_sha256(tmp_path / row["edited_path"])
    assert (row["requested_width"], row["edited_width"], row["edited_height"]) == (20, 20, 10)
    assert (row["unchanged"], row["unchanged_rule"]) == (False, RULE)
    assert row["tiled_vae"] is False


def test_every_failure_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    items = [make_item(n, tmp_path, readable=n != 2) for n in range(5)]
    editor = Editor({"做 1": [EditFailed("no\nluck", kind="nonfinite")], "做 3": [EditRefused("unsafe")]})
    rows = run(make_spec(tmp_path), editor, items)
    ended = {item: (row["state"], row["error_kind"]) for item, row in rows.items()}
    assert ended == {
        "项-0": ("edited", None),
        "项-1": ("edit_failed", "nonfinite"),
        "项-2": ("source_unreadable", "decode"),
        "项-3": ("edit_refused", "refused"),
        "项-4": ("edited", None),
    }
    assert rows["项-1"]["error"] == "no luck"
    assert rows["项-1"]["edited_path"] is None


def with_references(item: Item, run_dir: Path, *numbers: int) -> Item:
    others = [make_item(number, run_dir, readable=number != 99) for number in numbers]
    found = (Reference(path=one.source_path, sha256=one.source_sha256, width=20, height=10) for one in others)
    return replace(item, references=tuple(found))


def test_the_further_images_of_an_item_are_handed_on_in_its_order(tmp_path: Path) -> None:
    spec, editor, item = make_spec(tmp_path), Editor(), make_item(7, tmp_path)
    rows = run(spec, editor, [with_references(item, tmp_path, 9, 8)])
    (request,) = editor.requests
    assert [image.getpixel((0, 0))[0] for image in (request.source, *request.references)] == [7, 9, 8]
    assert rows["项-7"]["unchanged"] is False, "the edit is compared with the source"


def test_an_unreadable_reference_fails_its_item_and_says_which_one_it_is(tmp_path: Path) -> None:
    items = [with_references(make_item(1, tmp_path), tmp_path, 3, 99), make_item(2, tmp_path)]
    rows = run(make_spec(tmp_path), Editor(), items)
    assert (rows["项-1"]["state"], rows["项-1"]["error_kind"]) == ("source_unreadable", "decode")
    assert rows["项-1"]["error"].startswith("image 3 of the item: ")
    assert rows["项-2"]["state"] == "edited"


def test_only_references_that_are_there_are_part_of_a_key(tmp_path: Path) -> None:
    spec, item = make_spec(tmp_path), make_item(7, tmp_path)
    keys = [spec.key(with_references(item, tmp_path, *numbers)) for numbers in ((), (8,), (8, 9), (9, 8))]
    assert keys[0] == spec.key(item)
    assert len(set(keys)) == 4
    moved = with_references(item, tmp_path, 8)
    assert spec.key(replace(moved, references=(replace(moved.references[0], path="elsewhere.png"),))) == keys[1]


def test_out_of_memory_is_tried_once_more_with_a_tiled_vae(tmp_path: Path) -> None:
    items = [make_item(n, tmp_path) for n in range(3)]
    editor = Editor({"做 0": [OutOfMemory("full")], "做 1": [OutOfMemory("full"), OutOfMemory("still full")]})
    rows = run(make_spec(tmp_path), editor, items)
    assert [request.tiled_vae for request in editor.requests] == [False, True, False, True, False]
    assert (rows["项-0"]["state"], rows["项-0"]["tiled_vae"]) == ("edited", True)
    failed = rows["项-1"]
    assert (failed["state"], failed["error_kind"], failed["error"]) == ("edit_failed", "oom", "still full")
    assert (rows["项-2"]["state"], rows["项-2"]["tiled_vae"]) == ("edited", False)


def test_an_error_of_the_whole_device_ends_the_lane_and_keeps_what_was_finished(tmp_path: Path) -> None:
    spec, items = make_spec(tmp_path), [make_item(n, tmp_path) for n in range(4)]
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run(spec, Editor({"做 2": [RuntimeError("illegal memory access")]}), items)
    assert journaled(spec, items) == ["项-0", "项-1"]
    editor = Editor()
    run(spec, editor, items)
    assert [request.item.item_id for request in editor.requests] == ["项-3", "项-2"], "the deadly one comes last"


def test_a_lane_that_is_told_to_stop_finishes_its_item_first(tmp_path: Path) -> None:
    items = [make_item(n, tmp_path) for n in range(6)]
    editor = Editor()

    class AfterTwo(StopRequest):
        def check(self) -> None:
            if len(editor.requests) == 2:
                self.ask("told to")
            super().check()

    with pytest.raises(Stopped):
        run(make_spec(tmp_path), editor, items, AfterTwo())
    assert sorted(path.name for path in (tmp_path / "e/images/物理").iterdir()) == ["项-0.png", "项-1.png"]


def test_a_source_that_is_gone_or_changed_is_not_edited(tmp_path: Path) -> None:
    items = [make_item(n, tmp_path) for n in range(3)]
    (tmp_path / "sources/0.png").unlink()
    (tmp_path / "sources/1.png").write_bytes((tmp_path / "sources/2.png").read_bytes())
    editor = Editor()
    rows = run(make_spec(tmp_path), editor, items)
    ended = [(rows[item.item_id]["state"], rows[item.item_id]["error_kind"]) for item in items]
    assert ended == [("source_unreadable", "missing"), ("source_unreadable", "changed"), ("edited", None)]
    assert len(editor.requests) == 1


def test_before_a_deadly_item_all_others_are_saved(tmp_path: Path) -> None:
    """Another death is then its own."""
    spec, items = make_spec(tmp_path), [make_item(n, tmp_path) for n in range(4)]
    seen: dict[str, list[str]] = {}

    class Watching(Editor):
        def edit(self, request: EditRequest) -> Edit:
            seen[request.item.item_id] = journaled(spec, items)
            return super().edit(request)

    with Journal(tmp_path / "journal/edit/e", "lane0") as journal:
        journal.begin([spec.key(items[0])])  # a process died on it
    run(spec, Watching(), items)
    assert seen["项-0"] == ["项-1", "项-2", "项-3"]


def test_an_item_on_which_three_processes_died_is_a_row_and_never_tried(tmp_path: Path) -> None:
    spec, items = make_spec(tmp_path), [make_item(n, tmp_path) for n in range(2)]
    with Journal(tmp_path / "journal/edit/e", "lane0") as journal:
        for _ in range(3):
            journal.begin([spec.key(items[1])])
    editor = Editor()
    rows = run(spec, editor, items)
    assert (rows["项-1"]["state"], rows["项-1"]["error_kind"]) == ("edit_failed", "crash")
    assert [request.item.item_id for request in editor.requests] == ["项-0"]


def test_a_full_disk_ends_the_lane_instead_of_losing_the_edit(tmp_path: Path) -> None:
    (tmp_path / "e/images").mkdir(parents=True)
    (tmp_path / "e/images/物理").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="物理"):
        run(make_spec(tmp_path), Editor(), [make_item(0, tmp_path)])


def test_saving_happens_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second item reaches the model while the first is still being saved."""
    second_started = threading.Event()
    seen = []

    def slow_save(image: Image.Image, path: Path) -> str:
        seen.append(second_started.wait(timeout=10))
        return "0" * 64

    class Watched(Editor):
        def edit(self, request: EditRequest) -> Edit:
            if request.item.item_id == "项-1":
                second_started.set()
            return super().edit(request)

    monkeypatch.setattr("editlane.lanes.editing.save_png", slow_save)
    run(make_spec(tmp_path), Watched(), [make_item(n, tmp_path) for n in range(2)])
    assert seen == [True, True]


def test_the_seed_comes_from_the_item_and_the_run(tmp_path: Path) -> None:
    spec, items = make_spec(tmp_path), [make_item(n, tmp_path) for n in range(2)]
    seeds = [spec.item_seed(item) for item in items]
    assert seeds[0] != seeds[1]
    assert seeds == [make_spec(tmp_path, editor="other").item_seed(item) for item in items]
    assert seeds[0] != make_spec(tmp_path, seed=43).item_seed(items[0])
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_the_key_changes_with_all_that_the_edit_depends_on(tmp_path: Path) -> None:
    from dataclasses import replace

    spec, item = make_spec(tmp_path), make_item(0, tmp_path)
    keys = {
        spec.key(item),
        spec.key(replace(item, instruction="别的")),
        spec.key(replace(item, source_sha256="0" * 64)),
        spec.key(replace(item, item_id="other")),  # its seed
        make_spec(tmp_path, seed=1).key(item),
        make_spec(tmp_path, identity={"adapter": "y"}).key(item),
    }
    assert len(keys) == 6
    assert spec.key(replace(item, description="a", tags=("b",), category="因果", cost=9.0)) == spec.key(item)


def test_what_the_journal_gives_back_is_checked_against_the_image(tmp_path: Path) -> None:
    from dataclasses import replace

    spec, item = make_spec(tmp_path), make_item(0, tmp_path)
    row = run(spec, Editor(), [item])[item.item_id]
    done = {spec.key(item): row}
    assert spec.find_kept(item, done) == row
    moved = replace(item, category="因果")
    assert spec.find_kept(moved, done) == row | {"edited_path": "e/images/因果/项-0.png"}
    assert file_sha256(tmp_path / "e/images/因果/项-0.png") == row["edited_sha256"]
    (tmp_path / row["edited_path"]).write_bytes(b"other")
    (tmp_path / "e/images/因果/项-0.png").unlink()
    assert spec.find_kept(item, done) is None
    failed = row | {"state": "edit_failed", "edited_sha256": None, "edited_path": None}
    assert spec.find_kept(item, {spec.key(item): failed}) == failed


@pytest.mark.parametrize("answer", [True, False, None])
def test_what_an_older_rule_called_unchanged_is_compared_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bool | None
) -> None:
    spec, item = make_spec(tmp_path), make_item(0, tmp_path)
    row = run(spec, Editor(), [item])[item.item_id]
    compared: list[tuple[Image.Image, Image.Image]] = []
    monkeypatch.setattr(editor_spec, "is_unchanged", lambda *images: compared.append(images) or answer)

    def keep(row: dict[str, object]) -> dict[str, object] | None:
        return spec.find_kept(item, {spec.key(item): row})

    old = {name: value for name, value in row.items() if name != "unchanged_rule"}
    assert keep(old | {"unchanged": True}) == row | {"unchanged": answer}
    assert [image.getpixel((0, 0)) for image in compared[0]] == [(0, 0, 0), (255, 255, 255)], "source and edit"
    for other in (False, None):
        assert keep(old | {"unchanged": other}) == old | {"unchanged": other}
    assert keep(row | {"unchanged": True}) == row | {"unchanged": True}
    assert len(compared) == 1
    (tmp_path / item.source_path).unlink()
    assert keep(old | {"unchanged": True}) == old | {"unchanged": True}, "still without the number of today's rule"


def given_spec(run_dir: Path, **params: str) -> EditorSpec:
    return EditorSpec.of(run_dir, "e", 42, {"adapter": "given", "model": None, "revision": None, "params": params})


def give(run_dir: Path, items: list[Item], colours: dict[str, str | None]) -> None:
    """Write the table of given edits: editor -> the colour of its edits; None: it lacks those of all but one item."""
    rows = []
    for editor, colour in colours.items():
        for place, item in enumerate(items):
            path = f"sources/{editor}-{place}.png"
            Image.new("RGB", (20, 10), colour or "lime").save(run_dir / path)
            there = (path, file_sha256(run_dir / path)) if colour or place == 0 else (None, None)
            rows.append({"editor": editor, "item_id": item.item_id, "given_path": there[0], "given_sha256": there[1]})
    tables.write_table(run_dir / "given.parquet", rows, schemas.GIVEN)


def test_an_editor_with_a_folder_takes_its_own_edits(tmp_path: Path) -> None:
    items = [make_item(number, tmp_path) for number in range(3)]
    spec = given_spec(tmp_path, dir="edits/甲")
    give(tmp_path, items, {"other": "red", "e": None})
    assert given_spec(tmp_path).give_edits(items) == items
    own = list(spec.give_edits(items))
    rows = run(spec, GivenEditor(model=None, revision=None, params=GivenParams(dir="edits/甲")), own)
    assert [rows[item.item_id]["state"] for item in items] == ["edited", "edit_failed", "edit_failed"]
    assert {rows[item.item_id]["error_kind"] for item in items[1:]} == {"missing"}
    assert Image.open(tmp_path / rows["项-0"]["edited_path"]).getpixel((0, 0)) == (0, 255, 0)
    assert [item.given_path for item in own] == ["sources/e-0.png", None, None]


def test_the_key_of_a_given_edit_holds_its_content_and_no_folder(tmp_path: Path) -> None:
    items = [make_item(0, tmp_path)]
    keys = []
    for folder, colour in (("edits/甲", "red"), ("/moved/edits", "red"), ("edits/甲", "blue")):
        give(tmp_path, items, {"e": colour})
        spec = given_spec(tmp_path, dir=folder)
        keys.append(spec.key(*spec.give_edits(items)))
    assert keys[0] == keys[1] != keys[2]
    assert given_spec(tmp_path, dir="x").identity == given_spec(tmp_path).identity, "as with dataset.edited_dir"


def test_the_provenance_names_the_folder_and_not_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "甲").mkdir()
    options = {"adapter": "given", "model": None, "revision": None, "params": {"dir": str(tmp_path / "甲")}}
    spec = EditorSpec.of(tmp_path, "e", 42, options)
    assert spec.describe(options)["e"]["params"] == {"dir": "甲"}


@pytest.mark.parametrize("editor", ["other", "e"])
def test_a_table_of_given_edits_of_other_items_is_refused(tmp_path: Path, editor: str) -> None:
    items = [make_item(number, tmp_path) for number in range(2)]
    give(tmp_path, items[:1], {editor: "red"})
    with pytest.raises(UserError, match=r"does not know the item 项-1 of the editor e, .*Delete it and run"):
        given_spec(tmp_path, dir="edits").give_edits(items[1:])
    assert given_spec(tmp_path, dir="edits").give_edits_if_prepared(items) == []
    (tmp_path / "given.parquet").unlink()
    with pytest.raises(UserError, match="There is no table"):
        given_spec(tmp_path, dir="edits").give_edits(items)
    assert given_spec(tmp_path, dir="edits").give_edits_if_prepared(items) == []
    assert given_spec(tmp_path).give_edits_if_prepared(items) == items
