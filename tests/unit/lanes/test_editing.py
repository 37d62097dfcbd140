"""The lane loop around an editor: order of work, rows for failures, what the journal gives back."""

import threading
from pathlib import Path

import pytest
from PIL import Image

from editlane.core.errors import EditFailed, EditRefused, OutOfMemory, Stopped
from editlane.core.types import Edit, EditRequest, Item
from editlane.images.files import file_sha256
from editlane.lanes.editing import EditLane, edit_items
from editlane.lanes.heartbeat import Heartbeat


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


def make_lane(run_dir: Path, **changed: object) -> EditLane:
    settings = {"editor": "e", "identity": {"adapter": "x"}, "editor_key": "k", "run_dir": run_dir, "seed": 42}
    return EditLane(**settings | changed)  # type: ignore[arg-type]


class Editor:
    """Inverts; `plan` maps an instruction to the errors of its attempts."""

    def __init__(self, plan: dict[str, list[BaseException]] | None = None) -> None:
        self.plan = plan or {}
        self.requests: list[EditRequest] = []

    def edit(self, request: EditRequest) -> Edit:
        self.requests.append(request)
        request.on_step(1, 1)
        errors = self.plan.get(request.item.instruction, [])
        if errors:
            raise errors.pop(0)
        return Edit(image=Image.eval(request.source, lambda value: 255 - value), requested_size=(20, 10))


def run(lane: EditLane, editor: Editor, items: list[Item], check=lambda: None) -> dict[str, dict]:
    rows: dict[str, dict] = {}
    heartbeat = Heartbeat(lane.run_dir, stage="edit", editor="e", lane=0, total=len(items), kept=0)
    edit_items(
        lane, editor, items, device="cpu", check=check, heartbeat=heartbeat,
        begin=lambda item: None, died=lambda item: False,
        finished=lambda item, row: rows.update({item.item_id: row}),
    )  # fmt: skip
    return rows


def test_an_edit_becomes_an_image_and_a_row(tmp_path: Path) -> None:
    lane, item = make_lane(tmp_path), make_item(7, tmp_path)
    row = run(lane, Editor(), [item])["项-7"]
    assert row["state"] == "edited"
    assert row["edited_path"] == "e/images/物理/项-7.png"
    assert Image.open(tmp_path / row["edited_path"]).getpixel((0, 0)) == (248, 255, 255)
    assert row["edited_sha256"] == file_sha256(tmp_path / row["edited_path"])
    assert (row["requested_width"], row["edited_width"], row["edited_height"]) == (20, 20, 10)
    assert row["unchanged"] is False
    assert row["tiled_vae"] is False


def test_every_failure_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    items = [make_item(n, tmp_path, readable=n != 2) for n in range(5)]
    editor = Editor({"做 1": [EditFailed("no\nluck", kind="nonfinite")], "做 3": [EditRefused("unsafe")]})
    rows = run(make_lane(tmp_path), editor, items)
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


def test_out_of_memory_is_tried_once_more_with_a_tiled_vae(tmp_path: Path) -> None:
    items = [make_item(n, tmp_path) for n in range(3)]
    editor = Editor({"做 0": [OutOfMemory("full")], "做 1": [OutOfMemory("full"), OutOfMemory("still full")]})
    rows = run(make_lane(tmp_path), editor, items)
    assert [request.tiled_vae for request in editor.requests] == [False, True, False, True, False]
    assert (rows["项-0"]["state"], rows["项-0"]["tiled_vae"]) == ("edited", True)
    failed = rows["项-1"]
    assert (failed["state"], failed["error_kind"], failed["error"]) == ("edit_failed", "oom", "still full")
    assert (rows["项-2"]["state"], rows["项-2"]["tiled_vae"]) == ("edited", False)


def test_an_error_of_the_whole_device_ends_the_lane_and_keeps_what_was_finished(tmp_path: Path) -> None:
    items = [make_item(n, tmp_path) for n in range(4)]
    rows: dict[str, dict] = {}
    heartbeat = Heartbeat(tmp_path, stage="edit", editor="e", lane=0, total=4, kept=0)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        edit_items(
            make_lane(tmp_path), Editor({"做 2": [RuntimeError("illegal memory access")]}), items, device="cpu",
            check=lambda: None, heartbeat=heartbeat, begin=lambda item: None, died=lambda item: False,
            finished=lambda item, row: rows.update({item.item_id: row}),
        )  # fmt: skip
    assert list(rows) == ["项-0", "项-1"]


