"""Write the tables that a report reads, without images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from editlane.core import schemas, tables
from editlane.core.types import Item
from editlane.report.load import Report, load_report
from editlane.report.notices import find_notices
from editlane.report.write import write_report

ITEMS = [
    ("树-1", "物理", "把天空换成日落", "zh", "sky"),
    ("tree-2", "物理", "Turn day into night", "en", "sky"),
    ("cat-3", "环境", "给猫戴上帽子", "zh", "cat"),
    ("broken-4", "环境", "Remove the car", "en", "broken"),
    ("bold-5", "指代", "<script>alert('x')</script> & <b>bold</b>", "en", "dog"),
]
"""item_id, category, instruction, language, source. The first two items share a source."""

SCORES: dict[tuple[str, str], list[float | tuple[str, str]]] = {
    ("a", "j"): [8.0, 4.0, 9.0, ("source_unreadable", "decode"), 3.0],
    ("a", "k"): [7.0, ("judge_unreadable", "mass"), 8.0, ("source_unreadable", "decode"), 2.0],
    ("b", "j"): [5.0, 1.0, ("edit_failed", "oom"), ("source_unreadable", "decode"), ("edit_refused", "refused")],
    ("b", "k"): [4.0, 0.0, ("edit_failed", "oom"), ("source_unreadable", "decode"), ("edit_refused", "refused")],
}

PROVENANCE = {
    "editors": {
        "a": {"adapter": "qwen-image-edit", "model": "Qwen/Qwen-Image-Edit-2511", "revision": "6f3ccc0"},
        "b": {"adapter": "diffusers", "model": "black-forest-labs/FLUX.1-Kontext-dev", "pinned": False},
    },
    "judges": {
        "j": {"adapter": "fake", "model": None, "protocol": {"name": "rubric", "version": "1", "text": "RUBRIC: <b>"}},
        "k": {"adapter": "qwen3-vl", "random_weights": True},
    },
}


def write_run(
    run: Path,
    scores: dict[tuple[str, str], list[Any]] = SCORES,
    items: list[Any] = ITEMS,
    after: Mapping[str, str] = {},
) -> Path:
    """Write a run's tables. `scores` holds a number or (state, error kind) per item. `after`: the turn before one."""
    run.mkdir(parents=True, exist_ok=True)
    wanted = [
        Item(
            item_id=item_id,
            category=category,
            instruction=instruction,
            language=language,
            source_path=f"sources/{source}.png",
            source_sha256=source,
            width=48,
            height=32,
            cost=1.0,
            after=after.get(item_id),
        )
        for item_id, category, instruction, language, source in items
    ]
    rows = [
        score_row(item, editor, judge, result)
        for (editor, judge), results in scores.items()
        for item, result in zip(wanted, results, strict=False)
    ]
    tables.write_table(run / "items.parquet", map(tables.item_row, wanted), schemas.ITEMS, provenance={"seed": 42})
    schema = schemas.scores_schema(["category", "instruction"])
    tables.write_table(run / "scores.parquet", rows, schema, provenance=PROVENANCE)
    return run


def score_row(item: Item, editor: str, judge: str, result: Any) -> dict[str, Any]:
    scored = not isinstance(result, tuple)
    edited = scored or result[0].startswith("judge")
    return dict.fromkeys(schemas.scores_schema(["category", "instruction"]).names) | {
        "item_id": item.item_id,
        "category": item.category,
        "editor": editor,
        "judge": judge,
        "state": "scored" if scored else result[0],
        "error_kind": None if scored else result[1],
        "error": None if scored else f"because of {result[1]}",
        "score": result if scored else None,
        "score_category": result + 1 if scored and result < 9.5 else result if scored else None,
        "score_instruction": result if scored else None,
        "unchanged": (editor, item.item_id) == ("b", "tree-2") if edited else None,
        "instruction": item.instruction,
        "language": item.language,
        "source_path": item.source_path,
        "source_sha256": item.source_sha256,
        "edit_seconds": 2.0 if edited else None,
        "edit_device": "NVIDIA H200" if edited else None,
        "seed": 1,
        "editor_key": "e",
        "judge_key": "j",
        "protocol_version": "1",
    }


def load(run: Path, **options: Any) -> Report:
    defaults: dict[str, Any] = {"run": "demo"}
    return load_report(scores=run / "scores.parquet", items=run / "items.parquet", **defaults | options)


def write(report: Report, run: Path, language: str = "en", min_coverage: float = 0.0) -> dict[str, str]:
    """Write the report and return the text of its three files, by suffix."""
    options: dict[str, Any] = {"min_coverage": min_coverage, "language": language}
    write_report(report, find_notices(report, **options), run_dir=run, out_dir=run / "report", **options)
    return {path.suffix: path.read_text(encoding="utf-8") for path in sorted((run / "report").glob("report.*"))}
