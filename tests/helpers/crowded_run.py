"""Write a run as crowded as real ones get: eight editors with long names, three judges of which one is blind, failures.

    PYTHONPATH=scripts:tests/helpers python tests/helpers/crowded_run.py results/crowded

Then look at results/crowded/report/report.html and report_zh/report.html. Scores and pictures are drawn from a seed.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from editlane.core import schemas, tables
from editlane.core.types import ACCEPTANCE, DEGRADED, Item
from editlane.report.load import load_report
from editlane.report.notices import find_notices
from editlane.report.write import write_report

CATEGORIES = ("物理", "环境", "社会", "因果", "指代")
EDITORS = {
    "Qwen-Image-Edit-2511": 7.6,
    "FLUX.1-Kontext-dev": 7.4,
    "Step1X-Edit-v1p2-preview": 6.6,
    "通义万相-图像编辑-旗舰版": 6.5,
    "a_fine_tuned_checkpoint_without_any_place_to_break_its_name_step_120000": 5.9,
    "BAGEL-7B-MoT": 5.2,
    "OmniGen2 (cfg 5.0, 50 steps, seed 42)": 4.4,
    "InstructPix2Pix": 2.9,
}
"""Editor -> its mean score before noise."""
JUDGES = {"Qwen3-VL-30B-A3B-Instruct": (0.0, 1.2), "内部评审模型-v2": (0.8, 1.6), "tiny-blind-judge": (0.0, None)}
"""Judge -> how much more lenient it is, and its noise; None if it draws its scores blindly."""
CRITERIA = ("category", "instruction")
STATES = (("edit_failed", "oom"), ("edit_refused", "refused"), ("judge_unreadable", "mass"))
SIZE = (192, 128)
LANES = 2


def write_crowded_run(run: Path, in_category: int = 12, seed: int = 7) -> Path:
    """Write the tables and pictures of a run with `in_category` items in each of five categories."""
    rng = np.random.default_rng(seed)
    items = [_write_item(run, category, place, rng) for category in CATEGORIES for place in range(in_category)]
    quality = {editor: _draw_quality(items, level, rng) for editor, level in EDITORS.items()}
    rows, controls = [], []
    for editor in EDITORS:
        for item in items:
            true = quality[editor][item.item_id]
            failed = _draw_failure(rng)
            picture = None if failed and failed[0].startswith("edit") else _write_edit(run, editor, item, true)
            rows += [_make_row(item, editor, judge, true, failed, picture, rng) for judge in JUDGES]
            controls += [row for judge in JUDGES for row in _ask_controls(item, editor, judge, true, rng)]
    provenance = {
        "editors": {name: {"adapter": "diffusers", "model": name} for name in EDITORS},
        "judges": {name: {"adapter": "qwen3-vl", "protocol": {"name": "rubric", "version": "1"}} for name in JUDGES},
    }
    tables.write_table(run / "items.parquet", map(tables.item_row, items), schemas.ITEMS, provenance={"seed": seed})
    tables.write_table(run / "scores.parquet", rows, schemas.scores_schema(CRITERIA), provenance=provenance)
    tables.write_table(run / "controls.parquet", controls, schemas.controls_schema(CRITERIA))
    tables.write_table(run / "costs.parquet", _make_costs(len(items)), schemas.COSTS)
    return run


def write_crowded_report(run: Path, language: str = "en", name: str = "report") -> Path:
    """Write the report of that run and return the page."""
    files = {table: run / f"{table}.parquet" for table in ("scores", "items", "controls", "costs")}
    report = load_report(**files, run="拥挤的一次运行 crowded", editors=list(EDITORS), judges=list(JUDGES))
    options: dict[str, Any] = {"min_coverage": 0.9, "language": language}
    write_report(report, find_notices(report, **options), run_dir=run, out_dir=run / name, **options)
    return run / name / "report.html"


def _write_item(run: Path, category: str, place: int, rng: np.random.Generator) -> Item:
    noise = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    path = f"sources/{CATEGORIES.index(category)}-{place}.png"
    (run / path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC).save(run / path)
    said = (
        f"把第 {place} 处的路灯打开，其余部分保持不变" if place % 2 else f"Switch on lamp {place}; change nothing else."
    )
    return Item(
        item_id=f"{category}-{place:03}",
        category=category,
        instruction=said,
        language="zh" if place % 2 else "en",
        source_path=path,
        source_sha256=hashlib.sha256((run / path).read_bytes()).hexdigest(),
        width=SIZE[0],
        height=SIZE[1],
        cost=1.0,
        difficulty="hard" if place % 3 == 0 else "easy",
        tags=("室内", "夜景") if place % 4 else ("outdoor",),
    )


def _draw_quality(items: list[Item], level: float, rng: np.random.Generator) -> dict[str, float]:
    values = np.clip(rng.normal(level, 1.8, len(items)), 0, 10)
    return {item.item_id: float(value) for item, value in zip(items, values, strict=True)}


def _draw_failure(rng: np.random.Generator) -> tuple[str, str] | None:
    return STATES[int(rng.integers(len(STATES)))] if rng.random() < 0.04 else None


def _write_edit(run: Path, editor: str, item: Item, true: float) -> tuple[str, str]:
    """Draw a lamp, the brighter the better; return the path and the SHA-256 of the edit."""
    path = f"{list(EDITORS).index(editor)}/{item.item_id}.png"
    (run / path).parent.mkdir(parents=True, exist_ok=True)
    image = Image.open(run / item.source_path).convert("RGB")
    ImageDraw.Draw(image).ellipse((60, 30, 130, 100), fill=(int(25 * true), int(24 * true), 60))
    image.save(run / path)
    return path, hashlib.sha256((run / path).read_bytes()).hexdigest()


def _judge(judge: str, true: float, rng: np.random.Generator) -> float:
    more, noise = JUDGES[judge]
    value = rng.uniform(3, 9) if noise is None else rng.normal(true + more, noise)
    return round(float(np.clip(value, 0, 10)), 4)


def _fill_row(item: Item, editor: str, judge: str, schema: Any, **more: Any) -> dict[str, Any]:
    return dict.fromkeys(schema.names) | {
        "item_id": item.item_id,
        "category": item.category,
        "editor": editor,
        "judge": judge,
        "state": "scored",
        "instruction": item.instruction,
        "language": item.language,
        "source_path": item.source_path,
        "source_sha256": item.source_sha256,
        "seed": 1,
        "editor_key": editor,
        "judge_key": judge,
        "protocol_version": "1",
    } | more  # fmt: skip


def _make_row(
    item: Item,
    editor: str,
    judge: str,
    true: float,
    failed: tuple[str, str] | None,
    picture: tuple[str, str] | None,
    rng: np.random.Generator,
) -> dict[str, Any]:
    score = None if failed else _judge(judge, true, rng)
    more: dict[str, Any] = {"score": score, "edited_path": None, "edited_sha256": None}
    if failed:
        more |= {"state": failed[0], "error_kind": failed[1], "error": f"{failed[1]}: 显存不足 after 3 of 40 steps"}
    else:
        more |= {f"score_{name}": min(10.0, (score or 0.0) + place) for place, name in enumerate(CRITERIA)}
        more |= {"entropy": round(float(rng.uniform(0, 1.5)), 3), "reply": "7", "unchanged": False}
    if picture:
        more |= {"edited_path": picture[0], "edited_sha256": picture[1], "edit_seconds": 4.0}
    return _fill_row(item, editor, judge, schemas.scores_schema(CRITERIA), **more)


def _ask_controls(item: Item, editor: str, judge: str, true: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    blind = JUDGES[judge][1] is None
    schema, rows = schemas.controls_schema(CRITERIA), []
    for control in ACCEPTANCE:
        if rng.random() < 0.5:
            seen = true - 3 if control in DEGRADED else rng.uniform(0, 1.5)
            score = _judge(judge, true, rng) if blind else round(float(np.clip(seen, 0, 10)), 4)
            rows.append(_fill_row(item, editor, judge, schema, score=score, control=str(control), repeat=0))
    return rows


def _make_costs(items: int) -> list[dict[str, Any]]:
    stages: list[tuple[str, str | None, str | None]] = [("edit", editor, None) for editor in EDITORS]
    stages += [("score", None, judge) for judge in JUDGES]
    rows = []
    for place, (stage, editor, judge) in enumerate(stages):
        for lane in range(LANES):
            each = 4.0 + 3 * place
            busy, count = each * items / LANES, items // LANES
            row = dict.fromkeys(schemas.COSTS.names, 0.0) | {
                "stage": stage, "editor": editor, "judge": judge, "lane": lane,
                "attempts": 1, "died": 0, "items": count,
                "load_seconds": 60.0, "busy_seconds": busy, "idle_seconds": 20.0, "held_seconds": busy + 80,
                "seconds_per_item": each, "gpu_hours": (busy + 80) / 3600, "peak_memory": 60 * 2**30,
                "requests": None, "images": None, "paid": None, "currency": None,
                "device": "NVIDIA H200", "host": "node-1", "editor_key": None, "judge_key": None,
            }  # fmt: skip
            rows.append({name: row[name] for name in schemas.COSTS.names})
    return rows


if __name__ == "__main__":
    made = write_crowded_run(Path(sys.argv[1]))
    for language, name in (("en", "report"), ("zh", "report_zh")):
        print(write_crowded_report(made, language, name))
