"""Tell published names of a fleet's models from plain ones: `strict@3f2a9c01b7de` ends in a fingerprint of weights."""

import re


def is_published(name: str) -> bool:
    """Return whether a name stands for the same weights for ever."""
    return re.fullmatch(r".+@[0-9a-f]{12}", name) is not None


def strip_fingerprint(name: str) -> str:
    """Return the plain name of a model."""
    return name.rpartition("@")[0] if is_published(name) else name
