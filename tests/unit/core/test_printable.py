"""Text from outside on its way to a terminal."""

import pytest

from editlane.core.errors import UnknownName, format_value, one_line
from editlane.core.printable import escape, escape_lines, has_hidden_letters, hide_places


@pytest.mark.parametrize("text", ["下雨，把猫变成狗。", "👩‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️", "cafe\u0301 हिन्दी می‌خواهم", "a b-c/d.png", ""])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert escape(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nerror: b\r", r"a\nerror: b\r"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("a\u202egnp.b\u2066\u2069", r"a\u202egnp.b\u2066\u2069"),
        ("a\u2028b\u200bc\ufeff", r"a\u2028b\u200bc\ufeff"),
        ("\ud800 \udc80", r"\ud800 \udc80"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown
    assert shown.encode().decode() == escape(shown)


def test_a_text_of_several_lines_keeps_its_lines_only() -> None:
    assert escape_lines("a\n\tb\r\x1b\n") == "a\n\tb\\r\\x1b\n"


@pytest.mark.parametrize(
    "name", ["物理", "social/cultural", "👩\u200d👩\u200d👧", "❤️\u200d🔥", "می\u200cشود", "cafe\u0301"]
)
def test_a_name_that_shows_all_its_letters(name: str) -> None:
    assert not has_hidden_letters(name)


@pytest.mark.parametrize(
    "hidden", ["\u202e", "\u2066", "\u200f", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\xad", "\x07"]
)
@pytest.mark.parametrize("name", ["{}物理", "物{}理", "physical{}", "می{}"])
def test_a_name_that_looks_like_another_one(name: str, hidden: str) -> None:
    assert has_hidden_letters(name.format(hidden))


def test_an_error_of_a_library_is_one_printable_line_in_the_tables() -> None:
    assert one_line(ValueError("a\n  b\x1b[0m\ud800 雨")) == r"a b\x1b[0m\ud800 雨"
    assert len(one_line(ValueError("\x1b" * 300))) == 300


def test_names_from_outside_are_escaped_where_they_are_offered() -> None:
    assert r"Available: a\x1b[2J, 雨." in str(UnknownName("model", "b", ["a\x1b[2J", "雨"]))


@pytest.mark.parametrize(
    "value",
    ["sk-proj-1234567890", {"api_key": "hf_abcdefghijkl"}, ["AKIAIOSFODNN7EXAMPLE"], "Bearer eyJhbGciOi.eyJz.c2"],
)
def test_a_value_that_looks_like_a_key_is_not_shown(value: object) -> None:
    assert "***" in format_value(value)
    for part in ("1234567890", "abcdefghijkl", "IOSFODNN7", "hbGciOi"):
        assert part not in format_value(value)


@pytest.mark.parametrize(
    "value", ["task-0123456789", "物理/项目-07", "risk_of_rain", "Qwen3-VL-30B-A3B-Instruct", "0" * 32]
)
def test_other_values_are_shown(value: str) -> None:
    assert format_value(value) == repr(value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://10.0.0.7:8000/v1/chat: 500", "... 500"),
        ("cannot read /opt/models/甲/config.json, is it there?", "cannot read ..., is it there?"),
        ("(~/.cache/hf/x) failed", "(...) failed"),
        ("refused by 127.0.0.1:5432", "refused by ..."),
        ("12 / 20 edits, and/or 3/4; 4 x 4 pixels", "12 / 20 edits, and/or 3/4; 4 x 4 pixels"),
        ("a score of 5.0 at 10:30", "a score of 5.0 at 10:30"),
    ],
)
def test_places_are_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert hide_places(text) == shown
