"""The README's first command on a copy of the repository: real model classes, real photos, a report."""

import json
import os
import re
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from copied_checkout import copy_checkout, make

pytestmark = pytest.mark.runs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked and new files, with the installed packages, after `make demo`."""
    folder = tmp_path_factory.mktemp("新 用户") / "editlane"
    copy_checkout(folder)
    out = make(folder, "demo")
    assert "report: results/demo/report/report.html" in out
    return folder


def test_every_item_of_every_editor_and_judge_is_there(demo: Path) -> None:
    report = json.loads((demo / "results/demo/report/report.json").read_text(encoding="utf-8"))
    rows = pq.read_table(demo / "results/demo/scores.parquet").to_pylist()
    items = pq.read_table(demo / "results/demo/items.parquet").num_rows
    assert items >= 12
    assert report["rows"] == len(rows) == items * 6, "three editors, two judges"
    assert {row["category"] for row in rows} == {"物理", "环境", "社会", "因果", "指代"}
    assert all(row["state"] in ("scored", "judge_unreadable") for row in rows)
    assert all(0 <= row["mass"] <= 1 for row in rows)


def test_the_report_says_that_the_weights_are_random(demo: Path) -> None:
    for name in ("report.html", "report.md"):
        text = (demo / "results/demo/report" / name).read_text(encoding="utf-8")
        assert "Scores of randomly initialised models mean nothing" in text


def test_a_second_make_demo_has_nothing_to_do(demo: Path) -> None:
    assert "Nothing to be done" in make(demo, "demo")


def test_the_demo_is_small_on_disk(demo: Path) -> None:
    folders = [demo / "results", demo / "resources", demo / ".snakemake"]
    size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    assert size < 1e9


def test_no_table_holds_a_path_of_this_machine(demo: Path) -> None:
    for path in (demo / "results/demo").rglob("*"):
        if path.suffix in (".parquet", ".jsonl", ".json", ".md") and path.is_file():
            text = path.read_bytes()
            assert str(demo).encode() not in text, path
            assert str(ROOT).encode() not in text, path


def test_the_readmes_commands_are_the_makefiles(demo: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^(make [\w-]+)", readme, re.MULTILINE)
    assert commands[:5] == ["make demo", "make gallery-demo", "make serve", "make fleet-demo", "make test"]
    for command in commands:
        subprocess.run([*command.split(), "--dry-run"], cwd=demo, check=True, capture_output=True)


def test_the_manuals_first_dataset_is_ready_to_run(demo: Path) -> None:
    page = (ROOT / "config/README.md").read_text(encoding="utf-8")
    part = page.split("## Your first dataset in five minutes\n")[1].split("\n## ")[0]
    blocks = re.findall(r"(?:`([\w/.]+)`:\n\n)?```(\w+)\n(.*?)```", part, re.DOTALL)
    assert [(name, kind) for name, kind, _ in blocks if kind != "sh"] == [
        ("mine/items.csv", "csv"),
        ("config/mine.yaml", "yaml"),
    ]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "GPULEASE_DIR": str(demo / ".leases")}
    out = ""
    for name, kind, text in blocks:
        if kind == "sh":
            script = re.sub(r"^snakemake .*", r"\g<0> --dry-run", text, flags=re.MULTILINE)
            command = ["bash", "-e", "-c", script]
            done = subprocess.run(command, cwd=demo, env=environment, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            out += done.stdout
        else:
            (demo / name).write_text(text, encoding="utf-8")
    assert "mine/items.csv: 4 items" in out
    assert " 0 failed" in out
    assert "make_report" in out
