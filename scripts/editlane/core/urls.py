"""Check the addresses of servers in a config, and the names of the variables that hold their keys."""

from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from editlane.core.errors import format_value
from editlane.core.secrets import is_variable_name, looks_like_key


def check_url(url: str, example: str = "http://127.0.0.1:8000/v1") -> str:
    """Return an http(s) address without a key. Raises ValueError; no message shows an address that may hold a key."""
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        is_right = False
    remedy = "Put a server's key into an environment variable, and the name of the variable into the config"
    if "@" in url.partition("://")[2].partition("/")[0] or ("@" in url and not is_right):
        raise ValueError(
            f"it contains a user or a password, which must not be in the config. {remedy}; use a proxy that asks for "
            "none."
        )
    if "?" in url or "#" in url or looks_like_key(unquote(url)):
        raise ValueError(
            f"it contains a `?`, a `#` or what looks like a key; use an address such as {example}. {remedy}."
        )
    if not is_right or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError(f"{format_value(url)} is not an address; use one such as {example}.")
    return url


check_proxy = partial(check_url, example="http://proxy:3128")


def check_variable(name: Any) -> Any:
    """Return the name of an environment variable, or None. Raises ValueError."""
    if name is not None and not (isinstance(name, str) and is_variable_name(name)):
        raise ValueError("use the name of an environment variable; the key itself must not be in the config.")
    return name
