"""Records of several turns: each instruction is carried out on the result of the one before."""

from collections.abc import Sequence
from dataclasses import replace

from editlane.core.errors import UserError
from editlane.core.types import MOST_TURNS, Item
from editlane.datasets.records import Record

_HEADS = {
    "en": "{n} turns, each of which edits the result of the one before:",
    "zh": "共 {n} 轮，每一轮都在上一轮的结果上编辑：",
}
_LINES = {"en": "Turn {n}: {text}", "zh": "第 {n} 轮：{text}"}


def require_instruction(record: Record, language: str) -> tuple[str, str, tuple[str, ...]]:
    """Return the instruction of a record, its language, and its turns if there are several.

    Raises UserError without an instruction, with one beside a list of `turns`, and for too many turns.
    """
    field = record.own_name("instruction")
    chosen = record.choose_language("instruction", language)
    found = record.choose_turns(language, beside=chosen is not None)
    if found is None:
        if chosen is None:
            raise UserError(f"{record.where} has no instruction ({field}, {field}_en or {field}_zh).")
        return *chosen, ()
    if chosen is not None:
        raise UserError(f"{record.where} has {field} and turns. Give one of them: `turns` has all instructions.")
    turns, spoken = found
    if len(turns) > MOST_TURNS:
        raise UserError(f"{record.where} has {len(turns)} turns; a record has at most {MOST_TURNS}. Remove some.")
    return join_turns(turns, spoken), spoken, turns if len(turns) > 1 else ()


def join_turns(turns: Sequence[str], language: str) -> str:
    """Return all instructions as one text, for judges and people. A single one stays as it is."""
    if len(turns) == 1:
        return turns[0]
    lines = (_LINES[language].format(n=number, text=text) for number, text in enumerate(turns, 1))
    return "\n".join([_HEADS[language].format(n=len(turns)), *lines])


def list_beginnings(turns: Sequence[str], language: str) -> list[str]:
    """Return the instruction of each turn's item: its text and those of all turns before it, as one."""
    return [join_turns(turns[:number], language) for number in range(1, len(turns) + 1)]


def split_turns(items: Sequence[Item], names: Sequence[str]) -> list[Item]:
    """Turn items that are all of one record into its turns, with these ids. They keep the edit that is given of each.

    All have the record's photo as their source, and tell all turns so far.
    """
    last = items[-1]
    instructions = list_beginnings(last.turns, last.language)
    return [
        replace(
            item,
            item_id=name,
            instruction=instruction,
            turns=last.turns[: place + 1] if place else (),
            after=names[place - 1] if place else None,
        )
        for place, (item, name, instruction) in enumerate(zip(items, names, instructions, strict=True))
    ]
