"""Make finished runs to compare: tables with chosen scores, and their report."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
from made_report import acceptance
from report_run import score_row, write

from editlane.core import schemas, tables
from editlane.core.types import Item
from editlane.report.load import load_report

CATEGORIES = ("物理", "环境")
JUDGE = {
    "adapter": "qwen3-vl",
    "adapter_version": "1",
    "model": "Qwen/Qwen3-VL",
    "revision": "abc",
    "fingerprint": "f" * 16,
    "key": "k" * 16,
    "params": {"batch_size": 2},
    "packages": {"torch": "2.13.0"},
    "protocol": {"name": "rubric", "version": "1", "sha256": "s" * 64, "text": "Judge it.\nFrom 0 to 9.\n"},
}
EDITOR = {"adapter": "qwen-image-edit", "model": "Qwen/Edit", "key": "e" * 16, "params": {"steps": 4}}


def made_items(count: int, prefix: str = "item", first: int = 0, **more: Any) -> list[Item]:
    """Items of consecutive photos, in CATEGORIES by turns. The same number is the same photo and instruction."""
    return [
        Item(
            item_id=f"{prefix}-{number}",
            category=CATEGORIES[number % 2],
            instruction=f"第 {number} 次下雨",
            language="zh",
            source_path=f"sources/{number}.png",
            source_sha256=f"photo{number}",
            width=48,
            height=32,
            cost=1.0,
            **more,
        )
        for number in range(first, first + count)
    ]


def made_scores(count: int, shift: float = 0.0, seed: int = 0) -> list[float]:
    """Scores between 3 and 7 that differ by item, plus a shift."""
    drawn = np.random.default_rng(seed).uniform(3, 7, count)
    return [round(float(score) + shift, 4) for score in drawn]


def write_finished_run(
    run: Path,
    items: list[Item],
    scores: dict[str, list[Any]],
    *,
    judge: dict[str, Any] | None = None,
    editor: dict[str, Any] | None = None,
    accepted: str = "accepted",
    judge_name: str = "j",
    edits: dict[str, list[str]] | None = None,
) -> Path:
    """Write a run and its report. `scores`: by editor, a number or (state, error kind) per item.

    `edits` are hashes of the edits by editor; else each edit of each run is another picture.
    """
    run.mkdir(parents=True, exist_ok=True)
    schema = schemas.scores_schema(["category", "instruction"])
    judge, editor = copy.deepcopy(JUDGE) | (judge or {}), EDITOR | (editor or {})
    rows = []
    for name, results in scores.items():
        for place, (item, result) in enumerate(zip(items, results, strict=True)):
            row = score_row(item, name, judge_name, result)
            picture = edits[name][place] if edits else f"{run.name}/{name}/{place}"
            edited = picture if row["unchanged"] is not None else None
            rows.append(row | {"edited_sha256": edited, "judge_key": judge["key"], "editor_key": editor["key"]})
    made = {"editors": dict.fromkeys(scores, editor), "judges": {judge_name: judge}}
    tables.write_table(run / "items.parquet", map(tables.item_row, items), schemas.ITEMS, provenance={"seed": 42})
    tables.write_table(run / "scores.parquet", rows, schema, provenance=made)
    report = load_report(scores=run / "scores.parquet", items=run / "items.parquet", run=run.name)
    write(report, run)
    change_report(run, acceptance={judge_name: acceptance(accepted)})
    return run


def change_report(run: Path, **changes: Any) -> None:
    """Replace entries of report.json."""
    path = run / "report/report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(report | changes, ensure_ascii=False), encoding="utf-8")
