"""Check this machine against a config before a run, or estimate how long the run will take.

    python scripts/check_setup.py --configfile config/qwen.yaml --gpus 6 --sdm conda
    python scripts/check_setup.py --configfile config/qwen.yaml --estimate --from results/pilot
    python scripts/check_setup.py --list-editors

Run it in the folder that snakemake runs in. It writes nothing and loads nothing onto a GPU. It takes less than 10
seconds, and up to 30 more for each judge on a server whose probabilities are read, which is asked one question.
An estimate takes longer if it must count a large dataset that is not prepared yet.
Overrides by snakemake's `--config key=value` are not checked: write them into a config file instead.
Each line is `pass`, `warn` (the run may not do what was intended) or `fail` (it cannot succeed), with a remedy.
Exit codes: 0 nothing failed; 1 something failed; 2 the config or a flag is wrong.
"""

import argparse
import sys
from pathlib import Path

from editlane.cli.flags import StepParser, input_folder, whole_number
from editlane.cli.step import run_step
from editlane.core.checkout import find_file
from editlane.core.findings import Finding, format_counts, format_findings, get_terminal_width, run_checks
from editlane.core.paths import RunPaths
from editlane.preflight.checks import ALL
from editlane.preflight.config import read_config
from editlane.preflight.context import RunContext
from editlane.preflight.devices import find_devices
from editlane.preflight.editor_list import list_editors
from editlane.preflight.estimate.estimate import estimate_run
from editlane.preflight.machine import check_locale


def results_folder(text: str) -> Path:
    """Accept the folder of a run with heartbeats or a costs table."""
    folder = input_folder(text)
    paths = RunPaths(folder)
    if not paths.heartbeats.is_dir() and not paths.costs.is_file():
        raise argparse.ArgumentTypeError(f"{text} has neither heartbeats/ nor costs.parquet; give results/<run>")
    return folder


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--configfile", type=Path, default=find_file("config/config.yaml"), help="as for snakemake")
    parser.add_argument("--gpus", type=whole_number(1), help="as in --resources gpu=N; default: all visible GPUs")
    parser.add_argument(
        "--sdm", choices=["conda"], help="as for snakemake: check conda instead of this Python's packages"
    )
    parser.add_argument("--estimate", action="store_true", help="estimate the time of the run instead")
    parser.add_argument("--from", dest="earlier", type=results_folder, help="results/<run> to estimate from")
    parser.add_argument("--list-editors", action="store_true", help="list diffusers' editing pipelines instead")
    args = parser.parse_args()
    if args.list_editors:
        print(*list_editors(get_terminal_width()), sep="\n")
        return
    if args.earlier and not args.estimate:
        parser.error("--from needs --estimate")

    findings: list[Finding] = list(check_locale())
    if findings[0].level != "fail":  # else opening a Chinese path raises
        config = read_config(args.configfile)
        context = RunContext(
            config=config,
            config_files=[args.configfile],
            devices=find_devices(),
            gpu_limit=args.gpus,
            conda=args.sdm == "conda",
            count_all=args.estimate,
        )
        if args.estimate:
            print(*estimate_run(context, args.earlier, get_terminal_width()), sep="\n")
            return
        findings += run_checks(ALL, context)
    print(*format_findings(findings, get_terminal_width()), format_counts(findings), sep="\n")
    sys.exit(any(one.level == "fail" for one in findings))


if __name__ == "__main__":
    run_step(main)
