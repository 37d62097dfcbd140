"""The edits of the worked example: drawn without a model, the same each time, and as different as their editors."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editlane.core.errors import JudgeFailed, UserError
from editlane.core.types import Question
from editlane.datasets.gallery_demo import ASKED, draw_record, draw_steps, get_instruction, read_gallery_list
from editlane.datasets.gallery_drawing import DRAW, make_mask, to_image, to_pixels
from editlane.images.files import open_image
from editlane.judges.fake_comparison import fingerprint_references, rate_by_reference
from editlane.models.fake_signals import name_reference

ROOT = Path(__file__).parents[3]
LIST = ROOT / "resources/demo/gallery.jsonl"
EVERYWHERE = [["box", 0, 0, 1, 1]]
SETTINGS = {
    "lamp": {"x": 0.5, "y": 0.5},
    "steam": {"region": EVERYWHERE},
    "recolour": {"region": EVERYWHERE, "hues": [0.95, 0.05], "to": "#2060c0"},
    "tint": {"region": EVERYWHERE, "colour": "#c0a020"},
    "erase": {"region": [["ellipse", 0.3, 0.3, 0.6, 0.6]]},
    "glow": {"x": 0.5, "y": 0.5, "radius": 0.3},
    "paint": {"region": [["polygon", 0, 0, 0.5, 0, 0.5, 0.5]], "colour": "white", "shade": 0.4},
}


@pytest.fixture
def source() -> Image.Image:
    """A red disc on a grey slope."""
    image = Image.fromarray(np.tile(np.linspace(60, 200, 64, dtype=np.uint8)[None, :, None], (48, 1, 3)))
    image.paste((200, 30, 30), (24, 18, 34, 28))
    return image


@pytest.mark.parametrize("name", DRAW)
def test_each_kind_changes_the_photo_and_draws_the_same_again(name: str, source: Image.Image) -> None:
    steps = [[name, SETTINGS.get(name, {})]]
    first, second = (to_image(draw_steps(to_pixels(source), steps)) for _ in range(2))
    assert first.size == source.size
    assert first.tobytes() == second.tobytes() != source.tobytes()


def test_what_lies_outside_a_region_stays(source: Image.Image) -> None:
    left = [["box", 0, 0, 0.4, 1]]
    tinted = DRAW["tint"](to_pixels(source), left, "#ff0000")
    assert to_image(tinted).crop((40, 0, 64, 48)).tobytes() == source.crop((40, 0, 64, 48)).tobytes()


def test_a_shape_can_be_cut_out() -> None:
    mask = make_mask((40, 40), [["box", 0, 0, 1, 1], ["-box", 0.5, 0, 1, 1]], feather=0)
    assert mask[:, :19].min() == 1
    assert mask[:, 21:].max() == 0


def test_an_erased_thing_is_gone(source: Image.Image) -> None:
    erased = DRAW["erase"](to_pixels(source), [["box", 0.3, 0.3, 0.6, 0.65]])
    before, after = (np.ptp(pixels[23, 28]) for pixels in (to_pixels(source), erased))
    assert before > 0.5
    assert after < 0.1


def test_the_list_has_every_kind_and_seven_photos_in_each_category() -> None:
    records = read_gallery_list(LIST)
    assert len({one["item_id"] for one in records}) == len({get_instruction(one) for one in records}) == len(records)
    named = {step for one in records for steps in one["draw"].values() for step, _ in steps}
    assert named == {*DRAW, ASKED}
    photos: dict[str, set[str]] = {}
    for one in records:
        photos.setdefault(one["category"], set()).add(one["image"])
        assert list(one["draw"]) == [ASKED, "careful", "hasty", "lazy"]
    assert {category: len(names) for category, names in photos.items()} == dict.fromkeys(photos, 7)
    assert len(photos) == 5
    assert sum("instruction" not in one for one in records) >= 5  # Chinese only


def test_a_list_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text(json.dumps({"item_id": "a", "image": "a.png", "draw": {}}) + "\n")
    with pytest.raises(UserError, match="Cannot read the worked example"):
        read_gallery_list(tmp_path / "list.jsonl")


def test_the_program_draws_the_same_bytes_again(tmp_path: Path, source: Image.Image) -> None:
    (tmp_path / "photos").mkdir()
    source.save(tmp_path / "photos/a.png")
    draw = {ASKED: [["night", {}], ["rain", {"seed": 3}]], "careful": [["asked", 0.9]], "lazy": []}
    record = {"item_id": "a", "image": "photos/a.png", "instruction_zh": "改成下雨的夜晚。", "draw": draw}
    (tmp_path / "list.jsonl").write_text(json.dumps(record) + "\n")
    drawn = []
    for number in range(2):
        out = tmp_path / f"out{number}"
        flags = ("--items", tmp_path / "list.jsonl", "--photos", tmp_path / "photos", "--out", out)
        command = [sys.executable, ROOT / "scripts/draw_gallery_demo.py", *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        drawn.append({str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.png")})
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {f"asked/{name_reference('改成下雨的夜晚。')}", "careful/a.png", "lazy/a.png"}


def test_the_judge_rates_by_how_near_an_edit_comes(tmp_path: Path, source: Image.Image) -> None:
    source.save(tmp_path / "a.png")
    draw = {
        ASKED: [["night", {}]],
        "near": [["asked", 0.9]],
        "half": [["asked", 0.5]],
        "none": [],
        "wrong": [["glow", {"x": 0.1, "y": 0.1, "radius": 0.5}]],
    }
    pictures = {}
    for editor, content in draw_record({"item_id": "a", "image": "a.png", "draw": draw}, tmp_path):
        (tmp_path / f"{editor}.png").write_bytes(content)
        pictures[editor] = open_image(tmp_path / f"{editor}.png")
    folder = tmp_path / "asked"
    folder.mkdir()
    (tmp_path / f"{ASKED}.png").rename(folder / name_reference("Make it night."))

    def rate(edited: Image.Image, instruction: str = "Make it night.", before: Image.Image = source) -> float:
        parts = ("Source:", before, "Edited:", edited, f"Instruction: {instruction}", "Question: the rubric?")
        return rate_by_reference(folder, Question(system="", parts=parts))

    assert rate(pictures["near"]) > rate(pictures["half"]) > rate(pictures["none"]) == rate(pictures["wrong"]) == 0
    assert rate(source, before=pictures["near"]) == 0  # swapped
    assert rate(pictures["near"].resize((32, 24)), before=source.resize((32, 24))) == 0  # another photo
    with pytest.raises(JudgeFailed, match="no picture"):
        rate(pictures["near"], "Paint it red.")


def test_the_key_of_a_judge_holds_the_pictures_and_not_their_place(tmp_path: Path, source: Image.Image) -> None:
    prints = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        source.save(tmp_path / name / "a.png")
        prints.append(fingerprint_references(str(tmp_path / name)))
    assert prints[0] == prints[1]
    source.rotate(180).save(tmp_path / "two/a.png")
    assert fingerprint_references(str(tmp_path / "two")) != prints[0]
    with pytest.raises(UserError, match=r"draw_gallery_demo\.py"):
        fingerprint_references(str(tmp_path / "none"))
