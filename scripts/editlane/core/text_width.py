"""Fit text into the columns of a terminal, and word counts."""

import unicodedata


def measure_width(text: str) -> int:
    """Return how many columns a text takes. Wide characters, such as Chinese ones, take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def shorten_name(name: str, width: int) -> str:
    """Cut the middle of a name to fit `width` columns; variants of a model differ at the end."""
    if measure_width(name) <= width:
        return name
    if width < 3:
        return name[:1]
    head, tail = name, name
    while measure_width(head) > width // 2:
        head = head[:-1]
    while measure_width(head) + 1 + measure_width(tail) > width:
        tail = tail[1:]
    return f"{head}…{tail}"


_PLURAL_VERBS = {"has": "have", "is": "are"}


def pluralize(count: int, noun: str, verb: str = "") -> str:
    """Format a count with its noun, and a verb that follows: `1 lane`, `1,200 lanes`, `1 item has`, `2 items have`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}" + (f" {agree(count, verb)}" if verb else "")


def agree(count: int, verb: str) -> str:
    """Return the form of a verb such as `has` or `stays` that goes with a count."""
    return verb if count == 1 else _PLURAL_VERBS.get(verb, verb.removesuffix("s"))
