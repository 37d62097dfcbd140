"""Check that the servers of judges answer and serve the model."""

from collections.abc import Iterator

from editlane.core.errors import UserError
from editlane.core.types import RunsOn
from editlane.judges.endpoint.completions import NoAnswer
from editlane.models.registry import check_params
from editlane.preflight.context import RunContext
from editlane.preflight.findings import Finding

_TIMEOUT = 3
"""Seconds."""


def check_endpoints(context: RunContext) -> Iterator[Finding]:
    """Yield one finding per judge on a server. No answer is only a warning: the server may be started later."""
    for part in context.judges:
        if part.adapter.RUNS_ON == RunsOn.SERVER:
            try:
                params = check_params("judge", part.settings["adapter"], part.settings["params"])
                part.adapter.check_served(part.model, params, _TIMEOUT)
            except NoAnswer as error:
                yield Finding("warn", "endpoints", f"{part}: {error}")
            except UserError as error:
                yield Finding("fail", "endpoints", f"{part}: {error}")
            else:
                yield Finding("pass", "endpoints", f"{part}: {part.settings['params']['base_url']} serves {part.model}")
