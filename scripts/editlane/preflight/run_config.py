"""Define every key of a run's config: its type, default and meaning.

`scripts/document_config.py` writes workflow/schemas/config.schema.json and the table of config/README.md from them.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from editlane.core.strict_model import Name, StrictModel, Text
from editlane.judges.config import JudgeConfig

EDITOR_ENV = "envs/edit.yaml"
EDITOR_ENVS = {"served/openai": "envs/workflow.yaml"}
"""Default environment file of an editor, and of those that need another one."""


class DatasetConfig(StrictModel):
    """Images and instructions to edit and judge."""

    path: Text
    """Dataset file; for `gedit`, `geditv2`, `kris` and `edit-compass` it may be a folder. Image paths are relative to
    its folder and must stay inside it."""
    format: Literal[
        "items", "base64-json", "pairs", "gedit", "geditv2", "imgedit", "kris", "rise", "edit-compass", "uniredit"
    ] = "items"
    """`items`: JSONL, CSV or Parquet with one item a row. `base64-json`: one JSON list of records with base64 images,
    also RE-Edit's. `pairs`: like `items`, with a column `edited`; the given edits are judged and nothing is edited.
    Of the public benchmarks, `path` is: `gedit`, `geditv2`: the folder of the Arrow or Parquet files of GEdit-Bench or
    GEditBench v2, or one of them. `imgedit`: `basic_edit.json` or `UGE_edit.json` beside the images. `kris`: the folder
    with a folder for each category, or one `annotation.json`. `rise`: `data_total.json`, `datav2_total_w_subtask.json`,
    or `overall_data.json` of RISEBench++. `edit-compass`: the folder with `Part1/` to `Part6/`, or one task's file in
    it. `uniredit`: `data.json`. Their own category names stay."""
    edited_dir: Text | None = None
    """Score edits that were made elsewhere, with any format. The folder has an image for each item: `<item_id>.*`,
    `<category>/<item_id>.*`, or the layout of the benchmark's own scorer. An item without an image counts as a failed
    edit. To compare several systems' edits, give each an editor with a `params.dir` of its own."""
    language: Literal["en", "zh"] = "en"
    """Language of the instructions. An item without one in this language uses the other; the report counts them."""
    categories: Annotated[list[Text], Field(min_length=1)]
    """Categories to evaluate, in the order of the report. Records of other categories are skipped and counted."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """A trial: only the first records of each category, this many. Also `snakemake --config limit=5`. Its edits and
    scores are kept when you raise or remove it."""


class EditorConfig(StrictModel):
    """An editing model."""

    adapter: str
    """Code for the model family: `qwen-image-edit` (every Qwen-Image-Edit checkpoint), `diffusers` (any diffusers
    pipeline that takes an image and a prompt), `served` (a model behind a server), `given` (edits made elsewhere),
    `fake` (no model)."""
    engine: Literal["openai"] | None = None
    """Only for `served`, which has this one: a server with OpenAI's `/images/edits`, as vLLM-Omni and SGLang have it.
    Its lanes take no GPU."""
    model: str | None = None
    """A checkpoint folder, or a hub id such as `Qwen/Qwen-Image-Edit-2511`. `resources/models/tiny-*` are built by
    the workflow. With `served`, the name under which the server, or the fleet, has it."""
    revision: str | None = None
    """Commit or tag of the hub model. Without it the hub's default branch is used, with a note in the
    report."""
    env: Text | None = None
    """Conda environment of this editor, used with `--sdm conda`. Default: `envs/edit.yaml`, and `envs/workflow.yaml`
    for `served`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Settings of the adapter and its pipeline, for example `num_inference_steps`. All but `offload` are part of the
    journal key."""


class ControlsConfig(StrictModel):
    """Extra questions to every judge whose answers can be checked."""

    share: Annotated[float, Field(ge=0, le=6)] = 0.1
    """Number of these questions per edit, but at least `least` in all. 6 asks all six kinds about every edit; 0 asks
    none, so that no judge is accepted."""
    least: Annotated[int, Field(ge=0, le=1_000_000)] = 150
    """Least number of these questions to each judge, with a fifth of it in each category and three tenths about each
    editor's edits. So many tell a judge that sees from one that is blind in a category."""
    repeats: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the edits that are scored again to measure the judge's noise. They are asked once in another batch
    order, or four times if the judge samples its answer."""
    canary: bool = True
    """Ask each judge about twenty fixed pairs, to notice a judge that changed between two runs."""


class PanelConfig(StrictModel):
    """Several judges whose scores are combined into one."""

    judges: Annotated[list[Text], Field(min_length=2)]
    """Two or more of the run's judges."""
    combine: Literal["mean", "median", "weighted"] = "mean"
    """How their scores of an edit become one. `weighted` is a mean with `weights`."""
    quorum: Annotated[int, Field(ge=2)] | None = None
    """Judges that must have scored an edit. With fewer scores it has no score from the panel; with more it has that of
    those that scored it, and no missing score is filled. Default: all, so that every score is of the same judges."""
    weights: dict[Name, Annotated[float, Field(gt=0)]] | None = None
    """For `weighted`: a number above 0 for each judge. Take them from people's ratings. Judges that agree with each
    other may be wrong together, so nothing is derived from their agreement."""


