"""What a reader must know before the numbers."""

from collections.abc import Iterable
from dataclasses import dataclass

from editlane.report.load import Report, models
from editlane.report.summary import is_low, percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    title: str
    lines: tuple[str, ...]
    severe: bool = True
    """False: a note; the numbers hold."""


def find_notices(report: Report, *, min_coverage: float = 0.0) -> list[Notice]:
    """All notices of a report, the gravest first."""
    found = (
        _meaningless(report),
        _partial(report),
        _coverage(report, min_coverage),
        _unscored(report),
        _unpinned(report),
        _language(report),
    )
    return [notice for notice in found if notice]


def _meaningless(report: Report) -> Notice | None:
    random = sorted(name for _, name, record in models(report) if record.get("random_weights"))
    fake = sorted(name for _, name, record in models(report) if record.get("adapter") == "fake")
    if not random and not fake:
        return None
    lines = [f"{what}: {_join(names)}." for what, names in (("Random weights", random), ("No model", fake)) if names]
    kind = "randomly initialised" if random else "fake"
    return Notice(title=f"Scores of {kind} models mean nothing.", lines=tuple(lines))


def _partial(report: Report) -> Notice | None:
    missing, rows = report.numbers["missing"], report.numbers["rows"]
    if not missing:
        return None
    lines = []
    for editor, judge in report.cells:
        cell = report.numbers["editors"][editor][judge]
        count, expected = cell["overall"]["missing"], cell["overall"]["n"]
        if count == expected:
            lines.append(f"{editor} scored by {judge}: all {expected} rows")
        elif count:
            parts = [f"{name} {s['missing']}" for name, s in cell["categories"].items() if s["missing"]]
            lines.append(f"{editor} scored by {judge}: {count} of {expected} rows ({_join(parts)})")
    title = f"This report is partial: {missing} of {rows + missing} rows do not exist yet."
    return Notice(title=title, lines=tuple(lines))


def _coverage(report: Report, min_coverage: float) -> Notice | None:
    lines = []
    for editor, judge in report.cells:
        cell = report.numbers["editors"][editor][judge]
        named = {"overall": cell["overall"]} | cell["categories"]
        low = [f"{name} {s['scored']}/{s['n']}" for name, s in named.items() if is_low(s, min_coverage)]
        if low:
            lines.append(f"{editor} scored by {judge}: {_join(low)}")
    title = f"Coverage is below {percent(min_coverage)} here; read the worst-case bounds, not the means."
    return Notice(title=title, lines=tuple(lines)) if lines else None


def _unscored(report: Report) -> Notice | None:
    lines = []
    for editor, judge in report.cells:
        overall = report.numbers["editors"][editor][judge]["overall"]
        if is_low(overall, 1.0):
            lines.append(f"{editor} scored by {judge}: {overall['scored']} of {overall['n']} items")
    title = "Not every item has a score, so means are taken over different items; compare the worst-case bounds."
    return Notice(title=title, lines=tuple(lines), severe=False) if lines else None


def _unpinned(report: Report) -> Notice | None:
    unpinned = [entry for entry in models(report) if entry[2].get("pinned") is False]
    open_ones = [f"{kind} {name} ({record['model']})" for kind, name, record in unpinned]
    if not open_ones:
        return None
    title = "A revision is not pinned; the same command may load other weights later."
    return Notice(title=title, lines=(f"{_join(open_ones)}.",), severe=False)


def _language(report: Report) -> Notice | None:
    dataset = report.numbers["provenance"].get("dataset", {})
    count = dataset.get("fallback_language")
    if not count:
        return None
    title = f"{count} of {len(report.items)} instructions are not in the language asked for ({dataset['language']})."
    return Notice(title=title, lines=("Their items have none in it.",), severe=False)


def _join(words: Iterable[str]) -> str:
    return ", ".join(words)
