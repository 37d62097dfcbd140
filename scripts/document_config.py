"""Write config/README.md from the config's schema.

    python scripts/document_config.py --schema workflow/schemas/config.schema.yaml --out config/README.md

A test fails where the two do not agree.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from editlane.step import run_step

HEAD = """# Configuration

`config/config.yaml` is the demo, `config/qwen.yaml` the real run, `config/small.yaml` fits a small GPU or a patient
CPU. Copy one and run it: `snakemake --configfile config/mine.yaml --cores all`. How many GPUs, cores or cluster jobs
are used is not configuration: say it on the command line (`--resources gpu=6`). Without it every visible GPU is used
and none twice.

This page is written by `python scripts/document_config.py` from `workflow/schemas/config.schema.yaml`.
Unknown keys are errors.

| key | type | default | meaning |
|---|---|---|---|
"""

TAIL = """
`{name}` stands for a name of your choice. It becomes a folder of the results.

## Datasets

`items`: JSONL, CSV or Parquet; `category`, `image` (a path relative to the dataset's folder, or base64), `instruction`;
optional `item_id`, `instruction_zh`, `description`, `rationale`, `tags`, `difficulty`. `pairs`: the same with `edited`.
`base64-json`: one JSON list of records with `subset`, `edit_instruction`, `edit_instruction_en`, `src_img_b64`,
`original_image_path` and more; it is streamed, so its size does not matter.

## Working with results

- After a crash, a kill or a full disk the same command goes on. Finished items are in `results/<run>/journal/` and are
  not computed again.
- Changing `lanes`, the order or the size of the dataset recomputes nothing that is there. Changing one category's
  rubric judges that category again. Changing an editor's `params` edits again.
- A report on what is done so far: `snakemake partial_report`.
- To drop one editor, delete `results/<run>/<editor>`, `results/<run>/journal/edit/<editor>` and
  `results/<run>/journal/score/<editor>`.
- Items that failed for want of memory or time are tried again when their lane runs again
  (`snakemake --forcerun edit_lane`). Other failures are kept; delete the editor's journal to try them again.
- A changed environment file makes Snakemake rerun its rules; `--rerun-triggers mtime params input` keeps it from that.
  Either way the journal keeps finished items.
- Never use `--keep-incomplete`: it makes Snakemake take a broken table for a whole one.
"""


def rows(schema: dict[str, Any], prefix: str = "") -> list[str]:
    """One table row per setting, parents first."""
    found = []
    for name, entry in schema.get("properties", {}).items():
        key = f"{prefix}{name}"
        default = "required" if name in schema.get("required", []) else _value(entry.get("default"))
        found.append(f"| `{key}` | {_type(entry)} | {default} | {' '.join(entry['description'].split())} |")
        found += rows(entry, f"{key}.")
        if isinstance(entry.get("additionalProperties"), dict):
            found += rows(entry["additionalProperties"], f"{key}.{{name}}.")
    return found


def _type(entry: dict[str, Any]) -> str:
    if "enum" in entry:
        return " or ".join(f"`{value}`" for value in entry["enum"])
    kinds = entry["type"] if isinstance(entry["type"], list) else [entry["type"]]
    return " or ".join("list of " + entry["items"]["type"] if kind == "array" else kind for kind in kinds)


def _value(default: Any) -> str:
    return "" if default in (None, {}) else f"`{json.dumps(default, ensure_ascii=False)}`"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schema", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    schema = yaml.safe_load(args.schema.read_text(encoding="utf-8"))
    args.out.write_text(HEAD + "\n".join(rows(schema)) + "\n" + TAIL, encoding="utf-8")


if __name__ == "__main__":
    run_step(main)
