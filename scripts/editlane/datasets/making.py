"""Make the items of a dataset's records: their stored images, their ids, and an item for each turn."""

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from editlane.core.files import is_file
from editlane.core.types import Item, Reference
from editlane.datasets.given_edits import EditedFolders, find_edits
from editlane.datasets.item_ids import derive_id, digest, make_unique, name_turns, sanitise_id
from editlane.datasets.parsing import LeftOut, ParsedRecord, RawImage, Selection, Skipped, canonicalise, parse_records
from editlane.datasets.storing import Stored, inspect, read_image, store
from editlane.datasets.turns import split_turns


@dataclass(frozen=True, slots=True)
class Made:
    """An item, and what is stored of the edits that editors have for themselves."""

    item: Item
    edits_of: Mapping[str, Stored | None]


class MadeItems(NamedTuple):
    """The items of the records that become some."""

    items: list[Made]
    """Sorted by category and the id of the record, the turns of a record in order."""
    records: int
    reference_images: int
    """Records with an image of a correct edit."""


def make_items(selection: Selection, folders: EditedFolders, skipped: Skipped, run_dir: Path) -> MadeItems:
    """Make the items with unique ids.

    Ids are unique among all records that could be items, so that they depend neither on the requested categories nor
    on the limit.
    """
    made, identities = list[list[Made]](), list[str]()
    references = 0
    others = Counter[str]()
    keep = partial(store, run_dir=run_dir)
    for record in find_edits(parse_records(selection, skipped, others=True), folders):
        if record.left_out is None:
            item = _make_item(record, keep)
            made.append([*_make_earlier_turns(record, item, keep), Made(item, _store_edits(record.edits_of, keep))])
            identities.append(_hash_item(record, item))
            references += record.reference_image
        elif record.left_out is not LeftOut.LANGUAGE and (base := _get_other_id(record, selection)) is not None:
            others[base] += 1
    ids = [of_record[-1].item.item_id for of_record in made]
    other_ids, other_identities = _identify_others(selection, Counter(ids), others)
    unique = make_unique(ids + other_ids, identities + other_identities)
    named = dict(zip(unique, made, strict=False))  # the last ids are those of the other records
    order = {category: place for place, category in enumerate(selection.categories)}
    in_order = sorted(named, key=lambda name: (order[named[name][0].item.category], name))
    return MadeItems(list(_name_items({name: named[name] for name in in_order}, unique)), len(made), references)


def _make_earlier_turns(record: ParsedRecord, item: Item, keep: Callable[[RawImage], Stored]) -> Iterator[Made]:
    """Yield the `item` of a record once for each turn but the last, with the edits that are given of that turn."""
    for turn in record.earlier:
        given = _look_at_edit(turn.edited, keep)
        path, sha256 = (given.path, given.sha256) if given else (None, None)
        yield Made(dataclasses.replace(item, given_path=path, given_sha256=sha256), _store_edits(turn.edits_of, keep))


def _name_items(made: Mapping[str, Sequence[Made]], ids: Sequence[str]) -> Iterator[Made]:
    """Yield the items of all records with their ids. `made`: by the record's id. `ids`: those that are taken."""
    names = name_turns({name: len(turns) for name, turns in made.items() if len(turns) > 1}, ids)
    for name, turns in made.items():
        items = [one.item for one in turns]
        if name in names:
            items = split_turns(items, names[name])
        else:
            items = [dataclasses.replace(item, item_id=name) for item in items]
        yield from (Made(item, one.edits_of) for item, one in zip(items, turns, strict=True))


def _identify_others(selection: Selection, ids: Counter[str], others: Counter[str]) -> tuple[list[str], list[str]]:
    """Return ids and identities of the records that become no items.

    Their images are read only where an id is there twice, which is rare. A record whose image no run can read never is
    an item, so it takes no id.
    """
    shared = {base for base, times in others.items() if times + ids[base] > 1}
    other_ids = [base for base in others if base not in shared]
    identities = [digest(base) for base in other_ids]
    for record in parse_records(selection, Skipped(), others=True) if shared else ():
        if record.left_out in (None, LeftOut.LANGUAGE) or _get_other_id(record, selection) not in shared:
            continue
        if all(map(_may_be_read, (record.image, *record.references))):
            item = _make_item(record, inspect)
            other_ids.append(item.item_id)
            identities.append(_hash_item(record, item))
    return other_ids, identities


