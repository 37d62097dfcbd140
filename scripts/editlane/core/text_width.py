"""Measure text in columns of a terminal."""

import unicodedata


def measure_width(text: str) -> int:
    """Return how many columns a text takes. Wide characters, such as Chinese ones, take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
