"""The columns of each Parquet table, as a typed row. Its pyarrow schema derives from the row's annotations.

A column that may be null says `| None`. `Int32` is stored in 32 bits; every other int in 64.
"""

from collections.abc import Iterable, Sequence
from types import NoneType
from typing import Annotated, Any, NamedTuple, TypedDict, get_args, get_origin, get_type_hints

import pyarrow as pa

from editlane.core import no_pandas  # noqa: F401  before pyarrow converts the first value

Int32 = Annotated[int, pa.int32()]


class ReferenceRow(TypedDict):
    """A further image of an item; see types.Reference."""

    path: str
    sha256: str
    width: Int32 | None
    height: Int32 | None


class ItemRow(TypedDict):
    """A row of items.parquet and of a shard."""

    item_id: str
    category: str
    instruction: str
    language: str
    source_path: str
    source_sha256: str
    width: Int32 | None
    height: Int32 | None
    cost: float
    description: str | None
    rationale: str | None
    tags: list[str]
    difficulty: str | None
    given_path: str | None
    given_sha256: str | None
    sample_of: str | None
    references: list[ReferenceRow] | None
    """Null for an item with one image."""
    turns: list[str] | None
    """Null for an item that is no later turn."""
    after: str | None


class GivenRow(TypedDict):
    """The edit of an item in the folder of an editor that has one for itself; null if there is none."""

    editor: str
    item_id: str
    given_path: str | None
    given_sha256: str | None


class EditColumns(TypedDict):
    """The columns that an editor adds to an item.

    `seed_used` and `fields_ignored` are null for an editor that asks no server; see types.Edit.
    `unchanged` of an edit is null if that is not sure, or if it could not be compared. `unchanged_rule`: see
    images/unchanged.py. `former_sha256` of a later turn: the edit of the turn before, which was edited; null if that
    has none.
    """

    editor: str
    editor_key: str
    state: str
    error_kind: str | None
    error: str | None
    seed: int
    edited_path: str | None
    edited_sha256: str | None
    former_sha256: str | None
    unchanged: bool | None
    unchanged_rule: Int32 | None
    prompt_truncated: bool | None
    seed_used: bool | None
    fields_ignored: bool | None
    tiled_vae: bool | None
    requested_width: Int32 | None
    requested_height: Int32 | None
    edited_width: Int32 | None
    edited_height: Int32 | None
    edit_seconds: float | None
    edit_device: str | None


class EditRow(ItemRow, EditColumns):
    """A row of an edits table."""


class QuestionRow(EditRow, total=False):
    """An edit that a judge is asked about, or a control about one; only a control has the columns below."""

    control: str
    repeat: int
    other_item_id: str | None


class PlanRow(ItemRow):
    """A planned control, the same for every judge; `instruction` is the one to show."""

    editor: str
    control: str
    other_item_id: str | None


class ScoreRow(TypedDict):
    """A row of a scores table, without the columns of its criteria (see `criterion_columns`)."""

    item_id: str
    category: str
    editor: str
    judge: str
    state: str
    error_kind: str | None
    error: str | None
    score: float | None
    entropy: float | None
    mass: float | None
    reply: str | None
    unchanged: bool | None
    unchanged_rule: Int32 | None
    prompt_truncated: bool | None
    seed_used: bool | None
    requested_width: Int32 | None
    requested_height: Int32 | None
    edited_width: Int32 | None
    edited_height: Int32 | None
    instruction: str
    language: str
    source_path: str
    source_sha256: str
    edited_path: str | None
    edited_sha256: str | None
    seed: int
    edit_seconds: float | None
    score_seconds: float | None
    edit_device: str | None
    score_device: str | None
    editor_key: str
    judge_key: str
    protocol_version: str


class ControlColumns(TypedDict):
    """The columns that a controls table has beside those of a scores table."""

    control: str
    repeat: Int32
    other_item_id: str | None