def test_a_lane_that_is_told_to_stop_finishes_its_item_first(tmp_path: Path) -> None:
    items = [make_item(n, tmp_path) for n in range(6)]
    editor = Editor()

    def check() -> None:
        if len(editor.requests) == 2:
            raise Stopped("told to")

    with pytest.raises(Stopped):
        run(make_lane(tmp_path), editor, items, check)
    assert sorted(path.name for path in (tmp_path / "e/images/物理").iterdir()) == ["项-0.png", "项-1.png"]


def test_a_source_that_is_gone_or_changed_is_not_edited(tmp_path: Path) -> None:
    items = [make_item(n, tmp_path) for n in range(3)]
    (tmp_path / "sources/0.png").unlink()
    (tmp_path / "sources/1.png").write_bytes((tmp_path / "sources/2.png").read_bytes())
    editor = Editor()
    rows = run(make_lane(tmp_path), editor, items)
    ended = [(rows[item.item_id]["state"], rows[item.item_id]["error_kind"]) for item in items]
    assert ended == [("source_unreadable", "missing"), ("source_unreadable", "changed"), ("edited", None)]
    assert len(editor.requests) == 1


def test_before_a_deadly_item_all_others_are_saved(tmp_path: Path) -> None:
    items = [make_item(n, tmp_path) for n in range(4)]
    saved: list[str] = []
    seen: dict[str, list[str]] = {}
    heartbeat = Heartbeat(tmp_path, stage="edit", editor="e", lane=0, total=4, kept=0)
    edit_items(
        make_lane(tmp_path), Editor(), items, device="cpu", check=lambda: None, heartbeat=heartbeat,
        begin=lambda item: seen.update({item.item_id: list(saved)}), died=lambda item: item.item_id == "项-3",
        finished=lambda item, row: saved.append(item.item_id),
    )  # fmt: skip
    assert seen["项-3"] == ["项-0", "项-1", "项-2"]


def test_a_full_disk_ends_the_lane_instead_of_losing_the_edit(tmp_path: Path) -> None:
    (tmp_path / "e/images").mkdir(parents=True)
    (tmp_path / "e/images/物理").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="物理"):
        run(make_lane(tmp_path), Editor(), [make_item(0, tmp_path)])


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
    run(make_lane(tmp_path), Watched(), [make_item(n, tmp_path) for n in range(2)])
    assert seen == [True, True]


def test_the_seed_comes_from_the_item_and_the_run(tmp_path: Path) -> None:
    lane, items = make_lane(tmp_path), [make_item(n, tmp_path) for n in range(2)]
    seeds = [lane.item_seed(item) for item in items]
    assert seeds[0] != seeds[1]
    assert seeds == [make_lane(tmp_path, editor="other").item_seed(item) for item in items]
    assert seeds[0] != make_lane(tmp_path, seed=43).item_seed(items[0])
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_the_key_changes_with_all_that_the_edit_depends_on(tmp_path: Path) -> None:
    from dataclasses import replace

    lane, item = make_lane(tmp_path), make_item(0, tmp_path)
    keys = {
        lane.key(item),
        lane.key(replace(item, instruction="别的")),
        lane.key(replace(item, source_sha256="0" * 64)),
        lane.key(replace(item, item_id="other")),  # its seed
        make_lane(tmp_path, seed=1).key(item),
        make_lane(tmp_path, identity={"adapter": "y"}).key(item),
    }
    assert len(keys) == 6
    assert lane.key(replace(item, description="a", tags=("b",), category="因果", cost=9.0)) == lane.key(item)


def test_what_the_journal_gives_back_is_checked_against_the_image(tmp_path: Path) -> None:
    from dataclasses import replace

    lane, item = make_lane(tmp_path), make_item(0, tmp_path)
    row = run(lane, Editor(), [item])[item.item_id]
    done = {lane.key(item): row}
    assert lane.kept(item, done) == row
    moved = replace(item, category="因果")
    assert lane.kept(moved, done) == row | {"edited_path": "e/images/因果/项-0.png"}
    assert file_sha256(tmp_path / "e/images/因果/项-0.png") == row["edited_sha256"]
    (tmp_path / row["edited_path"]).write_bytes(b"other")
    (tmp_path / "e/images/因果/项-0.png").unlink()
    assert lane.kept(item, done) is None
    failed = row | {"state": "edit_failed", "edited_sha256": None, "edited_path": None}
    assert lane.kept(item, {lane.key(item): failed}) == failed
