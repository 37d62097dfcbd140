"""What a check before the run finds: a level, a sentence, and what to do about it."""

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editlane.core.errors import UserError
from editlane.core.text_width import measure_width

LEVELS = ("pass", "warn", "fail")

_LEVEL_WIDTH = 7
_WHAT_WIDTH = 13


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `fail` where the run cannot succeed like this, `warn` where it may not do what was wanted."""

    level: str
    what: str
    text: str
    remedy: str = ""


def run_checks(
    checks: Mapping[str, Callable[[Any], Iterable[Finding]]], setup: Any, *, broken: str = "fail"
) -> list[Finding]:
    """The findings of all checks, in order. One that breaks is a finding of the level `broken` and hides no other."""
    found: list[Finding] = []
    for name, check in checks.items():
        try:
            found += check(setup)
        except UserError as error:
            found.append(Finding("fail", name, str(error)))
        except Exception as error:  # noqa: BLE001
            text = f"this check itself broke: {type(error).__name__}: {' '.join(str(error).split())}"
            found.append(Finding(broken, name, text, "Please report it; the other checks are not concerned."))
    return found


def counts(findings: Sequence[Finding]) -> str:
    """The last line."""
    numbers = {level: sum(one.level == level for one in findings) for level in LEVELS}
    return f"{numbers['pass']} passed, {numbers['warn']} to look at, {numbers['fail']} failed"


def lines(findings: Iterable[Finding], width: int | None) -> list[str]:
    """The findings as aligned text: one line each, or wrapped where a terminal of `width` columns shows them."""
    findings = list(findings)
    what_width = _WHAT_WIDTH if any(one.what for one in findings) else 0
    margin = " " * (_LEVEL_WIDTH + what_width)
    printed = []
    for one in findings:
        head = f"{one.level:<{_LEVEL_WIDTH}}{one.what:<{what_width}}"
        text = " ".join([one.text.rstrip(".") + ".", one.remedy]).rstrip() if one.remedy else one.text
        wrapped = [text] if width is None else list(_wrapped(text, max(30, width - len(margin))))
        printed += [head + wrapped[0], *(margin + rest for rest in wrapped[1:])]
    return printed


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None where it is none."""
    return min(shutil.get_terminal_size().columns, 110) if sys.stdout.isatty() else None


def _wrapped(text: str, width: int) -> Iterator[str]:
    """Broken between words; Chinese characters take two columns, which textwrap does not know."""
    line, used = "", 0
    for word in text.split(" "):
        cells = measure_width(word)
        if line and used + 1 + cells > width:
            yield line
            line, used = word, cells
        else:
            line, used = (f"{line} {word}", used + 1 + cells) if line else (word, cells)
    yield line


def amount(size: float) -> str:
    """Bytes for people, in powers of 1000: 57.7 GB."""
    for unit, power in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size / 1000:.0f} kB"


def listed(names: Sequence[str], most: int = 4) -> str:
    """The first few names."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def plural(count: int, noun: str) -> str:
    """`1 lane`, `2 lanes`, `1,200 items`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
