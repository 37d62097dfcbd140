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

`items`: JSONL, CSV or Parquet; `category`, `image` (a path relative to the dataset's folder, base64, or in Parquet the
bytes, also in a struct of `bytes` and `path`), `instruction`; optional `item_id`, `instruction_zh`, `description`,
`rationale`, `tags`, `difficulty`. `pairs`: the same with `edited`. `base64-json`: one JSON list of records, or a
Parquet file, with `subset`, `edit_instruction`, `edit_instruction_en`, `src_img_b64`, `original_image_path` and more;
it is streamed, so its size does not matter.

An `item_id` that cannot be a file name gets its forbidden characters replaced and 8 hex digits added.

### Score edits that you have

Set `dataset.edited_dir` and leave `editors` out; this works with every format:

```yaml
dataset: {path: mine/items.csv, edited_dir: mine/edits, categories: [物理, 因果]}
```

An edit is called `<item_id>.*` or `<category>/<item_id>.*`, with any suffix of an image; a record without an `item_id`
goes by the name of its image. The layouts of the benchmarks' own scorers below are found too. An item without a file
ends as `edit_failed` (`missing`); two files for one item, or one file for two items, stop the run at its start. To
compare with models that edit in the same run, list them and one editor `{adapter: given}`.

### Public benchmarks

Of each: what to download, what `path` is, and what `edited_dir` is for edits in the layout of its own scorer.

- **GEdit-Bench**, `gedit`: `hf download stepfun-ai/GEdit-Bench --repo-type dataset --local-dir GEdit-Bench`; the folder
  with the `.arrow` files, or the `.parquet` files of the hub's conversion. Edits: `<model>/fullset`, which holds
  `<task_type>/<en or cn>/<key>.png`.
- **ImgEdit-Bench**, `imgedit`, the basic suite: `Benchmark/Basic/basic_edit.json` of github.com/PKU-YuanGroup/ImgEdit,
  put into the folder that holds `animal/`, `style/`, ... (`Benchmark.tar` of the dataset sysuyy/ImgEdit). Edits: the
  folder with `<key>.png`.
- **KRIS-Bench**, `kris`: `git clone https://github.com/mercurystraw/Kris_Bench`; `Kris_Bench/KRIS_Bench`. Edits:
  `results/<model>`, which holds `<category>/<id>.jpg`.
- **RISEBench**, `rise`: `data.zip` of the dataset PhoenixZ/RISEBench (360 items), or `data/` of
  github.com/PhoenixZ810/RISEBench (64); the JSON list beside the folders of images. Edits: `outputs/<model>/images`,
  which holds `<category>/<index>.png`.
- **UniREditBench**, `uniredit`: `hf download maplebb/UniREditBench --repo-type dataset --local-dir UniREditBench`, and
  unzip `original_image.zip` there; `UniREditBench/data.json`. Edits: the folder that holds `<name>/<idx>.png`.
- **RE-Edit**, `base64-json`: `hf download Yixuan-Ding-ZJU/RE-Edit --repo-type dataset --local-dir RE-Edit`;
  `RE-Edit/RE-Edit.json`. Edits: `<stem of original_image_path>.*`.

What becomes of their fields:

- `categories` are the benchmark's own: GEdit's `task_type`, ImgEdit's `edit_type`, KRIS's folders, RISE's `category`,
  UniREdit's `name`. A run that names none of them lists those that are there. RE-Edit's can be asked for in English
  (physical, environmental, cultural, causal, referential) or in Chinese (物理, 环境, 社会, 因果, 指代).
- The protocols with rubrics know the Chinese default categories only. For others use `viescore`, or give a copy of
  `rubric` rubrics of its own.
- GEdit-Bench has a record for each language; `language: zh` takes those marked `cn`. A key without one falls back to
  the other. The source is `input_image`, which the official scorer shows its judge. `Intersection_exist` becomes the
  tag `intersection`.
- The reference text of KRIS (`explain_en`), RISE (`reference`) and UniREdit (`reference_effect`) becomes the item's
  `rationale`. UniREdit's `rules` are put before the instruction. Reference images are counted and not used.
- Records with several source images cannot be items: leave KRIS's `multi-element_composition` and
  `temporal_prediction` out. RISEBench++ has such records in several categories.
