"""Public benchmarks as they are published: what lies in which file, and what each calls the fields of an item.

A reader gives the records as they are, under the names that `names` translates, and adds what only it can know.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from editlane.core.errors import UserError
from editlane.datasets.files import OWN_FORMATS, Records, check_file, column_names, read_json, read_rows

_GEDIT_LANGUAGES = {"en": "en", "cn": "zh", "zh": "zh"}
"""The dataset says `cn`, its scorer `zh`."""

_GEDIT_COLUMNS = ["task_type", "key", "instruction_language", "instruction"]
_GEDIT_IMAGES = ["input_image", "input_image_raw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A record as its file has it."""

    file: Path
    """Image paths in the record are relative to its folder."""
    where: str
    """The record's place in the dataset, for messages."""
    fields: dict[str, Any]
    edit_names: tuple[str, ...] = ()
    """What the benchmark's own scorer calls the edit: paths in the folder of edits, without suffix."""
    sources: int = 1
    """How many source images the record has; an item has one."""
    reference_image: bool = False
    """Whether there is an image of the right edit. It is not used: a judge sees the source and the edit."""
    other_language: bool = False
    """Whether the item has another record, in the language asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicFormat:
    """One benchmark."""

    read: Callable[[Path, str], Iterator[Found]]
    """(path of the dataset, language asked for) -> its records. Raises UserError for what it does not understand."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Our fields that have another name there."""
    folder: tuple[str, ...] = ()
    """Which files to read where the path is a folder, the first pattern that matches; empty where it must be a file."""


def may_be_folder(format: str) -> bool:
    """Whether a dataset in this format may be a folder of files."""
    return format in PUBLIC_FORMATS and bool(PUBLIC_FORMATS[format].folder)


def annotation_files(path: Path, format: str) -> list[Path]:
    """The files that hold the records. Raises UserError where there are none, or one is empty."""
    files = [path]
    if path.is_dir() and may_be_folder(format):
        patterns = PUBLIC_FORMATS[format].folder
        files = next((found for pattern in patterns if (found := sorted(path.glob(pattern)))), [])
        if not files:
            raise UserError(f"The folder {path} has no {' and no '.join(patterns)}; format {format!r} reads those.")
    for file in files:
        check_file(file)
    return files


def _records(path: Path, format: str, read: Callable[[Path], Records]) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    for file in annotation_files(path, format):
        prefix = "" if file == path else f"{file.relative_to(path).as_posix()}, "
        for where, fields in read(file):
            yield file, prefix + where, fields


def _label(path: Path, where: str, fields: Mapping[str, Any], name: str) -> str:
    """A field that says which record this is: text, or a whole number."""
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value
    if value is None or value == "":
        raise UserError(f"{path}, {where} has no {name}.")
    raise UserError(f"{path}, {where}: {name} is {str(value)[:80]!r}, not text and not a whole number.")


def _read_gedit(path: Path, language: str) -> Iterator[Found]:
    """A row an item and language; the images are structs of bytes and path.

    A row in the other language is an item only where its item has no row in the one asked for. Where no item has
    both, the two languages are two sets, and the other one is left out as a whole.
    """
    spoken: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for _, where, row in _records(path, "gedit", partial(_gedit_rows, images=False)):
        spoken[_gedit_item(path, where, row)].add(_gedit_language(path, where, row))
    two_sets = all(len(one) == 1 for one in spoken.values()) and {language} in spoken.values()
    for file, where, row in _records(path, "gedit", partial(_gedit_rows, images=True)):
        item, own = _gedit_item(path, where, row), _gedit_language(path, where, row)
        row["input_image"] = next((row[name] for name in _GEDIT_IMAGES if row.get(name)), None)
        row[f"instruction_{own}"] = row.pop("instruction")
        row["tags"] = ["intersection"] if row.get("Intersection_exist") is True else []
        yield Found(
            file=file,
            where=where,
            fields=row,
            edit_names=(item[1], f"{row['task_type']}/{row['instruction_language']}/{item[1]}"),
            other_language=own != language and (language in spoken[item] or two_sets),
        )


def _gedit_rows(file: Path, images: bool) -> Records:
    if file.suffix.lower() not in (".parquet", ".arrow"):
        raise UserError(
            f"{file} ends in {file.suffix!r}; format 'gedit' is read from .parquet, .arrow, or a folder of them."
        )
    columns = column_names(file)
    missing = [name for name in _GEDIT_COLUMNS if name not in columns]
    if not set(_GEDIT_IMAGES) & set(columns):
        missing.append(" or ".join(_GEDIT_IMAGES))
    if missing:
        raise UserError(f"{file} has no column {' and no column '.join(missing)}; it has: {', '.join(columns)}.")
    if not images:
        return read_rows(file, _GEDIT_COLUMNS[:3])
    image = next(name for name in _GEDIT_IMAGES if name in columns)
    return read_rows(file, [*_GEDIT_COLUMNS, image, *({"Intersection_exist"} & set(columns))])


