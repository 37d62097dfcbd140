"""Typed rows and the schemas that derive from them, held against the tables of a recorded run."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from private_folder import make_private

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
    columns = {field.name: pa.nulls(1, field.type) for field in schemas.EDITS if field.name not in schemas.ADDED}
    pq.write_table(pa.table(columns | {"editor": ["a"]}), old)
    (row,) = tables.read_rows(old, schemas.EDITS.names)
    assert row["prompt_truncated"] is row["unchanged_rule"] is None and row["editor"] == "a"
    with pytest.raises(UserError, match="has no column nothing;"):
        tables.read_rows(old, [*schemas.EDITS.names, "nothing"])


def store(path: Path, **changed: pa.Array) -> Path:
    """Write a scores table of one row and one criterion, with these columns in place of its own."""
    schema = schemas.scores_schema(["category"])
    pq.write_table(pa.table({field.name: pa.nulls(1, field.type) for field in schema} | changed), path)
    return path


WRONG = {
    "score": pa.array(["8"]),
    "score_category": pa.array([[8.0]]),
    "mode_category": pa.array([8.0]),
    "item_id": pa.array([7]),
    "unchanged": pa.array(["no"]),
    "seed": pa.array([True]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_column_that_holds_something_else_is_a_mistake_in_the_table(tmp_path: Path, name: str) -> None:
    path = store(tmp_path / "scores.parquet", **{name: WRONG[name]})
    for read in (tables.read_rows, tables.read_frame):
        with pytest.raises(
            UserError, match=f"^The column {name} of the table {path} holds .*, not .* as the run wrote"
        ):
            read(path, schemas.scores_schema(["category"]).names)


def test_tags_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    columns = {field.name: pa.nulls(1, field.type) for field in schemas.ITEMS}
    for tags in (pa.array([[1, 2]]), pa.array(["a, b"])):
        pq.write_table(pa.table(columns | {"tags": tags}), path)
        with pytest.raises(UserError, match=r"^The column tags of the table .* holds .*, not list<.*string>"):
            tables.read_items(path)


def test_a_table_that_another_tool_has_rewritten_is_read(tmp_path: Path) -> None:
    """Such as pandas, which widens numbers, packs texts, and knows no type of a column without values."""
    changed = {
        "item_id": pa.array(["a"], pa.large_string()),
        "category": pa.array(["物理"]).dictionary_encode(),
        "seed": pa.array([7.0]),
        "score": pa.array([8], pa.int32()),
        "error": pa.nulls(1),
        "entropy": pa.nulls(1),
    }
    frame = tables.read_frame(store(tmp_path / "scores.parquet", **changed), schemas.scores_schema(["category"]).names)
    assert (frame["item_id"][0], frame["category"][0], frame["seed"][0], frame["score"][0]) == ("a", "物理", 7, 8)
    assert frame["entropy"].dtype == float and frame["error"].isna().all()


@pytest.mark.parametrize("written", [b"{broken", b"[1, 2]", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_a_provenance_that_is_no_json_object_is_a_mistake_in_the_table(tmp_path: Path, written: bytes) -> None:
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({b"editlane": written}), path)
    with pytest.raises(UserError, match=f"^The table {path} does not tell what it was made from"):
        tables.read_provenance(path)
    pq.write_table(pa.table({"a": [1]}), path)
    assert tables.read_provenance(path) == {}


def test_a_table_that_may_not_be_read_is_one_paragraph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(tmp_path / "scores.parquet")
    make_private(monkeypatch, tmp_path)
    with pytest.raises(UserError, match=f"^Cannot read the table {path}: Permission denied"):
        tables.read_rows(path)
