"""Tell the format of a dataset from its columns or its first record."""

from collections.abc import Collection
from itertools import islice
from pathlib import Path

from editlane.core.csv_files import CsvFile
from editlane.core.errors import UserError
from editlane.datasets.arrow_files import read_column_names
from editlane.datasets.files import check_file, read_records
from editlane.datasets.json_files import read_json
from editlane.datasets.public_formats import PUBLIC_FORMATS, find_annotation_files, may_be_folder
from editlane.datasets.raw_records import NothingFound

_TABLES = {"pairs": {"image", "category", "edited"}, "items": {"image", "category"}}
_LISTS = {
    "base64-json": {"src_img_b64"},
    "imgedit": {"key", "id"},
    "edit-compass": {"save_id", "source_image"},
    "kris": {"ori_img"},
    "rise": {"index", "instruction", "image"},
    "uniredit": {"original_image_path", "idx"},
}
_GEDIT = {
    "gedit": {"task_type", "key", "instruction_language"},
    "geditv2": {"task", "key", "instruction", "source_image"},
}
MARKS = {
    ".csv": _TABLES,
    ".jsonl": _TABLES,
    ".parquet": _GEDIT | {"base64-json": _LISTS["base64-json"]} | _TABLES,
    ".arrow": _GEDIT,
    ".json": _LISTS,
}
"""Suffix -> formats of such files -> columns that only their records have; the first that fits is taken."""

_FOLDERS = "Name the file with the records, or the folder of GEdit-Bench, GEditBench v2, KRIS-Bench or Edit-Compass."

OTHER_NAMES = {
    "image": (
        "path",
        "file",
        "file_name",
        "filename",
        "photo",
        "picture",
        "source",
        "src",
        "input",
        "img",
        "图片",
        "照片",
        "图像",
    ),
    "category": ("type", "task", "task_type", "subset", "class", "label", "kind", "类别", "分类"),
    "instruction": ("prompt", "text", "edit", "edit_instruction", "caption", "指令", "编辑指令"),
}
"""Common names of the columns that `items` needs, for advice."""


def read_columns(dataset: Path) -> list[str]:
    """Read the names of a dataset's columns, or of its first records' fields. Raises UserError if it cannot be read."""
    file = find_first_file(dataset)
    match file.suffix.lower():
        case ".csv":
            return CsvFile(file).columns
        case ".parquet" | ".arrow":
            return read_column_names(file)
        case ".jsonl":
            records = read_records(file, "items")
        case _:
            records = read_json(file, "base64-json", keyed=_starts_with_object(file))
    return list(dict.fromkeys(name for _, record in islice(records, 100) for name in record))


def _starts_with_object(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def find_first_file(dataset: Path) -> Path:
    """Return the dataset, or a file with its records if it is a folder of a public benchmark. Raises UserError."""
    if not dataset.is_dir():
        check_file(dataset)
        if dataset.suffix.lower() not in MARKS:
            raise UserError(f"{dataset} ends in {dataset.suffix!r}; datasets end in {', '.join(MARKS)}.")
        return dataset
    errors = list[UserError]()
    for format in filter(may_be_folder, PUBLIC_FORMATS):
        try:
            return find_annotation_files(dataset, format)[0]
        except UserError as error:
            errors.append(error)
    if telling := [error for error in errors if not isinstance(error, NothingFound)]:
        raise telling[0]
    raise UserError(f"The folder {dataset} has no dataset file. {_FOLDERS}")


def detect_format(dataset: Path, columns: Collection[str]) -> str:
    """Return the format whose columns these are. Raises UserError, with advice, if they are of none."""
    file = find_first_file(dataset)
    known = {*columns, *(["image"] if "images" in columns else [])}
    for format, marks in MARKS[file.suffix.lower()].items():
        if marks <= known and (file == dataset or may_be_folder(format)):
            return format
    if file != dataset:
        raise UserError(
            f"The folder {dataset} is of no format: {file} has the columns {', '.join(columns)}. {_FOLDERS}"
        )
    lower = {name.lower(): name for name in columns}
    other = next((mark for mark in ";\t" if len(columns) == 1 and mark in next(iter(columns))), None)
    if file.suffix.lower() == ".csv" and other:
        raise UserError(
            f"{dataset} separates its cells by {other!r}, and a .csv file by ','. Save it with commas; "
            "spreadsheets ask for it when they export."
        )
    if file.suffix.lower() == ".json" and _TABLES["items"] <= set(columns):
        raise UserError(f"{dataset} is a JSON list of items. Save it as .jsonl, with one object per line.")
    missing = [name for name in OTHER_NAMES if not {name, f"{name}_en", f"{name}_zh"} & set(columns)]
    renames = {
        name: lower[other] for name in missing for other in (*reversed(OTHER_NAMES[name]), name) if other in lower
    }
    advice = "".join(f" Rename {found} to {name}." for name, found in renames.items())
    raise UserError(
        f"{dataset} has the columns {', '.join(columns)}, which are those of no format. A table of your own (.csv, "
        f".jsonl or .parquet) needs image, category and instruction; missing: {', '.join(missing) or 'none'}.{advice} "
        "config/datasets.md describes all formats."
    )