def _gedit_item(path: Path, where: str, row: Mapping[str, Any]) -> tuple[str, str]:
    return _label(path, where, row, "task_type"), _label(path, where, row, "key")


def _gedit_language(path: Path, where: str, row: Mapping[str, Any]) -> str:
    name = _label(path, where, row, "instruction_language")
    if name not in _GEDIT_LANGUAGES:
        raise UserError(f"{path}, {where}: instruction_language is {name!r}; it can be {', '.join(_GEDIT_LANGUAGES)}.")
    return _GEDIT_LANGUAGES[name]


def _read_imgedit(path: Path, _language: str) -> Iterator[Found]:
    """One object of `key: {id, prompt, edit_type}`; `id` is the image's path."""
    for file, where, fields in _records(path, "imgedit", partial(read_json, format="imgedit", keyed=True)):
        if "edit_type" not in fields and {"id", "prompt"} <= fields.keys():
            raise UserError(
                f"{path}, {where} has no edit_type. Only the basic suite (basic_edit.json, singleturn.json) has "
                "categories; add an edit_type to each record of another one."
            )
        yield Found(file=file, where=where, fields=fields, edit_names=(fields["key"],))


def _read_kris(path: Path, _language: str) -> Iterator[Found]:
    """One object of `id: {ori_img, gt_img, ins_en, explain_en}` in the folder of each category.

    The released scorer reads `instruction` and `explain` instead; both are understood.
    """
    for file, where, fields in _records(path, "kris", partial(read_json, format="kris", keyed=True)):
        category, key = file.parent.resolve().name, fields["key"]
        fields |= {"category": category, "item_id": f"{category}_{key}"}
        if "instruction" in fields:
            fields.setdefault("ins_en", fields["instruction"])
        yield Found(
            file=file,
            where=where,
            fields=fields,
            edit_names=(key, f"{category}/{key}"),
            sources=_unwrap(fields, "ori_img"),
            reference_image=bool(fields.get("gt_img")),
        )


def _read_rise(path: Path, _language: str) -> Iterator[Found]:
    """One list of `index, category, instruction, image`, and `reference` or `reference_txt` or `reference_img`."""
    for file, where, fields in _records(path, "rise", partial(read_json, format="rise")):
        index = _label(path, where, fields, "index")
        fields["reference"] = fields.get("reference") or fields.get("reference_txt")
        fields["tags"] = fields.get("subtask")
        yield Found(
            file=file,
            where=where,
            fields=fields,
            edit_names=(index,),
            sources=_unwrap(fields, "image"),
            reference_image=bool(fields.get("reference_img")),
        )


def _read_uniredit(path: Path, _language: str) -> Iterator[Found]:
    """One list of `name, idx, instruction, rules?, original_image_path, reference_image_path, reference_effect`."""
    for file, where, fields in _records(path, "uniredit", partial(read_json, format="uniredit")):
        name, idx = _label(path, where, fields, "name"), _label(path, where, fields, "idx")
        fields["item_id"] = f"{name}#{idx}"
        if fields.get("rules") and fields.get("instruction"):
            rules = _label(path, where, fields, "rules")
            fields["instruction"] = f"{rules}\n{_label(path, where, fields, 'instruction')}"
        yield Found(
            file=file,
            where=where,
            fields=fields,
            edit_names=(idx, f"{name}/{idx}"),
            reference_image=bool(fields.get("reference_image_path")),
        )


def _unwrap(fields: dict[str, Any], name: str) -> int:
    """How many images a field holds; a list of one becomes that one."""
    value = fields.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return 1
    if len(value) == 1:
        fields[name] = value[0]
    return len(value)


PUBLIC_FORMATS = {
    "gedit": PublicFormat(
        read=_read_gedit,
        names={"item_id": "key", "category": "task_type", "image": "input_image"},
        folder=("*.parquet", "*.arrow"),
    ),
    "imgedit": PublicFormat(
        read=_read_imgedit,
        names={"item_id": "key", "category": "edit_type", "instruction": "prompt", "image": "id"},
    ),
    "kris": PublicFormat(
        read=_read_kris,
        names={"instruction": "ins", "image": "ori_img", "rationale": "explain"},
        folder=("annotation.json", "*/annotation.json"),
    ),
    "rise": PublicFormat(read=_read_rise, names={"item_id": "index", "rationale": "reference"}),
    "uniredit": PublicFormat(
        read=_read_uniredit,
        names={"category": "name", "image": "original_image_path", "rationale": "reference_effect"},
    ),
}
"""By the name that `dataset: format:` gives them."""

FORMATS = (*OWN_FORMATS, *PUBLIC_FORMATS)
