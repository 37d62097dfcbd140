"""Count the requests of a judge to its server, and end a lane that may send no more after all answers are saved."""

from collections.abc import Callable, Collection

from editlane.core.errors import ItemError, Stopped, UserError
from editlane.core.paths import LaneId, RunPaths
from editlane.core.types import CountedJudge, Judge, Row, State, do_nothing
from editlane.lanes.requests_sent import RequestCount


class NotAsked(ItemError):
    """A request was not sent, because none is left or the lane is to stop. The next process asks again."""

    state = State.JUDGE_FAILED
    kind = "budget"


def count_requests(judge: Judge, paths: RunPaths, lane: LaneId, check: Callable[[], None] = do_nothing) -> None:
    """Let a judge on a server count its requests in the run's folder, and wait for its turn.

    `check` raises Stopped if the lane is to stop; only a judge with a rate calls it, because other batches are soon
    done. What ends the requests is an error of the items that are not asked about, and not raised as it is, so that the
    answers to the others are not lost.
    """
    if not isinstance(judge, CountedJudge):
        return
    most, per_minute = judge.params.max_requests, judge.params.requests_per_minute
    folder = paths.judge_requests(str(lane.judge))
    waits = check if per_minute is not None else do_nothing
    count = RequestCount(folder, lane, most=most, per_minute=per_minute, check=waits)

    def begin() -> None:
        try:
            count.begin()
        except (UserError, Stopped) as error:
            raise NotAsked(str(error)) from error

    judge.on_request = begin


def is_asked(row: Row) -> bool:
    """Return whether the server was asked all that this row needs."""
    return bool(row["error_kind"] != NotAsked.kind)


def check_budget(rows: Collection[Row], check: Callable[[], None]) -> None:
    """Raise what ended the requests if one of these rows was not asked about: Stopped by `check`, else UserError."""
    for row in rows:
        if not is_asked(row):
            check()
            raise UserError(row["error"])