class PreservationRow(TypedDict):
    """One row per item x editor. `state`: measured, no_edit or failed. `psnr` (dB) is null for equal images."""

    item_id: str
    category: str
    editor: str
    source_sha256: str
    edited_sha256: str | None
    state: str
    error: str | None
    ssim: float | None
    psnr: float | None
    mae: float | None
    changed_share: float | None


class PairColumns(TypedDict):
    """The columns of a question about two edits of an item, in the order in which the judge sees them.

    `control`: null for two editors' edits; see types.PairControl. Of a control, both editors are the same, and
    `control_side` (`a` or `b`) is the picture that is not that editor's edit; null if both are. `state`: that of a
    missing edit, or how the judge's answer ended.
    """

    item_id: str
    category: str
    judge: str
    editor_a: str
    editor_b: str
    control: str | None
    control_side: str | None
    round: Int32
    state: str
    error_kind: str | None
    error: str | None
    source_sha256: str
    a_sha256: str | None
    b_sha256: str | None


class PairPlanRow(PairColumns):
    """A planned question. `state` is `edited` where both pictures exist. A picture without a path is blank."""

    instruction: str
    description: str | None
    rationale: str | None
    source_path: str
    width: Int32 | None
    height: Int32 | None
    a_path: str | None
    b_path: str | None
    a_width: Int32 | None
    a_height: Int32 | None
    b_width: Int32 | None
    b_height: Int32 | None
    editor_keys: str | None
    references: list[ReferenceRow] | None


class PairAnswerRow(PairColumns):
    """A row of pairs.parquet.

    `p_a`, `p_b`, `p_tie`, `p_both_bad`: probabilities of the answers, given that it is one of them; they sum to 1, and
    are null unless scored. `mode`: the likeliest, a value of types.PAIR_ANSWERS with A and B in capitals. `mass`: the
    probability of all legal answers.
    """

    p_a: float | None
    p_b: float | None
    p_tie: float | None
    p_both_bad: float | None
    mode: str | None
    entropy: float | None
    mass: float | None
    judge_key: str
    protocol_version: str
    score_seconds: float | None
    score_device: str | None


class CostRow(TypedDict):
    """One row per lane of an editor, and of a judge, over all its processes; see lanes/costs.py.

    A judge of the arena has rows of its own for its comparisons.

    `requests` to a server, the `images` in its answers and their price (`paid`, in `currency`) are of all settings of
    an editor, and null for one that asks no server, or whose price is not in the config.

    `editor` is null for a judge, except in tables of older versions, which had a row per editor. `died` counts the
    attempts that failed, or were stopped or killed. `items` of a score lane are questions. Null are the seconds of a
    lane that had nothing to do, `seconds_per_item` without items, `gpu_hours` and `peak_memory` (bytes) without a GPU,
    and columns that older versions did not write.
    """

    stage: str
    editor: str | None
    judge: str | None
    lane: Int32
    attempts: Int32
    died: Int32 | None
    items: int
    load_seconds: float | None
    imports_seconds: float | None
    reading_seconds: float | None
    transfer_seconds: float | None
    warmup_seconds: float | None
    busy_seconds: float | None
    idle_seconds: float | None
    input_seconds: float | None
    output_seconds: float | None
    lost_seconds: float | None
    held_seconds: float | None
    seconds_per_item: float | None
    gpu_hours: float | None
    peak_memory: int | None
    requests: int | None
    images: int | None
    paid: float | None
    currency: str | None
    device: str | None
    host: str | None
    editor_key: str | None
    judge_key: str | None


_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    list[str]: pa.list_(pa.string()),
}


def _fields(row: type) -> list[pa.Field]:
    """Return a pyarrow field for every column of a typed row, in order."""
    return [_field(name, hint) for name, hint in get_type_hints(row, include_extras=True).items()]


def _field(name: str, hint: Any) -> pa.Field:
    options = [option for option in get_args(hint) if option is not NoneType]
    nullable = NoneType in get_args(hint)
    kind = options[0] if nullable else hint
    stored = get_args(kind)[1] if get_origin(kind) is Annotated else _TYPES[kind]
    return pa.field(name, stored, nullable=nullable)


