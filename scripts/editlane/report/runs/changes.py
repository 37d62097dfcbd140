"""List what differs in how the runs were made: settings, models, packages, protocols, dataset, machines."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from editlane.core.secrets import hide_keys
from editlane.report.provenance import flatten

if TYPE_CHECKING:
    from editlane.report.runs.load import FinishedRun

HIDDEN = "***"

KINDS = ("editors", "judges", "dataset", "machine")
"""The parts of what a run records of itself, in the order of the page."""

_SECRET_NAME = re.compile(r"(?:api[_-]?key|token|secret|password|passwd|credentials?|authorization)$", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/\s@]+@")
_GPU_ID = re.compile(r" \((?:GPU|MIG)-[0-9a-f-]+\)")


_ELSEWHERE = ("editors", "judges", "dataset", "arena")
"""Provenance that is not of the machine. That of the arena is no part: runs are compared by their scores."""


class Change(TypedDict):
    """A setting that is not the same in all runs."""

    part: str
    """`editors.NAME`, `judges.NAME`, `dataset` or `machine`."""
    setting: str
    """Dotted path within the part; "" tells which runs have the part at all."""
    values: list[str | None]
    """One per run; null where the run has no such setting."""


class ProtocolChange(TypedDict):
    judge: str
    run: str
    lines: list[str]
    """A unified diff from the reference's text."""


def hide(path: str, text: str) -> str:
    """Hide what may be a secret in the value of a setting: by the setting's name, or by what it looks like."""
    if _SECRET_NAME.search(path):
        return HIDDEN
    return _USER.sub(f"{HIDDEN}@", hide_keys(text))


def list_changes(runs: Sequence["FinishedRun"]) -> list[Change]:
    """List all settings that differ between the runs that have them, in the order of the provenance."""
    described = [_describe(run) for run in runs]
    found: list[Change] = []
    parts = dict.fromkeys(name for one in described for name in one)
    for part in sorted(parts, key=lambda part: KINDS.index(part.partition(".")[0])):
        settings = [one.get(part) for one in described]
        if None in settings:
            there: list[str | None] = [None if one is None else "+" for one in settings]
            found.append({"part": part, "setting": "", "values": there})
        for name in dict.fromkeys(path for one in settings if one for path in one):
            values = [one.get(name) for one in settings if one is not None]
            if len(set(values)) > 1:
                shown = [None if one is None or name not in one else hide(name, one[name]) for one in settings]
                found.append({"part": part, "setting": name, "values": shown})
    return found


def _describe(run: "FinishedRun") -> dict[str, dict[str, str]]:
    """Return part -> setting -> value of one run."""
    provenance = run.report["provenance"]
    parts = {
        f"{kind}.{name}": dict(flatten(_drop_text(record)))
        for kind in ("editors", "judges")
        for name, record in provenance[kind].items()
    }
    rest = {name: value for name, value in provenance.items() if name not in _ELSEWHERE}
    dataset = provenance.get("dataset")
    if dataset:
        parts["dataset"] = dict(flatten(dataset))
    lanes = run.report["costs"]["lanes"]
    machine = {name: _join(lane.get(name) for lane in lanes) for name in ("device", "host")}
    return parts | {"machine": machine | dict(flatten(rest))}


def _join(values: Any) -> str:
    return ", ".join(sorted({_GPU_ID.sub("", str(value)) for value in values if value}))


def _drop_text(record: Mapping[str, Any]) -> dict[str, Any]:
    protocol = record.get("protocol")
    if not isinstance(protocol, Mapping):
        return dict(record)
    return {**record, "protocol": {name: value for name, value in protocol.items() if name != "text"}}


def list_protocol_changes(runs: Sequence["FinishedRun"]) -> list[ProtocolChange]:
    """Compare the text of each judge's protocol with that of the judge of this name in the first run."""
    first, *others = runs
    return [
        {"judge": judge, "run": run.name, "lines": lines}
        for run in others
        for judge in run.judges
        if judge in first.judges
        and (lines := _compare_texts(*(one.get_record("judges", judge) for one in (first, run))))
    ]


def _compare_texts(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    old, new = (hide_keys(str(one["protocol"].get("text", ""))).splitlines() for one in (first, second))
    return list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]
