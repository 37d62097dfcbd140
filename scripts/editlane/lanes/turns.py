"""Edit an item of several turns: each turn edits the result of the one before. What counts is the last edit."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

from editlane.core.errors import ItemError
from editlane.core.types import Edit, Editor, EditRequest
from editlane.images.decoding import to_rgb


def edit_in_turns(editor: Editor, request: EditRequest) -> Edit:
    """Carry out the turns of an item one after another, each with its own text and seed, and return the last edit.

    A turn is told the text of no other one, and gets the item's further images. `prompt_truncated` is true if it is for
    any turn. An error of one turn is raised as it is, with the number of the turn before its message.
    """
    turns = request.item.turns
    source, truncated = request.source, list[bool | None]()
    for number, text in enumerate(turns, 1):
        asked = replace(
            request,
            item=replace(request.item, instruction=text),
            source=source,
            seed=derive_seed(request.seed, number),
            on_step=_count_on(request.on_step, number - 1, len(turns)),
        )
        try:
            edit = editor.edit(asked)
        except ItemError as error:
            error.args = (f"turn {number} of {len(turns)}: {error}",)
            raise
        truncated.append(edit.prompt_truncated)
        source = to_rgb(edit.image)
    known = None if None in truncated else False
    return replace(edit, prompt_truncated=True if True in truncated else known)


def _count_on(on_step: Callable[[int, int], None], done: int, turns: int) -> Callable[[int, int], None]:
    """Return an `on_step` of one turn that counts the steps of all, of which `done` turns are done."""

    def on_step_of_turn(step: int, steps: int) -> None:
        on_step(done * steps + step, turns * steps)

    return on_step_of_turn


def derive_seed(seed: int, turn: int) -> int:
    """Return the seed of a turn, 0 .. 2**32 - 1: the item's own for the first, others for the later ones."""
    if turn == 1:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}\nturn {turn}".encode()).digest()[:4], "big")
