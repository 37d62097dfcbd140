"""Everything Editlane raises on purpose.

UserError                the user can fix it: printed as one paragraph, exit code 2
├── UnknownName          a name that no registry knows
├── PassingError         the cause may be gone soon, such as a server that does not answer: a lane is tried again
ItemError                ends one item as a row with a state; never ends the lane
├── SourceUnreadable     source_unreadable: the source image cannot be decoded
├── EditFailed           edit_failed
│   └── OutOfMemory      edit_failed or judge_failed: the device had too little memory for this item
├── EditRefused          edit_refused: a safety checker or the provider said no
└── JudgeFailed          judge_failed
Stopped                  the lane was told to stop: exit code 75
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from editlane.core.printable import escape
from editlane.core.secrets import hide_keys


class UserError(Exception):
    """An error that the user can fix. The message says what is wrong, where, and what to do."""


class PassingError(UserError):
    """A UserError whose cause may be gone at the next try. The workflow tries a lane again only after such an error."""


class UnknownName(UserError):
    """A name that is not in its registry; the message offers the nearest one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        listed = escape(", ".join(names))
        super().__init__(f"Unknown {kind} {format_value(name)}.{hint} Available: {listed}.")


CRASHED = "one process after another died while this item was at work"
"""The message of the kind `crash`."""

TRANSIENT_KINDS = frozenset(
    {"crash", "oom", "timeout", "transport", "missing", "changed", "model", "budget", "former_turn"}
)
"""Transient failures: they get a row, but no journal entry, so the next run of the lane retries them. A turn that
was not tried, because the turn before has no edit, follows from that turn's row. Retries within a
run are in lanes/editing.py and protocols/asking.py."""


class ItemError(Exception):
    """Ends one item. `state` and `kind` become the row's `state` and `error_kind`."""

    state = "edit_failed"
    kind = "model"

    def __init__(self, message: str, *, kind: str | None = None) -> None:
        super().__init__(message)
        if kind is not None:
            self.kind = kind


class SourceUnreadable(ItemError):
    state = "source_unreadable"
    kind = "decode"


class EditFailed(ItemError):
    state = "edit_failed"


class OutOfMemory(EditFailed):
    kind = "oom"


class EditRefused(ItemError):
    state = "edit_refused"
    kind = "refused"


class JudgeFailed(ItemError):
    state = "judge_failed"


class Stopped(Exception):
    """The lane was told to stop; every finished item is in the journal."""


def one_line(error: Exception) -> str:
    """Return the message in one printable line, at most 300 characters, as the tables hold it."""
    return escape(" ".join(str(error).split()))[:300]


def format_value(value: Any) -> str:
    """Format a value for messages, in at most 80 characters, without what looks like a key."""
    text = hide_keys(repr(value))
    return text if len(text) <= 80 else text[:77] + "..."
