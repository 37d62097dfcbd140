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

An `item_id` that cannot be a file name gets its forbidden characters replaced and 8 hex digits added.

## Parameters

- `qwen-image-edit`: `num_inference_steps`, `true_cfg_scale` with `negative_prompt`, `height` with `width`,
  `guidance_scale`, `max_sequence_length`, `dtype`.
- `diffusers`: the keyword arguments of the pipeline's call, and `dtype`.
- `qwen3-vl`: `batch_size`, `max_image_side`, `optional_criteria`, `dtype`, `attn_implementation`.
- `fake` editor, to try things out without a model: `seconds`, `steps`, `failure_rate`, `refusal_rate`, `noop_rate`.
  `fake` judge: `seconds`, `batch_size`, `behaviour`, `unreadable_rate`, `failure_rate`.

An unknown name or a wrong value stops the run at its start and names what would be right.

## Working with results

In `.venv`, run `source .venv/bin/activate` first. Every command is run in the repository; name your config each time.

- After a crash, a kill or a full disk the same command goes on. Finished items are in `results/<run>/journal/` and are
  not computed again, as long as their images are there.
- Changing `lanes`, the order or the size of the dataset recomputes nothing that is there. Changing one category's
  rubric judges that category again. Changing an editor's `params` or the `seed` edits again and overwrites the images.
  `batch_size` and other settings of speed can be changed at any time.
- A report on what is done so far, also beside a running workflow:
  `snakemake --configfile config/mine.yaml partial_report`; it goes to `results/<run>/partial_report/`.
- To drop one editor, delete `results/<run>/<editor>`, `results/<run>/journal/edit/<editor>` and
  `results/<run>/journal/score/<editor>`.
- Failures that another attempt may mend (out of memory, an error of the model, a missing file) are tried again when
  their lane runs again: `snakemake --configfile config/mine.yaml --forcerun edit_lane`. A refusal or an image that
  cannot be decoded stays. An item on which three processes died is given up as `crash`.
- Photos or weights that changed behind the same name are not noticed by themselves:
  `--forcerun prepare_items` or `--forcerun edit_lane` looks again and redoes what differs.
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
