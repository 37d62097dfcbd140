"""Run a step program: the log's format, errors as one paragraph, exit codes."""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NoReturn

from editlane.core import last_words
from editlane.core.encodings import check_names_of_files, escape_unencodable
from editlane.core.errors import Stopped, UserError
from editlane.core.os_errors import Explained, explain_os_error
from editlane.core.printable import escape, escape_lines
from editlane.lanes.stopping import on_workflow_exit
from editlane.models import load_times


def run_step(main: Callable[[], None], *, is_lane: bool = False) -> None:
    """Run a step's `main`.

    UserError and an OSError that a user can fix end with one paragraph and exit code 2, Stopped with exit code 75, all
    others with a traceback. A step whose workflow has died ends at once, so that no two processes write one table. A
    lane (`is_lane`) has a StopSignal for that.
    """
    last_words.begin()
    _set_up_output()
    if is_lane:
        load_times.record_imports()
    else:
        on_workflow_exit(lambda: os._exit(75))
    try:
        _run_in_locale(main)
    except UserError as error:
        _end_with_error(str(error))
    except OSError as error:
        paragraph = explain_os_error(error)
        if paragraph is None:
            raise
        _end_with_error(paragraph)
    except Stopped as stopped:
        with suppress(OSError):
            print(f"stopped: {escape(str(stopped))}", file=sys.stderr, flush=True)
        sys.exit(75)
    except KeyboardInterrupt:
        sys.exit(130)


def _run_in_locale(main: Callable[[], None]) -> None:
    try:
        main()
    except UnicodeEncodeError:
        check_names_of_files()
        raise


def _end_with_error(paragraph: str | Explained) -> NoReturn:
    last_words.say("error", paragraph)
    sys.exit(2)


class _Formatter(logging.Formatter):
    """Begins each line with the time of day. Nothing in a record can begin a line of its own or move the cursor."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return escape(super().formatMessage(record))

    def formatException(self, info: object) -> str:  # noqa: N802
        return escape_lines(super().formatException(info))  # type: ignore[arg-type]


def _set_up_output() -> None:
    escape_unencodable()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    sys.excepthook = _print_traceback
    threading.excepthook = lambda of: _print_traceback(of.exc_type, of.exc_value, of.exc_traceback)


def _print_traceback(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Print a bug's traceback, which may quote text from outside."""
    with suppress(OSError):
        print(escape_lines("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)