class ArenaConfig(StrictModel):
    """Pairs of edits that judges compare."""

    judges: Annotated[list[Text], Field(min_length=1)]
    """Judges of the run that compare, with their models and params. Panels cannot."""
    protocol: Text = "resources/protocols/pairwise.yaml"
    """Protocol file that compares two edits (`kind: pairwise`)."""
    method: Literal["uniform", "active"] = "uniform"
    """How pairs are chosen. `uniform`: at once, as many of each pair of editors and category. `active`: in rounds, each
    about the pairs of editors that the earlier answers have not separated; it ends early if all are."""
    budget: Annotated[int, Field(ge=1)] | None = None
    """Pairs of edits for each judge, each asked in both orders. Default: every pair of editors for every item."""
    rounds: Annotated[int, Field(ge=1, le=100)] = 4
    """Rounds of `active`. The judge is loaded again in each."""

    @model_validator(mode="after")
    def _check_rounds(self) -> Self:
        if self.method == "uniform" and "rounds" in self.model_fields_set:
            raise ValueError("rounds is for `method: active`; `uniform` plans all pairs at once. Remove it.")
        return self


class ReportConfig(StrictModel):
    """Settings of the report."""

    language: Literal["en", "zh"] = "en"
    """Language of the report."""
    baseline: str | None = None
    """Editor that comes first in every table."""
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Warn if a smaller share of the items was scored."""


class RunConfig(StrictModel):
    """Every setting of a run. Unknown keys are errors."""

    run: Name
    """Name of the run; everything it writes goes to `results/<run>/`."""
    dataset: DatasetConfig
    """Images and instructions to edit and judge."""
    lanes: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Number of lanes that the items are split into; each lane is one process on one GPU. Use the number of GPUs or
    more. Changing it recomputes nothing."""
    lane_timeout: Annotated[float, Field(gt=0, le=1_000_000_000)] = 1800
    """Seconds without progress (no denoising step, no judged batch) after which a lane is ended and restarted from its
    journal. Loading the model, including its download, must take less."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Seeds of all items derive from this number and the item's id."""
    samples: Annotated[int, Field(ge=1, le=100)] = 1
    """Edits of each item by each editor, every one with a seed of its own. With two or more, the report tells how much
    of the spread is the seed's. The first sample is the edit that a run with one has, so raising the number recomputes
    nothing. Not for edits made elsewhere."""
    editors: Annotated[dict[Name, EditorConfig], Field(min_length=1)] = Field(default_factory=dict)
    """Editing models, by a name of your choice. Omit it for `format: pairs` and for `edited_dir`."""
    judges: Annotated[dict[Name, JudgeConfig], Field(min_length=1)]
    """Judging models, by a name of your choice."""
    panels: dict[Name, PanelConfig] = Field(default_factory=dict)
    """Panels of judges, by a name of your choice. A panel is one more judge in the tables and in the report: its scores
    and its controls are combined from those of its judges, and nothing is judged again."""
    controls: ControlsConfig = ControlsConfig()
    """Extra questions to every judge whose answers can be checked. A judge must tell real edits from the source image,
    from edits for another instruction, from blank images, from source and edit swapped, and from worse copies of
    themselves. Where it cannot, it is not accepted: the report shows its controls, and ranks nothing by its scores."""
    arena: ArenaConfig | None = None
    """Let judges compare the edits of two editors side by side, besides scoring them. Needs two editors or more.
    Default: no comparisons."""
    preservation: bool = True
    """Measure on the CPU how much of each source image was kept (SSIM, PSNR, differences)."""
    ratings: Text | None = None
    """People's ratings of a random sample of the edits, as collect_ratings.py writes them: a CSV, TSV or Parquet file.
    The report then corrects the judges' means by them, and tells how far judges and panels agree with people. Nothing
    is edited or judged again."""
    votes: Text | None = None
    """People's votes on pairs of edits, as `collect_ratings.py --pairs` writes them. The report shows what they say
    beside the judges."""
    report: ReportConfig = ReportConfig()
    """Settings of the report."""
