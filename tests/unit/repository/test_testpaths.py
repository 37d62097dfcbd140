"""A folder of tests that pytest is not told of would never run."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_folder_with_tests_is_among_the_testpaths() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = {path.relative_to(ROOT).parts[:2] for path in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(map("/".join, found)) == sorted(settings["tool"]["pytest"]["ini_options"]["testpaths"])
