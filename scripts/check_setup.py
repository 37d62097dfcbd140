"""Check this machine against a config before anything runs on it, or estimate how long the run will take.

    python scripts/check_setup.py --configfile config/qwen.yaml --gpus 6 --sdm conda
    python scripts/check_setup.py --configfile config/qwen.yaml --estimate --from results/pilot

Run it in the folder that snakemake runs in. Takes less than 10 seconds, writes nothing, loads nothing onto a GPU; an
estimate takes longer where it has to count a large dataset that is not prepared yet.
Of snakemake's overrides, `--config key=value`, it knows nothing: write them into a config file to have them checked.
Each line is `pass`, `warn` (it may not do what was wanted) or `fail` (it cannot succeed like this), with the remedy.
Exit codes: 0 nothing failed; 1 something failed; 2 the config or a flag is wrong.
"""

import argparse
import io
import sys
from pathlib import Path

import yaml

from editlane.cli.flags import StepParser, input_folder, whole_number
from editlane.cli.step import run_step
from editlane.core.errors import UserError
from editlane.core.paths import RunPaths
from editlane.preflight.checks import ALL
from editlane.preflight.config import Config, check_config, check_keys_once
from editlane.preflight.context import RunContext
from editlane.preflight.devices import find_devices
from editlane.preflight.estimate.estimate import estimate_run
from editlane.preflight.findings import Finding, format_counts, format_findings, get_terminal_width, run_checks
from editlane.preflight.machine import check_locale


def read_config(path: Path) -> Config:
    """The checked config of a file. Raises UserError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings; config/README.md describes them.")
    check_keys_once(path)
    return check_config(content)


def results_folder(text: str) -> Path:
    """A folder of a run that tells what its lanes have cost."""
    folder = input_folder(text)
    paths = RunPaths(folder)
    if not paths.heartbeats.is_dir() and not paths.costs.is_file():
        raise argparse.ArgumentTypeError(f"{text} has neither heartbeats/ nor costs.parquet; give results/<run>")
    return folder


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--configfile", type=Path, default=Path("config/config.yaml"), help="as for snakemake")
    parser.add_argument("--gpus", type=whole_number(1), help="as in --resources gpu=N; default: all that are visible")
    parser.add_argument("--sdm", choices=["conda"], help="as for snakemake: check conda, not this Python's packages")
    parser.add_argument("--estimate", action="store_true", help="say how long the run will take instead")
    parser.add_argument("--from", dest="earlier", type=results_folder, help="results/<run> to take the figures from")
    args = parser.parse_args()
    if args.earlier and not args.estimate:
        parser.error("--from goes with --estimate")

    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that this terminal cannot show is no reason to stop
        sys.stdout.reconfigure(errors="backslashreplace")
    findings: list[Finding] = list(check_locale())
    if findings[0].level != "fail":  # else no Chinese path can even be looked at
        config = read_config(args.configfile)
        context = RunContext(
            config=config,
            config_file=args.configfile,
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
