"""End the further tries of a lane at once if its error comes again for certain.

The workflow tries a lane that failed again. If the cause is in the config, in the model or in what a server said, each
try would load the model or pay for the tests of a server for nothing, so the lane leaves a note. It holds for the
workflow in which the lane failed; the next one knows nothing of it.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from editlane.core.errors import PassingError, UserError
from editlane.core.files import replace_text
from editlane.lanes.stopping import identify_workflow

log = logging.getLogger(__name__)


@contextmanager
def ending_further_tries(note: Path) -> Iterator[None]:
    """Raise the error with which an earlier try of this lane ended in this workflow; else run the block.

    `note` is left if the block raises a UserError that comes again.
    """
    workflow = identify_workflow()
    _check(note, workflow)
    try:
        yield
    except UserError as error:
        if workflow is not None and not _may_pass(error):
            with suppress(OSError):
                replace_text(note, json.dumps({"workflow": workflow, "error": str(error)}, ensure_ascii=False))
        raise


def _check(note: Path, workflow: str | None) -> None:
    with suppress(OSError, ValueError, RecursionError):
        match json.loads(note.read_text(encoding="utf-8")):
            case {"workflow": str(before), "error": str(error)} if before == workflow:
                log.info("this lane has ended with the following error before, and it would come again")
                raise UserError(error)


def _may_pass(error: UserError) -> bool:
    """Return whether the cause may be gone at the next try.

    That is a PassingError, or one that the operating system told, such as a full disk. Libraries raise OSError without
    a number, too, for a checkpoint that they cannot read.
    """
    cause = error.__cause__
    return isinstance(error, PassingError) or (isinstance(cause, OSError) and cause.errno is not None)
