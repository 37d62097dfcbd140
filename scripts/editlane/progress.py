"""Where a lane is: a small JSON file that is replaced as the lane goes on, and lines in the lane's log."""

import json
import logging
import os
import threading
import time
from pathlib import Path

log = logging.getLogger(__name__)


class Heartbeat:
    """Writes `path` at most twice a second (and at the end of each item), so that watching costs next to nothing."""

    def __init__(self, path: Path, *, device: str, total: int, **labels: str | int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._state: dict[str, object] = {**labels, "pid": os.getpid(), "device": device, "total": total}
        self._done = 0
        self._lock = threading.Lock()  # the model's thread and the writer's both report
        self._written = 0.0
        self._logged = 0.0
        self.finished(0)

    def begin(self, item_id: str, category: str) -> None:
        """The lane turns to this item."""
        self._logged = time.monotonic()
        self._update({"item_id": item_id, "category": category, "step": None, "steps": None}, seldom=True)

    def step(self, step: int, steps: int) -> None:
        """One denoising step is done; logged at most every two seconds."""
        now = time.monotonic()
        if now - self._logged >= 2:
            self._logged = now
            log.info("%s/%s step %d/%d", self._state["category"], self._state["item_id"], step, steps)
        self._update({"step": step, "steps": steps}, seldom=True)

    def finished(self, count: int, **last: object) -> None:
        """`count` more items are in the journal; `last` describes the latest (state, seconds, score)."""
        self._done += count
        self._update({"done": self._done, **last}, seldom=False)

    def _update(self, changes: dict[str, object], *, seldom: bool) -> None:
        with self._lock:
            self._state |= changes
            if seldom and time.monotonic() - self._written < 0.5:
                return
            self._written = time.monotonic()
            partial = self._path.with_name(self._path.name + ".partial")
            text = json.dumps(self._state | {"time": time.time()}, ensure_ascii=False)
            try:
                partial.write_text(text, encoding="utf-8")
                os.replace(partial, self._path)
            except OSError as error:  # a lane that nobody can watch still works
                log.warning("cannot write the heartbeat: %s", error.strerror)
