"""The command that a message repeats."""

import shlex

from editlane.preflight.typed_command import retarget


def test_a_command_is_repeated_with_another_target() -> None:
    typed = ["--configfile", "配置/我的 run.yaml", "--cores", "all", "partial_report"]
    said = retarget(typed, {"partial_report"})
    assert shlex.split(said) == ["snakemake", "--configfile", "配置/我的 run.yaml", "--cores", "all"]
    assert shlex.split(retarget(typed, {"partial_report"}, "partial_scores"))[-2:] == ["all", "partial_scores"]
