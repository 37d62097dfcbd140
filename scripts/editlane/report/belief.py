"""Where a judge is believed: the categories and editors whose controls it tells apart from real edits."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from editlane.stats.comparisons import Comparison
from editlane.stats.preference import Preference, explains


def list_believed(acceptance: Mapping[str, Any], kind: str, names: Iterable[str]) -> list[str]:
    """List those of the `categories` or `editors` (`kind`) where an accepted judge is believed.

    For a judge that is not accepted, list all: nothing is ranked by its scores.
    """
    if acceptance["verdict"] != "accepted":
        return list(names)
    found = acceptance[kind]
    return [name for name in names if name in found and found[name]["verdict"] == "told_apart"]


def withhold(
    comparisons: Sequence[Comparison], acceptance: Mapping[str, Any], preferences: Sequence[Preference]
) -> None:
    """Take the verdict from comparisons where the judge is not believed, and where it may only prefer an editor."""
    pairs = {(one["a"], one["b"]): one for one in preferences}
    for one in comparisons:
        preference, category = pairs.get((one["a"], one["b"])), one["category"]
        editors = list_believed(acceptance, "editors", (one["a"], one["b"]))
        if len(editors) < 2 or (category is not None and not list_believed(acceptance, "categories", [category])):
            one["verdict"] = "not_believed"
        elif one["verdict"] in ("a_better", "b_better") and preference and explains(preference, one["difference"] or 0):
            one["verdict"] = "prefers"
