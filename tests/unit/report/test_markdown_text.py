"""What a text becomes in report.md: data starts no markup, and code in our own texts stays code."""

import pytest

from editlane.report.markdown import format_prose, format_text
from editlane.report.notices import Notice
from editlane.report.texts import load_texts


@pytest.mark.parametrize("language", ["en", "zh"])
def test_code_in_a_warning_is_shown_as_code(language: str) -> None:
    t = load_texts(language)
    notice = Notice(title=t("notice.not_tested", judge="a_b"), lines=(t("notice.not_tested_line"),))
    assert "a\\_b" in format_prose(notice.title)
    (line,) = map(format_prose, notice.lines)
    assert "`controls.share`" in line
    assert "\\" not in line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("set `size: auto` in a_b", "set `size: auto` in a\\_b"),
        ("a|b `c|d` ``e`` `f", r"a\|b \`c\|d\` \`\`e\`\` \`f"),
        ("`a\nb` \x1b[0m <b>", r"`a b` \\x1b\[0m \<b>"),
        ("`[link](x)` `<b>`", r"\`\[link](x)\` \`\<b>\`"),
    ],
)
def test_what_is_no_plain_code_is_escaped(text: str, shown: str) -> None:
    assert format_prose(text) == shown


def test_data_never_becomes_code() -> None:
    assert format_text("`controls.share`") == r"\`controls.share\`"
