"""The command that a message repeats."""

import shlex

import pytest
from snakemake.cli import get_argument_parser

from editlane.preflight.typed_command import retarget

CONFIG = ["--configfile", "配置/我的 run.yaml"]


def parse(command: str) -> dict[str, object]:
    """Return what Snakemake understands of a command, by the name of the option; times between jobs aside."""
    program, *arguments = shlex.split(command)
    assert program == "snakemake"
    understood = vars(get_argument_parser().parse_args(arguments))
    del understood["max_jobs_per_timespan"]  # an object that equals nothing else
    return understood | {"targets": list(understood["targets"])}


@pytest.mark.parametrize(
    "options",
    [
        ["--cores", "4", *CONFIG],
        ["--cores", "4", "--config", "limit=5"],
        ["--cores", "4", "--sdm", "conda"],
        ["--cores", "4", "--resources", "gpu=6"],
        ["--cores", "4", "--forcerun", "all", "partial_report"],
        [*CONFIG, "-c4", "--config=limit=5", "--quiet"],
        [*CONFIG, "--until", "partial_report", "--cores", "all"],
    ],
)
@pytest.mark.parametrize("targets", [[], ["partial_report"], ["all", "partial_report"]])
def test_a_command_is_repeated_with_another_target_and_its_own_options(targets: list[str], options: list[str]) -> None:
    own = parse(shlex.join(["snakemake", *options]))
    assert own["targets"] == []
    for typed in (targets + options, [*options, "--", *targets]):
        assert parse(retarget(typed)) == own
        assert parse(retarget(typed, "partial_scores")) == own | {"targets": ["partial_scores"]}


@pytest.mark.parametrize(
    "typed",
    [
        ["all", "--cores", "all", *CONFIG],
        ["all", *CONFIG, "--cores", "all"],
        ["--cores", "all", "all", *CONFIG],
        [*CONFIG, "--cores", "all", "all"],
        [*CONFIG, "--cores", "all", "--", "all"],
    ],
)
def test_a_value_that_reads_like_a_target_stays(typed: list[str]) -> None:
    own = parse(shlex.join(["snakemake", "--cores", "all", *CONFIG]))
    assert parse(retarget(typed)) == own
    assert parse(retarget(typed, "all")) == own | {"targets": ["all"]}


def test_the_command_is_one_that_a_person_would_type() -> None:
    typed = [*CONFIG, "--cores", "all", "partial_report"]
    assert retarget(typed) == "snakemake --configfile '配置/我的 run.yaml' --cores all"
    assert retarget(typed, "partial_scores") == "snakemake partial_scores --configfile '配置/我的 run.yaml' --cores all"


def test_arguments_of_another_program_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert retarget(["--no-such-option", "x"], "partial_scores") == "snakemake partial_scores --no-such-option x"
    assert capsys.readouterr().err == ""
