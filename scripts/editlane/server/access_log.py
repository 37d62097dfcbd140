"""One line of JSON for each request: who asked what, and how it ended. No images, texts, tokens or keys."""

import logging
import time
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from queue import SimpleQueue

import msgspec
from starlette.requests import Request

from editlane.core.files import make_folder

MAX_BYTES = 32 * 2**20
BACKUPS = 3


class _QuietHandler(RotatingFileHandler):
    """Loses a line that the disk does not take; logging would print a traceback for each."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass


class AccessLog:
    """Appends to a file of bounded size, in a thread. A disk that takes nothing costs the lines and nothing else."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        handler = _QuietHandler(path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8")
        self._log = logging.Logger("access", logging.INFO)
        lines: SimpleQueue[logging.LogRecord] = SimpleQueue()
        self._log.addHandler(QueueHandler(lines))
        self._listener = QueueListener(lines, handler)
        self._listener.start()

    def write(self, request: Request, path: str, status: int, seconds: float) -> None:
        """Write the line of a request that was answered."""
        line = {
            "time": round(time.time(), 3),
            "client": request.client.host if request.client else None,
            "method": request.method,
            "path": path,
            "status": status,
            "seconds": round(seconds, 4),
        } | getattr(request.state, "note", {})
        self._log.info(msgspec.json.encode(line).decode())

    def close(self) -> None:
        """Write the lines that wait."""
        self._listener.stop()
