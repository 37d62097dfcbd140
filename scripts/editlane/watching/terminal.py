"""What the workflow's own terminal shows: one line a job, one line on the lanes now and then, and what went wrong.

Snakemake's own text about jobs stays in its log file; its warnings, and whatever else it has to say, pass. The user
has the last word: `--quiet rules` takes the lines about jobs away, `--quiet progress` those about lanes, `--quiet all`
both, and `--verbose` or `--printshellcmds` brings back Snakemake's text.
"""

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from editlane.core.paths import LaneId, RunPaths
from editlane.lanes.watchdog import watchdog_timeout
from editlane.watching.plain_text import run_line
from editlane.watching.state import Watcher
from editlane.watching.workflow_record import WorkflowRecord

LOOK_EVERY = 5.0
TELL_EVERY = 30.0
"""Seconds between two lines about lanes at least."""
SHOWN_OF_LOG = 20
"""Lines of a failed job's log; the rest is in the file."""

_ABOUT_JOBS = ("job_info", "job_started", "job_finished", "job_error", "group_info", "progress", "shellcmd")
_CHATTER = ("Select jobs to execute", "Trying to restart job", "Complete log(s):", "Elapsed time:")


class Terminal:
    """The workflow's terminal, from the start of its first job to its end."""

    def __init__(self, paths: RunPaths, record: WorkflowRecord, output: Any) -> None:
        """Take the workflow's output settings as `output`."""
        quiet = {choice.name.lower() for choice in output.quiet or ()}
        self._paths, self._record = paths, record
        self._lanes = not quiet & {"all", "progress"}
        self._jobs = not quiet & {"all", "rules"} and not (output.verbose or output.printshellcmds)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._told = ""

    def start(self, up_to_date: Iterable[LaneId] = ()) -> None:
        """Take over the terminal; the thread never keeps the workflow from ending. `up_to_date`: lanes with
        nothing to do."""
        if self._jobs:
            shorten_job_texts(logging.getLogger("snakemake.logging"), sys.stderr)
        try:
            self._paths.heartbeats.mkdir(parents=True, exist_ok=True)
        except OSError:  # the lanes will say what is wrong with the folder
            return
        self._record.begin(self._paths, up_to_date)
        self._beat()
        self._thread.start()

    def end(self, phase: str) -> None:
        """Publish how the workflow ended: done or failed. Does nothing unless `start` was called."""
        if self._thread.ident is None:
            return
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(timeout=LOOK_EVERY)
        self._record.phase = phase
        self._beat()
        if self._lanes:
            self._tell(Watcher(self._paths))

    def _run(self) -> None:
        watcher, told = Watcher(self._paths), 0.0
        while not self._over.wait(LOOK_EVERY):
            self._beat()
            if self._lanes and time.monotonic() - told >= TELL_EVERY and self._tell(watcher):
                told = time.monotonic()

    def _tell(self, watcher: Watcher) -> bool:
        """Print where the lanes are, unless nothing has changed since the last time."""
        state = watcher.look()
        line = run_line(state)
        if not state.begun or line == self._told:
            return False
        self._told = line
        say(line)
        return True

    def _beat(self) -> None:
        try:
            self._record.write(self._paths)
        except OSError:  # a full disk, or a folder that somebody took away: the lanes say so
            return


def say(text: str, stream: TextIO | None = None) -> None:
    """Print one line with the time of day. A terminal that is gone is no error."""
    try:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=stream or sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def shorten_job_texts(logger: logging.Logger, stream: TextIO) -> None:
    """Replace Snakemake's texts about jobs on the terminal, and there only, by `JobLines`."""
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(lambda record: not _is_about_jobs(record))
            logger.addHandler(JobLines(stream))
            return


def _is_about_jobs(record: logging.LogRecord) -> bool:
    return _event(record) in _ABOUT_JOBS or str(record.msg).startswith(_CHATTER)


def _event(record: logging.LogRecord) -> str:
    return str(getattr(record, "event", None) or "")


class JobLines(logging.Handler):
    """One line when a job begins; when it fails, the end of its log."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._names: dict[int, str] = {}
        self._attempts: Counter[int] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = record.__dict__
        if _event(record) == "job_info" and fields["shellcmd"]:
            job = fields["jobid"]
            self._names[job] = " ".join([fields["rule_name"], *_wildcards(fields["wildcards"])])
            self._attempts[job] += 1
            again = f", attempt {self._attempts[job]}" if self._attempts[job] > 1 else ""
            say(self._names[job] + again, self._stream)
        elif _event(record) == "job_error":
            name = self._names.get(fields["jobid"], fields["rule_name"])
            for line in _failure(name, fields["rule_msg"], fields["log"]):
                say(line, self._stream)


def _wildcards(wildcards: dict[str, str]) -> Iterable[str]:
    return (f"lane {value}" if name == "lane" else value for name, value in wildcards.items())


def _failure(name: str, message: str | None, logs: Iterable[str]) -> Iterable[str]:
    yield f"failed: {name}" + (f" ({message})" if message else "")
    for path in logs:
        try:
            with Path(path).open(encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        tail = lines[-SHOWN_OF_LOG:]
        if still := list(filter(None, map(watchdog_timeout, lines))):  # what follows in the log are stacks
            yield f"it made no progress for {still[-1]:g} s and was ended; where it stood: {path}"
        elif tail:
            yield f"the end of {path}:\n" + "\n".join(f"    {line}" for line in tail)
        else:
            yield f"its log {path} is empty"
