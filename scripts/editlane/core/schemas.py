"""The columns of each Parquet table."""

from collections.abc import Sequence

import pyarrow as pa

ITEM_FIELDS = [
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("category", pa.string(), nullable=False),
    pa.field("instruction", pa.string(), nullable=False),
    pa.field("language", pa.string(), nullable=False),
    pa.field("source_path", pa.string(), nullable=False),
    pa.field("source_sha256", pa.string(), nullable=False),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("cost", pa.float64(), nullable=False),
    pa.field("description", pa.string()),
    pa.field("rationale", pa.string()),
    pa.field("tags", pa.list_(pa.string()), nullable=False),
    pa.field("difficulty", pa.string()),
    pa.field("given_path", pa.string()),
    pa.field("given_sha256", pa.string()),
]
ITEMS = pa.schema(ITEM_FIELDS)

EDIT_FIELDS = [
    pa.field("editor", pa.string(), nullable=False),
    pa.field("editor_key", pa.string(), nullable=False),
    pa.field("state", pa.string(), nullable=False),
    pa.field("error_kind", pa.string()),
    pa.field("error", pa.string()),
    pa.field("seed", pa.int64(), nullable=False),
    pa.field("edited_path", pa.string()),
    pa.field("edited_sha256", pa.string()),
    pa.field("unchanged", pa.bool_()),
    pa.field("tiled_vae", pa.bool_()),
    pa.field("requested_width", pa.int32()),
    pa.field("requested_height", pa.int32()),
    pa.field("edited_width", pa.int32()),
    pa.field("edited_height", pa.int32()),
    pa.field("edit_seconds", pa.float64()),
    pa.field("edit_device", pa.string()),
]
EDITS = pa.schema(ITEM_FIELDS + EDIT_FIELDS)

PRESERVATION = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("editor", pa.string(), nullable=False),
        pa.field("source_sha256", pa.string(), nullable=False),
        pa.field("edited_sha256", pa.string()),
        pa.field("state", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("ssim", pa.float64()),
        pa.field("psnr", pa.float64()),
        pa.field("mae", pa.float64()),
        pa.field("changed_share", pa.float64()),
    ]
)
"""One row per item x editor. `state`: measured, no_edit or failed. `psnr` (dB) is null for equal images."""

COSTS = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("editor", pa.string(), nullable=False),
        pa.field("judge", pa.string()),
        pa.field("lane", pa.int32(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("died", pa.int32()),
        pa.field("items", pa.int64(), nullable=False),
        pa.field("load_seconds", pa.float64()),
        pa.field("imports_seconds", pa.float64()),
        pa.field("reading_seconds", pa.float64()),
        pa.field("transfer_seconds", pa.float64()),
        pa.field("warmup_seconds", pa.float64()),
        pa.field("busy_seconds", pa.float64()),
        pa.field("idle_seconds", pa.float64()),
        pa.field("input_seconds", pa.float64()),
        pa.field("output_seconds", pa.float64()),
        pa.field("lost_seconds", pa.float64()),
        pa.field("held_seconds", pa.float64()),
        pa.field("seconds_per_item", pa.float64()),
        pa.field("gpu_hours", pa.float64()),
        pa.field("peak_memory", pa.int64()),
        pa.field("device", pa.string()),
        pa.field("host", pa.string()),
        pa.field("editor_key", pa.string()),
        pa.field("judge_key", pa.string()),
    ]
)
"""One row per lane of an editor (`stage` edit) and of an editor and a judge (score), over all its processes; see
costs.py. Of `attempts` so many `died`: failed, or were stopped or killed. `items` of a score lane are questions. Null:
seconds of a lane that had nothing to do, `seconds_per_item` without items, `gpu_hours` and `peak_memory` (bytes)
without a GPU, what older versions did not know."""

COSTS_ADDED = (
    *("died", "imports_seconds", "reading_seconds", "transfer_seconds", "warmup_seconds"),
    *("input_seconds", "output_seconds", "lost_seconds"),
)
"""Columns that costs tables of older versions do not have."""

RUN_COLUMNS = ("edit_seconds", "score_seconds", "edit_device", "score_device")
"""Columns that say how a run went, not what came out; they differ between two equal runs."""


REPEATING = ("category", "editor", "judge", "state", "error_kind", "language", "edit_device", "score_device", "control")
"""Text columns with few different values."""

CONTROL_FIELDS = [
    pa.field("control", pa.string(), nullable=False),
    pa.field("repeat", pa.int32(), nullable=False),
    pa.field("other_item_id", pa.string()),
]

PLAN = pa.schema(
    [
        *ITEM_FIELDS,
        pa.field("editor", pa.string(), nullable=False),
        pa.field("control", pa.string(), nullable=False),
        pa.field("other_item_id", pa.string()),
    ]
)
"""Which controls are asked, once for every judge; the instruction is the one to show."""


def controls_schema(criteria: Sequence[str]) -> pa.Schema:
    """The schema of controls: a row of scores, and which control it is."""
    return pa.schema([*scores_schema(criteria), *CONTROL_FIELDS])


def scores_schema(criteria: Sequence[str]) -> pa.Schema:
    """The schema of scores: one row per item x editor x judge, with four columns per criterion."""
    per_criterion = [
        field
        for name in criteria
        for field in (
            pa.field(f"score_{name}", pa.float64()),
            pa.field(f"mode_{name}", pa.string()),
            pa.field(f"entropy_{name}", pa.float64()),
            pa.field(f"mass_{name}", pa.float64()),
        )
    ]
    return pa.schema(
        [
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("category", pa.string(), nullable=False),
            pa.field("editor", pa.string(), nullable=False),
            pa.field("judge", pa.string(), nullable=False),
            pa.field("state", pa.string(), nullable=False),
            pa.field("error_kind", pa.string()),
            pa.field("error", pa.string()),
            pa.field("score", pa.float64()),
            *per_criterion,
            pa.field("entropy", pa.float64()),
            pa.field("mass", pa.float64()),
            pa.field("reply", pa.string()),
            pa.field("unchanged", pa.bool_()),
            pa.field("instruction", pa.string(), nullable=False),
            pa.field("language", pa.string(), nullable=False),
            pa.field("source_path", pa.string(), nullable=False),
            pa.field("source_sha256", pa.string(), nullable=False),
            pa.field("edited_path", pa.string()),
            pa.field("edited_sha256", pa.string()),
            pa.field("seed", pa.int64(), nullable=False),
            pa.field("edit_seconds", pa.float64()),
            pa.field("score_seconds", pa.float64()),
            pa.field("edit_device", pa.string()),
            pa.field("score_device", pa.string()),
            pa.field("editor_key", pa.string(), nullable=False),
            pa.field("judge_key", pa.string(), nullable=False),
            pa.field("protocol_version", pa.string(), nullable=False),
        ]
    )
