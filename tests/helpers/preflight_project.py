"""Make a small project to check, its configs and the context of the checks."""

import json
from pathlib import Path
from typing import Any

from PIL import Image
from step_runs import run_step_program

from editlane.core.findings import Finding
from editlane.preflight.config import check_config
from editlane.preflight.context import RunContext
from editlane.preflight.devices import Devices, Gpu

ROOT = Path(__file__).parents[2]
CATEGORIES = ["物理", "因果"]
GB = 10**9


def write_project(folder: Path, count: int = 6, **changes: Any) -> None:
    """Write a dataset of `count` photos and link the files that a config names. `changes` go into every record."""
    for name in ("envs", "resources/protocols"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).symlink_to(ROOT / name)
    (folder / "资料").mkdir()
    with (folder / "资料/items.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            Image.new("RGB", (60, 40 + number), (number * 20, 90, 120)).save(folder / f"资料/图 {number}.png")
            record = {"item_id": f"i{number}", "category": CATEGORIES[number % 2], "instruction": f"make it {number}"}
            file.write(json.dumps(record | {"image": f"图 {number}.png"} | changes, ensure_ascii=False) + "\n")


def prepare(folder: Path, run: Path) -> None:
    """Write the run's table of items."""
    flags = ["--dataset", "资料/items.jsonl", "--format", "items", "--language", "en", "--categories", *CATEGORIES]
    flags += ["--run-dir", str(run), "--out", str(run / "items.parquet")]
    assert run_step_program("prepare_items", flags, folder).code == 0


def fake_config(**changes: Any) -> dict[str, Any]:
    """Return the config of a run without models."""
    return {
        "run": "试验",
        "dataset": {"path": "资料/items.jsonl", "categories": CATEGORIES},
        "lanes": 2,
        "editors": {"a": {"adapter": "fake"}},
        "judges": {"j": {"adapter": "fake"}},
        "controls": {"share": 0, "repeats": 0, "canary": False},
    } | changes


def with_model(model: str, **params: Any) -> dict[str, Any]:
    """Return a config whose editor `big` uses this checkpoint."""
    return fake_config(editors={"big": {"adapter": "diffusers", "model": model, "params": params}})


def make_context(config: dict[str, Any] | None = None, *, gpus: list[Gpu] | None = None, **options: Any) -> RunContext:
    """Make the input of the checks, in the working folder."""
    checked = check_config(config or fake_config())
    Path("config.yaml").touch()
    devices = Devices(gpus=tuple(gpus or ()))
    return RunContext(**({"config": checked, "config_files": [Path("config.yaml")], "devices": devices} | options))


def gpu(label: str = "0", size: float = 80 * GB, **options: Any) -> Gpu:
    return Gpu(label=label, model="NVIDIA Test", memory=int(size), **{"used": 0} | options)


def levels(findings: list[Finding]) -> list[str]:
    return [one.level for one in findings]
