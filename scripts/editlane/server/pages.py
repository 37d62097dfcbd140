"""Serve a page of a server: its files, joined with what all pages share, and nothing else that a browser may load."""

from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from editlane.server.front import Front

SHARED = Path(__file__).parent / "page"
"""Folder of what all pages share: the head with the token's form, the style, texts, elements and the polling."""

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def list_page_routes(front: Front, folder: Path, scripts: Sequence[str], *, plays: bool = False) -> list[Route]:
    """Return the routes of a page. They need no token: the page asks for it itself.

    `folder` has page.html, page.css and `scripts`, in the order in which they run. `plays`: whether the page may play
    videos that it has fetched.
    """
    shared = [SHARED / name for name in ("frame_texts.js", "elements.js", "frame.js")]
    parts = {
        "/": ("text/html", [SHARED / "frame.html", folder / "page.html"]),
        "/page.css": ("text/css", [SHARED / "frame.css", folder / "page.css"]),
        "/page.js": ("text/javascript", [*shared, *(folder / name for name in scripts)]),
    }
    policy = _POLICY + ("; media-src blob:" if plays else "")
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}

    async def answer(request: Request) -> Response:
        kind, paths = parts[request.url.path]
        return Response(b"".join(path.read_bytes() for path in paths), media_type=kind, headers=headers)

    return [front.route(path, answer, private=False) for path in parts]
