"""Findings of the checks: a level, a sentence and a remedy; run checks and print findings."""

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editlane.core.errors import UserError
from editlane.core.printable import escape
from editlane.core.text_width import measure_width

LEVELS = ("pass", "warn", "fail")

_LEVEL_WIDTH = 7
_WHAT_WIDTH = 13


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `fail`: the run cannot succeed. `warn`: it may not do what was intended."""

    level: str
    what: str
    text: str
    remedy: str = ""


def run_checks(
    checks: Mapping[str, Callable[[Any], Iterable[Finding]]], context: Any, *, broken: str = "fail"
) -> list[Finding]:
    """Return the findings of all checks, in order. A check that raises becomes a finding of the level `broken`."""
    found: list[Finding] = []
    for name, check in checks.items():
        try:
            found += check(context)
        except UserError as error:
            found.append(Finding("fail", name, str(error)))
        except Exception as error:  # noqa: BLE001
            text = f"this check crashed: {type(error).__name__}: {' '.join(str(error).split())}"
            found.append(Finding(broken, name, text, "Please report it; the other checks are not affected."))
    return found


def format_counts(findings: Sequence[Finding]) -> str:
    """Format the last line."""
    numbers = {level: sum(one.level == level for one in findings) for level in LEVELS}
    return f"{numbers['pass']} passed, {numbers['warn']} to look at, {numbers['fail']} failed"


def format_findings(findings: Iterable[Finding], width: int | None) -> list[str]:
    """Format findings as aligned text, one line each; with `width`, wrap them to that many columns."""
    findings = list(findings)
    what_width = _WHAT_WIDTH if any(one.what for one in findings) else 0
    margin = " " * (_LEVEL_WIDTH + what_width)
    printed = []
    for one in findings:
        head = f"{one.level:<{_LEVEL_WIDTH}}{one.what:<{what_width}}"
        text = escape(" ".join([one.text.rstrip(".") + ".", one.remedy]).rstrip() if one.remedy else one.text)
        wrapped = [text] if width is None else list(_wrap(text, max(30, width - len(margin))))
        printed += [head + wrapped[0], *(margin + rest for rest in wrapped[1:])]
    return printed


def get_terminal_width() -> int | None:
    """Return the columns of the terminal, at most 110; None if stdout is not a terminal."""
    return min(shutil.get_terminal_size().columns, 110) if sys.stdout.isatty() else None


def _wrap(text: str, width: int) -> Iterator[str]:
    """Wrap between words. textwrap would count the two columns of a Chinese character as one."""
    line, used = "", 0
    for word in text.split(" "):
        cells = measure_width(word)
        if line and used + 1 + cells > width:
            yield line
            line, used = word, cells
        else:
            line, used = (f"{line} {word}", used + 1 + cells) if line else (word, cells)
    yield line


def format_bytes(size: float) -> str:
    """Format bytes in powers of 1000, as 57.7 GB."""
    for unit, power in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size / 1000:.0f} kB"


def join_names(names: Sequence[str], most: int = 4) -> str:
    """Join the first `most` names and count the rest."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
