"""Show a run until it is over: as a table in a terminal, as plain lines in a pipe."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live

from editlane.core.errors import UserError
from editlane.core.paths import RunPaths
from editlane.core.printable import escape
from editlane.watching.plain_text import describe_run, summarize_run
from editlane.watching.starting import is_workflow_starting
from editlane.watching.state import RunState, Watcher
from editlane.watching.table import RunTable

READ_EVERY = 1.0
"""Seconds between two reads of the folder."""
_ENDINGS = (signal.SIGINT, signal.SIGTERM)


def check_run_folder(folder: Path) -> None:
    """Raise UserError unless the folder is, or may become, that of a run."""
    may_become = folder.absolute().parent.name == "results" and folder.parent.is_dir()
    if folder.is_dir():
        if not RunPaths(folder).has_begun() and (not may_become or any(folder.iterdir())):
            raise UserError(f"{folder} is not the folder of a run: it has no items.parquet. {_advise(folder)}")
    elif folder.exists():
        raise UserError(f"{folder} is not a folder. {_advise(folder)}")
    elif not may_become:
        raise UserError(f"There is no folder {folder}. {_advise(folder)}")


def _advise(folder: Path) -> str:
    near = (folder, folder.absolute().parent, RunPaths.of_run("").run_dir)
    runs = next((runs for place in near if (runs := _list_runs(place))), "")
    return f"Give results/<run>, where <run> is the config's `run`{runs}."


def watch(run_dir: Path, console: Console, *, table: bool, every: float) -> None:
    """Watch until the run is over, then print one line a model; `every` is the seconds between two plain lines."""
    watcher = Watcher(RunPaths(run_dir))
    try:
        state = _wait_for_start(run_dir, watcher, console)
        if not state.ended:
            state = _draw(run_dir, watcher, console) if table else _print_lines(run_dir, watcher, console, every)
    except KeyboardInterrupt:
        _print(console, f"{_format_now()} {describe_run(watcher.look())}")
        raise
    for line in summarize_run(state):
        _print(console, line)


def _list_runs(results: Path) -> str:
    runs = []
    for path in sorted(results.glob("*")):
        with suppress(OSError):  # a private run of another user
            if RunPaths(path).has_begun():
                runs.append(path.name)
    return f" (runs in {results}: {', '.join(runs)})" if runs else ""


def _wait_for_start(run_dir: Path, watcher: Watcher, console: Console) -> RunState:
    """Return the state of the run; while a workflow starts, not the one in which an earlier workflow left it."""
    state = watcher.look()
    if state.ended and is_workflow_starting(run_dir):
        _print(console, f"{state.workflow}; another one is starting here")
        while state.ended and is_workflow_starting(run_dir):
            time.sleep(READ_EVERY)
            state = watcher.look()
    return state


def _draw(run_dir: Path, watcher: Watcher, console: Console) -> RunState:
    live = Live(console=console, screen=True, auto_refresh=False)

    def show(state: RunState) -> None:
        live.update(RunTable(str(run_dir), state, clock=_format_now(), height=console.height), refresh=True)

    try:
        with _defer_signals():
            live.start()
        return _watch_until_over(watcher, show)
    finally:
        with _defer_signals():
            live.stop()


@contextmanager
def _defer_signals() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM: interrupted halfway, the switch of screens would leave the terminal unusable."""
    received: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: received.append(number)) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for one in received:
            signal.raise_signal(one)


def _print_lines(run_dir: Path, watcher: Watcher, console: Console, every: float) -> RunState:
    printed = -math.inf

    def show(state: RunState) -> None:
        nonlocal printed
        if time.monotonic() - printed >= every:
            printed = time.monotonic()
            missing = "" if run_dir.is_dir() else f"{run_dir} is not there yet{_list_runs(run_dir.parent)}: "
            _print(console, f"{_format_now()} {missing}{describe_run(state)}")

    return _watch_until_over(watcher, show)


def _watch_until_over(watcher: Watcher, show: Callable[[RunState], None]) -> RunState:
    while not (state := watcher.look()).ended:
        show(state)
        time.sleep(READ_EVERY)
    return state


def _print(console: Console, line: str) -> None:
    """Print verbatim: names may look like markup, and a pipe must get no extra line breaks."""
    console.print(escape(line), markup=False, highlight=False, emoji=False, soft_wrap=True)


def _format_now() -> str:
    return time.strftime("%H:%M:%S")
