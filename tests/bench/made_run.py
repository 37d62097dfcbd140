"""A made-up run of any size, without photos: two editors, two judges; the first editor's and judge's work is done."""

import hashlib
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from bench_statistics import CATEGORIES, CRITERIA, KNOWN, SCRIPTS, filled, hashes, scores_table, write
from PIL import Image

from editlane.core import schemas, tables
from editlane.core.errors import EditFailed
from editlane.core.types import EDITED
from editlane.lanes.editor_spec import EditorSpec
from editlane.lanes.journal import Journal
from editlane.lanes.judging import JudgeSpec
from editlane.protocols.controls import select_lane_questions
from editlane.protocols.scoring import load_protocol

EDITORS = ["editor-a", "editor-b"]
JUDGES = ["judge-a", "judge-b"]
SEED = 42
FAKE = {"adapter": "fake", "model": None, "revision": None, "params": {}}
PROTOCOL = SCRIPTS.parent / "resources/protocols/rubric.yaml"
WORDS = ["把画面", "中间那盏", "路灯", "打开", "其余的", "部分", "保持不变", "让影子", "朝左边", "落下", "穿红色"]


def write_items(run: Path, count: int) -> None:
    """Instructions of 20 to 60 letters, descriptions and rationales of up to 200, photos of 0.2 to 3 megapixels."""
    rng = random.Random(7)

    def texts(least: int, most: int) -> list[str]:
        known = ["".join(rng.choices(WORDS, k=rng.randint(least, most))) for _ in range(5000)]
        return [f"{rng.choice(known)}，第 {number} 处" for number in range(count)]

    sources = hashes(count, count)
    pixels = np.random.default_rng(7).uniform(0.2, 3.0, count)
    columns = {
        "item_id": [f"照片_{number:07}-{source[:8]}" for number, source in enumerate(sources)],
        "category": [CATEGORIES[number * 5 // count] for number in range(count)],
        "instruction": texts(8, 25),
        "language": ["zh"] * count,
        "source_path": [f"sources/{source[:2]}/{source}.jpg" for source in sources],
        "source_sha256": sources,
        "width": (np.sqrt(pixels) * 1150).astype(int),
        "height": (np.sqrt(pixels) * 870).astype(int),
        "cost": np.round(0.5 + 0.5 * np.minimum(pixels, 1), 4),
        "description": texts(30, 80),
        "rationale": texts(30, 80),
        "tags": [["室内", "多人"] if number % 3 else ["街道"] for number in range(count)],
    }
    write(run / "items.parquet", filled(columns, count, schemas.ITEMS))


def shard_paths(run: Path, lane: int) -> list[Path]:
    return [run / "shards" / category / f"lane{lane}.parquet" for category in CATEGORIES]


def edits_paths(run: Path, lane: int) -> list[Path]:
    return [run / EDITORS[0] / "edits" / category / f"lane{lane}.parquet" for category in CATEGORIES]


def write_edit_journal(run: Path, lanes: int) -> None:
    """One editor is done with everything."""
    lane = EditorSpec.of(run, EDITORS[0], SEED, FAKE)
    tiny = io.BytesIO()
    Image.new("RGB", (2, 2)).save(tiny, "PNG")
    sha256 = hashlib.sha256(tiny.getvalue()).hexdigest()
    text = "the pipeline returned an image with values that are no numbers, at the third of 40 steps; "
    error = EditFailed(text * 2, kind="nonfinite")
    for number in range(lanes):
        items = [item for path in shard_paths(run, number) for item in tables.read_items(path)]
        rows = {lane.key(item): lane.make_failed_columns(item, error) | {"edit_seconds": 11.372} for item in items}
        if number == 0:
            for item, row in zip(items, rows.values(), strict=True):
                path = run / lane.image_path(item)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tiny.getvalue())
                row |= {"state": EDITED, "error_kind": None, "error": None, "unchanged": False, "tiled_vae": False}
                row |= {"edited_path": lane.image_path(item), "edited_sha256": sha256, "edit_device": "cuda:0 (H200)"}
        write_journal(run / "journal/edit" / EDITORS[0], number, rows)


def write_score_journal(run: Path, lanes: int) -> None:
    """One judge is done with everything; only the keys of lane 0 are those of its questions."""
    lane = JudgeSpec.of(run, JUDGES[0], load_protocol(PROTOCOL), FAKE)
    edits = [row for path in edits_paths(run, 0) for row in tables.read_rows(path)]
    plan = tables.read_plan(run / "plan.parquet", EDITORS[0], [row["item_id"] for row in edits])
    asked = [*edits, *select_lane_questions(plan, edits, EDITORS[0], 0, 1)]
    columns = {"state": "scored", "error_kind": None, "error": None, "score": 6.1234, "entropy": 0.412, "mass": 0.9987}
    for name in CRITERIA:
        columns |= {f"score_{name}": 6.1234, f"mode_{name}": "6", f"entropy_{name}": 0.412, f"mass_{name}": 0.9987}
    columns |= {"reply": "category 6, instruction 7", "score_seconds": 0.4142, "score_device": "cuda:0 (H200)"}
    columns |= lane.make_common_columns(edits[0])
    keys = [lane.key(row) for row in asked]
    for number in range(lanes):
        own = keys if number == 0 else [hashlib.sha256(f"{number} {key}".encode()).hexdigest() for key in keys]
        write_journal(run / "journal/score" / EDITORS[0] / JUDGES[0], number, dict.fromkeys(own, columns))


def write_journal(folder: Path, lane: int, rows: dict[str, dict[str, Any]]) -> None:
    with Journal(folder, f"lane{lane}", frozenset()) as journal:
        for key, row in rows.items():
            journal.begin([key])
            journal.finish({key: row})


def write_tables(run: Path, lanes: int) -> None:
    """The scores, controls and preservation of all lanes, two editors and two judges."""
    plan = tables.read_arrow(run / "plan.parquet")
    for lane in range(lanes):
        shards = [tables.read_arrow(path) for path in shard_paths(run, lane)]
        items = pa.concat_tables(shards)
        own = plan.filter(pc.is_in(plan["item_id"], items["item_id"].combine_chunks()))
        for editor in EDITORS:
            write(run / editor / f"preservation/lane{lane}.parquet", preservation_table(items, editor))
            asked = own.filter(pc.equal(own["editor"], editor))
            for judge in JUDGES:
                folder = run / editor / "scores" / judge
                for category, shard in zip(CATEGORIES, shards, strict=True):
                    schema = schemas.scores_schema(CRITERIA)
                    table = scores_table(shard, editor, 0.0, schema, judge=[judge] * len(shard))
                    write(folder / category / f"lane{lane}.parquet", table, {"judge": KNOWN["judges"]})
                more = {name: asked[name].to_pylist() for name in ("control", "other_item_id")}
                more |= {"judge": [judge] * len(asked), "repeat": [int(kind == "repeat") for kind in more["control"]]}
                table = scores_table(asked, editor, -4.0, schemas.controls_schema(CRITERIA), **more)
                write(run / editor / "controls" / judge / f"lane{lane}.parquet", table, {"judge": KNOWN["judges"]})


def preservation_table(items: pa.Table, editor: str) -> pa.Table:
    count = len(items)
    columns = {name: items[name].to_pylist() for name in ("item_id", "category", "source_sha256")}
    columns |= {"editor": [editor] * count, "state": ["measured"] * count, "edited_sha256": hashes(count, count)}
    columns |= {name: np.random.default_rng(5).random(count) for name in ("ssim", "psnr", "mae", "changed_share")}
    return filled(columns, count, schemas.PRESERVATION)
