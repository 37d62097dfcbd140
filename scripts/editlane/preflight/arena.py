"""Check the arena of a run's config."""

from typing import Any

from editlane.core.checkout import find_file
from editlane.core.errors import UnknownName, UserError
from editlane.models.registry import find_adapter
from editlane.protocols.pairwise import load_pairwise


def check_arena(config: dict[str, Any]) -> None:
    """Raise UserError for the first mistake. A config without an arena has none."""
    if config["arena"] is None:
        return
    try:
        _check_judges(config)
        if len(config["editors"]) < 2:
            raise UserError(
                "it compares editors, but the run has one. Add another under `editors:`, or remove `arena:`."
            )
        load_pairwise(find_file(config["arena"]["protocol"])).prompt.check_categories(config["dataset"]["categories"])
    except UserError as error:
        raise UserError(f"config: arena: {error}") from error


def _check_judges(config: dict[str, Any]) -> None:
    names = config["arena"]["judges"]
    for name in names:
        if name in config["panels"]:
            raise UserError(f"`judges` names {name!r}, a panel, which has no model to ask. Name its judges instead.")
        if name not in config["judges"]:
            raise UnknownName("judge", name, list(config["judges"]))
        if hasattr(find_adapter("judge", config["judges"][name]["adapter"]), "rate"):
            raise UserError(
                f"`judges` names {name!r}, which gives a number for one edit and cannot compare. Remove it."
            )
    if len(set(names)) < len(names):
        raise UserError(f"`judges` names one twice: {', '.join(names)}. Name each once.")
