"""Every step program in this process, with a good command each: together, in order, they make a small run."""

import argparse
import json
import runpy
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from editlane.core import schemas, tables
from editlane.models import load_times
from editlane.ratings.page.server import RatingServer

SCRIPTS = Path(__file__).parents[2] / "scripts"
PROTOCOL = Path(__file__).parents[2] / "resources/protocols/rubric.yaml"
CATEGORIES = ["物理", "因果"]
FAKE = {"adapter": "fake", "model": None, "revision": None, "params": {}}
CONFIG = {
    "seed": 7,
    "controls": {"share": 1.0, "repeats": 0.5, "canary": True},
    "editors": {"a": FAKE},
    "judges": {"j": FAKE | {"protocol": str(PROTOCOL)}},
}

Flags = dict[str, list[str]]

GOOD: dict[str, Flags] = {
    "prepare_items": {
        "--dataset": ["data/items.jsonl"],
        "--format": ["items"],
        "--language": ["zh"],
        "--categories": CATEGORIES,
        "--run-dir": ["run"],
        "--out": ["run/items.parquet"],
    },
    "split_lanes": {
        "--items": ["run/items.parquet"],
        "--categories": CATEGORIES,
        "--lanes": ["1"],
        "--run-dir": ["run"],
    },
    "edit_lane": {
        "--run-dir": ["run"],
        "--editor": ["a"],
        "--adapter": ["fake"],
        "--lane": ["0"],
        "--seed": ["7"],
        "--timeout": ["60"],
        "--shards": [f"run/shards/{category}/lane0.parquet" for category in CATEGORIES],
        "--edits": [f"run/a/edits/{category}/lane0.parquet" for category in CATEGORIES],
    },
    "draw_canary": {"--items": ["canary/items.jsonl"], "--photos": ["data"], "--out": ["canary/pictures"]},
    "plan_controls": {
        "--items": ["run/items.parquet"],
        "--editors": ["a"],
        "--share": ["1"],
        "--repeats": ["0.5"],
        "--seed": ["7"],
        "--canary": ["canary/items.jsonl"],
        "--run-dir": ["run"],
        "--out": ["run/plan.parquet"],
    },
    "score_lane": {
        "--run-dir": ["run"],
        "--editor": ["a"],
        "--judge": ["j"],
        "--adapter": ["fake"],
        "--protocol": [str(PROTOCOL)],
        "--lane": ["0"],
        "--timeout": ["60"],
        "--edits": [f"run/a/edits/{category}/lane0.parquet" for category in CATEGORIES],
        "--scores": [f"run/a/scores/j/{category}/lane0.parquet" for category in CATEGORIES],
        "--plan": ["run/plan.parquet"],
        "--controls": ["run/a/controls/j/lane0.parquet"],
    },
    "merge_scores": {
        "--run-dir": ["run"],
        "--editors": ["a"],
        "--judges": ["j"],
        "--categories": CATEGORIES,
        "--lanes": ["1"],
        "--items": ["run/items.parquet"],
        "--out": ["run/scores.parquet"],
    },
    "merge_controls": {
        "--run-dir": ["run"],
        "--editors": ["a"],
        "--judges": ["j"],
        "--lanes": ["1"],
        "--plan": ["run/plan.parquet"],
        "--out": ["run/controls.parquet"],
    },
    "measure_preservation": {
        "--run-dir": ["run"],
        "--editor": ["a"],
        "--edits": [f"run/a/edits/{category}/lane0.parquet" for category in CATEGORIES],
        "--out": ["run/a/preservation/lane0.parquet"],
    },
    "merge_preservation": {
        "--run-dir": ["run"],
        "--editors": ["a"],
        "--lanes": ["1"],
        "--items": ["run/items.parquet"],
        "--out": ["run/preservation.parquet"],
    },
    "merge_costs": {
        "--run-dir": ["run"],
        "--scores": ["run/scores.parquet"],
        "--lanes": ["1"],
        "--out": ["run/costs.parquet"],
    },
    "make_report": {
        "--scores": ["run/scores.parquet"],
        "--items": ["run/items.parquet"],
        "--run-dir": ["run"],
        "--out-dir": ["run/report"],
        "--categories": CATEGORIES,
        "--expected-editors": ["a"],
        "--expected-judges": ["j"],
        "--controls": ["run/controls.parquet"],
        "--preservation": ["run/preservation.parquet"],
        "--costs": ["run/costs.parquet"],
        "--baseline": ["a"],
        "--min-coverage": ["0.5"],
        "--language": ["zh"],
    },
    "collect_scores": {
        "--run-dir": ["run"],
        "--items": ["run/items.parquet"],
        "--config": [json.dumps(CONFIG, ensure_ascii=False)],
        "--plan": ["run/plan.parquet"],
        "--out": ["run/partial_report/scores.parquet"],
        "--controls": ["run/partial_report/controls.parquet"],
    },
    "compare_ratings": {
        "--ratings": ["data/ratings.csv"],
        "--scores": ["run/scores.parquet"],
        "--judge": ["j"],
        "--out": ["agreement.json"],
    },
    "collect_ratings": {
        "--run-dir": ["run"],
        "--rater": ["陈"],
        "--out": ["data/ratings.csv"],
        "--items": ["1"],
        "--editors": ["a"],
        "--port": ["0"],
        "--seed": ["1"],
    },
    "document_config": {"--schema": ["schema.json"], "--keys": ["data/keys.md"], "--params": ["data/params.md"]},
    "extract_demo_photos": {"--out": ["demo"]},
    "build_tiny_model": {"--kind": ["qwen3-vl"], "--out": ["model"]},
    "watch_lanes": {"run_dir": ["run"], "--every": ["60"]},
    "check_setup": {"--configfile": ["config.yaml"], "--gpus": ["1"], "--sdm": ["conda"], "--estimate": []},
    "gpulease": {"-n": ["1"], "command": ["true"]},
}
"""Flag -> its values. What comes later reads what was written before."""

