"""Extra questions to a judge whose answers can be checked: about which edits they are asked, and what is shown.

Which ones are asked depends on nothing but the seed, the editor and the items: neither lanes nor order change it, and
another editor changes nothing for those there are.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from editlane.errors import UserError
from editlane.tables import ITEMS, item_row
from editlane.types import ACCEPTANCE, EDITED, Control, Item

Row = dict[str, Any]

CANARY_CATEGORIES = ("物理", "环境", "社会", "因果", "指代")
"""Of the canary set."""

SAMPLES = 4
"""How often a judge that samples its answer is asked the same again."""


def plan_controls(
    items: Sequence[Item], editors: Sequence[str], *, share: float, repeats: float, seed: int
) -> list[Row]:
    """The rows of the plan: item columns (with the instruction to show), editor, control, other_item_id.

    `share`: how many more questions the acceptance controls may cost an editor, as a share of its items (4: every
    control of every item); `repeats`: the share of items that are asked again. Both are dealt over the categories by
    their size and rounded down.
    """
    by_category: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: (item.category, item.item_id)):
        by_category.setdefault(item.category, []).append(item)
    return [
        row
        for editor in editors
        for rows in (_acceptance(by_category, editor, share, seed), _repeats(by_category, editor, repeats, seed))
        for row in rows
    ]


def _acceptance(by_category: dict[str, list[Item]], editor: str, share: float, seed: int) -> Iterator[Row]:
    # each category begins with another control, so that few of each make a balanced set; a larger share only adds
    for offset, (category, count) in enumerate(_deal(by_category, share, len(ACCEPTANCE)).items()):
        ranked = _ranked(by_category[category], f"{seed}\ncontrol\n{editor}")
        for place in range(count):
            turn, position = divmod(place, len(ranked))
            item = ranked[position]
            control = ACCEPTANCE[(offset + position + turn) % len(ACCEPTANCE)]
            other = None
            if control == Control.OTHER_INSTRUCTION:
                other = next((one for one in _from(ranked, position) if one.instruction != item.instruction), None)
                if other is None:
                    continue  # a category with a single instruction has no other one
            yield _row(item, editor, control, other)


def _repeats(by_category: dict[str, list[Item]], editor: str, share: float, seed: int) -> Iterator[Row]:
    for category, count in _deal(by_category, share, 1).items():
        ranked = _ranked(by_category[category], f"{seed}\nrepeat\n{editor}")
        yield from (_row(item, editor, Control.REPEAT) for item in ranked[:count])


def _row(item: Item, editor: str, control: Control, other: Item | None = None) -> Row:
    shown = item
    if other:  # the description is of the source, which stays
        shown = replace(item, instruction=other.instruction, language=other.language, rationale=other.rationale)
    asked = {"editor": editor, "control": str(control), "other_item_id": other.item_id if other else None}
    return item_row(shown) | asked


def canary_rows(items: Sequence[Item], editor: str, categories: Sequence[str]) -> list[Row]:
    """The plan's rows of the canary set, whose items bring their edits along; `editor`: whose lane 0 asks them.

    A canary of a category that the run does not have is asked under one that it has. Raises UserError for a missing
    edit.
    """
    missing = [item.item_id for item in items if item.given_path is None]
    if missing:
        raise UserError(
            f"The canary set lacks the edit of {missing[0]}. Delete resources/canary/pictures and run the same command "
            "again."
        )
    return [
        _row(
            replace(
                item, category=item.category if item.category in categories else categories[place % len(categories)]
            ),
            editor,
            Control.CANARY,
        )
        for place, item in enumerate(items)
    ]


def _deal(by_category: dict[str, list[Item]], share: float, most: int) -> dict[str, int]:
    """Category -> its part of `share` x all items, by largest remainders, at most `most` per item."""
    total = sum(map(len, by_category.values()))
    exact = {category: min(share, most) * len(items) for category, items in by_category.items()}
    counts = {category: int(wanted) for category, wanted in exact.items()}
    left = int(min(share, most) * total + 1e-9) - sum(counts.values())
    by_remainder = sorted(exact, key=lambda category: (counts[category] - exact[category], category))
    return {category: count + (category in by_remainder[:left]) for category, count in counts.items()}


def _ranked(items: Sequence[Item], salt: str) -> list[Item]:
    return sorted(items, key=lambda item: hashlib.sha256(f"{salt}\n{item.item_id}".encode()).digest())


def _from(ranked: Sequence[Item], position: int) -> Iterator[Item]:
    """All items, beginning after `position` and going round."""
    yield from islice(ranked, position + 1, None)
    yield from islice(ranked, position)


def question_row(planned: Row, edit: Row | None, repeat: int = 0) -> Row:
    """The row that a judge is asked about, laid out like one of an edits table. `edit`: the item's row there; None for
    a canary.

    An item without an edit, or without a source, cannot be asked about; its state is handed on.
    """
    control = Control(planned["control"])
    row = (edit or {}) | {name: planned[name] for name in (*ITEMS.names, "editor", "control", "other_item_id")}
    row["repeat"] = repeat
    source = {"path": planned["source_path"], "sha256": planned["source_sha256"]}
    match control:
        case Control.SOURCE_AS_EDIT | Control.BLANK_EDIT if edit and edit["state"] != "source_unreadable":
            shown = source if control == Control.SOURCE_AS_EDIT else {"path": None, "sha256": None}
            row |= {"state": EDITED, "error_kind": None, "error": None}
            row |= {f"edited_{name}": value for name, value in shown.items()} | {"unchanged": None}
        case Control.SWAPPED if edit and edit["state"] == EDITED:
            row |= {f"source_{name}": edit[f"edited_{name}"] for name in source}
            row |= {f"edited_{name}": value for name, value in source.items()}
        case Control.CANARY:
            row |= {"state": EDITED, "error_kind": None, "error": None, "seed": 0, "editor_key": "canary"}
            row |= {"edited_path": planned["given_path"], "edited_sha256": planned["given_sha256"]}
    return row


def lane_questions(plan: Sequence[Row], edits: Sequence[Row], editor: str, lane: int, samples: int) -> list[Row]:
    """The controls that one lane of one editor asks, about its own edits; lane 0 also asks the canaries.

    `samples`: how often an edit of the repeats is asked again. The order is by content, so the repeats meet other
    neighbours in a batch than the first time.
    """
    by_id = {row["item_id"]: row for row in edits}
    asked = []
    for planned in plan:
        canary = planned["control"] == Control.CANARY
        if planned["editor"] != editor or (lane if canary else planned["item_id"] not in by_id):
            continue
        times = range(1, samples + 1) if planned["control"] == Control.REPEAT else (0,)
        edit = None if canary else by_id[planned["item_id"]]
        asked += [question_row(planned, edit, repeat) for repeat in times]
    return sorted(asked, key=_shuffled)


def _shuffled(row: Row) -> bytes:
    return hashlib.sha256(f"{row['repeat']}\n{row['control']}\n{row['item_id']}".encode()).digest()


def check_complete(rows: Sequence[Row], plan: Sequence[Row], judges: Sequence[str]) -> None:
    """Raise UserError unless every planned control was asked exactly once of every judge; of the repeats, unless all
    were asked as often as the one that was asked most."""
    times = {judge: max((row["repeat"] for row in rows if row["judge"] == judge), default=0) for judge in judges}
    planned = {
        (judge, row["editor"], row["control"], row["item_id"], repeat)
        for judge in judges
        for row in plan
        for repeat in (range(1, max(times[judge], 1) + 1) if row["control"] == Control.REPEAT else (0,))
    }
    asked = Counter((row["judge"], row["editor"], row["control"], row["item_id"], row["repeat"]) for row in rows)
    found = set(asked)
    doubled = sorted(cell for cell, count in asked.items() if count > 1)
    for what, cells in (("lost", planned - found), ("not of this run", found - planned), ("doubled", doubled)):
        if cells:
            judge, editor, control, item = sorted(cells)[0][:4]
            raise UserError(
                f"The lanes' controls do not fit the plan: {len(cells)} are {what} (control {control} of item {item}, "
                f"editor {editor}, judge {judge}, among others). The files are not all of one run: delete the run's "
                "controls and scores tables and run the same command again; answers are kept in the journal."
            )


def control_order(editors: Sequence[str], judges: Sequence[str]) -> Callable[[Row], Any]:
    """The order of the controls table: by judge, editor, control and item."""
    names = list(map(str, Control))
    return lambda row: (
        judges.index(row["judge"]),
        editors.index(row["editor"]),
        names.index(row["control"]),
        row["item_id"],
        row["repeat"],
    )
