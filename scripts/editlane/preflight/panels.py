"""Check the panels of a run's config."""

from collections.abc import Mapping
from typing import Any

from editlane.core.errors import UnknownName, UserError


def check_panels(config: dict[str, Any]) -> None:
    """Fill in each panel's quorum. Raises UserError for the first panel that cannot be computed."""
    for name, panel in config["panels"].items():
        try:
            _check_panel(name, panel, config["judges"])
        except UserError as error:
            raise UserError(f"config: panels.{name}: {error}") from error
        panel["quorum"] = panel["quorum"] or len(panel["judges"])


def _check_panel(name: str, panel: Mapping[str, Any], judges: Mapping[str, Any]) -> None:
    if name in judges:
        raise UserError("a judge has this name. Rename the panel: its rows stand beside the judges' in every table.")
    members = panel["judges"]
    for judge in members:
        if judge not in judges:
            raise UnknownName("judge", judge, list(judges))
    if len(set(members)) < len(members):
        raise UserError(f"`judges` names one twice: {', '.join(members)}. Name each once; `weights` can weigh it.")
    if panel["quorum"] is not None and panel["quorum"] > len(members):
        raise UserError(f"`quorum` is {panel['quorum']}, but there are {len(members)} judges. Use a smaller one.")
    _check_weights(panel)


def _check_weights(panel: Mapping[str, Any]) -> None:
    weights, members = panel["weights"], panel["judges"]
    if panel["combine"] != "weighted":
        if weights is not None:
            raise UserError(
                f"`weights` need `combine: weighted`, but it is {panel['combine']!r}. Change it, or remove `weights`."
            )
        return
    if weights is None:
        raise UserError(
            "`combine: weighted` needs `weights`, one for each judge, which you took from people's ratings "
            "(fit_weights.py). Judges that agree may be wrong together, so their agreement gives no weights. "
            "Without ratings use `combine: mean`."
        )
    for judge in weights:
        if judge not in members:
            raise UnknownName("judge in weights", judge, list(members))
    if missing := [judge for judge in members if judge not in weights]:
        raise UserError(f"`weights` lacks {missing[0]}. Give each judge of the panel a number above 0.")