def _may_be_read(image: RawImage) -> bool:
    return not isinstance(image, Path) or (is_file(image) and os.access(image, os.R_OK))


def _get_other_id(record: ParsedRecord, selection: Selection) -> str | None:
    """Return the id of a record that becomes no item. None if the dataset's author answers for its being unique."""
    if record.given_id:
        return sanitise_id(record.given_id) if selection.is_public else None
    sha256 = "" if record.name else hashlib.sha256(read_image(record.image)).hexdigest()
    others = zip(record.reference_names, record.references, strict=True)
    references = [name or hashlib.sha256(read_image(image)).hexdigest() for name, image in others]
    return derive_id(record.name, sha256, record.instruction, canonicalise(record.category), references)


def _hash_item(record: ParsedRecord, item: Item) -> str:
    """Return a hash of everything that the dataset says about an item; a folder of edits is no part of it."""
    known = dataclasses.asdict(item)
    del known["sample_of"], known["after"]  # which are new, and must not change the ids of older runs
    for name in ("references", "turns"):
        if not known[name]:
            del known[name]
    if record.edit_is_found:
        known |= {"given_path": None, "given_sha256": None}
    return digest(record.given_id, record.name, json.dumps(known, sort_keys=True))


def _make_item(record: ParsedRecord, look_at: Callable[[RawImage], Stored]) -> Item:
    """Make the item of a record, whose images `look_at` reads. The id is not unique yet."""
    source = look_at(record.image)
    references = [look_at(image) for image in record.references]
    given = _look_at_edit(record.edited, look_at)
    width, height = source.size or (None, None)
    named = [name or one.sha256 for name, one in zip(record.reference_names, references, strict=True)]
    derived = derive_id(record.name, source.sha256, record.instruction, canonicalise(record.category), named)
    return Item(
        item_id=sanitise_id(record.given_id) if record.given_id else derived,
        category=record.category,
        instruction=record.instruction,
        language=record.language,
        source_path=source.path,
        source_sha256=source.sha256,
        width=width,
        height=height,
        cost=estimate_cost(source.size, [one.size for one in references]),
        description=record.description,
        rationale=record.rationale,
        tags=record.tags,
        difficulty=record.difficulty,
        given_path=given.path if given else None,
        given_sha256=given.sha256 if given else None,
        references=tuple(_make_reference(one) for one in references),
        turns=record.turns,
    )


def _make_reference(stored: Stored) -> Reference:
    width, height = stored.size or (None, None)
    return Reference(path=stored.path, sha256=stored.sha256, width=width, height=height)


def _store_edits(edits: Mapping[str, Path | None], keep: Callable[[RawImage], Stored]) -> dict[str, Stored | None]:
    return {editor: _look_at_edit(edit, keep) for editor, edit in edits.items()}


def _look_at_edit(edit: RawImage | None, look_at: Callable[[RawImage], Stored]) -> Stored | None:
    return look_at(edit) if edit and (not isinstance(edit, Path) or is_file(edit)) else None


def estimate_cost(size: tuple[int, int] | None, references: Sequence[tuple[int, int] | None] = ()) -> float:
    """Estimate the relative work for an image of this size (width, height): 0.5 to 1.0, or 1.0 if unknown.

    Half is fixed (text, sampling overhead). The other half grows with the number of pixels up to one megapixel, because
    editors and judges scale larger images down to about that. Each of the `references` adds as much by its pixels.
    """
    sizes = (size, *references)
    return round(0.5 + sum(0.5 if one is None else 0.5 * min(one[0] * one[1] / 1e6, 1.0) for one in sizes), 4)
