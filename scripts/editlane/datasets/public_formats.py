"""Read public benchmarks as published: their files, and their names for an item's fields.

Each reader yields the records under the benchmark's own field names. `names` maps our names to them.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from editlane.core.errors import UserError
from editlane.datasets.arrow_files import Records, read_column_names, read_rows
from editlane.datasets.files import OWN_FORMATS, check_file
from editlane.datasets.json_files import read_json

_GEDIT_LANGUAGES = {"en": "en", "cn": "zh", "zh": "zh"}
"""The dataset uses `cn`, its scorer `zh`."""

_GEDIT_COLUMNS = ["task_type", "key", "instruction_language", "instruction"]
_GEDIT_IMAGES = ["input_image", "input_image_raw"]

_CACHE = re.compile(r"\..*|(cache-[0-9a-f]+(_\d+_of_\d+)?|tmp[a-z0-9_]{8})\.arrow")
"""Hidden files, and those that the `datasets` library writes beside a dataset: its records again, or a part of them."""

_DEEPEST = 3
"""Folders between the one that is named and the files: a download has data/, the cache NAME/VERSION/HASH/."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRecord:
    """A record as stored in its file."""

    file: Path
    """Image paths in the record are relative to its folder."""
    where: str
    """The record's place in the dataset, for messages."""
    fields: dict[str, Any]
    edit_names: tuple[str, ...] = ()
    """Names of the edit used by the benchmark's own scorer: paths in the folder of edits, without suffix."""
    sources: int = 1
    """Number of source images; an item has one."""
    reference_image: bool = False
    """True if the record has an image of a correct edit. It is not used: a judge sees the source and the edit."""
    other_language: bool = False
    """True if the item has another record, in the requested language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicFormat:
    """One benchmark."""

    read: Callable[[Path, str], Iterator[RawRecord]]
    """(path of the dataset, requested language) -> its records. Raises UserError for invalid records."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Our field names -> the benchmark's, for fields with another name."""
    folder: tuple[str, ...] = ()
    """Patterns of the files to read if the path is a folder; the first match is used. If empty, it must be a file."""


class NothingFound(UserError):
    """A folder without a file of the format that was looked for."""


def may_be_folder(format: str) -> bool:
    """Return whether a dataset in this format may be a folder of files."""
    return format in PUBLIC_FORMATS and bool(PUBLIC_FORMATS[format].folder)


def find_annotation_files(path: Path, format: str) -> list[Path]:
    """Find the files with the records, in the folder or in one below it.

    Raises NothingFound if there are none, and UserError if several folders have some, or if a file is empty.
    """
    files = [path]
    if path.is_dir() and may_be_folder(format):
        files = _find_in_folder(path, PUBLIC_FORMATS[format].folder, format)
    for file in files:
        check_file(file)
    return files


def _find_in_folder(path: Path, patterns: tuple[str, ...], format: str) -> list[Path]:
    for depth in range(_DEEPEST + 1):
        folders = sorted(path.glob("/".join("*" * depth))) if depth else [path]
        folders = [folder for folder in folders if _is_shown(folder, path)]
        found = {folder: files for folder in folders if folder.is_dir() and (files := _match(folder, patterns))}
        if len(found) > 1:
            names = ", ".join(str(folder) for folder in list(found)[:5])
            raise UserError(f"{path} has several folders with a dataset: {names}. Name one of them.")
        for files in found.values():
            return files
    raise NothingFound(f"The folder {path} has no {' and no '.join(patterns)}; format {format!r} reads those.")


def _is_shown(folder: Path, root: Path) -> bool:
    return not any(part.startswith(".") for part in folder.relative_to(root).parts)


