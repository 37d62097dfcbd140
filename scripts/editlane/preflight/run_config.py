"""The models of a run's config: every key, its type, its default and what it means.

`scripts/document_config.py` writes workflow/schemas/config.schema.json and the table of config/README.md from them.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from editlane.core.strict_model import StrictModel


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[^\W_][\w.-]*", name):
        use = "use letters, digits, . _ and -, beginning with a letter or a digit"
        raise ValueError(f"{name!r} cannot be a name; {use}.")
    return name


Name = Annotated[str, Field(max_length=80), AfterValidator(_check_name)]
Text = Annotated[str, Field(min_length=1)]


class DatasetConfig(StrictModel):
    """What is edited and judged."""

    path: Text
    """The dataset file; for `gedit` and `kris` it may be a folder. Image paths in it are relative to its folder and
    stay inside it."""
    format: Literal["items", "base64-json", "pairs", "gedit", "imgedit", "kris", "rise", "uniredit"] = "items"
    """`items`: JSONL, CSV or Parquet with one item a row. `base64-json`: one JSON list of records with base64 images,
    also RE-Edit's. `pairs`: like `items`, with a column `edited`; the given edits are judged and nothing is edited.
    Of the public benchmarks, `path` is: `gedit`: the folder of GEdit-Bench's Arrow or Parquet files, or one of them.
    `imgedit`: `basic_edit.json` beside the folders of images. `kris`: the folder with a folder for each category, or
    one `annotation.json`. `rise`: `data_total.json` or `datav2_total_w_subtask.json`. `uniredit`: `data.json`. Their
    own category names stay."""
    edited_dir: Text | None = None
    """Score edits that were made elsewhere, with any format: the folder with an image for each item, `<item_id>.*` or
    `<category>/<item_id>.*`, or laid out as the benchmark's own scorer wants it. An item without one ends as a failed
    edit."""
    language: Literal["en", "zh"] = "en"
    """Which instruction is used; an item without it falls back to the other, and the report says how often."""
    categories: Annotated[list[Text], Field(min_length=1)]
    """The categories to evaluate, in the order of the report. Records of other categories are left out and
    counted."""


class EditorConfig(StrictModel):
    """An editing model."""

    adapter: str
    """The code for the model family: `qwen-image-edit` (every Qwen-Image-Edit checkpoint), `diffusers` (any diffusers
    pipeline that takes an image and a prompt), `given` (`format: pairs` or `edited_dir`), `fake` (no model)."""
    model: str | None = None
    """A checkpoint folder, or a hub id such as `Qwen/Qwen-Image-Edit-2511`. `resources/models/tiny-*` are built by
    the workflow."""
    revision: str | None = None
    """Commit or tag of the hub model. Without it the hub's default branch is used and the report says so."""
    env: str = "envs/edit.yaml"
    """The conda environment of this editor, used with `--sdm conda`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Settings of the adapter and its pipeline, for example `num_inference_steps`. All but `offload` are part of the
    journal key."""


class JudgeConfig(StrictModel):
    """A judging model."""

    adapter: str
    """`qwen3-vl` (Qwen3-VL, dense and MoE) or `fake` (no model)."""
    engine: Literal["transformers", "vllm", "openai"] = "transformers"
    """What runs the judge's model. `transformers` and `vllm`: a process on each GPU. `openai`: a server elsewhere
    that speaks OpenAI's chat completions and returns log-probabilities, with its address in `params.base_url`; its
    lanes take no GPU."""
    model: str | None = None
    """A checkpoint folder, or a hub id such as `Qwen/Qwen3-VL-30B-A3B-Instruct`; with `engine: openai` the name under
    which the server has it."""
    revision: str | None = None
    """Commit or tag of the hub model."""
    protocol: str = "resources/protocols/rubric.yaml"
    """What the judge is asked and how its answer is read."""
    env: Text | None = None
    """The conda environment of this judge, used with `--sdm conda`. Without it `envs/qwen3.yaml`,
    `envs/qwen3-vllm.yaml` with `engine: vllm`, and `envs/workflow.yaml` with `engine: openai`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Settings of the adapter, for example `batch_tokens`, `max_image_side`, and `optional_criteria` (a list of
    criteria that the protocol marks as optional). All that can change an answer are part of the journal key; settings
    of speed are not."""


class ControlsConfig(StrictModel):
    """Extra questions to every judge whose answers can be checked."""

    share: Annotated[float, Field(ge=0, le=4)] = 0.1
    """How many of these questions are asked, as a share of the edits; 0.1 is a tenth more judge calls, 4 asks all
    four of every edit. A small dataset needs more than a tenth: each kind needs about ten."""
    repeats: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The share of the edits that are asked about again, to measure the judge's noise: once in another batch order,
    or four times where the judge samples its answer."""
    canary: bool = True
    """Whether each judge is asked about twenty frozen pairs, so that a judge that changed between two runs is
    noticed."""


class ReportConfig(StrictModel):
    """How the report is written."""

    language: Literal["en", "zh"] = "en"
    """The language of the report's own texts."""
    baseline: str | None = None
    """The editor that stands first in every table."""
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Warn where a smaller share of the items was scored."""


class RunConfig(StrictModel):
    """Every setting of a run. Unknown keys are errors."""

    run: Name
    """Name of the run; everything it writes goes to `results/<run>/`."""
    dataset: DatasetConfig
    """What is edited and judged."""
    lanes: Annotated[int, Field(ge=1)] = 1
    """Into how many lanes the items are split; each lane is one process on one GPU. Use the number of GPUs or more.
    It belongs to the data, so it does not change which GPU does what; changing it recomputes nothing."""
    lane_timeout: Annotated[float, Field(gt=0, le=1_000_000_000)] = 1800
    """Seconds for which a lane may stand still (no denoising step, no judged batch) before it is ended and started
    again from its journal. Loading the model is standing still, too, with its download where there is one: choose
    more than that takes."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Seeds of all items derive from this number and the item's id."""
    editors: Annotated[dict[Name, EditorConfig], Field(min_length=1)] = Field(default_factory=dict)
    """The editing models, by a name of your choice. Leave it out for `format: pairs` and for `edited_dir`."""
    judges: Annotated[dict[Name, JudgeConfig], Field(min_length=1)]
    """The judging models, by a name of your choice."""
    controls: ControlsConfig = ControlsConfig()
    """Extra questions to every judge whose answers can be checked. A judge that cannot tell a real edit from the
    source image, from an edit under another item's instruction, from a blank image, or from source and edit swapped
    is not accepted: its scores are shown, but nothing is ranked."""
    preservation: bool = True
    """Whether it is measured, on the CPU, how much of each source image was kept (SSIM, PSNR, differences)."""
    report: ReportConfig = ReportConfig()
    """How the report is written."""