REFERENCES = pa.list_(pa.struct(_fields(ReferenceRow)))
_TYPES[list[ReferenceRow]] = REFERENCES

ITEMS = pa.schema(_fields(ItemRow))
GIVEN = pa.schema(_fields(GivenRow))
EDIT_COLUMNS = tuple(get_type_hints(EditColumns))
EDITS = pa.schema(_fields(ItemRow) + _fields(EditColumns))
PLAN = pa.schema(_fields(PlanRow))
PRESERVATION = pa.schema(_fields(PreservationRow))
COSTS = pa.schema(_fields(CostRow))
PAIR_PLAN = pa.schema(_fields(PairPlanRow))
PAIRS = pa.schema(_fields(PairAnswerRow))

COSTS_ADDED = (
    *("died", "imports_seconds", "reading_seconds", "transfer_seconds", "warmup_seconds"),
    *("input_seconds", "output_seconds", "lost_seconds"),
    *("requests", "images", "paid", "currency"),
)
"""Columns that costs tables of older versions do not have."""

ADDED = {
    "prompt_truncated": pa.bool_(),
    "unchanged_rule": pa.int32(),
    "sample_of": pa.string(),
    "references": REFERENCES,
    "turns": pa.list_(pa.string()),
    "after": pa.string(),
    "former_sha256": pa.string(),
    "seed_used": pa.bool_(),
    "fields_ignored": pa.bool_(),
    "requested_width": pa.int32(),
    "requested_height": pa.int32(),
    "edited_width": pa.int32(),
    "edited_height": pa.int32(),
}
"""Columns that tables of older versions do not have. They are read as null there."""

RUN_COLUMNS = ("edit_seconds", "score_seconds", "edit_device", "score_device")
"""Columns about how a run went, not about its results; they differ between two equal runs."""

REPEATING = ("category", "editor", "judge", "state", "error_kind", "language", "edit_device", "score_device", "control")
"""Text columns with few different values."""


class CriterionColumns(NamedTuple):
    """The names of the columns of one criterion."""

    score: str
    """0..10."""
    mode: str
    """The most likely answer."""
    entropy: str
    """Nats."""
    mass: str
    """Probability of the legal answers, 0..1."""


_CRITERION_TYPES = {"score": pa.float64(), "mode": pa.string(), "entropy": pa.float64(), "mass": pa.float64()}


def criterion_columns(criterion: str) -> CriterionColumns:
    """Return the names of the columns of a criterion in a scores table."""
    return CriterionColumns(*(f"{part}_{criterion}" for part in CriterionColumns._fields))


def criteria_among(columns: Iterable[str]) -> list[str]:
    """Return the criteria that the column names of a scores table stand for, each once, in order."""
    prefix = criterion_columns("").mode
    return list(dict.fromkeys(name.removeprefix(prefix) for name in columns if name.startswith(prefix)))


def scores_schema(criteria: Sequence[str]) -> pa.Schema:
    """Return the schema of scores: one row per item x editor x judge, with four columns per criterion."""
    fixed = _fields(ScoreRow)
    after = 1 + [field.name for field in fixed].index("score")
    own = [field for name in criteria for field in map(pa.field, criterion_columns(name), _CRITERION_TYPES.values())]
    return pa.schema([*fixed[:after], *own, *fixed[after:]])


def controls_schema(criteria: Sequence[str]) -> pa.Schema:
    """Return the schema of controls: the columns of scores, and which control it is."""
    return pa.schema([*scores_schema(criteria), *_fields(ControlColumns)])


_COLUMN_TYPES = {
    field.name: field.type
    for schema in (EDITS, GIVEN, PLAN, PRESERVATION, COSTS, PAIR_PLAN, PAIRS, controls_schema(()))
    for field in schema
}


def column_type(name: str) -> pa.DataType:
    """Return what a column of this name holds, in every table that has it. Raises KeyError for a name of no table."""
    return _COLUMN_TYPES[name] if name in _COLUMN_TYPES else _CRITERION_TYPES[name.partition("_")[0]]
