"""Counts with their words, as everything that a user reads has them."""

import re

import pytest

from editlane.core.text_width import agree, pluralize
from editlane.report.texts import LANGUAGES, load_texts


def test_a_word_goes_with_its_count() -> None:
    assert [pluralize(count, "item") for count in (0, 1, 2, 1200)] == ["0 items", "1 item", "2 items", "1,200 items"]
    assert [pluralize(count, "row", "has") for count in (0, 1, 2)] == ["0 rows have", "1 row has", "2 rows have"]
    assert [agree(1, verb) for verb in ("is", "belongs")] == ["is", "belongs"]
    assert [agree(2, verb) for verb in ("is", "has", "belongs", "exists")] == ["are", "have", "belong", "exist"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_of_the_report_has_one_form_for_every_number(language: str) -> None:
    texts = load_texts(language).entries
    fixed = [key for key, text in texts.items() if re.search(r"\{n\} \w*s\b", text) and not key.endswith(".other")]
    assert fixed == []


def test_the_reports_sentences_about_one() -> None:
    t = load_texts("en")
    assert t("notice.partial", n=1, expected=2) == "This report is partial: 1 of 2 rows does not exist yet."
    assert t("notice.partial_all", n=1, editor="a", judge="j") == "a scored by j: its one row"
    assert t("notice.unscored_line", n=1, scored=0, editor="a", judge="j") == "a scored by j: 0 of 1 item"
    assert t("notice.language", n=1, all=3, language="en").startswith("1 of 3 instructions is not in the requested")
