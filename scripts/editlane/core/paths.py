"""Names and places of everything that a run keeps under results/<run>. No other module spells them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

EDIT, SCORE, COMPARE = "edit", "score", "compare"
"""The stages of a run."""


class RunEntry(StrEnum):
    """The names in a run's folder beside its editors' folders."""

    ITEMS = "items.parquet"
    GIVEN = "given.parquet"
    PLAN = "plan.parquet"
    SCORES = "scores.parquet"
    CONTROLS = "controls.parquet"
    PRESERVATION = "preservation.parquet"
    PAIRS = "pairs.parquet"
    COSTS = "costs.parquet"
    SOURCES = "sources"
    SHARDS = "shards"
    ARENA = "arena"
    JOURNAL = "journal"
    HEARTBEATS = "heartbeats"
    REPORT = "report"
    PARTIAL_REPORT = "partial_report"
    LOGS = "logs"
    BENCHMARKS = "benchmarks"
    BUILT = "built"
    MADE_FROM = "made_from.json"


RESERVED_EDITOR_NAMES = frozenset(map(str, RunEntry))
"""Names that an editor cannot have, because its folder would lie in their place."""


SERVERS = Path("results/servers")
"""Has a folder for each reward server."""


def server_lock(folder: Path) -> Path:
    """Return the lock file of a reward server."""
    return folder / ".lock"


FLEETS = Path("results/fleets")
"""Has a folder for each fleet of model servers."""


class FleetPaths:
    """What a fleet keeps in `results/fleets/<fleet>/`. Several machines share the folder; each has a name in it."""

    def __init__(self, fleet: str) -> None:
        self.folder = FLEETS / fleet
        self.nodes = self.folder / "nodes"
        """Has the state of each machine's supervisor."""
        self.accounts = self.folder / "accounts"
        """Has a file for each process that asks the fleet."""
        self.adapters = self.folder / "adapters"
        """Has a copy of every adapter, by its name and its fingerprint."""
        self.wishes = self.folder / "wishes"
        """Has what the supervisors were asked to do, and their answers."""
        self.logs = self.folder / "logs"

    def state(self, node: str) -> Path:
        """Return the state file of a machine's supervisor."""
        return self.nodes / f"{node}.json"

    def lock(self, node: str) -> Path:
        """Return the lock file of a machine's supervisor, which holds its process id."""
        return self.nodes / f"{node}.lock"

    def sessions(self, node: str) -> Path:
        """Return the file of the sessions that a machine's supervisor started."""
        return self.nodes / f"{node}.sessions"


class LaneId(NamedTuple):
    """One lane of an editor, or of a judge, which judges the edits of all editors."""

    stage: str
    """EDIT, SCORE or COMPARE."""
    editor: str | None
    """None for a judge, except in heartbeats of older versions, whose judges had a process per editor."""
    judge: str | None
    """None in the stage EDIT."""
    number: int

    @property
    def writer(self) -> str:
        """The name under which this lane writes to its journal."""
        return f"lane{self.number}"

    def __str__(self) -> str:
        """Return `edit/EDITOR/NUMBER`, `score/JUDGE/NUMBER` or `compare/JUDGE/NUMBER`."""
        return "/".join(map(str, (*self.folders, self.number)))

    @property
    def folders(self) -> list[str]:
        """The names of the folders that what a lane leaves behind lies in."""
        return [name for name in (self.stage, self.editor, self.judge) if name is not None]


