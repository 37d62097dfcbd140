"""Define where the server of a judge is, and how it is asked."""

import math
from typing import Annotated

from pydantic import Field

from editlane.core.params import SPEED
from editlane.endpoint.params import ServerParams
from editlane.judges.chat import ChatJudgeParams
from editlane.judges.endpoint.completions import Constraint


class EndpointParams(ServerParams, ChatJudgeParams):
    """Settings of this judge."""

    concurrency: Annotated[int, Field(ge=1), SPEED] = 16
    """Edits that are judged at once."""
    timeout: Annotated[float, Field(ge=0.01, le=1e6), SPEED] = 120.0
    """Seconds for one attempt."""
    attempts: Annotated[int, Field(ge=1), SPEED] = 5
    """Maximum number of attempts for a request, if another attempt may succeed."""
    answer_constraint: Constraint | None = "structured_outputs"
    """Request field of vLLM that allows legal answers only; null if the server has none."""

    @property
    def edits_per_batch(self) -> int:
        """Twice the edits judged at once, so that few wait for the slowest of a batch.

        With a rate they are fewer, because a lane has no progress until a batch is saved.
        """
        most, rate = 2 * self.concurrency, self.requests_per_minute
        return most if rate is None else min(most, math.ceil(rate / 2))
