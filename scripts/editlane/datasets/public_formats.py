"""Read public benchmarks as published: their files, and their names for an item's fields.

Each reader yields the records under the benchmark's own field names. `names` maps our names to them.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from editlane.core.errors import UserError, format_value
from editlane.datasets.arrow_files import Records, read_column_names, read_rows
from editlane.datasets.files import OWN_FORMATS
from editlane.datasets.json_files import read_json
from editlane.datasets.raw_records import RawRecord, find_files, read_files, require_label, spread_images

_GEDIT_LANGUAGES = {"en": "en", "cn": "zh", "zh": "zh"}
"""The dataset uses `cn`, its scorer `zh`."""

GEDIT_FILES = ("*.parquet", "*.arrow")
_KRIS_FILES = ("annotation.json", "*/annotation.json")
_COMPASS_FILES = ("Part*/*/*.json",)

_GEDIT_COLUMNS = ["task_type", "key", "instruction_language", "instruction"]
_GEDITV2_COLUMNS = ["key", "task", "instruction", "source_image"]
_TURN = re.compile(r"turn([1-9][0-9]{0,3})")
_GEDIT_IMAGES = ["input_image", "input_image_raw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicFormat:
    """One benchmark."""

    read: Callable[[Path, str], Iterator[RawRecord]]
    """(path of the dataset, requested language) -> its records. Raises UserError for invalid records."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Our field names -> the benchmark's, for fields with another name."""
    folder: tuple[str, ...] = ()
    """Patterns of the files to read if the path is a folder; the first match is used. If empty, it must be a file."""


def may_be_folder(format: str) -> bool:
    """Return whether a dataset in this format may be a folder of files."""
    return format in PUBLIC_FORMATS and bool(PUBLIC_FORMATS[format].folder)


def find_annotation_files(path: Path, format: str) -> list[Path]:
    """Find the files with the records, in the folder or in one below it. Raises UserError like `find_files`."""
    return find_files(path, PUBLIC_FORMATS[format].folder if may_be_folder(format) else (), format)


def _read_gedit(path: Path, language: str) -> Iterator[RawRecord]:
    """Read one row per item and language; the images are structs of bytes and path.

    A row in the other language is used only if its item has no row in the requested one. If no item has both, the two
    languages are separate sets, and the other one is skipped as a whole.
    """
    languages: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for _, where, row in read_files(path, GEDIT_FILES, "gedit", partial(_read_gedit_rows, images=False)):
        languages[_get_gedit_item(path, where, row)].add(_get_gedit_language(path, where, row))
    two_sets = all(len(one) == 1 for one in languages.values()) and {language} in languages.values()
    for file, where, row in read_files(path, GEDIT_FILES, "gedit", partial(_read_gedit_rows, images=True)):
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
    return require_label(path, where, row, "task_type"), require_label(path, where, row, "key")


def _get_gedit_language(path: Path, where: str, row: Mapping[str, Any]) -> str:
    name = require_label(path, where, row, "instruction_language")
    if name not in _GEDIT_LANGUAGES:
        raise UserError(f"{path}, {where}: instruction_language is {name!r}; it can be {', '.join(_GEDIT_LANGUAGES)}.")
    return _GEDIT_LANGUAGES[name]


def _read_imgedit(path: Path, _language: str) -> Iterator[RawRecord]:
    """Read one object of `key: {id, prompt, edit_type}`; `id` is the image's path.

    The records of the understanding, grounding and editing suite (UGE) have no `edit_type`; UGE is their category.
    Those of the multi-turn suite have `turn1, turn2, turn3` instead of a prompt; their file's name is their category.
    """
    for file, where, fields in read_files(path, (), "imgedit", partial(read_json, format="imgedit", keyed=True)):
        if turns := _list_turns(path, where, fields):
            fields |= {"edit_type": file.stem, "turns": turns}
        if "edit_type" not in fields and {"id", "prompt"} <= fields.keys():
            fields["edit_type"] = "UGE"
        yield RawRecord(file=file, where=where, fields=fields, edit_names=(fields["key"],))


def _list_turns(path: Path, where: str, fields: Mapping[str, Any]) -> list[Any]:
    """Return `turn1`, `turn2`, ... up to the last that is set. Raises UserError if one before it is not."""
    turns = {name: value for name, value in fields.items() if value is not None and value != ""}
    found = {int(match[1]): value for name, value in turns.items() if (match := _TURN.fullmatch(name))}
    last = max(found, default=0)
    if missing := [number for number in range(1, last + 1) if number not in found]:
        raise UserError(f"{path}, {where} has turn{last} and no turn{missing[0]}. Add it, or number the turns anew.")
    return [found[number] for number in range(1, last + 1)]


def _read_kris(path: Path, _language: str) -> Iterator[RawRecord]:
    """Read one object of `id: {ori_img, gt_img, ins_en, explain_en}` in the folder of each category.

    The released scorer reads `instruction` and `explain` instead; both are accepted.
    """
    for file, where, fields in read_files(path, _KRIS_FILES, "kris", partial(read_json, format="kris", keyed=True)):
        category, key = file.parent.resolve().name, fields["key"]
        fields |= {"category": category, "item_id": f"{category}_{key}"}
        if "instruction" in fields:
            fields.setdefault("ins_en", fields["instruction"])
        spread_images(fields, "ori_img")
        yield RawRecord(
            file=file,
            where=where,
            fields=fields,
            edit_names=(key, f"{category}/{key}"),
            reference_image=bool(fields.get("gt_img")),
        )


