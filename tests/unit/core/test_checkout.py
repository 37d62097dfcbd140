"""Files that come with the workflow are found from any folder, and no others of the checkout."""

from pathlib import Path

import pytest

from editlane.core import checkout
from editlane.core.checkout import CHECKOUT, LISTS, find_dataset, find_file

RUBRIC = "resources/protocols/rubric.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_checkouts_file_is_taken_where_the_working_directory_has_none(folder: Path) -> None:
    assert find_file(RUBRIC) == CHECKOUT / RUBRIC
    assert (CHECKOUT / RUBRIC).is_file()
    (folder / RUBRIC).parent.mkdir(parents=True)
    (folder / RUBRIC).touch()
    assert find_file(RUBRIC) == Path(RUBRIC)


@pytest.mark.parametrize(
    "name", ["resources/protocols/rubirc.yaml", "data/items.jsonl", "../data/items.jsonl", "", "/x"]
)
def test_a_name_that_was_not_shipped_stays_as_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    other = tmp_path_factory.mktemp("shared") / "editlane"
    for path in (other / "data/items.jsonl", other.parent / "data/items.jsonl"):
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.setattr(checkout, "CHECKOUT", other)
    assert find_file(name) == Path(name)


def test_of_datasets_only_the_copied_lists_are_found_in_the_checkout(folder: Path) -> None:
    assert [find_dataset(name) for name in LISTS] == [CHECKOUT / name for name in LISTS]
    assert find_dataset(RUBRIC) == Path(RUBRIC)
