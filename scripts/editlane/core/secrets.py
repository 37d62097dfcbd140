"""Recognize what looks like a key of a server, so that a message about a wrong setting does not show it."""

import re

_PREFIXED = r"(?:sk|pk|rk|hf|gsk|xai|r8|pplx|nvapi|glpat|gh[pousr]|github_pat|xox[abps])[-_][\w-]{6,}"
_ISSUED = r"(?:AKIA|ASIA)[A-Z0-9]{8,}|AIza[\w-]{8,}|eyJ[\w-]{6,}(?:\.[\w-]+)*"
_MIXED = r"(?=[A-Za-z]*\d)(?=[A-Z0-9]*[a-z])(?=[a-z0-9]*[A-Z])[A-Za-z0-9]{24,}"
"""Small letters, capitals and digits in one long word."""
_KEY = re.compile(rf"(?<![A-Za-z0-9])(?:{_PREFIXED}|{_ISSUED}|{_MIXED})")
_NAME_WORD = re.compile(r"(?=[a-zA-Z]*\d)(?=\d*[a-zA-Z])[A-Za-z0-9]{16,}")


def looks_like_key(text: str) -> bool:
    """Return whether the text holds something that looks like a key. Ids in hexadecimal digits do not."""
    return _KEY.search(text) is not None


def is_variable_name(text: str) -> bool:
    """Return whether the text may name an environment variable, and does not look like a key."""
    return text.isidentifier() and not looks_like_key(text) and _NAME_WORD.search(text) is None


def hide_keys(text: str) -> str:
    """Replace everything that looks like a key."""
    return _KEY.sub("***", text)
