"""The HTTP side of the reward server: scores, jobs, the canary."""

from collections.abc import Sequence
from functools import partial

from starlette.requests import Request

from editlane.core.errors import UnknownName
from editlane.core.types import Row
from editlane.server.canary import CanaryWatch
from editlane.server.front import NOT_READY_SECONDS, Front, note
from editlane.server.jobs import Jobs
from editlane.server.online_judge import OnlineJudge
from editlane.server.reading import Refused
from editlane.server.service import NotReady, RewardService
from editlane.server.wire import ScoreItem
from editlane.server.work_queue import Full

MAX_SECONDS = 3600.0
"""Longest deadline of a request; longer work is a job."""


class RewardFront(Front):
    """The state of the HTTP side."""

    def __init__(self, service: RewardService, token: str) -> None:
        self.service, self.limits = service, service.config.limits
        super().__init__(
            service.metrics,
            service.folder,
            token,
            body_bytes=int(self.limits.body_megabytes * 1e6),
            body_seconds=self.limits.body_seconds,
            all_bytes=service.room.max_bytes,
        )
        self.canary, self.jobs = CanaryWatch(service), Jobs(service)
        self.find_warning = lambda: self.canary.warning
        for judge in service.judges.values():
            for backend in judge.backends:
                backend.on_fatal = partial(self._give_up, judge)

    def _give_up(self, judge: OnlineJudge, reason: str) -> None:
        """End the server if a judge has never been ready and cannot be loaded. A single worker is tried again."""
        if not judge.was_ready:
            self.fatal = reason
            self.draining.set()

    async def score(
        self,
        request: Request,
        items: Sequence[ScoreItem],
        judge: str | None = None,
        seconds: float | None = None,
        at_once: int | None = None,
    ) -> list[Row]:
        """Return the row of each item, in order. Raises Refused for the request as a whole, and ClientGone."""
        if len(items) > self.limits.request_items:
            raise Refused(413, f"{len(items)} edits; a request may have {self.limits.request_items}")
        try:
            named = self.service.find_judge(judge)
        except UnknownName as error:
            raise Refused(400, str(error)) from error
        seconds = min(max(self.limits.deadline_seconds if seconds is None else seconds, 0.1), MAX_SECONDS)
        try:
            if at_once is None:
                return await self.while_connected(request, self.service.score(named, items, seconds))
            rows: dict[int, Row] = {}
            await self.while_connected(request, self.service.score_few_at_once(named, items, at_once, seconds, rows))
            return [rows[place] for place in range(len(items))]
        except Full as full:
            if full.seconds is None:
                raise Refused(413, "the request is larger than the queue; send fewer edits at once") from full
            raise Refused(503, "the queue is full", full.seconds) from full
        except NotReady as error:
            raise Refused(503, str(error), NOT_READY_SECONDS) from error
        finally:
            note(request, items=len(items))
