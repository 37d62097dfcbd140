"""Run step programs in this process, and make the folders that each step starts from."""

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
from step_commands import CATEGORIES, GOOD, NOT_RUN, Flags

from editlane.core import schemas, tables
from editlane.models import load_times
from editlane.ratings.page.server import RatingServer

SCRIPTS = Path(__file__).parents[2] / "scripts"


def write_inputs(folder: Path) -> None:
    """Write a dataset, a canary list, ratings, and invalid files."""
    (folder / "data").mkdir()
    with (folder / "data/items.jsonl").open("w", encoding="utf-8") as file:
        for number, category in enumerate([*CATEGORIES, *CATEGORIES]):
            Image.new("RGB", (24 + number, 20), (number * 60, 90, 120)).save(folder / f"data/图 {number}.png")
            record = {"item_id": f"项-{number}", "category": category, "image": f"图 {number}.png"}
            file.write(json.dumps(record | {"instruction_zh": f"第 {number} 次下雨"}, ensure_ascii=False) + "\n")
    (folder / "data/votes.csv").write_text("item,system_a,system_b,vote\n1,a,b,A\n2,a,b,tie\n", encoding="utf-8")
    (folder / "data/ratings.csv").write_text(
        "item,system,rater,score\n项-0,a,anna,3\n项-1,a,anna,5\n", encoding="utf-8"
    )
    rated = "".join(f"{number},a,anna,{number}\n" for number in range(8))
    (folder / "data/rated.csv").write_text(f"item,system,rater,score\n{rated}")
    judged = "".join(f"{number},a,j,{number}\n{number},a,k,{number % 3}\n" for number in range(8))
    (folder / "data/judged.csv").write_text(f"item,system,judge,score\n{judged}")
    (folder / "canary").mkdir()
    drawn = {"photo": "图 0.png", "draw": [["rectangle", [0.1, 0.1, 0.5, 0.5], "#e0c020"]]}
    canary = {"item_id": "c", "category": "物理", "instruction": "Draw.", "image": "pictures/p.ppm"}
    (folder / "canary/items.jsonl").write_text(json.dumps(canary | drawn | {"edited": "pictures/e.ppm"}) + "\n")
    (folder / "gallery").mkdir()
    drawn = {"image": "图 0.png", "draw": {"asked": [["night", {}]], "a": [["asked", 0.5]]}}
    (folder / "gallery/items.jsonl").write_text(
        json.dumps({"item_id": "g", "instruction": "Make it night."} | drawn) + "\n"
    )
    twice = "run: a\nrun: b\ndataset: {path: data/items.jsonl, categories: [物理]}\njudges: {j: {adapter: fake}}\n"
    (folder / "config.md").write_text("# Keys\n<!-- keys: begin -->\n<!-- keys: end -->\n")
    (folder / "other.yaml").write_text("lanse: 2\n")
    for name in ("keys", "params", "rewards", "fleets", "robots"):
        (folder / f"data/{name}.md").write_text(f"# A page\n<!-- {name}: begin -->\n<!-- {name}: end -->\n")
    (folder / "twice.yaml").write_text(twice, encoding="utf-8")
    (folder / "file").write_text("a file where a folder should be")
    for name in ("garbage", "garbage.csv", "garbage.jsonl", "garbage.parquet"):
        (folder / name).write_bytes(b"PAR1\xff\x00\xfe,\x80 {no: [such")
    pq.write_table(pa.table({"a": [1]}), folder / "other.parquet")
    (folder / "empty").mkdir()
    (folder / "leases").mkdir()


class Ended(NamedTuple):
    """Result of a program; `err` is its stderr, with a traceback if it crashed."""

    code: int
    err: str
    out: str


class Stages(NamedTuple):
    """Result of `make_stages`, by step."""

    folders: dict[str, Path]
    """Folder as it is before the step's valid command."""
    ended: dict[str, Ended]
    """Results of the valid commands."""


def make_stages(folder: Path) -> Stages:
    """Run the valid command of every step, each in a copy of the previous step's folder."""
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
        if step == "make_report":
            shutil.copytree(current / "run", current / "run again")
        if step == "prepare_items":
            rows = tables.read_rows(current / "run/items.parquet")
            foreign = [row | {"item_id": f"other {row['item_id']}"} for row in rows]
            tables.write_table(current / "foreign.parquet", foreign, schemas.ITEMS)
    return stages


def make_arguments(flags: Flags) -> list[str]:
    named = {flag: [flag] if flag.startswith("-") else [] for flag in flags} | {"command": ["--"]}
    return [text for flag, values in flags.items() for text in (*named[flag], *values)]


def run_step_program(step: str, flags: Flags | Sequence[str], folder: Path) -> Ended:
    """Run a step in this process, in `folder`. A server is interrupted as soon as it serves."""
    argv = [f"{step}.py", *(make_arguments(flags) if isinstance(flags, dict) else flags)]
    serving = patch.object(RatingServer, "serve_forever", side_effect=KeyboardInterrupt)
    with (
        _text_file() as out,
        _text_file() as err,
        _as_program(argv, folder),
        patch.dict(load_times._spent, dict.fromkeys(load_times.PHASES, 0.0)),  # as in a new process
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
    """Open a text file with a file descriptor, as stdout and stderr have."""
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
    """Ends a step once its parser is complete."""


def list_flags(step: str, folder: Path) -> list[str]:
    """List the flags and arguments of a step's parser."""
    found: list[argparse.ArgumentParser] = []

    def catch(parser: argparse.ArgumentParser, *_: object) -> None:
        found.append(parser)
        raise _Caught

    with patch.object(argparse.ArgumentParser, "parse_args", catch):
        assert "_Caught" in run_step_program(step, [], folder).err
    names = (action.option_strings[-1] if action.option_strings else action.dest for action in found[0]._actions)
    return [name for name in names if name != "--help"]
