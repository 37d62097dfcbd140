"""Watching until the run is over: a table in a terminal, plain lines in a pipe."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live

from editlane.core.errors import UserError
from editlane.core.paths import RunPaths
from editlane.watching.plain_text import run_line, summary
from editlane.watching.state import RunState, Watcher
from editlane.watching.table import RunTable

LOOK_EVERY = 1.0
"""Seconds between two looks."""
_ENDINGS = (signal.SIGINT, signal.SIGTERM)


def check_run_folder(folder: Path) -> None:
    """Raise UserError unless the folder is, or may become, that of a run."""
    if folder.is_dir():
        if any(folder.iterdir()) and not RunPaths(folder).has_begun():
            raise UserError(f"{folder} is not the folder of a run: it has no items.parquet. Give results/<run>.")
    elif folder.exists() or not (folder.absolute().parent.name == "results" and folder.parent.is_dir()):
        raise UserError(f"There is no folder {folder}. Give results/<run>, where <run> is the config's `run`.")


def watch(run_dir: Path, console: Console, *, table: bool, every: float) -> None:
    """Watch until the run is over, then print one line a model; `every` is the seconds between two plain lines."""
    watcher = Watcher(RunPaths(run_dir))
    state = watcher.look()
    try:
        if not state.ended:
            state = _draw(run_dir, watcher, console) if table else _tell(watcher, console, every)
    except KeyboardInterrupt:
        _say(console, f"{_now()} {run_line(watcher.look())}")
        raise
    for line in summary(state):
        _say(console, line)


def _draw(run_dir: Path, watcher: Watcher, console: Console) -> RunState:
    live = Live(console=console, screen=True, auto_refresh=False)

    def show(state: RunState) -> None:
        live.update(RunTable(str(run_dir), state, clock=_now(), height=console.height), refresh=True)

    try:
        with _undisturbed():
            live.start()
        return _until_over(watcher, show)
    finally:
        with _undisturbed():
            live.stop()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait: a terminal whose screen is half taken, or half given back, is of no use to anybody."""
    came: list[int] = []
    usual = {number: signal.signal(number, lambda number, _: came.append(number)) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        for one in came:
            signal.raise_signal(one)


def _tell(watcher: Watcher, console: Console, every: float) -> RunState:
    told = -math.inf

    def show(state: RunState) -> None:
        nonlocal told
        if time.monotonic() - told >= every:
            told = time.monotonic()
            _say(console, f"{_now()} {run_line(state)}")

    return _until_over(watcher, show)


def _until_over(watcher: Watcher, show: Callable[[RunState], None]) -> RunState:
    while not (state := watcher.look()).ended:
        show(state)
        time.sleep(LOOK_EVERY)
    return state


def _say(console: Console, line: str) -> None:
    """Print as it is: names are data, and a pipe gets no extra line breaks."""
    console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _now() -> str:
    return time.strftime("%H:%M:%S")
