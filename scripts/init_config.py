"""Write the first config for a dataset of your own, with what its columns and categories were taken for.

    python scripts/init_config.py --dataset mine/items.csv
    python scripts/init_config.py --dataset GEdit-Bench --edited-dir edits/my-model --out config/gedit.yaml

The dataset is read to its end, so an error in it is found here. Models are chosen by the GPUs of this machine: those of
config/qwen.yaml (80 GB), of config/small.yaml (8 GB), or without a GPU the demo's, which have random weights. The file
is written to config/<name of the dataset>.yaml; an existing file is left as it is.
"""

import os
import re
import shlex
from pathlib import Path

import yaml

from editlane.cli.flags import StepParser, input_folder
from editlane.cli.step import run_step
from editlane.core.checkout import CHECKOUT
from editlane.core.errors import UserError
from editlane.core.paths import RunPaths
from editlane.images.files import write_atomically
from editlane.preflight.config import check_config
from editlane.preflight.devices import find_devices
from editlane.preflight.first_config import look_at, write_config


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="a file, or the folder of a public benchmark")
    parser.add_argument("--edited-dir", type=input_folder, help="a folder of edits that were made elsewhere")
    parser.add_argument("--out", type=Path, help="the YAML file to write; default: config/<name of the dataset>.yaml")
    args = parser.parse_args()

    run = make_run_name(args.dataset)
    out = args.out or Path("config") / f"{run}.yaml"
    if out.exists():
        raise UserError(f"{out} exists. Name another file with --out, or move it away.")
    found = look_at(args.dataset, args.edited_dir)
    flags = f" --edited-dir {shlex.quote(str(args.edited_dir))}" if args.edited_dir else ""
    command = f"scripts/init_config.py --dataset {shlex.quote(str(args.dataset))}{flags}"
    schema = os.path.relpath(CHECKOUT / "workflow/schemas/config.schema.json", out.resolve().parent)
    text = write_config(found, run=run, devices=find_devices(), command=command, schema=schema)
    check_config(yaml.safe_load(text))
    write_atomically(out, text.encode())
    print(f"wrote {out}. The run is called {run}, after the dataset; its results go to results/{run}/.")
    print("Read the file and change what you like. Then check it, and run it:")
    print(f"  python scripts/check_setup.py --configfile {shlex.quote(str(out))}")
    print(f"  snakemake --configfile {shlex.quote(str(out))} --cores all")


def make_run_name(dataset: Path) -> str:
    """Make the name of a run without results from the dataset's name."""
    stem = dataset.resolve().name if dataset.is_dir() else dataset.stem
    if stem in ("items", "data", "dataset", "annotation"):  # the folder tells more
        stem = dataset.resolve().parent.name or stem
    name = re.sub(r"[^\w.-]+", "-", stem).strip("-._")[:60] or "run"
    taken = (number for number in range(1, 10_000) if not RunPaths.of_run(_add(name, number)).run_dir.exists())
    return _add(name, next(taken))


def _add(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


if __name__ == "__main__":
    run_step(main)
