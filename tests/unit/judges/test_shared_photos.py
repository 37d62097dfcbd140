"""In a lane of several editors, a real judge looks at each photo once."""

import random
from pathlib import Path
from typing import Any

from adapters import built
from PIL import Image

from editlane.images.files import file_sha256
from editlane.judges.qwen3_vl.lru_cache import LruCache
from editlane.judges.qwen3_vl.transformers_engine import Qwen3VLJudge
from editlane.judges.qwen3_vl.vision import Vision
from editlane.lanes.journal_set import JournalSet
from editlane.lanes.judging import JudgeSpec, JudgeWork, group_by_item
from editlane.lanes.runner import run_lane
from editlane.lanes.stopping import StopRequest
from editlane.protocols.load import load_protocol

EDITORS = ("甲", "乙", "丙")
ITEMS = 3


def save(folder: Path, name: str, size: tuple[int, int]) -> dict[str, Any]:
    Image.frombytes("RGB", size, random.Random(name).randbytes(3 * size[0] * size[1])).save(folder / name)
    return {"path": name, "sha256": file_sha256(folder / name)}


def make_row(folder: Path, number: int, editor: str) -> dict[str, Any]:
    """A row of an edits table. The edits of one editor are larger than those of another."""
    source = save(folder, f"photo {number}.png", (96, 64))
    edited = save(folder, f"edit {number} by {editor}.png", (64 + 32 * EDITORS.index(editor), 64))
    row = {"item_id": f"项-{number}", "category": "物理", "instruction": f"做 {number}", "language": "zh", "tags": []}
    row |= {"cost": 1.0, "width": 96, "height": 64, "editor": editor, "editor_key": editor, "state": "edited"}
    row |= dict.fromkeys(
        (
            "description",
            "rationale",
            "difficulty",
            "given_path",
            "given_sha256",
            "sample_of",
            "after",
            "references",
            "turns",
        )
    )
    row |= {f"source_{name}": value for name, value in source.items()}
    return row | {f"edited_{name}": value for name, value in edited.items()} | {"error_kind": None, "error": None}


def test_each_photo_is_encoded_once_for_all_editors(tiny_model, tmp_path: Path, monkeypatch) -> None:
    encoded: list[bytes] = []
    encode = Vision._encode
    monkeypatch.setattr(
        Vision, "_encode", lambda self, image, upload: encoded.append(image.digest) or encode(self, image, upload)
    )
    judge = built(Qwen3VLJudge, model=str(tiny_model("qwen3-vl")), params={"max_image_side": 96, "batch_tokens": 2000})
    judge.prefill.vision.features = LruCache(1 + len(EDITORS))  # in a real lane, 64 are few beside thousands
    protocol = load_protocol(Path("resources/protocols/rubric.yaml"))
    spec = JudgeSpec(
        judge="j", identity={}, run_dir=tmp_path, protocol=protocol, criteria=protocol.select_criteria(), samples=1
    )
    rows = [make_row(tmp_path, number, editor) for editor in EDITORS for number in range(ITEMS)]
    work = JudgeWork(spec, 0, [group_by_item(rows)], lambda: judge)
    with JournalSet(work.list_journals(), "lane0") as journal:
        scored = run_lane(work, journal, StopRequest())
    assert len(scored) == ITEMS * len(EDITORS)
    assert len(encoded) == len(set(encoded)) == ITEMS * (1 + len(EDITORS))