def _read_rise(path: Path, _language: str) -> Iterator[RawRecord]:
    """Read one list of `index, category, instruction, image`, and `reference`, `reference_txt` or `reference_img`.

    RISEBench++ adds `instruction_chinese` and `reference_txt_chinese`.
    """
    for file, where, fields in read_files(path, (), "rise", partial(read_json, format="rise")):
        index = require_label(path, where, fields, "index")
        fields["reference"] = fields.get("reference") or fields.get("reference_txt")
        fields["tags"] = fields.get("subtask") or fields.get("task_type")
        fields["instruction_zh"] = fields.get("instruction_chinese")
        fields["reference_zh"] = fields.get("reference_txt_chinese")
        spread_images(fields, "image")
        yield RawRecord(
            file=file,
            where=where,
            fields=fields,
            edit_names=(index,),
            reference_image=bool(fields.get("reference_img")),
        )


def _read_uniredit(path: Path, _language: str) -> Iterator[RawRecord]:
    """Read one list of `name, idx, instruction, rules?, {original,reference}_image_path, reference_effect`."""
    for file, where, fields in read_files(path, (), "uniredit", partial(read_json, format="uniredit")):
        name, idx = require_label(path, where, fields, "name"), require_label(path, where, fields, "idx")
        fields["item_id"] = f"{name}#{idx}"
        if fields.get("rules") and fields.get("instruction"):
            rules = require_label(path, where, fields, "rules")
            fields["instruction"] = f"{rules}\n{require_label(path, where, fields, 'instruction')}"
        yield RawRecord(
            file=file,
            where=where,
            fields=fields,
            edit_names=(idx, f"{name}/{idx}"),
            reference_image=bool(fields.get("reference_image_path")),
        )


def _read_geditv2(path: Path, _language: str) -> Iterator[RawRecord]:
    """Read one row per item: `key, instruction, task`, and `source_image`, a struct of bytes and path."""
    for file, where, row in read_files(path, GEDIT_FILES, "geditv2", _read_geditv2_rows):
        spread_images(row, "source_image")
        yield RawRecord(file=file, where=where, fields=row, edit_names=(require_label(path, where, row, "key"),))


def _read_geditv2_rows(file: Path) -> Records:
    if file.suffix.lower() not in (".parquet", ".arrow"):
        raise UserError(
            f"{file} ends in {file.suffix!r}; format 'geditv2' is read from .parquet, .arrow, or a folder of them."
        )
    columns = read_column_names(file)
    if missing := [name for name in _GEDITV2_COLUMNS if name not in columns]:
        raise UserError(f"{file} has no column {' and no column '.join(missing)}; it has: {', '.join(columns)}.")
    return read_rows(file, _GEDITV2_COLUMNS)


def _read_compass(path: Path, _language: str) -> Iterator[RawRecord]:
    """Read one list of `save_id, source_image, prompt_en, prompt_cn` in the file PART/TASK/TASK.json of each task.

    The tasks of Part5 add `reference_image_path`, a list. Image paths begin at the folder that holds the parts.
    """
    for file, where, fields in read_files(
        path, _COMPASS_FILES, "edit-compass", partial(read_json, format="edit-compass")
    ):
        place = file.resolve()
        part, task, key = place.parent.parent, place.stem, require_label(path, where, fields, "save_id")
        if not part.name.startswith("Part"):
            raise UserError(f"{file} is not in a folder PartN/TASK, as Edit-Compass is published. Move it there.")
        if references := _list_references(path, where, fields.get("reference_image_path")):
            fields["images"] = [fields.pop("source_image", None), *references]
        fields |= {"category": task, "item_id": f"{task}_{key}", "prompt_zh": fields.get("prompt_cn")}
        fields["tags"] = [tag for tag in (fields.get("edit_type"), fields.get("sub_type")) if tag and tag != task]
        yield RawRecord(
            file=file,
            where=where,
            fields=fields,
            edit_names=(f"{part.name}/{task}/{key}", f"{task}/{key}"),
            root=part.parent,
        )


def _list_references(path: Path, where: str, value: Any) -> list[Any]:
    if isinstance(value, str | list) or value is None:
        return [value] if isinstance(value, str) and value else list(value or ())
    raise UserError(
        f"{path}, {where}: reference_image_path is {format_value(value)}, not a path and not a list of them."
    )


PUBLIC_FORMATS = {
    "gedit": PublicFormat(
        read=_read_gedit,
        names={"item_id": "key", "category": "task_type", "image": "input_image"},
        folder=GEDIT_FILES,
    ),
    "imgedit": PublicFormat(
        read=_read_imgedit,
        names={"item_id": "key", "category": "edit_type", "instruction": "prompt", "image": "id"},
    ),
    "kris": PublicFormat(
        read=_read_kris,
        names={"instruction": "ins", "image": "ori_img", "rationale": "explain"},
        folder=_KRIS_FILES,
    ),
    "rise": PublicFormat(read=_read_rise, names={"item_id": "index", "rationale": "reference"}),
    "geditv2": PublicFormat(
        read=_read_geditv2,
        names={"item_id": "key", "category": "task", "image": "source_image"},
        folder=GEDIT_FILES,
    ),
    "edit-compass": PublicFormat(
        read=_read_compass,
        names={"instruction": "prompt", "image": "source_image", "rationale": "hints"},
        folder=_COMPASS_FILES,
    ),
    "uniredit": PublicFormat(
        read=_read_uniredit,
        names={"category": "name", "image": "original_image_path", "rationale": "reference_effect"},
    ),
}
"""Keyed by the name used in `dataset: format:`."""

FORMATS = (*OWN_FORMATS, *PUBLIC_FORMATS)