- ImgEdit's UGE and multi-turn suites have no `edit_type` and are not read.
- Download with `--local-dir`: in the hub's cache images are links that lead out of the folder, which is refused.
- Licences as seen: GEdit-Bench MIT (its card); UniREditBench Apache-2.0 (its card; none on GitHub); RE-Edit MIT
  (README; no licence file, that of the dataset was not seen); none on GitHub for ImgEdit, KRIS-Bench and RISEBench. The
  licence of a repository does not say where each photo in it comes from, and several sets show people.

## Parameters

- `qwen-image-edit`: `num_inference_steps`, `true_cfg_scale` with `negative_prompt`, `height` with `width`,
  `guidance_scale`, `max_sequence_length`, `dtype`.
- `diffusers`: the keyword arguments of the pipeline's call, and `dtype`.
- `qwen3-vl`: `batch_size`, `max_image_side`, `optional_criteria`, `temperature`, `dtype`, `attn_implementation`.
- `fake` editor, to try things out without a model: `seconds`, `steps`, `failure_rate`, `refusal_rate`, `noop_rate`.
  `fake` judge: `seconds`, `batch_size`, `behaviour`, `noise`, `unreadable_rate`, `failure_rate`.

An unknown name or a wrong value stops the run at its start and names what would be right.

## How the numbers are made

- **Judge acceptance.** Beside the edits each judge is asked about the source as its own edit, an edit under another
  item's instruction, a blank image, and source and edit swapped (`controls.share`). It is accepted if, for each of
  the four, the 95 % interval of the AUC against the real edits (unchanged ones are left out) lies above 0.5. A judge
  that is not accepted, or was not tested, gets its scores shown, but nothing is ranked. Fewer than four of a kind
  never suffice; where more than half of the edits fail, use a larger share. A judge that ignores nothing but the
  instruction is caught by one control alone and slips through on 2 to 5 of 100 datasets.
- **Intervals** of means are BCa bootstrap intervals (t instead of normal quantiles) that resample source images, since
  two items with one photo are not independent; there is none for fewer than six source images. Rates have Wilson
  intervals. The headline is the macro mean, which weighs every category alike; the micro mean weighs every item alike.
- **Comparisons** of two editors use the items scored for both: paired sign-flip permutation tests, Holm-corrected over
  the categories, each with the difference that so many items would find with 80 % power.
- **Unchanged** marks an edit that shows its source again, apart from resizing, encoding and a shift of a few pixels.
  **Preservation** describes how much of the source was kept; it is no quality: an edit that does nothing keeps all.
- **Noise and drift.** A tenth of the edits is asked about again (`controls.repeats`); twenty frozen pairs are judged in
  every run (`controls.canary`) and compared with the oldest run beside this one that has the same judge. A run that
  goes on does not judge them again.
- **Old rules.** With the `legacy` protocol the report shows, beside each mean, what the original benchmark's rules
  would have printed: 5.0 for an answer that cannot be read, 0.0 for a failed edit.
- Up to 2,000 items the report is one file. Above, `report/gallery/` belongs to it, and pictures are those of the run.

## Do people agree with the judge

```
python scripts/collect_ratings.py --run-dir results/demo --rater anna --out ratings.csv --items 60
python scripts/compare_ratings.py --ratings ratings.csv --scores results/demo/scores.parquet --out agreement.json
```

The first command serves a page on this machine that shows source, edit and instruction, but not the editor. Press 0 to
9 (or tap), left arrow to go back, right arrow to skip, Z to enlarge. Every key is saved at once; run the same command
again to go on. Keep `--items` and `--seed` the same for all raters, so that they rate the same items; each has an order
of their own.

The second prints how well the raters agree (Krippendorff's alpha), how well the judge agrees with them (Spearman per
system, correctly averaged; the ranking of the systems; pairs with ties counted), and how well one rater agrees with the
others, which is what a judge can be expected to reach; all with 95 % intervals. What cannot be computed is `null` with
the reason. A ratings file is CSV, TSV or Parquet with the columns `item, system, rater, score`, a row per rating, on
any scale. An empty score means not rated; a second row for the same item, system and rater is an error. Released
scores of other judges can be compared, too: a table with `item, system, score`, and `judge` if there are several.

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
- Photos, given edits or weights that changed behind the same name are not noticed by themselves:
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
