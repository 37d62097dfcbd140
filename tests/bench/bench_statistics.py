"""Merging a million rows, and the statistics and the report of 100,000 items x 3 editors: seconds and peak memory.

    python tests/bench/bench_statistics.py [--items 100000] [--rows 1000000] [--keep FOLDER]

The tables are made up, the programs are the workflow's own, each in a process of its own.
"""

import argparse
import hashlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from editlane.core import schemas, tables
from editlane.core.types import ACCEPTANCE, Control

SCRIPTS = Path(__file__).parents[2] / "scripts"
CATEGORIES = ["物理", "环境", "社会", "因果", "指代"]
EDITORS = ["editor-a", "editor-b", "editor-c"]
CRITERIA = ("category", "instruction", "preservation")
LANES = 6
KNOWN = {"judges": {"judge": {"adapter": "fake", "protocol": {"name": "rubric", "version": "2"}}}}


def ids(count: int) -> np.ndarray:
    return np.array([f"item-{number:07}" for number in range(count)])


def hashes(count: int, of: int) -> list[str]:
    known = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(of)]
    return [known[number % of] for number in range(count)]


def items_table(count: int) -> pa.Table:
    """Two items share a photo."""
    columns = {
        "item_id": ids(count),
        "category": [CATEGORIES[number * 5 // count] for number in range(count)],
        "instruction": [f"把第 {number} 盏灯打开，其余的不要动" for number in range(count)],
        "language": ["zh"] * count,
        "source_path": [f"sources/aa/{number % (count // 2)}.jpg" for number in range(count)],
        "source_sha256": hashes(count, count // 2),
        "width": [1472] * count,
        "height": [1104] * count,
        "cost": [1.0] * count,
        "tags": [[]] * count,
    }
    return filled(columns, count, schemas.ITEMS)


def filled(columns: dict[str, object], count: int, schema: pa.Schema) -> pa.Table:
    """The columns, and nulls where the schema has more."""
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def scores_table(items: pa.Table, editor: str, shift: float, schema: pa.Schema, **more: object) -> pa.Table:
    """Score-like numbers: bounded, skewed, tied, 3 % without a score."""
    count = len(items)
    rng = np.random.default_rng([ord(editor[-1]), count, int(100 + shift * 10)])
    score = np.round(np.clip(rng.normal(5 + shift, 3, count), 0, 10), 1)
    failed = rng.random(count) < 0.03
    columns: dict[str, object] = {name: items[name].to_pylist() for name in schemas.ITEMS.names if name in schema.names}
    columns |= {
        "editor": [editor] * count,
        "judge": ["judge"] * count,
        "state": np.where(failed, "edit_failed", "scored").astype(object),
        "error_kind": np.where(failed, "oom", None),
        "error": np.where(failed, "CUDA out of memory", None),
        "score": np.where(failed, np.nan, score),
        "entropy": rng.random(count),
        "mass": np.full(count, 0.98),
        "reply": ["category 6, instruction 7, preservation 8"] * count,
        "unchanged": rng.random(count) < 0.05,
        "edited_path": [f"{editor}/images/物理/{name}.png" for name in items["item_id"].to_pylist()],
        "edited_sha256": hashes(count, count),
        "seed": rng.integers(0, 2**32, count),
        "edit_seconds": rng.random(count) * 20,
        "score_seconds": rng.random(count),
        "edit_device": ["cuda:0 (a GPU)"] * count,
        "score_device": ["cuda:0 (a GPU)"] * count,
        "editor_key": ["0123456789abcdef"] * count,
        "judge_key": ["fedcba9876543210"] * count,
        "protocol_version": ["2"] * count,
    }
    for name in CRITERIA:
        columns[f"score_{name}"] = columns["score"]
        columns[f"mode_{name}"] = ["7"] * count
    table = filled(columns | more, count, schema)
    place = schema.get_field_index("score")
    return table.set_column(place, schema.field(place), pa.array(columns["score"], pa.float64(), from_pandas=True))


def write(path: Path, table: pa.Table, provenance: dict[str, object] | None = None) -> None:
    tables.write_parts(path, [table], table.schema, provenance=provenance)


def write_lanes(run: Path, items: pa.Table) -> None:
    """The scores tables of all lanes."""
    lane_of = np.arange(len(items)) % LANES
    category = items["category"].to_numpy()
    schema = schemas.scores_schema(CRITERIA)
    for shift, editor in enumerate(EDITORS):
        table = scores_table(items, editor, shift * 0.1, schema)
        for name in CATEGORIES:
            for lane in range(LANES):
                part = table.filter(pa.array((lane_of == lane) & (category == name)))
                write(run / editor / "scores/judge" / name / f"lane{lane}.parquet", part, {"judge": KNOWN["judges"]})


def write_extras(run: Path, items: pa.Table) -> None:
    """Controls of a tenth of the items, and preservation of all."""
    schema = schemas.controls_schema(CRITERIA)
    tenth = items.slice(0, len(items) // 10)
    parts = []
    for editor in EDITORS:
        kinds = [str(kind) for kind in (*ACCEPTANCE, Control.REPEAT)]
        control = [kinds[number % 5] for number in range(len(tenth))]
        repeat = [int(kind == "repeat") for kind in control]
        parts.append(scores_table(tenth, editor, -4, schema, control=control, repeat=repeat))
    write(run / "controls.parquet", pa.concat_tables(parts))
    rng = np.random.default_rng(5)
    count = len(items)
    kept = []
    for editor in EDITORS:
        columns = {name: items[name].to_pylist() for name in ("item_id", "category", "source_sha256")}
        columns |= {"editor": [editor] * count, "state": ["measured"] * count, "edited_sha256": hashes(count, count)}
        columns |= {name: rng.random(count) for name in ("ssim", "psnr", "mae", "changed_share")}
        kept.append(filled(columns, count, schemas.PRESERVATION))
    write(run / "preservation.parquet", pa.concat_tables(kept))


def measured(*command: object) -> tuple[float, float]:
    """Seconds and peak memory (MB) of a step program. A child's peak begins at its parent's memory, so the tables are
    made in processes of their own."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, command)], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[0]} failed:\n{said}")
    return time.perf_counter() - started, usage.ru_maxrss / 1000


def make(what: str, run: Path, items: int) -> None:
    """The tables that a program reads: its `lanes`, or the `extras` of its report."""
    table = items_table(items)
    write(run / "items.parquet", table)
    (write_lanes if what == "lanes" else write_extras)(run, table)


def made(*arguments: object) -> None:
    process = multiprocessing.get_context("spawn").Process(target=make, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit("the tables could not be made")


def merge(run: Path, items: int) -> tuple[float, float]:
    made("lanes", run, items)
    flags = ["--run-dir", run, "--items", run / "items.parquet", "--out", run / "scores.parquet", "--lanes", LANES]
    flags += ["--editors", *EDITORS, "--judges", "judge", "--categories", *CATEGORIES]
    return measured(SCRIPTS / "merge_scores.py", *flags)


def report(run: Path, items: int) -> tuple[float, float]:
    made("extras", run, items)
    flags = ["--scores", run / "scores.parquet", "--items", run / "items.parquet", "--run-dir", run]
    flags += ["--controls", run / "controls.parquet", "--preservation", run / "preservation.parquet"]
    return measured(SCRIPTS / "make_report.py", *flags, "--out-dir", run / "report", "--categories", *CATEGORIES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="leave the tables and the report in this folder")
    args = parser.parse_args()
    print("| what | rows | seconds | peak memory (MB) | aim |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        place = args.keep or Path(folder)
        seconds, memory = merge(place / "merge", args.rows // len(EDITORS))
        print(
            f"| merge_scores, {LANES} lanes | {args.rows:,} | {seconds:.1f} | {memory:.0f} | 20 s, 1,000 MB |",
            flush=True,
        )
        merge(place / "report", args.items)
        seconds, memory = report(place / "report", args.items)
        rows = args.items * len(EDITORS)
        print(f"| make_report, {len(EDITORS)} editors | {rows:,} | {seconds:.1f} | {memory:.0f} | 60 s, 2,000 MB |")


if __name__ == "__main__":
    main()
