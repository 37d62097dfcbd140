"""The types of flags, value by value; test_wrong_flags.py shows that every step uses them."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editlane.cli import flags
from editlane.core.errors import UserError


@pytest.mark.parametrize(
    ("kind", "good", "value"),
    [
        (flags.whole_number(0), "0", 0),
        (flags.whole_number(1, 9), " 9", 9),
        (flags.number(0, 4), "4", 4.0),
        (flags.number(0, 1), "1e-3", 0.001),
        (flags.seconds, "0.5", 0.5),
        (flags.folder_name, "物理 tests_2.1", "物理 tests_2.1"),
        (flags.folder_name, "😀" * 60, "😀" * 60),
        (flags.output_file, "new/文件.parquet", Path("new/文件.parquet")),
        (flags.output_folder, "new/照片", Path("new/照片")),
        (flags.output_folder, "tests/..", Path("tests/..")),
        (flags.input_folder, "tests", Path("tests")),
        (flags.json_object, '{"a": [1]}', {"a": [1]}),
    ],
)
def test_a_good_value_is_taken_as_it_is(kind: Callable[[str], Any], good: str, value: Any) -> None:
    assert kind(good) == value


WRONG = [
    (flags.whole_number(0), ["-1", "x", "1.5", "", "nan", "1e3", "9" * 5000], "is not a whole number of 0 or more"),
    (flags.whole_number(0, 65535), ["-1", "65536"], "is not a whole number from 0 to 65535"),
    (flags.number(0, 1), ["-0.1", "1.1", "nan", "inf", "-inf", "x", "", "0,5"], "is not a number from 0 to 1"),
    (flags.seconds, ["0", "-1", "nan", "inf", "1e10", "soon", ""], "is not a number of seconds above 0"),
    (
        flags.folder_name,
        ["../x", "a/b", ".", "..", ".x", "", " ", "a\nb", "a\0", "名\u200b", "名" * 86],
        "cannot name a folder",
    ),
    (flags.input_folder, ["none", "pyproject.toml", ""], "there is no folder"),
    (flags.output_folder, ["pyproject.toml", "pyproject.toml/a/b"], "pyproject.toml is not a folder"),
    (flags.output_folder, [""], "give the path of a folder"),
    (flags.output_file, ["", "tests", "."], "is not a file; give the name of a file"),
    (flags.output_file, ["/dev/null", "/dev/zero"], "is not a regular file"),
    (flags.output_file, ["pyproject.toml/a", "pyproject.toml/a/b"], "pyproject.toml is not a folder"),
    (flags.json_object, ["", "{", "nul", "[" * 100_000], "is not JSON"),
    (flags.json_object, ["[1]", "null", "3", '"a"'], "is not a JSON object"),
]


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [(kind, wrong, message) for kind, values, message in WRONG for wrong in values],
    ids=[f"{message} {wrong[:20]!r}" for _, values, message in WRONG for wrong in values],
)
def test_a_wrong_value_is_refused(kind: Callable[[str], Any], wrong: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(message)):
        kind(wrong)


def test_an_output_may_not_lead_through_a_link_to_nowhere_or_into_a_folder_without_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(argparse.ArgumentTypeError, match="link is not a folder"):
        flags.output_file(str(tmp_path / "link/a.csv"))
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)  # root may write everywhere
    with pytest.raises(argparse.ArgumentTypeError, match=r"may not be written to"):
        flags.output_folder(str(tmp_path / "new"))


def parser() -> flags.StepParser:
    found = flags.StepParser("A step.")
    found.add_argument("--editors", **flags.NAMES, required=True)
    found.add_argument("--lane", type=flags.whole_number(0))
    return found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "the following arguments are required: --editors"),
        (["--editors", "a", "b", "a"], "argument --editors: a is named twice"),
        (["--editors", "a", "--lane", "-1"], "argument --lane: '-1' is not a whole number of 0 or more"),
        (["--editors", "a", "--lan", "1"], "unrecognized arguments: --lan 1"),
        (["--editors"], "argument --editors: expected at least one argument"),
    ],
)
def test_a_wrong_flag_is_a_user_error_that_tells_where_help_is(given: list[str], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as error:
        parser().parse_args(given)
    assert re.search(r"`python scripts/.* --help` describes every flag\.$", str(error.value))


def test_several_names_keep_their_order() -> None:
    assert parser().parse_args(["--editors", "b", "a"]).editors == ["b", "a"]
