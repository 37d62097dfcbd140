"""Read what a comparison needs of a finished run: its items, scores and controls, and its report."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from editlane.core import tables
from editlane.core.errors import UserError
from editlane.core.paths import RunPaths

ITEM_COLUMNS = ("item_id", "category", "instruction", "source_sha256", "description", "rationale")
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
    """ITEM_COLUMNS, one row per item. Missing texts are empty."""
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
        return list(self.report["acceptance"])

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
    made = tables.read_provenance(run.scores)
    if any(report["provenance"].get(kind) != made.get(kind) for kind in ("editors", "judges")):
        raise UserError(f"{report_file} is not the report of {run.scores}. Make it again: run the same command.")
    items = tables.read_frame(run.items, ITEM_COLUMNS)
    texts = ["instruction", "description", "rationale"]
    return FinishedRun(
        name=name,
        items=items.assign(**items[texts].fillna("").astype(str), category=items["category"].astype(str)),
        scores=_keep_scored(tables.read_frame(run.scores, SCORE_COLUMNS)),
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
        for kind, known in (("editors", report["editors"]), ("judges", report["acceptance"])):
            assert all(isinstance(report["provenance"][kind][name]["key"], str) for name in known)
        for judge, accepted in report["acceptance"].items():
            assert isinstance(report["provenance"]["judges"][judge]["protocol"]["sha256"], str)
            assert all(part in accepted for part in ("verdict", "categories", "editors"))
        assert all("device" in lane for lane in report["costs"]["lanes"]) and "missing" in report
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Check its rights.") from error
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError) as error:
        raise UserError(
            f"{path} is no report of this version. Make it again: delete it and run the same command."
        ) from error
    return report
