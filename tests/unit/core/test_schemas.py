"""Typed rows and the schemas that derive from them, held against the tables of a recorded run."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from editlane.core import schemas, tables
from editlane.core.errors import UserError

RECORDED = Path(__file__).parents[2] / "workflow/recorded_run/run"


@pytest.mark.parametrize("name", ["items", "plan", "scores", "controls"])
def test_the_columns_of_stored_tables_have_not_changed(name: str) -> None:
    stored = pq.read_schema(RECORDED / f"{name}.parquet").remove_metadata()
    criteria = schemas.criteria_among(stored.names)
    wanted = {
        "items": schemas.ITEMS,
        "plan": schemas.PLAN,
        "scores": schemas.scores_schema(criteria),
        "controls": schemas.controls_schema(criteria),
    }[name]
    assert [(field.name, field.type, field.nullable) for field in stored] == [
        (field.name, field.type, field.nullable) for field in wanted if field.name not in schemas.ADDED
    ]
    assert all(wanted.field(name).nullable for name in set(wanted.names) & schemas.ADDED.keys())


def test_a_field_has_the_type_and_nullability_of_its_annotation() -> None:
    assert schemas.ITEMS.field("item_id") == pa.field("item_id", pa.string(), nullable=False)
    assert schemas.ITEMS.field("width") == pa.field("width", pa.int32())
    assert schemas.ITEMS.field("tags") == pa.field("tags", pa.list_(pa.string()), nullable=False)
    assert schemas.COSTS.field("items") == pa.field("items", pa.int64(), nullable=False)
    assert schemas.COSTS.field("peak_memory") == pa.field("peak_memory", pa.int64())
    assert schemas.EDITS.field("unchanged") == pa.field("unchanged", pa.bool_())


def test_the_columns_of_a_criterion_are_built_and_read_back_in_one_place() -> None:
    names = schemas.scores_schema(["category", "mode_of_failure"]).names
    assert schemas.criteria_among(names) == ["category", "mode_of_failure"]
    assert schemas.criterion_columns("category") == (
        "score_category", "mode_category", "entropy_category", "mass_category",
    )  # fmt: skip
    place = names.index("score")
    assert names[place + 1 : place + 5] == list(schemas.criterion_columns("category"))


def test_a_column_that_an_older_version_did_not_write_is_null(tmp_path: Path) -> None:
    old = tmp_path / "edits.parquet"
    pq.write_table(pa.table({name: pa.array(["a"]) for name in schemas.EDITS.names if name not in schemas.ADDED}), old)
    (row,) = tables.read_rows(old, schemas.EDITS.names)
    assert row["prompt_truncated"] is row["unchanged_rule"] is None and row["editor"] == "a"
    with pytest.raises(UserError, match="has no column nothing;"):
        tables.read_rows(old, [*schemas.EDITS.names, "nothing"])
