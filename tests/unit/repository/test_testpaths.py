"""A folder of tests that pytest is not told of would never run; nor would the second of two files of one name."""

import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_folder_with_tests_is_among_the_testpaths() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = {path.relative_to(ROOT).parts[:2] for path in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(map("/".join, found)) == sorted(settings["tool"]["pytest"]["ini_options"]["testpaths"])


def test_no_two_test_files_have_one_name() -> None:
    """pytest takes a file's name as its module's; in one process, the second of them could not be imported."""
    counts = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in counts.items() if count > 1] == []
