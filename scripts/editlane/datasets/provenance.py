"""Say where the items of a run are from, and what became of the dataset's other records."""

import logging
from collections.abc import Sequence
from typing import Any

from editlane.core.types import Item
from editlane.datasets.parsing import Selection, Skipped

log = logging.getLogger(__name__)


def describe_items(
    selection: Selection, dataset: dict[str, str | int], items: Sequence[Item], skipped: Skipped
) -> dict[str, Any]:
    """Return the provenance of the items: what identifies the dataset, and counts."""
    found: dict[str, Any] = {
        "dataset": dataset,
        "format": selection.format,
        "language": selection.language,
        "records": len(items) + skipped.total(),
        "items": {name: sum(item.category == name for item in items) for name in selection.categories},
        "fallback_language": sum(item.language != selection.language for item in items),
        "skipped": dict(sorted(skipped.categories.items())),
    }
    if skipped.other_language:
        found["other_language"] = skipped.other_language
    if selection.limit is not None:
        found |= {"limit": selection.limit, "over_limit": skipped.over_limit}
    return found


def log_items(provenance: dict[str, Any]) -> None:
    """Log the counts of a provenance."""
    log.info("%d records; items: %s", provenance["records"], _format_counts(provenance["items"]))
    if provenance["skipped"]:
        log.info("skipped, because their category was not requested: %s", _format_counts(provenance["skipped"]))
    if provenance.get("over_limit"):
        limit, count = provenance["limit"], provenance["over_limit"]
        log.info("dataset.limit: the first %d items of each category are used, %d more are left out", limit, count)
    if provenance.get("other_language"):
        log.info("skipped %d records in the language that was not requested", provenance["other_language"])
    if provenance.get("unused_reference_images"):
        count = provenance["unused_reference_images"]
        log.info("%d items have a reference image; it is not used, judges see the source and the edit", count)
    if provenance["fallback_language"]:
        count, language = provenance["fallback_language"], provenance["language"]
        log.info("%d items have no instruction in %r; the one in the other language is used", count, language)


def _format_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
