"""Show how the numbers were made: models, settings, packages, protocols."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from editlane.report.cells import NONE, Group, Line, Table
from editlane.report.load import Report, get_record
from editlane.report.texts import Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolText:
    """The full text of a judge's protocol."""

    title: str
    text: str


def make_provenance_tables(report: Report, t: Texts) -> list[Table]:
    """Make tables of the whole provenance, with editors side by side, and judges side by side."""
    provenance = report.numbers["provenance"]
    found = []
    for kind, names in (("editors", report.editors), ("judges", report.judges)):
        records = {name: dict(flatten(_drop_text(get_record(provenance, kind, name)))) for name in names}
        if any(records.values()):
            found.append(_make_settings_table(kind, records, t))
    arena = provenance.get("arena") or {}
    if arena:
        found.append(_make_settings_table("arena", _describe_arena(arena), t))
    rest = {key: value for key, value in provenance.items() if key not in ("editors", "judges", "arena")}
    run = {t("column.value"): dict(flatten(rest))}
    return [*found, _make_settings_table("run", run, t)] if rest else found


def list_protocol_texts(report: Report, t: Texts) -> list[ProtocolText]:
    """List the protocols whose text is in the provenance, by judge: of its scores, then of the arena."""
    provenance = report.numbers["provenance"]
    found = []
    for key, records in (
        ("provenance.protocol", provenance),
        ("provenance.arena_protocol", provenance.get("arena") or {}),
    ):
        for judge in report.judges:
            protocol = get_record(records, "judges", judge).get("protocol")
            if isinstance(protocol, Mapping) and protocol.get("text"):
                names = {"name": protocol.get("name", NONE), "version": protocol.get("version", NONE)}
                found.append(ProtocolText(title=t(key, judge=judge, **names), text=str(protocol["text"])))
    return found


def _describe_arena(arena: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the settings of each judge of the arena, and how its pairs were chosen."""
    plans = arena.get("plans") or {}
    return {
        judge: dict(flatten({**_drop_text(record), "plan": plans.get(judge) or {}}))
        for judge, record in (arena.get("judges") or {}).items()
    }


def _drop_text(found: Mapping[str, Any]) -> dict[str, Any]:
    protocol = found.get("protocol")
    if not isinstance(protocol, Mapping):
        return dict(found)
    return {**found, "protocol": {key: value for key, value in protocol.items() if key != "text"}}


def _make_settings_table(kind: str, records: Mapping[str, Mapping[str, str]], t: Texts) -> Table:
    paths = dict.fromkeys(path for record in records.values() for path in record)
    lines = (Line(name=path, cells=tuple(record.get(path, NONE) for record in records.values())) for path in paths)
    groups = (Group(name="", lines=tuple(lines)),)
    return Table(
        about=(kind,),
        title=t(f"provenance.{kind}"),
        heads=(t("head.setting"),),
        columns=tuple(records),
        groups=groups,
        numeric=False,
    )


def flatten(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Flatten a nested object to (dotted path, text) pairs."""
    if isinstance(value, Mapping):
        return [pair for key, entry in value.items() for pair in flatten(entry, f"{path}.{key}" if path else str(key))]
    if value is None:
        return [(path, NONE)]
    return [(path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]
