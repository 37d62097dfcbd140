"""Say at the end of a workflow where its reports are, what is left, and which command goes on."""

from collections.abc import Callable, Iterator, Sequence

from editlane.core.paths import SCORE, LaneId, RunPaths
from editlane.core.printable import escape
from editlane.preflight.answer import print_answer, read_numbers
from editlane.preflight.config import Config
from editlane.preflight.typed_command import retarget


def print_reports(paths: RunPaths, since: float, language: str, *, asked: bool) -> None:
    """Print what each report says that is newer than `since`, in seconds since 1970, and where it lies.

    `asked`: print the whole run's report even if it is older.
    """
    report, partial = paths.report_pages()
    for page, wanted in ((report, asked), (partial, False)):
        if page.exists() and (wanted or page.stat().st_mtime >= since):
            print_answer(page, language)
            print(f"report: {page}")


def print_how_to_finish(paths: RunPaths, since: float, typed: Sequence[str]) -> None:
    """Print the command that finishes the run if a partial report is newer than `since`.

    `typed`: the arguments of the command that made it.
    """
    _, page = paths.report_pages()
    if page.exists() and page.stat().st_mtime >= since and (read_numbers(page) or {}).get("missing"):
        print(f"to finish the run: {escape(retarget(typed))}")


def describe_held_back(
    config: Config, paths: RunPaths, find_edited: Callable[[int], list[str]], typed: Sequence[str], target: str
) -> list[str]:
    """Return a line about the lanes that some editors have finished and that wait for the others to be judged.

    `find_edited`: (lane) -> editors that have finished it. `typed`: the arguments of the command that ended. `target`:
    the rule that judges what there is. The list is empty if nothing waits.
    """
    held = list(_list_held_back(config, paths, find_edited))
    if not held:
        return []
    return [
        f"note: not judged yet: lane {', '.join(held)}. The same command tries these editors again. To judge and "
        f"report on the edits that there are: {escape(retarget(typed, target))}"
    ]


def _list_held_back(config: Config, paths: RunPaths, find_edited: Callable[[int], list[str]]) -> Iterator[str]:
    for lane in range(config["lanes"]):
        edited = find_edited(lane)
        lacking = [editor for editor in config["editors"] if editor not in edited]
        scores = (
            paths.lane_tables(LaneId(SCORE, None, judge, lane), edited, config["dataset"]["categories"])
            for judge in config["judges"]
        )
        if edited and lacking and not all(path.exists() for tables in scores for path in tables):
            yield f"{lane} (no edits by {', '.join(lacking)})"
