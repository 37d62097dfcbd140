"""Run a step program: the log's format, errors as one paragraph, exit codes."""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from editlane.core.errors import Stopped, UserError
from editlane.core.os_errors import explain_os_error
from editlane.lanes.stopping import on_workflow_exit
from editlane.models import load_times


def run_step(main: Callable[[], None], *, is_lane: bool = False) -> None:
    """Run a step's `main`.

    UserError and an OSError that a user can fix end with one paragraph and exit code 2, Stopped with exit code 75, all
    others with a traceback. A step whose workflow has died ends at once, so that no two processes write one table. A
    lane (`is_lane`) has a StopSignal for that.
    """
    line = "%(asctime)s.%(msecs)03d %(message)s"
    logging.basicConfig(format=line, datefmt="%H:%M:%S", level=logging.INFO, stream=sys.stderr)
    if is_lane:
        load_times.record_imports()
    else:
        on_workflow_exit(lambda: os._exit(75))
    try:
        main()
    except UserError as error:
        _end(f"error: {error}", 2)
    except OSError as error:
        paragraph = explain_os_error(error)
        if paragraph is None:
            raise
        _end(f"error: {paragraph}", 2)
    except Stopped as stopped:
        _end(f"stopped: {stopped}", 75)
    except KeyboardInterrupt:
        sys.exit(130)


def _end(text: str, code: int) -> NoReturn:
    with suppress(OSError):  # the log may be on the full disk, too: then the exit code has to say it
        print(text, file=sys.stderr, flush=True)
    sys.exit(code)
