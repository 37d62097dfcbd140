"""Serve the page to this machine only, with the standard library.

Every URL starts with a secret, so that other users of the machine and other pages in the browser have no access. Images
have random tokens and are re-encoded, so that neither their name nor their metadata reveals the editor.
"""

import io
import json
import logging
import re
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from editlane.core.errors import ItemError, UserError
from editlane.core.printable import escape, escape_lines
from editlane.images.files import open_image

log = logging.getLogger(__name__)

SCORES = tuple(range(10))
"""Scores are the keys 0..9, stored unchanged."""

LANGUAGES = ("en", "zh")

MAX_SIDE = 2048
"""Images are shrunk to this longer side, in pixels."""

_HOSTS = ("127.0.0.1", "localhost")
_MAX_BODY = 1000
_FILES = {
    "": ("page.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Question(Protocol):
    """What a rater is shown."""

    @property
    def pictures(self) -> Mapping[str, Path]: ...

    @property
    def references(self) -> Sequence[Path]: ...

    @property
    def instruction(self) -> str: ...

    @property
    def language(self) -> str: ...


class Saved(Protocol):
    """A file of answers to questions of one kind."""

    path: Path

    def find_scores(self, tasks: Any, /) -> Sequence[Any]: ...

    def save(self, task: Any, score: Any, /) -> None: ...


class RatingServer(ThreadingHTTPServer):
    """Serve the tasks in their order at `url`."""

    daemon_threads = True

    def __init__(
        self,
        tasks: Sequence[Question],
        saved: Saved,
        port: int,
        *,
        answers: Sequence[int] | Sequence[str] = SCORES,
        language: str | None = None,
    ) -> None:
        """Bind to `port`; 0 picks a free one. Raises OSError if the port is in use.

        answers: the legal ones, scores or votes. language: of the page; None: the browser's.
        """
        super().__init__(("127.0.0.1", port), RatingHandler)
        self.tasks, self.saved, self.answers, self.language = list(tasks), saved, list(answers), language
        self.secret = secrets.token_urlsafe(12)
        self.images: dict[str, Path] = {}
        self._shown = [
            {side: self._add_image(path) for side, path in task.pictures.items()}
            | {"references": [self._add_image(path) for path in task.references]}
            | {"instruction": escape_lines(task.instruction), "language": task.language}
            for task in self.tasks
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{self.secret}/"

    def _add_image(self, path: Path) -> str:
        """Return an opaque URL, relative to the page: it must not reveal the editor."""
        token = secrets.token_urlsafe(12)
        self.images[token] = path
        return f"image/{token}"

    def get_state(self) -> dict[str, Any]:
        """Return the page's data. It must not name an editor or an item."""
        scores = self.saved.find_scores(self.tasks)
        tasks = [shown | {"score": score} for shown, score in zip(self._shown, scores, strict=True)]
        kind = "vote" if isinstance(self.answers[0], str) else "score"
        about = {"file": escape(self.saved.path.name), "kind": kind, "answers": self.answers}
        return about | {"language": self.language, "tasks": tasks}

    def rate(self, task: int, score: Any) -> dict[str, Any]:
        """Save one rating and return it."""
        self.saved.save(self.tasks[task], score)
        return {"task": task, "score": score}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that disconnects during a response. Other errors are printed as usual."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class RatingHandler(BaseHTTPRequestHandler):
    server: RatingServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "editlane", ""
    timeout = 60

    def do_GET(self) -> None:
        place = self._check_place()
        if place is None:
            return
        if place in _FILES:
            name, kind = _FILES[place]
            self._send(HTTPStatus.OK, Path(__file__).with_name(name).read_bytes(), f"{kind}; charset=utf-8")
        elif place == "tasks":
            self._answer(self.server.get_state)
        elif place.removeprefix("image/") in self.server.images and place.startswith("image/"):
            self._send_image(self.server.images[place.removeprefix("image/")])
        else:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED if place == "rating" else HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        place = self._check_place()
        if place is None:
            return
        if place != "rating":
            known = place in _FILES or place == "tasks" or place.startswith("image/")
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND)
            return
        found = self._read_rating()
        if found is None:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        self._answer(lambda: self.server.rate(*found))

    def _refuse_method(self) -> None:
        self._refuse(HTTPStatus.METHOD_NOT_ALLOWED)

    do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse_method  # noqa: N815

    def _check_place(self) -> str | None:
        """Return the path after the secret. If the request is not from the page, refuse it and return None."""
        if self._read_host() not in _HOSTS:  # DNS rebinding: another site's name that resolves to this machine
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        _, _, rest = self.path.partition("/")
        secret, slash, place = rest.partition("/")
        if not slash or not secrets.compare_digest(secret.encode(), self.server.secret.encode()):
            self._refuse(HTTPStatus.NOT_FOUND)
            return None
        return place

    def _read_host(self) -> str | None:
        try:
            return urlsplit(f"//{self.headers.get('Host', '')}").hostname
        except ValueError:  # half an IPv6 address
            return None

    def _read_rating(self) -> tuple[int, int | str] | None:
        """Parse (task, score) from the body. None if it is not a valid rating."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,6}", length) or int(length) > _MAX_BODY:
            return None
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            return None
        match body:
            case {"task": int(task), "score": int(score) | str(score)} if not isinstance(score, bool | float):
                known = not isinstance(task, bool) and task in range(len(self.server.tasks))
                return (task, score) if known and score in self.server.answers else None
        return None

    def _answer(self, work: Callable[[], dict[str, Any]]) -> None:
        """Send the result of `work` as JSON, or its error about the ratings file as text."""
        try:
            body = json.dumps(work(), ensure_ascii=False).encode()
        except (UserError, OSError) as error:
            log.error("%s", error)
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode(), "text/plain; charset=utf-8")
        else:
            self._send(HTTPStatus.OK, body, "application/json")

    def _send_image(self, path: Path) -> None:
        try:
            encoded = io.BytesIO()
            open_image(path, within=MAX_SIDE).save(encoded, "PNG", compress_level=1)
        except (ItemError, MemoryError) as error:  # it was readable when the server started
            log.error("%s", str(error) or f"{path.name}: not enough memory")
            self._refuse(HTTPStatus.GONE)
            return
        self._send(HTTPStatus.OK, encoded.getvalue(), "image/png")

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True  # a body may still be unread
        self._send(status, f"{status.value} {status.phrase}\n".encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in (_HEADERS | {"Content-Type": kind, "Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing per request."""
