"""The Chinese pages keep in step with the English: the same headings in number and order, the same commands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"\s+# .*$", re.MULTILINE)
PAGES = {"README.zh.md": None, "config/README.zh.md": 2}
"""Chinese page -> number of headings, from the first, that it has of the English one; None: all."""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def split(text: str) -> list[str]:
    """Split a page before each of its headings; those in code blocks are none."""
    hidden = FENCE.sub(lambda block: block[0].replace("\n#", "\n\0"), text)
    parts = re.split(r"^(?=#+ )", hidden, flags=re.MULTILINE)
    return [part.replace("\n\0", "\n#") for part in parts if part]


def list_levels(parts: list[str]) -> list[int]:
    return [len(part) - len(part.lstrip("#")) for part in parts]


def list_code(part: str) -> list[tuple[str, str]]:
    """List the code blocks of a part, without their comments."""
    return [(kind, COMMENT.sub("", code)) for kind, code in FENCE.findall(part)]


@pytest.mark.parametrize(("name", "count"), PAGES.items())
def test_a_chinese_page_has_the_headings_and_the_commands_of_the_english(name: str, count: int | None) -> None:
    chinese, english = split(read(name)), split(read(name.replace(".zh", "")))[:count]
    assert list_levels(chinese) == list_levels(english)
    for ours, theirs in zip(chinese, english, strict=True):
        assert list_code(ours) == list_code(theirs), ours.splitlines()[0]


@pytest.mark.parametrize("name", PAGES)
def test_tables_have_as_many_rows_and_lists_as_many_points(name: str) -> None:
    chinese, english = split(read(name)), split(read(name.replace(".zh", "")))
    for ours, theirs in zip(chinese, english, strict=False):
        for pattern in (r"^\|", r"^- ", r"^\*\*\d\."):
            counts = [len(re.findall(pattern, part, re.MULTILINE)) for part in (ours, theirs)]
            assert counts[0] == counts[1], (ours.splitlines()[0], pattern)


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_link_each_other_in_their_first_lines(name: str) -> None:
    path = Path(name)
    english = path.with_name(path.name.replace(".zh", ""))
    assert f"[English]({english.name})" in read(name).splitlines()[2]
    assert f"[中文]({path.name})" in read(str(english)).splitlines()[2]


def test_the_words_of_the_rating_page_are_there_in_both_languages() -> None:
    folder = ROOT / "scripts/editlane/ratings/page"
    script = (folder / "page.js").read_text(encoding="utf-8")
    english, chinese = re.findall(r"^  (?:en|zh): \{\n(.*?)^  \},", script, re.MULTILINE | re.DOTALL)
    names = [re.findall(r"^    (\w+):", part, re.MULTILINE) for part in (english, chinese)]
    assert len(names[0]) > 20
    assert names[0] == names[1]
    without_script = re.search(r"<noscript>(.*?)</noscript>", (folder / "page.html").read_text(encoding="utf-8"))
    assert without_script
    assert "JavaScript" in without_script[1]
    assert "本页" in without_script[1]
