"""Find out before the first edit what a server ignores without a word.

vLLM-Omni and SGLang answer a request with a field that they do not know as if it were not there, and some of their
models do the same with a seed. An edit made with another seed than the table says could not be told from a right one.
"""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from PIL import Image

from editlane.core.errors import EditRefused, ItemError, PassingError, UserError
from editlane.endpoint.http import UNANSWERED

log = logging.getLogger(__name__)

MADE_UP = "editlane_made_up_field"
SIZE = "512x512"
"""A size that every model of these servers can make, and not the one that they choose by themselves."""
_SEEDS = (7, 8)

Ask = Callable[[dict[str, Any]], Image.Image]
"""Returns the answer to a test edit with these further fields."""


class Probed(NamedTuple):
    """What is known of a server."""

    seed_used: bool
    """The same seed gave the same pixels, and another one others."""
    fields_ignored: bool
    """It takes a field that it does not know."""


def probe(ask: Ask, server: str, *, takes_seed: bool, size: str | None, require_seed: bool) -> Probed:
    """Send one to four test edits. `size`: of the answers, if one is asked for.

    Raises PassingError if the server does not answer, and UserError if it rejects a plain edit, does not keep the
    size, or ignores the seed (`require_seed`).
    """
    try:
        if not takes_seed:
            return _log(server, Probed(False, _is_ignored(ask, {}) is not None))
        first = ask({"seed": _SEEDS[0]})
        if size is not None and size != "{}x{}".format(*first.size):
            raise UserError(
                f"{server} was asked for an image of {size} pixels and answered with {first.width}x{first.height}. "
                "Set another `size` in the editor's `params`, with sides in multiples of 32, or `size: auto` to take "
                "what it chooses."
            )
        again = _is_ignored(ask, {"seed": _SEEDS[0]})
        ignored = again is not None
        same = first.tobytes() == (again or ask({"seed": _SEEDS[0]})).tobytes()
        differs = same and first.tobytes() != ask({"seed": _SEEDS[1]}).tobytes()
    except ItemError as error:
        if error.kind in UNANSWERED:
            raise PassingError(
                f"{server} does not finish a test edit: {error}. Run the same command again when it is less busy, or "
                "raise `timeout` or `attempts` in the editor's `params`. If it says HTTP 500, the reason is in its own "
                "log. Finished edits are kept."
            ) from error
        raise UserError(
            f"{server} rejects a test edit of a plain picture, so it would reject all: {error}. Correct `model`, "
            "`dialect` and the other `params`; finished edits are kept."
        ) from error
    if require_seed and not (same and differs):
        what = "does not change the image for another seed" if same else "does not repeat an image with its seed"
        raise UserError(
            f"{server} {what}, so its edits could not be made again. Set up the server so that it does (one request "
            "at a time, deterministic kernels), or set `require_seed: false` in the editor's `params`: the column "
            "`seed_used` and the report then say so."
        )
    return _log(server, Probed(same and differs, ignored))


def _is_ignored(ask: Ask, fields: dict[str, Any]) -> Image.Image | None:
    """Return the answer to a request with a made-up field; None if it is refused."""
    try:
        return ask({**fields, MADE_UP: "1"})
    except EditRefused:
        raise
    except ItemError as error:
        if MADE_UP in str(error):
            return None
        raise


def _log(server: str, found: Probed) -> Probed:
    seed = "repeats with its seed" if found.seed_used else "cannot be repeated: there is no seed, or it is not used"
    fields = "are ignored" if found.fields_ignored else "are refused"
    log.info("%s: an edit %s; unknown fields %s", server, seed, fields)
    return found
