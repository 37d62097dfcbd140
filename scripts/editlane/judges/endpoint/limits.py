"""Keep the requests of this process within a rate and a budget, whatever its threads do."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from editlane.core.errors import JudgeFailed
from editlane.core.text_width import pluralize


class BudgetSpent(JudgeFailed):
    """There is no request left for this item; the next run asks again."""

    kind = "budget"


@dataclass(slots=True, kw_only=True)
class Limits:
    """Rate and budget of the requests of a process. `take` is called before each attempt, by any thread."""

    requests_per_minute: float | None = None
    """Requests are spaced evenly; None for no limit."""
    max_requests: int | None = None
    """Attempts of this process; None for no limit."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    taken: int = field(default=0, init=False)
    _free: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def take(self) -> None:
        """Wait until the next request may be sent. Raises BudgetSpent if there is none left."""
        with self._lock:
            if self.max_requests is not None and self.taken >= self.max_requests:
                budget = pluralize(self.max_requests, "request")
                raise BudgetSpent(f"the budget of this lane, {budget} (`max_requests`), is spent")
            self.taken += 1
            now = self.clock()
            wait = max(0.0, self._free - now) if self.requests_per_minute else 0.0
            if self.requests_per_minute:
                self._free = now + wait + 60 / self.requests_per_minute
        if wait:
            self.sleep(wait)
