"""Show text from outside, such as a name, a reply or a library's error, so that a terminal only prints it.

Chinese, emoji and combining letters stay as they are. What a terminal obeys or hides is shown as Python writes it.
"""

import re
import unicodedata

_CONTROLS = (
    "\x00-\x1f\x7f-\x9f"  # C0 and C1: newlines, escapes
    "\u2028\u2029"  # separators of lines and paragraphs
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of what follows
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # invisible; the joiners of emoji and of Persian are not here
    "\ud800-\udfff"  # halves of a character, which no file and no terminal takes
)
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"
_JOINED = f"[^\x00-\x7f\u3400-\u9fff{_JOINERS}]"
_IDLE_JOINER = re.compile(f"(?<!{_JOINED})[{_JOINERS}]|[{_JOINERS}](?!{_JOINED})")
_PLACE = re.compile(r"\b\w+://[^\s'\"]+|(?<![\w/.~])~?/[\w.~-]+(?:/[^\s'\",:;)]*)+|\b\d{1,3}(?:\.\d{1,3}){3}:\d+")
_OBEYED = re.compile(f"[{_CONTROLS}]")
_OBEYED_IN_LINES = re.compile(f"(?![\n\t])[{_CONTROLS}]")


def escape(text: str) -> str:
    """Return the text in one line, with every control character escaped."""
    return _OBEYED.sub(_escape_letter, text)


def escape_lines(text: str) -> str:
    """Return the text with its line breaks and tabs, and every other control character escaped."""
    return _OBEYED_IN_LINES.sub(_escape_letter, text)


def hide_places(text: str) -> str:
    """Replace addresses and absolute paths, which are nobody's business outside of this machine."""
    return _PLACE.sub("...", text)


def has_hidden_letters(name: str) -> bool:
    """Return whether a name has a character that cannot be seen, so that it may look like another name.

    Joiners are none where they join: within an emoji, or between letters that are neither ASCII nor Chinese.
    """
    hidden = any(unicodedata.category(letter) in _HIDDEN for letter in name if letter not in _JOINERS)
    return hidden or _IDLE_JOINER.search(name) is not None


def _escape_letter(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]
