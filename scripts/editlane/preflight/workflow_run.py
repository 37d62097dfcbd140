"""Start and end the run of one Snakemake process: check its config, lock its results, print its errors.

`workflow` is Snakemake's own object, passed in by the Snakefile. Nothing here imports Snakemake.
"""

import atexit
import errno
import fcntl
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from editlane.core.checkout import find_file
from editlane.core.encodings import check_names_of_files, escape_unencodable
from editlane.core.errors import UserError, format_value
from editlane.core.locks import check_links, open_existing_lock, open_lock
from editlane.core.paths import COMPARE, EDIT, SCORE, LaneId, RunPaths
from editlane.core.printable import escape
from editlane.core.yaml_files import read_yaml
from editlane.models.tiny import is_damaged
from editlane.preflight.closing_messages import describe_held_back, print_how_to_finish, print_reports
from editlane.preflight.config import Config, check_config, check_config_file
from editlane.preflight.made_from import keep_records, mark_outdated, redate_tables, restore_records
from editlane.preflight.outdated_lanes import find_outdated_outputs
from editlane.watching import run_errors
from editlane.watching.terminal import Terminal
from editlane.watching.workflow_record import WorkflowRecord

LANE_RULES = {"edit_lane": EDIT, "score_lane": SCORE, "score_edited": SCORE, "compare_lane": COMPARE}

SHARED_FOLDERS = {"photos": Path("resources/demo/photos"), "canary": Path("resources/canary/pictures")}
"""What the workflow builds beside the tiny models in resources/models, by the name of a run's mark."""


def find_config() -> str:
    """Return the config of the working directory, or else the demo's. Ends the process like `load_config`."""
    path = find_file("config/config.yaml")
    try:
        read_yaml(path)  # before Snakemake, which prints a traceback for some mistakes
    except UserError as error:
        _end_with_error(str(error))
    return str(path)


def load_config(config: Config, workflow: Any) -> Config:
    """Return the config with all defaults. Ends the process with one paragraph and exit code 2 if it is wrong."""
    escape_unencodable()
    try:
        check_names_of_files()
        for file in workflow.configfiles:
            check_config_file(Path(file))
        checked = check_config(_move_limit(config))
        state = Path(".snakemake") if Path(".snakemake").exists() else Path()
        if not os.access(state, os.W_OK):  # Snakemake would fail with a traceback before `onstart`
            raise UserError(
                f"cannot write to {state.absolute()}, where Snakemake keeps its state. Check the folder's rights, and "
                "that its disk is mounted for writing, or name another working directory with -d."
            )
    except UserError as error:
        _end_with_error(str(error))
    return checked


def _move_limit(config: Config) -> Config:
    """Make `limit`, as `--config limit=5` gives it, the dataset's. Raises UserError if it is no number of items."""
    dataset = config.get("dataset")
    if "limit" not in config or not isinstance(dataset, dict):
        return config
    limit = config["limit"]
    if type(limit) is not int or limit < 1:  # true is an int, too
        raise UserError(
            f"`--config limit=` is {format_value(limit)}; it takes a whole number of 1 or more, the items of each "
            "category that a trial is to have. Leave it out for all of them."
        )
    rest = {name: value for name, value in config.items() if name != "limit"}
    return rest | {"dataset": dataset | {"limit": limit}}


def _end_with_error(paragraph: str) -> NoReturn:
    print(f"error: {escape(paragraph)}", file=sys.stderr)
    sys.exit(2)


def check_places(workflow: Any, results: str) -> None:
    """End the process like `load_config` if a module statement moves the files of a run.

    Locks, heartbeats and journals have their places in `editlane.core.paths`, which know nothing of it.
    """
    place = workflow.modifier.path_modifier.replace_prefix(workflow.pathvars.get("results"))
    if place != results:
        _end_with_error(
            f"the `module` statement moves the results to {place}, but a run keeps them in {results}. Remove "
            "`prefix`, `replace_prefix` and `pathvars` from it; name the run with `run:`, or give snakemake another "
            "working directory (-d)."
        )


