"""Read what a comparison needs of a finished run: its items, scores and controls, and its report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from editlane.core import tables
from editlane.core.errors import UserError
from editlane.core.paths import RunPaths
from editlane.report.load import list_references

ITEM_COLUMNS = (
    "item_id",
    "category",
    "instruction",
    "source_sha256",
    "description",
    "rationale",
    "sample_of",
    "references",
)
SCORE_COLUMNS = (
    *("item_id", "editor", "judge", "state", "score", "instruction", "source_sha256", "edited_sha256"),
    *("editor_key", "judge_key"),
)
CONTROL_COLUMNS = (*SCORE_COLUMNS, "control", "repeat")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """One run that has its report."""

    name: str
    """The name of its folder; a second one of this name is told apart by a number."""
    items: pd.DataFrame
    """ITEM_COLUMNS and `sample`, one row per item. Missing texts are empty. `sample`: 0 for an item, 1 and on for its
    further samples. `references`: the SHA-256 of each further image, with spaces between them."""
    scores: pd.DataFrame
    """SCORE_COLUMNS, one row per item, editor and judge. A row that is not `scored` has no score."""
    controls: pd.DataFrame
    """CONTROL_COLUMNS; no row if the run asked no control."""
    report: dict[str, Any]
    """The object of report.json."""

    @property
    def editors(self) -> list[str]:
        return list(self.report["editors"])

    @property
    def judges(self) -> list[str]:
        """The judges that were asked. Panels are left out: they hold nothing but the scores of these."""
        return _list_asked(self.report)

    def get_record(self, kind: str, name: str) -> dict[str, Any]:
        """Return how one of the `editors` or `judges` was made."""
        found: dict[str, Any] = self.report["provenance"][kind][name]
        return found


def load_runs(folders: Sequence[Path]) -> list[FinishedRun]:
    """Read the runs in these folders. Raises UserError if one is given twice, not finished, or of an older version."""
    if len(folders) < 2:
        raise UserError("Only one run is given. Name the folders of two or more finished runs.")
    places: dict[Path, Path] = {}
    for folder in folders:
        if folder.resolve() in places:
            raise UserError(f"{folder} and {places[folder.resolve()]} are the same run. Name each run once.")
        places[folder.resolve()] = folder
    names = [folder.resolve().name for folder in folders]
    counts = [names[:place].count(name) for place, name in enumerate(names)]
    named = [f"{name} ({count + 1})" if count else name for name, count in zip(names, counts, strict=True)]
    return [_load_run(folder, name) for folder, name in zip(folders, named, strict=True)]


def _load_run(folder: Path, name: str) -> FinishedRun:
    run = RunPaths(folder)
    report_file = run.report_pages()[0].with_suffix(".json")
    lacking = [path for path in (run.items, run.scores, report_file) if not path.is_file()]
    if lacking:
        raise UserError(
            f"{folder} is no finished run: there is no {lacking[0].relative_to(folder)}. Name the folder results/<run> "
            "of a run that has its report."
        )
    report = _read_report(report_file)
    if report["missing"]:
        raise UserError(
            f"{folder} is no finished run: its report lacks {report['missing']} rows. Finish the run first."
        )
    items, scores = tables.read_frame(run.items, ITEM_COLUMNS), tables.read_frame(run.scores, SCORE_COLUMNS)
    made, told = tables.read_provenance(run.scores), report["provenance"]
    is_of_tables = all(told.get(kind) == made.get(kind) for kind in ("editors", "judges"))
    if not is_of_tables or report["rows"] != len(scores) or set(items["item_id"]) != set(scores["item_id"]):
        raise UserError(
            f"{report_file} is not the report of the tables {run.scores} and {run.items}. Make it again: delete it and "
            "run the same command."
        )
    texts = ["instruction", "description", "rationale"]
    return FinishedRun(
        name=name,
        items=items.assign(
            **items[texts].fillna("").astype(str),
            category=items["category"].astype(str),
            references=[" ".join(one["sha256"] for one in references) for references in list_references(items)],
            sample=items.groupby(items["sample_of"].fillna(items["item_id"])).cumcount(),
        ),
        scores=_keep_scored(scores),
        controls=_keep_scored(tables.read_frame(run.controls, CONTROL_COLUMNS))
        if run.controls.is_file()
        else pd.DataFrame(columns=list(CONTROL_COLUMNS)),
        report=report,
    )


def _keep_scored(rows: pd.DataFrame) -> pd.DataFrame:
    texts = dict.fromkeys(("editor", "judge", "state"), str)
    return rows.assign(score=rows["score"].where(rows["state"] == "scored")).astype(texts)


def _read_report(path: Path) -> dict[str, Any]:
    """Read report.json. Raises UserError if it is not what this version writes."""
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        is_known = _is_of_this_version(report)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Check its rights.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_known = False
    if not is_known:
        raise UserError(f"{path} is no report of this version. Make it again: delete it and run the same command.")
    return report


def _is_of_this_version(report: dict[str, Any]) -> bool:
    """Return whether a report has what a comparison reads of it. May raise KeyError, TypeError, AttributeError."""
    made, accepted, judges = report["provenance"], report["acceptance"], _list_asked(report)
    keys = [
        made[kind][name]["key"]
        for kind, names in (("editors", report["editors"]), ("judges", judges))
        for name in names
    ]
    protocols = [made["judges"][judge]["protocol"]["sha256"] for judge in judges]
    counts = [report["missing"], report["rows"]]
    return (
        all(isinstance(text, str) for text in [*keys, *protocols])
        and all(isinstance(count, int) for count in counts)
        and all(part in one for one in accepted.values() for part in ("verdict", "categories", "editors"))
        and all("device" in lane for lane in report["costs"]["lanes"])
    )


def _list_asked(report: Mapping[str, Any]) -> list[str]:
    panels = report["provenance"].get("panels") or {}
    return [judge for judge in report["acceptance"] if judge not in panels]