def _match(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """List the files of the first pattern that has some, without the copies that the `datasets` library caches."""
    for pattern in patterns:
        found = [path for path in sorted(folder.glob(pattern)) if not _CACHE.fullmatch(path.name)]
        if found:
            return found
    return []


def _read_files(path: Path, format: str, read: Callable[[Path], Records]) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    for file in find_annotation_files(path, format):
        prefix = "" if file == path else f"{file.relative_to(path).as_posix()}, "
        for where, fields in read(file):
            yield file, prefix + where, fields


def _require_label(path: Path, where: str, fields: Mapping[str, Any], name: str) -> str:
    """Return a field that is text or a whole number as text. Raises UserError otherwise."""
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value
    if value is None or value == "":
        raise UserError(f"{path}, {where} has no {name}.")
    raise UserError(f"{path}, {where}: {name} is {str(value)[:80]!r}, not text and not a whole number.")


def _read_gedit(path: Path, language: str) -> Iterator[RawRecord]:
    """Read one row per item and language; the images are structs of bytes and path.

    A row in the other language is used only if its item has no row in the requested one. If no item has both, the two
    languages are separate sets, and the other one is skipped as a whole.
    """
    languages: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for _, where, row in _read_files(path, "gedit", partial(_read_gedit_rows, images=False)):
        languages[_get_gedit_item(path, where, row)].add(_get_gedit_language(path, where, row))
    two_sets = all(len(one) == 1 for one in languages.values()) and {language} in languages.values()
    for file, where, row in _read_files(path, "gedit", partial(_read_gedit_rows, images=True)):
        item, own = _get_gedit_item(path, where, row), _get_gedit_language(path, where, row)
        row["input_image"] = next((row[name] for name in _GEDIT_IMAGES if row.get(name)), None)
        row[f"instruction_{own}"] = row.pop("instruction")
        row["tags"] = ["intersection"] if row.get("Intersection_exist") is True else []
        yield RawRecord(
            file=file,
            where=where,
            fields=row,
            edit_names=(item[1], f"{row['task_type']}/{row['instruction_language']}/{item[1]}"),
            other_language=own != language and (language in languages[item] or two_sets),
        )


def _read_gedit_rows(file: Path, images: bool) -> Records:
    if file.suffix.lower() not in (".parquet", ".arrow"):
        raise UserError(
            f"{file} ends in {file.suffix!r}; format 'gedit' is read from .parquet, .arrow, or a folder of them."
        )
    columns = read_column_names(file)
    missing = [name for name in _GEDIT_COLUMNS if name not in columns]
    if not set(_GEDIT_IMAGES) & set(columns):
        missing.append(" or ".join(_GEDIT_IMAGES))
    if missing:
        raise UserError(f"{file} has no column {' and no column '.join(missing)}; it has: {', '.join(columns)}.")
    if not images:
        return read_rows(file, _GEDIT_COLUMNS[:3])
    image = next(name for name in _GEDIT_IMAGES if name in columns)
    return read_rows(file, [*_GEDIT_COLUMNS, image, *({"Intersection_exist"} & set(columns))])


def _get_gedit_item(path: Path, where: str, row: Mapping[str, Any]) -> tuple[str, str]:
    return _require_label(path, where, row, "task_type"), _require_label(path, where, row, "key")


def _get_gedit_language(path: Path, where: str, row: Mapping[str, Any]) -> str:
    name = _require_label(path, where, row, "instruction_language")
    if name not in _GEDIT_LANGUAGES:
        raise UserError(f"{path}, {where}: instruction_language is {name!r}; it can be {', '.join(_GEDIT_LANGUAGES)}.")
    return _GEDIT_LANGUAGES[name]


def _read_imgedit(path: Path, _language: str) -> Iterator[RawRecord]:
    """Read one object of `key: {id, prompt, edit_type}`; `id` is the image's path."""
    for file, where, fields in _read_files(path, "imgedit", partial(read_json, format="imgedit", keyed=True)):
        if "edit_type" not in fields and {"id", "prompt"} <= fields.keys():
            raise UserError(
                f"{path}, {where} has no edit_type. Only the basic suite (basic_edit.json, singleturn.json) has "
                "categories; add an edit_type to each record of another one."
            )
        yield RawRecord(file=file, where=where, fields=fields, edit_names=(fields["key"],))


def _read_kris(path: Path, _language: str) -> Iterator[RawRecord]:
    """Read one object of `id: {ori_img, gt_img, ins_en, explain_en}` in the folder of each category.

    The released scorer reads `instruction` and `explain` instead; both are accepted.
    """
    for file, where, fields in _read_files(path, "kris", partial(read_json, format="kris", keyed=True)):
        category, key = file.parent.resolve().name, fields["key"]
        fields |= {"category": category, "item_id": f"{category}_{key}"}
        if "instruction" in fields:
            fields.setdefault("ins_en", fields["instruction"])
        yield RawRecord(
            file=file,
            where=where,
            fields=fields,
            edit_names=(key, f"{category}/{key}"),
            sources=_unwrap(fields, "ori_img"),
            reference_image=bool(fields.get("gt_img")),
        )


def _read_rise(path: Path, _language: str) -> Iterator[RawRecord]:
    """Read one list of `index, category, instruction, image`, and `reference`, `reference_txt` or `reference_img`."""
    for file, where, fields in _read_files(path, "rise", partial(read_json, format="rise")):
        index = _require_label(path, where, fields, "index")
        fields["reference"] = fields.get("reference") or fields.get("reference_txt")
        fields["tags"] = fields.get("subtask")
        yield RawRecord(
            file=file,
            where=where,
            fields=fields,
            edit_names=(index,),
            sources=_unwrap(fields, "image"),
            reference_image=bool(fields.get("reference_img")),
        )


def _read_uniredit(path: Path, _language: str) -> Iterator[RawRecord]:
    """Read one list of `name, idx, instruction, rules?, {original,reference}_image_path, reference_effect`."""
    for file, where, fields in _read_files(path, "uniredit", partial(read_json, format="uniredit")):
        name, idx = _require_label(path, where, fields, "name"), _require_label(path, where, fields, "idx")
        fields["item_id"] = f"{name}#{idx}"
        if fields.get("rules") and fields.get("instruction"):
            rules = _require_label(path, where, fields, "rules")
            fields["instruction"] = f"{rules}\n{_require_label(path, where, fields, 'instruction')}"
        yield RawRecord(
            file=file,
            where=where,
            fields=fields,
            edit_names=(idx, f"{name}/{idx}"),
            reference_image=bool(fields.get("reference_image_path")),
        )


def _unwrap(fields: dict[str, Any], name: str) -> int:
    """Return the number of images in a field, and replace a list of one by its element."""
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
"""Keyed by the name used in `dataset: format:`."""

FORMATS = (*OWN_FORMATS, *PUBLIC_FORMATS)
