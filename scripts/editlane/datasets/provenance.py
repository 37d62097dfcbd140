"""Say where the items of a run are from, and what became of the dataset's other records."""

import logging
from collections.abc import Sequence
from typing import Any

from editlane.core.text_width import pluralize
from editlane.core.types import Item
from editlane.datasets.parsing import Selection, Skipped

log = logging.getLogger(__name__)


def describe_items(
    selection: Selection, dataset: dict[str, str | int], items: Sequence[Item], records: int, skipped: Skipped
) -> dict[str, Any]:
    """Return the provenance of the items: what identifies the dataset, and counts. `records`: what became items."""
    found: dict[str, Any] = {
        "dataset": dataset,
        "format": selection.format,
        "language": selection.language,
        "records": records + skipped.total(),
        "items": {name: sum(item.category == name for item in items) for name in selection.categories},
        "fallback_language": sum(item.language != selection.language for item in items),
        "skipped": dict(sorted(skipped.categories.items())),
    }
    counts = {
        "several_images": sum(bool(item.references) for item in items),
        "later_turns": sum(item.after is not None for item in items),
    }
    found |= {name: count for name, count in counts.items() if count}
    if skipped.other_language:
        found["other_language"] = skipped.other_language
    if selection.limit is not None:
        found |= {"limit": selection.limit, "over_limit": skipped.over_limit}
    return found


def log_items(provenance: dict[str, Any]) -> None:
    """Log the counts of a provenance."""
    log.info("%s; items: %s", pluralize(provenance["records"], "record"), _format_counts(provenance["items"]))
    if provenance.get("several_images"):
        log.info("%s several images", pluralize(provenance["several_images"], "item", "has"))
    if provenance.get("later_turns"):
        log.info("%s another turn", pluralize(provenance["later_turns"], "item", "follows"))
    if provenance["skipped"]:
        log.info("skipped, because their category was not requested: %s", _format_counts(provenance["skipped"]))
    if provenance.get("over_limit"):
        limit, count = provenance["limit"], provenance["over_limit"]
        log.info("dataset.limit is %d for each category; it leaves out %s", limit, pluralize(count, "record"))
    if provenance.get("other_language"):
        count = pluralize(provenance["other_language"], "record")
        log.info("skipped %s in the language that was not requested", count)
    if provenance.get("unused_reference_images"):
        count = provenance["unused_reference_images"]
        have = pluralize(count, "item", "has")
        log.info("%s a reference image; it is not used, judges see the source and the edit", have)
    if provenance["fallback_language"]:
        count, language = provenance["fallback_language"], provenance["language"]
        have = pluralize(count, "item", "has")
        log.info("%s no instruction in %r; the one in the other language is used", have, language)


def _format_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