NOT_RUN = {
    "watch_lanes": "waits for the end of a run",
    "check_setup": "what it finds depends on the machine",
    "build_tiny_model": "loads torch and diffusers for seconds; test_tiny_models.py builds every kind",
    "gpulease": "becomes its command; test_gpulease.py starts it",
}


def write_inputs(folder: Path) -> None:
    """A dataset, a canary list, ratings, and files that are nothing."""
    (folder / "data").mkdir()
    with (folder / "data/items.jsonl").open("w", encoding="utf-8") as file:
        for number, category in enumerate([*CATEGORIES, *CATEGORIES]):
            Image.new("RGB", (24 + number, 20), (number * 60, 90, 120)).save(folder / f"data/图 {number}.png")
            record = {"item_id": f"项-{number}", "category": category, "image": f"图 {number}.png"}
            file.write(json.dumps(record | {"instruction_zh": f"第 {number} 次下雨"}, ensure_ascii=False) + "\n")
    (folder / "data/ratings.csv").write_text(
        "item,system,rater,score\n项-0,a,anna,3\n项-1,a,anna,5\n", encoding="utf-8"
    )
    (folder / "canary").mkdir()
    drawn = {"photo": "图 0.png", "draw": [["rectangle", [0.1, 0.1, 0.5, 0.5], "#e0c020"]]}
    canary = {"item_id": "c", "category": "物理", "instruction": "Draw.", "image": "pictures/p.ppm"}
    (folder / "canary/items.jsonl").write_text(json.dumps(canary | drawn | {"edited": "pictures/e.ppm"}) + "\n")
    twice = "run: a\nrun: b\ndataset: {path: data/items.jsonl, categories: [物理]}\njudges: {j: {adapter: fake}}\n"
    (folder / "config.md").write_text("# Keys\n<!-- keys: begin -->\n<!-- keys: end -->\n")
    (folder / "other.yaml").write_text("lanse: 2\n")
    for name in ("keys", "params"):
        (folder / f"data/{name}.md").write_text(f"# A page\n<!-- {name}: begin -->\n<!-- {name}: end -->\n")
    (folder / "twice.yaml").write_text(twice, encoding="utf-8")
    (folder / "file").write_text("a file where a folder should be")
    for name in ("garbage", "garbage.csv", "garbage.jsonl", "garbage.parquet"):
        (folder / name).write_bytes(b"PAR1\xff\x00\xfe,\x80 {no: [such")
    pq.write_table(pa.table({"a": [1]}), folder / "other.parquet")
    (folder / "empty").mkdir()
    (folder / "leases").mkdir()


