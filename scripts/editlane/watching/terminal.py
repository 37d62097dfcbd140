"""Show the run in the workflow's own terminal: a line per job, now and then a line about lanes, and failures.

Snakemake's text about jobs goes only to its log file; its warnings and other messages pass. Snakemake's flags decide:
`--quiet rules` hides the lines about jobs, `--quiet progress` those about lanes, `--quiet all` both. `--verbose` and
`--printshellcmds` bring back Snakemake's text.
"""

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from editlane.core.paths import LaneId, RunPaths
from editlane.core.printable import escape, escape_lines
from editlane.lanes.watchdog import find_timeout
from editlane.watching.plain_text import describe_run
from editlane.watching.run_errors import read_end
from editlane.watching.state import Watcher
from editlane.watching.workflow_record import WorkflowRecord

READ_EVERY = 5.0
PRINT_EVERY = 30.0
"""Least seconds between two lines about lanes."""
LOG_LINES = 20
"""Number of lines printed from the end of a failed job's log."""

_ABOUT_JOBS = ("job_info", "job_started", "job_finished", "job_error", "group_info", "progress", "shellcmd")
_CHATTER = ("Select jobs to execute", "Trying to restart job", "Complete log(s):", "Elapsed time:")


class Terminal:
    """Terminal of the workflow, from the start of its first job to its end."""

    def __init__(self, paths: RunPaths, record: WorkflowRecord, output: Any) -> None:
        """Take the workflow's output settings as `output`."""
        quiet = {choice.name.lower() for choice in output.quiet or ()}
        self._paths, self._record = paths, record
        self._lanes = not quiet & {"all", "progress"}
        self._jobs = not quiet & {"all", "rules"} and not (output.verbose or output.printshellcmds)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._printed = ""

    def start(self, up_to_date: Iterable[LaneId] = ()) -> None:
        """Start printing, in a thread that never keeps the workflow from ending.

        `up_to_date` are the lanes with nothing to do.
        """
        logger = logging.getLogger("snakemake.logging")
        for handler in logger.handlers:
            handler.setFormatter(Printable(handler.formatter or logging.Formatter()))
        if self._jobs:
            shorten_job_texts(logger, sys.stderr)
        try:
            self._paths.heartbeats.mkdir(parents=True, exist_ok=True)
        except OSError:  # the lanes report what is wrong with the folder
            return
        self._record.begin(self._paths, up_to_date)
        self._write_record()
        self._thread.start()

    def end(self, phase: str) -> None:
        """Publish how the workflow ended: done or failed. Does nothing unless `start` was called."""
        if self._thread.ident is None:
            return
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(timeout=READ_EVERY)
        self._record.phase = phase
        self._write_record()
        if self._lanes:
            self._print_state(Watcher(self._paths))

    def _run(self) -> None:
        watcher, printed = Watcher(self._paths), 0.0
        while not self._over.wait(READ_EVERY):
            self._write_record()
            if self._lanes and time.monotonic() - printed >= PRINT_EVERY and self._print_state(watcher):
                printed = time.monotonic()

    def _print_state(self, watcher: Watcher) -> bool:
        """Print where the lanes are, unless nothing has changed since the last time."""
        state = watcher.look()
        line = describe_run(state)
        if not state.begun or line == self._printed:
            return False
        self._printed = line
        print_line(line)
        return True

    def _write_record(self) -> None:
        try:
            self._record.write(self._paths)
        except OSError:  # the lanes report a full disk or a missing folder
            return


def print_line(text: str, stream: TextIO | None = None) -> None:
    """Print one line with the time of day. Ignore a closed terminal."""
    try:
        print(f"{time.strftime('%H:%M:%S')} {escape_lines(text)}", file=stream or sys.stderr, flush=True)
    except (OSError, ValueError):
        return


class Printable(logging.Formatter):
    """Escapes what a terminal would obey in Snakemake's own texts, which quote the logs of failed jobs."""

    def __init__(self, own: logging.Formatter) -> None:
        super().__init__()
        self._own = own

    def format(self, record: logging.LogRecord) -> str:
        return escape_lines(self._own.format(record) or "")


def shorten_job_texts(logger: logging.Logger, stream: TextIO) -> None:
    """Replace Snakemake's texts about jobs on the terminal, and there only, by `JobLines`."""
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(lambda record: not _is_about_jobs(record))
            logger.addHandler(JobLines(stream))
            return


def _is_about_jobs(record: logging.LogRecord) -> bool:
    return _get_event(record) in _ABOUT_JOBS or str(record.msg).startswith(_CHATTER)


def _get_event(record: logging.LogRecord) -> str:
    return str(getattr(record, "event", None) or "")


class JobLines(logging.Handler):
    """Prints one line when a job begins, and the end of its log if it fails."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._names: dict[int, str] = {}
        self._attempts: Counter[int] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = record.__dict__
        if _get_event(record) == "job_info" and fields["shellcmd"]:
            job = fields["jobid"]
            self._names[job] = " ".join([fields["rule_name"], *_format_wildcards(fields["wildcards"])])
            self._attempts[job] += 1
            again = f", attempt {self._attempts[job]}" if self._attempts[job] > 1 else ""
            print_line(escape(self._names[job] + again), self._stream)
        elif _get_event(record) == "job_error":
            name = self._names.get(fields["jobid"], fields["rule_name"])
            for line in _describe_failure(name, fields["rule_msg"], fields["log"]):
                print_line(line, self._stream)


def _format_wildcards(wildcards: dict[str, str]) -> Iterable[str]:
    return (f"lane {value}" if name == "lane" else value for name, value in wildcards.items())


def _describe_failure(name: str, message: str | None, logs: Iterable[str]) -> Iterable[str]:
    ends = {}
    for path in logs:
        with suppress(OSError):
            ends[path] = read_end(Path(path))
    if ends and all(log.rstrip().endswith("\nKeyboardInterrupt") for log in ends.values()):
        yield escape(f"stopped: {name}")  # by Ctrl-C while Python imported its modules; the traceback tells no more
        return
    yield escape(f"failed: {name}" + (f" ({message})" if message else ""))
    for path, log in ends.items():
        # Stack traces follow the watchdog's line; printing them would fill the terminal.
        if seconds := find_timeout(log):
            yield f"it made no progress for {seconds:g} s and was ended; its stacks are in {path}"
        elif tail := log.splitlines()[-LOG_LINES:]:
            yield f"the end of {path}:\n" + "\n".join(f"    {escape(line)}" for line in tail)
        else:
            yield f"its log {path} is empty"
