"""Tell which judges' scores are read from probabilities, and which from replies, for report.json and the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from editlane.protocols.answer_kind import find_answer_kind
from editlane.report.texts import Texts


def compute_answer_kinds(judges: Sequence[str], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object `judge_answers` of report.json, by judge.

    `kind` is `readout`, `generate` or `scalar`; None for a panel, and for runs of older versions. `replies`: how many
    replies to each question a score is the mean of; None unless the kind is `generate`.
    """
    records = provenance.get("judges")
    known = records if isinstance(records, Mapping) else {}
    return {judge: _find_kind(known.get(judge)) for judge in judges}


def _find_kind(record: Any) -> dict[str, Any]:
    record = record if isinstance(record, Mapping) else {}
    protocol, params = record.get("protocol"), record.get("params")
    kind = find_answer_kind(str(protocol.get("text", ""))) if isinstance(protocol, Mapping) else None
    replies = params.get("replies", 1) if isinstance(params, Mapping) else 1
    return {"definition_version": 1, "kind": kind, "replies": replies if kind == "generate" else None}


def name_answer_kind(found: Mapping[str, Any], t: Texts) -> str | None:
    """Say in a few words how a judge's scores come about; None if that is not known."""
    if found["kind"] is None:
        return None
    return t(f"facts.answer_{found['kind']}", n=found["replies"] or 1)
