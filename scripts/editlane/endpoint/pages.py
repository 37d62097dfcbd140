"""Say what a server sent in place of JSON, such as the page of a login or of a wrong path."""

import html
import re

LONGEST_START = 100
"""Characters that are shown of it."""
_READ = 4000
"""Characters that are searched for text."""
_HIDDEN = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)|<[^<>]*(?:>|$)", re.IGNORECASE | re.DOTALL)


def is_page(text: str) -> bool:
    """Return whether a text is HTML, or XML."""
    return text.lstrip("\ufeff \t\r\n").startswith("<")


def read_page(text: str) -> str:
    """Return what a reader sees at the beginning of a page, in one line; a text that is no page as it is."""
    if not is_page(text):
        return text
    return " ".join(html.unescape(_HIDDEN.sub(" ", text[:_READ])).split())


def read_start(content: bytes) -> str:
    """Return the words at the beginning of an answer that is no JSON; empty for broken JSON and for what is no text."""
    text = content[: 4 * _READ].decode("utf-8", errors="replace")
    if text.lstrip().startswith(("{", "[")) or "\0" in text or text.count("\N{REPLACEMENT CHARACTER}") > 1:
        return ""
    return read_page(text)[:_READ]