class Ended(NamedTuple):
    """How a program ended; `err` is its stderr without the log, and with the traceback of what it did not expect."""

    code: int
    err: str
    out: str


class Stages(NamedTuple):
    """What `make_stages` made, by step."""

    folders: dict[str, Path]
    """A folder as it is before the step's good command."""
    ended: dict[str, Ended]
    """How the good commands ended."""


def make_stages(folder: Path) -> Stages:
    """Run the good command of every step, each in a copy of the folder in which the one before it ran."""
    stages = Stages({}, {})
    current = folder / "0"
    current.mkdir()
    write_inputs(current)
    for place, step in enumerate(GOOD, start=1):
        stages.folders[step] = current
        if step not in NOT_RUN:
            current = folder / str(place)
            shutil.copytree(stages.folders[step], current)
            stages.ended[step] = run_step_program(step, GOOD[step], current)
        if step == "prepare_items":
            rows = tables.read_rows(current / "run/items.parquet")
            foreign = [row | {"item_id": f"other {row['item_id']}"} for row in rows]
            tables.write_table(current / "foreign.parquet", foreign, schemas.ITEMS)
    return stages


def command(flags: Flags) -> list[str]:
    named = {flag: [flag] if flag.startswith("-") else [] for flag in flags} | {"command": ["--"]}
    return [text for flag, values in flags.items() for text in (*named[flag], *values)]


def run_step_program(step: str, flags: Flags | Sequence[str], folder: Path) -> Ended:
    """Run a step in this process, in `folder`; a server is interrupted as soon as it serves."""
    argv = [f"{step}.py", *(command(flags) if isinstance(flags, dict) else flags)]
    serving = patch.object(RatingServer, "serve_forever", side_effect=KeyboardInterrupt)
    with (
        _text_file() as out,
        _text_file() as err,
        _as_program(argv, folder),
        patch.dict(load_times._spent, dict.fromkeys(load_times.PHASES, 0.0)),  # a process of its own
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            with serving:
                runpy.run_path(str(SCRIPTS / f"{step}.py"), run_name="__main__")
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
            code = 1
        return Ended(code, _read(err), _read(out))


def _text_file() -> IO[str]:
    """As stdout and stderr are: with a file descriptor."""
    return TemporaryFile("w+", encoding="utf-8")


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


@contextmanager
def _as_program(argv: list[str], folder: Path) -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    environment = {"CUDA_VISIBLE_DEVICES": "", "GPULEASE_DIR": str(folder / "leases")}
    try:
        with chdir(folder), patch.object(sys, "argv", argv), patch.dict("os.environ", environment):
            yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class _Caught(Exception):
    """Carries a parser out of its step."""


def flags_of(step: str, folder: Path) -> list[str]:
    """The flags and arguments of a step's own parser."""
    found: list[argparse.ArgumentParser] = []

    def catch(parser: argparse.ArgumentParser, *_: object) -> None:
        found.append(parser)
        raise _Caught

    with patch.object(argparse.ArgumentParser, "parse_args", catch):
        assert "_Caught" in run_step_program(step, [], folder).err
    names = (action.option_strings[-1] if action.option_strings else action.dest for action in found[0]._actions)
    return [name for name in names if name != "--help"]