class WorkflowRun:
    """Run of one Snakemake process on one results folder."""

    def __init__(self, config: Config, workflow: Any) -> None:
        self._config, self._workflow = config, workflow
        rename = workflow.modifier.modify_rulename  # `use rule * from editlane as bench_*` gives rules other names
        self._lane_rules = {rename(name): stage for name, stage in LANE_RULES.items()}
        self._partial_report, self._partial_scores = rename("partial_report"), rename("partial_scores")
        self.paths = RunPaths.of_run(config["run"])
        self._make_report = rename("make_report")
        self._started = time.time()
        self._lock: int | None = None  # kept open, because closing it would release the lock
        record = WorkflowRecord(
            editors=list(config["editors"]),
            judges=list(config["judges"]),
            categories=config["dataset"]["categories"],
            lanes=config["lanes"],
        )
        self._terminal = Terminal(self.paths, record, workflow.output_settings)
        logging.raiseExceptions = False  # else a full disk prints a traceback for every log line

    def forget_lost_folders(self) -> None:
        """Remove the marks of shared folders that are gone, or tiny models that lack files. They are built again.

        A dry run does so, too, because it could not tell otherwise that they will be built. The jobs of a cluster,
        which read the Snakefile as well and may not see the folders, do not.
        """
        if not self._workflow.is_main_process:
            return
        with suppress(OSError):  # a disk that cannot be read or written is told of at the start
            for mark in self.paths.built("").glob("*"):
                folder = SHARED_FOLDERS.get(mark.name, Path(f"resources/models/{mark.name}"))
                if not folder.exists() or is_damaged(folder):
                    mark.unlink()

    def compare_with_records(self) -> None:
        """Let Snakemake know what the outputs of this run were made from, wherever they were made.

        Like `forget_lost_folders`, in the main process alone, and for a dry run, too. Tables about which nothing is
        known, and those that could not be merged, are compared with today's settings by their keys.
        """
        if not self._workflow.is_main_process or self._is_running():
            return
        with suppress(OSError):
            doubtful = set(restore_records(self.paths))
            if not self.paths.scores.exists():
                doubtful |= set(self.paths.all_tables())
            if self._config["arena"] and not self.paths.pairs.exists():
                doubtful |= {
                    path for judge in self._config["arena"]["judges"] for path in self.paths.all_lane_pairs(judge)
                }
            mark_outdated(find_outdated_outputs(self._config, self.paths, doubtful))

    def check_pictures(self) -> None:
        """Warn of pictures that are not as recorded, even if there is nothing to do: Snakemake then calls no `onstart`.

        Like `compare_with_records`, in the main process alone, and for a dry run, too.
        """
        if not self._workflow.is_main_process or self._is_running() or not any(self.paths.all_edits()):
            return
        from editlane.preflight.checks import warn_of_lost_pictures

        warn_of_lost_pictures(self._config, self._workflow.configfiles)

    def _is_running(self) -> bool:
        """Return whether another workflow is running on the results."""
        try:
            lock = open_existing_lock(str(self.paths.lock))
        except (OSError, UserError):  # the start says what is wrong with it
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return isinstance(error, BlockingIOError)  # else there are no file locks
        finally:
            os.close(lock)
        return False

    def count_lane_threads(self) -> int:
        """Return the CPU cores of one lane: an equal share of the run's cores, from 1 to 8."""
        lanes = self._config["lanes"]
        cores: int = self._workflow.resource_settings.cores or 8 * lanes
        return int(max(1, min(8, cores // lanes)))

    def find_edited(self, lane: int | str) -> list[str]:
        """Return the editors that have finished this lane."""
        categories = self._config["dataset"]["categories"]
        return [
            editor
            for editor in self._config["editors"]
            if all(self.paths.edits(editor, name, int(lane)).exists() for name in categories)
        ]

    def start(self) -> None:
        """Lock the results, check what the jobs will need, and take over the terminal. Exits with code 2 on failure.

        The lock is held until this process ends, however it ends: two runs would write the same tables.
        """
        if self._is_target(self._partial_report):
            return  # it only reads, so it may run beside a workflow
        try:
            self.paths.run_dir.mkdir(parents=True, exist_ok=True)
            check_links(self.paths.run_dir)
            self._lock = open_lock(str(self.paths.lock), otherwise="choose another `run:`", mode=None)
            self._take_lock(self._lock)
            if not self._check():
                os._exit(2)
            redate_tables(self.paths, self._started)
            self._keep_records()
            self._terminal.start(self._find_up_to_date_lanes())
            atexit.register(self.fail)
        except BlockingIOError:
            results = self.paths.run_dir
            _exit_with_error(
                f"another workflow is running on {results}. Wait for it, stop it, or choose another `run:`."
            )
        except UserError as error:
            _exit_with_error(str(error))
        except OSError as error:
            results = self.paths.run_dir
            _exit_with_error(f"cannot write to {results}: {error.strerror}. Check the folder's rights and its disk.")

    def succeed(self) -> None:
        """Print the warnings of this run, what its report found, and where the report is."""
        atexit.unregister(self.fail)
        self._keep_records()
        self._terminal.end("done")
        for line in run_errors.find_warnings(self.paths, self._started):
            print(line, file=sys.stderr)
        self._print_answers()

    def answer_if_up_to_date(self) -> None:
        """Have the answer printed at the end if there is nothing to do: Snakemake then calls no `onsuccess`."""
        if self._workflow.is_main_process:
            atexit.register(self._answer_if_up_to_date)

    def _answer_if_up_to_date(self) -> None:
        """Print the answer unless anything ran, or the command was for something else, such as a dry run or a lint."""
        workflow = self._workflow
        executed = workflow.executor_plugin is not None and not (workflow.dryrun or workflow.touch)
        if executed and workflow.dag is not None and not len(workflow.dag) and self._has_report():
            self._print_answers()

    def _has_report(self) -> bool:
        """Return whether the report is among what this command asks for."""
        return any(job.rule.name == self._make_report for job in self._workflow.dag.jobs)

    def _print_answers(self) -> None:
        """Print what the reports say that this command asked for, and how to finish if no other workflow is at work."""
        print_reports(self.paths, self._started, self._config["report"]["language"], asked=self._has_report())
        if self._lock is not None or not self._is_running():
            print_how_to_finish(self.paths, self._started, sys.argv[1:])

    def fail(self) -> None:
        """Print this run's warnings and errors, once.

        `atexit` calls it, too, so that they appear even if Snakemake itself fails, as on a full disk.
        """
        atexit.unregister(self.fail)
        self._keep_records()
        self._terminal.end("failed")
        run = self.paths, self._started
        for line in run_errors.find_warnings(*run) + run_errors.find_errors(*run) + self._describe_held_back():
            print(line, file=sys.stderr)

    def _keep_records(self) -> None:
        """Write down what the outputs were made from, while this workflow holds the lock."""
        if self._lock is not None:
            with suppress(OSError):  # a full disk: the next start makes again what it does not know
                keep_records(self.paths)

    def _describe_held_back(self) -> list[str]:
        if self._is_target(self._partial_scores):
            return []
        return describe_held_back(self._config, self.paths, self.find_edited, sys.argv[1:], self._partial_scores)

    def _is_target(self, rule: str) -> bool:
        """Return whether this rule is all that the command asks for."""
        return set(self._workflow.dag_settings.targets) == {rule}

    def _take_lock(self, file: int) -> None:
        """Raise BlockingIOError if another workflow holds the lock. Without file locks, print a warning."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                raise
            advice = "make sure that no other workflow runs on it"
            print(f"warning: {self.paths.run_dir} has no file locks; {advice}", file=sys.stderr)

    def _check(self) -> bool:
        # Here and not above, because every job of a cluster parses the Snakefile, and only a start needs the checks.
        from editlane.preflight.checks import check_start

        gpus = self._workflow.global_resources.get("gpu")
        methods = self._workflow.deployment_settings.deployment_method
        to_do = {job.rule.name for job in self._workflow.dag.needrun_jobs()}
        return check_start(
            self._config,
            self._workflow.configfiles,
            gpu_limit=gpus.value if gpus else None,
            with_conda="CONDA" in {method.name for method in methods},
            lanes_here=self._workflow.local_exec and bool(to_do & self._lane_rules.keys()),
        )

    def _find_up_to_date_lanes(self) -> Iterator[LaneId]:
        """Yield the lanes that have nothing to do in this run."""
        due = set(self._workflow.dag.needrun_jobs())
        for job in self._workflow.dag.jobs:
            if job.rule.name in self._lane_rules and job not in due:
                editor, judge = (getattr(job.wildcards, name, None) for name in ("editor", "judge"))
                yield LaneId(self._lane_rules[job.rule.name], editor, judge, int(job.wildcards.lane))


def _exit_with_error(reason: str) -> NoReturn:
    print(f"error: {escape(reason)}", file=sys.stderr, flush=True)
    os._exit(2)  # because Snakemake would print a traceback for an exception
