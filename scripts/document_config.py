"""Write config/README.md from the config's schema.

    python scripts/document_config.py --schema workflow/schemas/config.schema.yaml --out config/README.md

A test fails where the two do not agree.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from editlane.errors import UserError
from editlane.flags import StepParser, output_file
from editlane.images import write_atomically
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
  `guidance_scale`, `max_sequence_length`, `dtype`, `scheduler`, and those of faster editors below.
- `diffusers`: the keyword arguments of the pipeline's call, `dtype`, and those of faster editors below.
- `qwen3-vl`: `batch_tokens`, `max_image_side`, `optional_criteria`, `temperature`, `dtype`, `attn_implementation`,
  `features_dir`.
  With `engine: vllm`: `batch_size`, `max_image_side`, `max_model_len`, `gpu_memory_utilization`, `enforce_eager`,
  `optional_criteria`, `temperature`, `dtype`. With `engine: openai`: `base_url`, `api_key_env`, `concurrency`,
  `timeout`, `attempts`, `answer_constraint`, `max_image_side`, `optional_criteria`, `temperature`.
- `fake` editor, to try things out without a model: `seconds`, `steps`, `failure_rate`, `refusal_rate`, `noop_rate`.
  `fake` judge: `seconds`, `batch_size`, `behaviour`, `noise`, `unreadable_rate`, `failure_rate`.

An unknown name or a wrong value stops the run at its start and names what would be right.

## Faster editors

Settings in an editor's `params`, all off unless set. All but `offload` change pixels, so an editor that has them is
another editor: it edits everything again, and the report names them. What a pipeline or a GPU does not have is refused
when the model is loaded.

None of the gains below was measured with Editlane on a GPU; where a figure is published, it is of other code.

While an editor loads, the shards of one model are read side by side; transformer, text encoder and VAE come one after
the other. They go straight to the GPU; with `lora`, `quantization` or `offload` to the host's memory first.

- `lora` with `scheduler: lightning`, `num_inference_steps` 4 or 8, `true_cfg_scale: 1`: a Lightning LoRA, fused on the
  CPU wherever the editor runs, because a GPU would round otherwise. It is another model, which takes 20 or 10 times
  fewer passes than 40 steps with guidance. `lora` is a `.safetensors` file, or
  `hf://org/name@revision/file.safetensors`; its content is part of the key, its path is not. A Lightning LoRA with
  other steps, guidance or scheduler is refused, as is a LoRA that does not fit.
- `compile: true` compiles the transformer's blocks; rounding changes. Together with an attention backend 1.3 to 1.5
  times faster on FLUX (published). What was compiled is kept in `~/.cache/editlane/torchinductor`, unless
  `XDG_CACHE_HOME` or `TORCHINDUCTOR_CACHE_DIR` says otherwise, and read by later lanes. It needs g++, and an
  environment whose path has no space.
- `attention_backend`: a name of diffusers, such as `_native_cudnn`, `flash`, `_flash_3_hub` (downloads a kernel) or
  `sage`; rounding changes, with `sage` more than that.
- `cache` skips what is foreseeable; the picture changes, more or less by its content. Published for similar caches:
  Qwen-Image from a text on an H200 in 10.5 s (TeaCache) or 10.8 s (Cache-DiT) instead of 20.0 (the vLLM blog of
  2025-12-19), Qwen-Image-Edit with 50 steps in 21.6 s (Cache-DiT) instead of 51.5 (vLLM-Omni's documentation): 1.9 to
  2.4 times. The lane's log says for every edit how much was skipped. Settings that are left out are diffusers' own:
  - `{kind: first_block, threshold: 0.05}`: no other block of a step whose first block changed less than that.
  - `{kind: taylor_seer, cache_interval: 5, use_lite_mode: true}`: extrapolates steps; `disable_cache_before_step`,
    `disable_cache_after_step`, `max_order`. Without lite mode only attention is skipped, which excludes `compile`.
  - `{kind: mag, mag_ratios: [...]}`: by ratios of this checkpoint and number of steps, which a run with `{kind: mag,
    calibrate: true}` writes into the lane's log, for each prompt, while it skips nothing; `threshold`,
    `max_skip_steps`, `retention_ratio`.
- `quantization: fp8`: the blocks' linear layers in 8 bit, their modulation left out; 3.6 % error a layer on random
  numbers, transformer 41 -> 27 GB. Published for another implementation (vLLM-Omni's documentation): 1.28 times
  faster. On Ada, Hopper or later GPUs.
- `offload: model` (one part of the pipeline at a time) or `blocks` (one transformer block at a time): weights wait in
  the host's memory. No pixel changes; slower, for GPUs that are too small.

## Which settings for which GPUs

`check_setup.py` compares the weights with the memory of the GPUs that are there. By size alone, in bfloat16 (none of it
was measured on a GPU yet; the weights of Qwen-Image-Edit are 41 GB of transformer and 17 GB of text encoder):

| GPU | Qwen-Image-Edit | judge |
|---|---|---|
| 24 GB | `offload: blocks` | Qwen3-VL-8B (18 GB), `batch_tokens: 4096`; or `engine: openai`, a larger one elsewhere |
| 48 GB | `offload: model`, or `quantization: fp8` (44 GB, little room) | Qwen3-VL-8B |
| 80 GB | as it is (58 GB; published with SGLang: a peak of 64 GB) | Qwen3-VL-30B-A3B (62 GB) |
| 141 GB | as it is | Qwen3-VL-30B-A3B, `batch_tokens: 32768` |

- **1 GPU:** `lanes: 1`. Every lane loads its model once for all items and categories, editor and judge one after the
  other, so more lanes would only load more often.
- **6 or 8 GPUs:** `lanes: 6` or `lanes: 8`, one lane on each. No lane waits for another; with many editors or judges
  the GPUs also share what is left at the end. Twice as many lanes even out items of different length, at the price of
  loading twice: worth it where items take hours and loading a minute.
- **Host:** memory for the checkpoints (58 and 62 GB) beside 4 GB for each lane, so that the lanes of a machine read
  them from the disk once. `offload` takes 58 GB for each lane, `lora` and `quantization` while it loads. Two cores for
  each GPU.

What the judge gains and what changes. The first group is always on with `engine: transformers`:

| lever | what it saves | what changes |
|---|---|---|
| answer read from one pass, no decoding | a pass for each of a reply's tokens | nothing: it is the protocol's reading |
| rubric of a category prefilled once | its tokens, for every edit but the first | rounding |
| criteria of one edit from one prefill | images and item text, for every criterion but the first | rounding |
| image features kept (64 images) | the vision part, for a photo that comes again soon | nothing |
| images cut as bytes, copied beside the work | CPU time, seven eighths of the copied bytes | nothing, bit by bit |
| `batch_tokens` (16384) | kernel launches; memory limits it | rounding, yet no part of the key |
| `features_dir` (off) | the vision part of the sources, for all editors but the first; 17 MB a photo | nothing |
| `max_image_side` (1024) | 768: two fifths of the operations, 512: two thirds | what the judge sees: another judge |
| `attn_implementation`, `dtype` | depends on the GPU | rounding: another judge |

`make bench-gpu` measures each of these, and each of the editor's, on the GPU at hand with random weights of full size;
`tests/bench/results/` has what was measured so far.

## Engines of a judge

```yaml
judges:
  here: {adapter: qwen3-vl, engine: vllm, model: Qwen/Qwen3-VL-30B-A3B-Instruct}
  elsewhere:
    adapter: qwen3-vl
    engine: openai
    model: Qwen/Qwen3-VL-30B-A3B-Instruct
    params: {base_url: "http://gpu-server:8000/v1", api_key_env: JUDGE_KEY}
```

Engines ask the same questions of the same pixels and write the same columns. Their numbers differ by the rounding of
other kernels, so each engine is a judge of its own: changing it judges everything again.

- `vllm` runs one engine in the process of each lane, on the GPU that the lane holds. It fills
  `gpu_memory_utilization` of its memory, whatever the model.
- `openai` asks a server that you start, for example `vllm serve MODEL --limit-mm-per-prompt '{"image": 2}'`, on GPUs
  that the lanes leave alone (`CUDA_VISIBLE_DEVICES` says which may be used). The key is read from the environment
  variable that `api_key_env` names and is stored nowhere. Before the first score each lane makes sure that the server
  has the model, returns `logprobs`, and obeys the answer constraint (`structured_outputs`, vLLM 0.12 or newer);
  otherwise it stops and says so. With `answer_constraint: null` only unconstrained probabilities are read.
- Scores come from the 20 likeliest tokens that a server shows. If more than a thousandth of the legal answers'
  probability may be missing there, the question is asked again with legal answers only; without a constraint such an
  edit is `judge_unreadable` (`hidden`). The mass always comes from the unconstrained reply. Where that shows no legal
  answer at all it is 0, or, if more than a thousandth of the probability may be missing there, the edit is
  `judge_unreadable` (`hidden`).
- A request that fails for now (no connection, no answer in time, HTTP 429 or 5xx) is repeated with growing pauses, then
  the edit is `judge_failed` (`transport` or `timeout`) and asked again when the lane runs again. A server whose list of
  models does not come within 10 s after that is gone, which ends the lane. A lane that is told to stop ends its batch
  of 2 x `concurrency` edits first: where a server takes all questions and answers none, that is 2 x `attempts` x
  `timeout` (20 minutes by default) and the pauses between. `base_url`, `api_key_env`, `concurrency`, `timeout` and
  `attempts` can be changed at any time.
- Nobody can see from here which weights a server has: the name it gives them is all that the journal knows. Give
  another name (`--served-model-name`) when they change.

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

## Environments

With `--sdm conda` every rule runs in an environment of its own, made from a file of `envs/` before the first job. That
needs conda 24.7.1 or newer on `PATH`, for example from Miniforge. Without it all rules run in Snakemake's own Python.

| file | for |
|---|---|
| `envs/workflow.yaml` | Snakemake itself, the steps that need no model, and judges with `engine: openai` |
| `envs/edit.yaml` | editors, and the demo's tiny models |
| `envs/qwen3.yaml` | judges |
| `envs/qwen3-vllm.yaml` | judges with `engine: vllm` |
| `envs/report.yaml` | the report, preservation, and the comparison with people's ratings |

- To have Snakemake without `make`: `conda env create -n editlane -f envs/workflow.yaml`, and `conda activate editlane`.
- `env:` of an editor or judge names another file, so two models can have different versions of transformers. The tables
  record which versions a lane ran with.
- Any change to a file, a comment too, makes its rules run again, and those that follow them. Finished items come from
  the journal, so no model is loaded; then the recorded versions are those of the last run of the lane, not those that
  made the items. `--rerun-triggers mtime params input` leaves them alone.
- The packages listed are pinned, those that they bring along are not. Do not put a pin file
  (`envs/edit.linux-64.pin.txt`) beside them: Snakemake then installs what it lists and nothing of the pip section.
- Where the machines that compute cannot reach the internet, create the environments on one that can, on a file system
  that both see, and name the same folder in every run:
  `snakemake --configfile config/mine.yaml --cores 1 --sdm conda --conda-create-envs-only --conda-prefix /shared/envs`.
- `make test-envs` asks the package index whether all files can still be installed on Linux with CUDA.

## More than one machine

```
snakemake --configfile config/mine.yaml --sdm conda --executor slurm --workflow-profile workflow/profiles/slurm
```

Every lane is a SLURM job with one GPU; small steps run where you type this, on a node that may submit jobs. Checkout,
results, models and environments lie on a file system that all nodes see under the same path.

- **Settings.** Copy the folder of the profile and name yours: partitions, account, model of GPU, memory, time. A
  `--set-resources` or `--default-resources` on the command line replaces what the profile says under that name, all of
  it. The account cannot be guessed; give `slurm_account` where the site wants one. `--resources gpu=6` limits the GPUs.
- **Without accounting** (`sacct` says that it is disabled) uncomment `slurm-status-command: squeue`, or the run never
  notices that its jobs have ended.
- **GPUs.** SLURM chooses them; it must know them (`sinfo --format=%G` shows them). Lanes then hold theirs only against
  other processes of the same job. `GPULEASE_DIR` names a folder of each node, never a shared one; the default
  (/run/lock/gpulease or /tmp/gpulease) is. Unset `CUDA_VISIBLE_DEVICES` before you start: jobs inherit your shell.
  SLURM may give a broken GPU to one job after the other; keep the node out with
  `--slurm-exclude-failed-nodes NODE,NODE`.
- **A job that ends early**, by `scancel`, time, memory or a dead node, is done again, and finished items are kept.
  SLURM ends a job some seconds (`KillWait`) after it has asked it to stop; only the item at hand is lost.
- **Cancel** with Ctrl-C: the jobs are cancelled, too. After a SIGKILL, a reboot or a lost connection they go on (run
  it in tmux). The same command is safe then: a new lane waits for the old one's journal, or use `scancel` first.
- **Shared file system.** One process writes a lane's journal, and one workflow a run: both are file locks. NFS carries
  them between nodes; Lustre only if mounted with `flock`, and with `localflock`, or without locks, nobody notices
  a second workflow started on another node, so start it on one node only. Files may show up late:
  raise `latency-wait` where a job fails for files that are there.
- **Logs.** What a lane says is in `results/<run>/logs/`, what SLURM says about a failed job in
  `.snakemake/slurm_logs/`.

`workflow/profiles/kubernetes` has been planned with a dry run and never run on a cluster. Its comments say what it
needs.

## Working with results

In `.venv`, run `source .venv/bin/activate` first. Every command is run in the repository; name your config each time.

- After a crash, a kill or a full disk the same command goes on. Finished items are in `results/<run>/journal/` and are
  not computed again, as long as their images are there.
- Changing `lanes`, the order or the size of the dataset recomputes nothing that is there. Changing one category's
  rubric judges that category again. Changing an editor's `params` or the `seed` edits again and overwrites the images.
  `batch_tokens` and other settings of speed can be changed at any time.
- A report on what is done so far, also beside a running workflow:
  `snakemake --configfile config/mine.yaml partial_report`; it goes to `results/<run>/partial_report/`.
- Failures that another attempt may mend (out of memory, an error of the model, a missing file) are tried again when
  their lane runs again: `snakemake --configfile config/mine.yaml --forcerun edit_lane`. A refusal or an image that
  cannot be decoded stays. An item on which three processes died is given up as `crash`.
- Photos, given edits or weights that changed behind the same name are not noticed by themselves:
  `--forcerun prepare_items` or `--forcerun edit_lane` looks again and redoes what differs.
- Never use `--keep-incomplete`: it makes Snakemake take a broken table for a whole one.

## Moving, cleaning up, dropping an editor

First let the workflow end, or stop it.

**Moving.** All that a run knows lies in `results/<run>/`, without an absolute path (its logs may name some). Move the
folder with `mv`, `cp -a` or `rsync -a`, which keep the times of its files, to the `results/` of another checkout or
machine, under any name; set `run` to that name and give the same command there. It needs the dataset and the models,
which may lie elsewhere now. Nothing that is finished is computed again.

`.snakemake/` may stay behind. Without it Snakemake does not know what the config was, so it does not notice that
`editors` or another setting has changed: add `--forceall` once. It runs every step again, each from its journal.

**Cleaning up.** `snakemake --configfile config/mine.yaml --delete-all-output` deletes every table and the report, and
what the workflow has built for itself: `resources/models/tiny-*`, `resources/demo/photos`, `resources/canary/pictures`.
Source images, edits, journals, heartbeats and logs stay, so the next run computes nothing again. Add `--dry-run` to see
the list. To delete everything, `rm -r results/<run>`.

**Dropping an editor or a judge.** Take it out of the config and give the same command: the tables and the report are
made again without it. What it has done stays in the folder and is there again when you put it back. To delete that too,
here of the run `demo` (bash or zsh):

```sh
# the editor tiny-pix2pix
rm -r results/demo/tiny-pix2pix results/demo/{journal,heartbeats,logs,benchmarks}/*/tiny-pix2pix
```

```sh
# the judge tiny-qwen3-vl
rm -r results/demo/*/{scores,controls}/tiny-qwen3-vl
rm -r results/demo/{journal,heartbeats,logs,benchmarks}/score*/*/tiny-qwen3-vl
```

Nothing is computed again for the others, but for the canary set, whose answers lie with the editor that was first.

## What a run has cost

`results/<run>/costs.parquet`, also in the report, has a row for each lane of an editor, and of an editor with a judge:
how many processes worked on it (`attempts`) and how many of these `died`, `items` (of a judge: questions, controls
included), `held_seconds` and their parts (below), `seconds_per_item`, `gpu_hours` and `peak_memory` in bytes (both null
without a GPU), `device` and `host`. It is added up from the files in
`results/<run>/heartbeats/`, of which each process that has something to do leaves one:

- A process that was killed counts up to its last sign of life, the last time that it wrote its file. If it hung before,
  it may have held its device for longer.
- A lane that found everything in its journal has no items and null seconds; a lane of an earlier split keeps its row.
- What was made under other settings of the editor or the judge is left out; settings of speed do not count as others.

## Where the time goes

The section of that name in the report says, for every editor and judge, what became of the time in which processes held
a device, which part is the largest, and what makes it smaller. It begins with the lease: the wait for a free device is
not counted. In `costs.parquet`, `held_seconds` = `load_seconds` + `busy_seconds` + `idle_seconds` + `lost_seconds`:

- `busy_seconds`: the model's work on items.
- Of `load_seconds`: `imports_seconds` (Python and its modules), `reading_seconds` (the model was built while its files
  were still read; what is read beside the imports costs nothing), `transfer_seconds` (building the model, its weights
  to the device), `warmup_seconds` (what the first batch took longer than the median of up to nine after it; an
  estimate, and 0 with fewer than three after it). The rest is the journal and the checks.
- Of `idle_seconds`: `input_seconds` (the device waited for the next images) and `output_seconds` (for results to be
  written). The rest is what happens between two items.
- `lost_seconds`: of processes that failed, were stopped or killed, their loading and what came after their last item.

While a lane imports its libraries, it reads the files of its model into memory; of several lanes of a machine that want
the same model one reads, with several threads, and all load what is there already. That is left out where
`MemAvailable`, or the container's limit, is smaller than the files. Parts that a heartbeat of an older version does not
know are null, and count as the rest.
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
    parser = StepParser(__doc__)
    parser.add_argument("--schema", type=Path, required=True)
    parser.add_argument("--out", type=output_file, required=True)
    args = parser.parse_args()
    try:
        schema = yaml.safe_load(args.schema.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{args.schema} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(schema, dict) or "properties" not in schema:
        raise UserError(f"{args.schema} is not the schema of a configuration; it has no `properties`.")
    write_atomically(args.out, (HEAD + "\n".join(rows(schema)) + "\n" + TAIL).encode())


if __name__ == "__main__":
    run_step(main)