def all_lanes(editors: Iterable[str], judges: Sequence[str], lanes: int) -> Iterator[LaneId]:
    """Yield every lane of a run: those of each editor, then those of each judge."""
    for editor in editors:
        yield from (LaneId(EDIT, editor, None, number) for number in range(lanes))
    for judge in judges:
        yield from (LaneId(SCORE, None, judge, number) for number in range(lanes))


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The paths of one run.

    Methods that return `str` return paths relative to `run_dir`, as the tables hold them.
    """

    run_dir: Path

    @classmethod
    def of_run(cls, name: str) -> "RunPaths":
        """Return the paths of the run with this name, relative to the folder that snakemake runs in."""
        return cls(Path("results") / name)

    def __truediv__(self, name: str) -> Path:
        """Return a path in the run's folder."""
        return self.run_dir / name

    @property
    def lock(self) -> Path:
        return self / ".lock"

    def has_begun(self) -> bool:
        """Return whether the folder holds something that every run begins with."""
        begins = (RunEntry.ITEMS, RunEntry.SHARDS, RunEntry.HEARTBEATS, RunEntry.JOURNAL, RunEntry.LOGS)
        return self.lock.exists() or any((self / name).exists() for name in begins)

    @property
    def items(self) -> Path:
        return self / RunEntry.ITEMS

    @property
    def given(self) -> Path:
        """The edits of the editors that have a folder of them for themselves."""
        return self / RunEntry.GIVEN

    @property
    def plan(self) -> Path:
        return self / RunEntry.PLAN

    @property
    def scores(self) -> Path:
        return self / RunEntry.SCORES

    @property
    def controls(self) -> Path:
        return self / RunEntry.CONTROLS

    @property
    def pairs(self) -> Path:
        """The arena's answers."""
        return self / RunEntry.PAIRS

    @property
    def costs(self) -> Path:
        return self / RunEntry.COSTS

    @property
    def logs(self) -> Path:
        return self / RunEntry.LOGS

    @property
    def last_words(self) -> Path:
        """The folder of what the commands of a run have to say when it ends."""
        return self.logs / "last_words"

    @property
    def heartbeats(self) -> Path:
        return self / RunEntry.HEARTBEATS

    @property
    def workflow_record(self) -> Path:
        return self.heartbeats / "workflow.json"

    @property
    def made_from(self) -> Path:
        """What the outputs were made from; see preflight/made_from.py."""
        return self / RunEntry.MADE_FROM

    def built(self, name: str) -> Path:
        """Return the mark that a folder which runs share has been built; each run has its own mark.

        The folders are no outputs of the rules, because Snakemake deletes outputs before it makes them.
        """
        return self / RunEntry.BUILT / name

    def report_pages(self) -> tuple[Path, Path]:
        """Return where the HTML of the report and of the partial report lies."""
        return self / RunEntry.REPORT / "report.html", self / RunEntry.PARTIAL_REPORT / "report.html"

    def source(self, sha256: str, suffix: str) -> str:
        """Return where the original bytes of an image are kept; `suffix` without a dot."""
        return f"{RunEntry.SOURCES}/{sha256[:2]}/{sha256}.{suffix}"

    def image(self, editor: str, category: str, item_id: str) -> str:
        """Return where the edit of an item is kept."""
        return f"{editor}/images/{category}/{item_id}.png"

    def images(self, editor: str) -> Path:
        """Return the folder that holds a folder of edits for each category."""
        return self / editor / "images"

    def shard(self, category: str, lane: int) -> Path:
        """Return the table of the items of one category in one lane."""
        return locate_shard(self / RunEntry.SHARDS, category, lane)

    def shard_categories(self) -> list[str]:
        """Return the categories that shards exist for, in order of their names."""
        return sorted(path.name for path in (self / RunEntry.SHARDS).glob("*"))

    def shards_of(self, category: str) -> Iterator[tuple[int, Path]]:
        """Yield the lane and the path of every shard of a category that exists."""
        for path in (self / RunEntry.SHARDS / category).glob("lane*.parquet"):
            number = path.stem.removeprefix("lane")
            if number.isdecimal():
                yield int(number), path

    def edits(self, editor: str, category: str, lane: int) -> Path:
        """Return the edits table of a shard."""
        return self / editor / "edits" / category / _table(lane)

    def all_edits(self) -> list[Path]:
        """Return the edits tables that exist, of all editors, categories and lanes."""
        return sorted(self.run_dir.glob("*/edits/*/lane*.parquet"))

    def lane_scores(self, editor: str, judge: str, category: str, lane: int) -> Path:
        """Return the scores table of a shard."""
        return self / editor / "scores" / judge / category / _table(lane)

    def lane_controls(self, editor: str, judge: str, lane: int) -> Path:
        """Return the controls table of a lane."""
        return self / editor / "controls" / judge / _table(lane)

    def pair_plan(self, judge: str, round_number: int) -> Path:
        """Return the plan of a judge's round of the arena, counted from 1."""
        return self / RunEntry.ARENA / judge / f"round{round_number}" / "plan.parquet"

    def lane_pairs(self, judge: str, round_number: int, lane: int) -> Path:
        """Return the table of one lane's answers in a round of the arena."""
        return self / RunEntry.ARENA / judge / f"round{round_number}" / _table(lane)

    def all_lane_pairs(self, judge: str) -> list[Path]:
        """Return the tables of a judge's answers in the arena that exist, of all rounds and lanes."""
        return sorted((self / RunEntry.ARENA / judge).glob("round*/lane*.parquet"))

    def lane_preservation(self, editor: str, lane: int) -> Path:
        """Return the preservation table of a lane."""
        return self / editor / "preservation" / _table(lane)

    def lane_tables(self, lane: LaneId, editors: Sequence[str], categories: Sequence[str]) -> list[Path]:
        """Return the tables of edits or scores that a lane writes once all of its items are done.

        None for a lane of the arena, whose tables are of its rounds.
        """
        if lane.stage == COMPARE:
            return []
        named = [lane.editor] if lane.editor is not None else editors
        places = [(editor, category) for editor in named for category in categories]
        if lane.judge is None:
            return [self.edits(*place, lane.number) for place in places]
        return [self.lane_scores(editor, lane.judge, category, lane.number) for editor, category in places]

    def editors_with_edits(self) -> list[str]:
        """Return the editors that have a folder for their edits, in order of their names."""
        return sorted(path.parent.name for path in self.run_dir.glob("*/edits"))

    def judges_with_scores(self) -> set[str]:
        """Return the judges that have a folder for their scores."""
        return {path.name for path in self.run_dir.glob("*/scores/*")}

    def sample_tables(self) -> list[Path]:
        """Return the merged tables and one table of edits per editor and category."""
        return [*self.run_dir.glob("*.parquet"), *self.run_dir.glob(f"*/edits/*/{_table(0)}")]

    def all_tables(self) -> Iterator[Path]:
        """Yield every table of the run that exists, without a walk through its images."""
        of_lanes = ("*/edits/*/*", "*/scores/*/*/*", "*/controls/*/*", "*/preservation/*", f"{RunEntry.ARENA}/*/*/*")
        for pattern in ("*", f"{RunEntry.SHARDS}/*/*", *of_lanes):
            yield from self.run_dir.glob(f"{pattern}.parquet")

    def all_outputs(self) -> Iterator[Path]:
        """Yield every table of the run that exists, and the files of its report."""
        yield from self.all_tables()
        yield from (self / RunEntry.REPORT).glob("report.*")

    def journal(self, editor: str, judge: str | None = None) -> Path:
        """Return the folder of an editor's journal, or of a judge's journal about its edits."""
        stage = EDIT if judge is None else SCORE
        return (self / RunEntry.JOURNAL / stage).joinpath(editor, *([judge] if judge is not None else []))

    def requests(self, editor: str, editor_key: str) -> Path:
        """Return the folder in which the lanes of an editor on a server, with these settings, count their requests."""
        return self.journal(editor) / "requests" / editor_key

    def judge_requests(self, judge: str) -> Path:
        """Return the folder in which the lanes of a judge on a server count their requests, the arena's included."""
        return self / RunEntry.JOURNAL / "requests" / judge

    def pair_journal(self, judge: str) -> Path:
        """Return the folder of a judge's journal about pairs of edits."""
        return self / RunEntry.JOURNAL / COMPARE / judge

    def judge_journals(self, judge: str) -> list[Path]:
        """Return the journals of a judge about the edits of every editor."""
        return sorted(folder / judge for folder in (self / RunEntry.JOURNAL / SCORE).glob("*"))

    def heartbeat(self, lane: LaneId, attempt: int) -> Path:
        """Return the heartbeat file of one process of a lane; `attempt` counts from 1."""
        return self._heartbeats_of(lane) / f"lane{lane.number}.{attempt}.json"

    def last_attempt(self, lane: LaneId) -> int:
        """Return the highest attempt of which a lane has a heartbeat file; 0 if it has none."""
        names = (path.name.split(".")[-2] for path in self._heartbeats_of(lane).glob(f"lane{lane.number}.*.json"))
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def partial_heartbeats(self, lane: LaneId) -> list[Path]:
        """Return the heartbeat files of a lane that are half written."""
        return list(self._heartbeats_of(lane).glob(f"lane{lane.number}.*.json.partial"))

    def permanent_error(self, lane: LaneId) -> Path:
        """Return the note of an error that comes again in this workflow; see lanes/permanent_errors.py."""
        return self._heartbeats_of(lane) / f"lane{lane.number}.permanent_error"

    def all_heartbeats(self) -> Iterator[Path]:
        """Yield the heartbeat files of all lanes."""
        yield from self.heartbeats.rglob("lane*.json")

    def _heartbeats_of(self, lane: LaneId) -> Path:
        return self.heartbeats.joinpath(*lane.folders)

    def runs_beside(self) -> "list[RunPaths]":
        """Return the runs in the same folder of results, this one included.

        Those of other users may be private: everything inside of them raises PermissionError.
        """
        folders = sorted(self.run_dir.parent.glob("*"))
        return [RunPaths(one) for one in folders if os.path.isdir(one)]  # noqa: PTH112  Path's raises for a link there


def locate_count(requests: Path, lane: LaneId) -> Path:
    """Return the count of one lane's requests, inside of `RunPaths.requests` or `RunPaths.judge_requests`."""
    return requests / f"{lane.stage}.lane{lane.number}.count"


def list_counts(requests: Path) -> Iterator[tuple[str, int, Path]]:
    """Yield the stage, the lane and the path of every count of requests that exists in such a folder."""
    for path in requests.glob("*.lane*.count"):
        stage, _, number = path.stem.partition(".lane")
        if number.isdecimal():
            yield stage, int(number), path


def locate_shard(shards: Path, category: str, lane: int) -> Path:
    """Return the table of the items of one category in one lane, inside of a run's folder of shards."""
    return shards / category / _table(lane)


def _table(lane: int) -> str:
    return f"lane{lane}.parquet"
