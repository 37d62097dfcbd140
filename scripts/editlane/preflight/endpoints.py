"""Do the servers that judges ask answer, and do they have the model."""

from collections.abc import Iterator

from editlane.core.errors import UserError
from editlane.core.types import RunsOn
from editlane.judges.endpoint.completions import NoAnswer
from editlane.models.registry import check_params
from editlane.preflight.context import Setup
from editlane.preflight.findings import Finding

_PATIENCE = 3
"""Seconds."""


def check_endpoints(setup: Setup) -> Iterator[Finding]:
    """One line a judge that a server answers for. A server that is not there yet may still be started in time."""
    for part in setup.judges:
        if part.adapter.RUNS_ON == RunsOn.SERVER:
            try:
                params = check_params("judge", part.settings["adapter"], part.settings["params"])
                part.adapter.check_served(part.model, params, _PATIENCE)
            except NoAnswer as error:
                yield Finding("warn", "endpoints", f"{part}: {error}")
            except UserError as error:
                yield Finding("fail", "endpoints", f"{part}: {error}")
            else:
                yield Finding("pass", "endpoints", f"{part}: {part.settings['params']['base_url']} has {part.model}")
