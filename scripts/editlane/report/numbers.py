"""Compute the object of report.json from the tables of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from editlane.core.schemas import criterion_columns
from editlane.core.types import ACCEPTANCE, SCALE, Control, State
from editlane.lanes.costs import add_up, busy_share, largest_loss, time_parts
from editlane.report.answer_kinds import compute_answer_kinds
from editlane.report.arena import compute_arena
from editlane.report.belief import list_believed, withhold
from editlane.report.breakdowns import compute_explorations, list_made_elsewhere
from editlane.report.chains import compute_chains
from editlane.report.division import compute_editors_together
from editlane.report.judges_together import compute_judges_together
from editlane.report.people_ratings import compute_people_ratings
from editlane.report.preserved import summarise_preservation
from editlane.report.rated import Rated
from editlane.report.seeds import compute_seeds
from editlane.report.steadiness import compare_own_canary, measure_own_noise
from editlane.stats.acceptance import ASKED, accept
from editlane.stats.comparisons import compare_all
from editlane.stats.intervals import macro_interval, rate_interval
from editlane.stats.legacy import summarise_legacy
from editlane.stats.preference import measure_preferences
from editlane.stats.summaries import check_rows, count_error_kinds, summarise, summarise_scores

STAGE = ("stage", "editor", "judge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The tables of a run, as data frames."""

    scores: pd.DataFrame
    items: pd.DataFrame
    controls: pd.DataFrame | None
    preservation: pd.DataFrame | None
    earlier: Sequence[tuple[str, pd.DataFrame]]
    """(run, its controls), the oldest first, for the comparison of the canaries."""
    costs: Sequence[Mapping[str, Any]] = ()
    """The rows of the costs table."""
    pairs: pd.DataFrame | None = None
    """The answers of pairwise judges."""
    votes: pd.DataFrame | None = None
    """People's votes on pairs; see `compute_people`."""
    rated: Rated | None = None
    """People's ratings; None if none were given."""


def compute_numbers(
    inputs: Inputs,
    editors: Sequence[str],
    judges: Sequence[str],
    *,
    run: str,
    criteria: Sequence[str] = (),
    categories: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compute the object of `report.json`. A complete run has `rows` = items x editors x judges and `missing` = 0.

    Categories come in the given order, followed by those of other items. Each judge has those `criteria` that it
    answered for any editor. Raises UserError if rows are duplicated, belong to no item, editor or judge of the run, or
    have a score that contradicts their state.
    """
    items, scores = inputs.items, inputs.scores
    check_rows(scores, items, editors, judges)
    counts = items["category"].astype(str).value_counts()
    sizes = {name: int(counts.get(name, 0)) for name in dict.fromkeys([*categories, *items["category"]])}
    clustered, rows = _add_clusters(items, scores)
    by_judge = {judge: rows[rows["judge"] == judge] for judge in judges}
    controls = {judge: _controls(inputs, judge) for judge in judges}
    protocols = {judge: _get_protocol_name(provenance or {}, judge) for judge in judges}
    acceptance = {judge: _accept(of_judge, controls[judge]) for judge, of_judge in by_judge.items()}
    preferences = {judge: measure_preferences(of_judge, editors) for judge, of_judge in controls.items()}
    believed = {judge: list_believed(found, "categories", sizes) for judge, found in acceptance.items()}
    comparisons = {
        judge: compare_all(of, clustered, editors, list(sizes), believed[judge]) for judge, of in by_judge.items()
    }
    as_zero = {
        judge: _count_failures_as_zero(of, clustered, editors, sizes, believed[judge]) for judge, of in by_judge.items()
    }
    noise = {judge: measure_own_noise(of_judge, controls[judge]) for judge, of_judge in by_judge.items()}
    elsewhere = list_made_elsewhere(provenance or {})
    for judge in judges:
        withhold(comparisons[judge], acceptance[judge], preferences[judge])
        withhold((as_zero[judge] or {}).get("comparisons", ()), acceptance[judge], preferences[judge])
    cells = _compute_cells(editors, by_judge, sizes, criteria, controls, protocols, believed)
    return {
        "run": run,
        "items": len(items),
        "rows": len(scores),
        "missing": len(items) * len(editors) * len(judges) - len(scores),
        "editors": cells,
        "comparisons": comparisons,
        "failures_as_zero": as_zero,
        "acceptance": acceptance,
        "preferences": preferences,
        "noise": noise,
        "judge_answers": compute_answer_kinds(judges, provenance or {}),
        "chains": compute_chains(rows, clustered, editors),
        "seeds": compute_seeds(rows, clustered, editors, judges, noise),
        "judges_together": compute_judges_together(rows, editors, list(sizes), judges, provenance or {}, inputs.rated),
        "people": compute_people_ratings(rows, inputs.rated, editors, list(sizes), judges),
        "editors_together": {
            judge: compute_editors_together(of, editors, list(sizes), acceptance[judge], elsewhere)
            for judge, of in by_judge.items()
        },
        "arena": compute_arena(
            inputs.pairs, inputs.votes, clustered, scores, editors, list(sizes), (provenance or {}).get("arena", {})
        ),
        "canary": {judge: compare_own_canary(controls[judge], inputs.earlier) for judge in judges},
        "preservation": {editor: summarise_preservation(inputs.preservation, editor, sizes) for editor in editors},
        "costs": compute_costs(inputs.costs),
        "provenance": dict(provenance or {}),
    } | compute_explorations(rows, clustered, editors, acceptance, cells, provenance or {})


def _add_clusters(items: pd.DataFrame, scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add the columns `cluster`, the source image, and `first`, the item that a sample repeats, to both tables, and
    `readable` to the items.

    Scores of rows that are not scored become NaN.
    """
    unreadable = scores.loc[scores["state"] == State.SOURCE_UNREADABLE, "item_id"]
    clustered = items.assign(
        cluster=pd.factorize(items["source_sha256"])[0],
        first=items["sample_of"].fillna(items["item_id"]),
        readable=~items["item_id"].isin(unreadable.astype(str)),
    )
    known = clustered.set_index("item_id")
    rows = scores.assign(
        cluster=scores["item_id"].map(known["cluster"]).astype("int64"),
        first=scores["item_id"].map(known["first"]),
        score=scores["score"].where(scores["state"] == State.SCORED),
    )
    return clustered, rows


def _compute_cells(
    editors: Sequence[str],
    by_judge: Mapping[str, pd.DataFrame],
    sizes: Mapping[str, int],
    criteria: Sequence[str],
    controls: Mapping[str, pd.DataFrame],
    protocols: Mapping[str, str | None],
    believed: Mapping[str, Sequence[str]],
) -> dict[str, dict[str, Any]]:
    answered = {judge: _list_answered(of_judge, criteria) for judge, of_judge in by_judge.items()}

    def cell(editor: str, judge: str) -> dict[str, Any]:
        rows = by_judge[judge][by_judge[judge]["editor"] == editor]
        legacy = _compute_legacy(rows, sizes, controls[judge], protocols[judge])
        return _compute_cell(rows, sizes, answered[judge], believed[judge]) | {"legacy": legacy}

    return {editor: {judge: cell(editor, judge) for judge in by_judge} for editor in editors}


def _list_answered(rows: pd.DataFrame, criteria: Sequence[str]) -> list[str]:
    """List the criteria answered at least once in one judge's rows. The table has the criteria of all judges."""
    columns = {name: [column for column in criterion_columns(name)[:2] if column in rows] for name in criteria}
    return [name for name in criteria if rows[columns[name]].notna().to_numpy().any()]


def _compute_cell(
    rows: pd.DataFrame, sizes: Mapping[str, int], criteria: Sequence[str], believed: Sequence[str]
) -> dict[str, Any]:
    """Compute the numbers of one editor by one judge."""
    total = sum(sizes.values())
    in_category = {category: rows[rows["category"] == category] for category in sizes}
    scored = rows[rows["state"] == State.SCORED]
    return {
        "overall": summarise(rows, total),
        "macro": _compute_macro(scored, sizes, believed),
        "categories": {category: summarise(in_category[category], size) for category, size in sizes.items()},
        "criteria": {
            name: summarise_scores(scored[criterion_columns(name).score], scored["cluster"], total)
            | {"yes": _compute_yes_rate(scored, name)}
            for name in criteria
        },
        "errors": count_error_kinds(rows),
    }


def _compute_yes_rate(scored: pd.DataFrame, criterion: str) -> dict[str, Any] | None:
    """Compute how often the most likely answer is Yes. None unless the answers are Yes and No."""
    mode = criterion_columns(criterion).mode
    answers = scored[mode].dropna() if mode in scored else pd.Series(dtype=str)
    if answers.empty or not set(answers.unique()) <= {"Yes", "No"}:
        return None
    count = int((answers == "Yes").sum())
    return {"count": count, "n": len(answers), "interval": rate_interval(count, len(answers))}


def _compute_macro(scored: pd.DataFrame, sizes: Mapping[str, int], believed: Sequence[str]) -> dict[str, Any]:
    """Compute the mean of the means of the `believed` categories.

    The others, and categories without a score, are ignored, but counted in `of`.
    """
    scored = scored[scored["category"].isin(believed)]
    means = scored.groupby(scored["category"].astype(str))["score"].mean()
    values, clusters = scored["score"].to_numpy(dtype=np.float64), scored["cluster"].to_numpy()
    return {
        "mean": float(means.mean()) if len(means) else None,
        "interval": macro_interval(values, clusters, pd.factorize(scored["category"])[0], SCALE),
        "categories": len(means),
        "of": len(sizes),
    }


def _count_failures_as_zero(
    rows: pd.DataFrame,
    items: pd.DataFrame,
    editors: Sequence[str],
    sizes: Mapping[str, int],
    believed: Sequence[str],
) -> dict[str, Any] | None:
    """Compute macro means and comparisons as if edits that failed or were refused had got the lowest score.

    Return None if there are none.
    """
    failed = rows["state"].isin([State.EDIT_FAILED, State.EDIT_REFUSED])
    if not failed.any():
        return None
    counted = rows.assign(score=rows["score"].where(~failed, SCALE[0]))
    there = counted[counted["score"].notna()]
    return {
        "editors": {editor: _compute_macro(there[there["editor"] == editor], sizes, believed) for editor in editors},
        "failed": {editor: int((failed & (rows["editor"] == editor)).sum()) for editor in editors},
        "comparisons": compare_all(counted, items, editors, [], believed),
    }


def _get_protocol_name(provenance: Mapping[str, Any], judge: str) -> str | None:
    records = provenance.get("judges", {})
    protocol = records.get(judge, {}).get("protocol") if isinstance(records, Mapping) else None
    return protocol.get("name") if isinstance(protocol, Mapping) else None


def _compute_legacy(
    rows: pd.DataFrame, sizes: Mapping[str, int], controls: pd.DataFrame, protocol: str | None
) -> dict[str, Any] | None:
    """Compute the numbers that the original benchmark's rules would have printed, only for its protocol."""
    if protocol != "legacy":
        return None
    sources = controls[(controls["control"] == Control.SOURCE_AS_EDIT) & controls["score"].notna()]

    def source_score(of: pd.DataFrame) -> float | None:
        return float(of["score"].mean()) if len(of) else None

    return {
        "overall": summarise_legacy(rows, source_score(sources)),
        "categories": {
            category: summarise_legacy(
                rows[rows["category"] == category], source_score(sources[sources["category"] == category])
            )
            for category in sizes
        },
    }


def _controls(inputs: Inputs, judge: str) -> pd.DataFrame:
    """Return the controls of one judge, without rows if the run has none."""
    if inputs.controls is None:
        return inputs.scores.iloc[:0].assign(control=pd.Series(dtype=str), repeat=pd.Series(dtype=int))
    return inputs.controls[inputs.controls["judge"] == judge]


def _accept(rows: pd.DataFrame, controls: pd.DataFrame) -> dict[str, Any]:
    """Test the judge, ignoring unchanged edits, because these are the same as the control `source_as_edit`."""
    asked = rows[rows["state"].isin(ASKED)]
    changed = asked.assign(score=asked["score"].where(~asked["unchanged"].fillna(False).astype(bool)))
    return dict(accept(changed, controls[controls["control"].isin(list(map(str, ACCEPTANCE)))]))


def compute_costs(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the costs by stage, editor and judge, and in total, and find where most time was lost.

    Each sum has its seconds by `parts`, and the `busy_share` outside of loading. `lanes` counts those with work to do.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in STAGE), []).append(dict(row))
    stages = [
        dict(zip(STAGE, names, strict=True)) | {"lanes": sum(row["attempts"] > 0 for row in of)} | add_up(of)
        for names, of in groups.items()
    ]
    total = add_up(stages)
    sums = [one | {"parts": (parts := time_parts(one)), "busy_share": busy_share(parts)} for one in [*stages, total]]
    return {
        "stages": sums[:-1],
        "total": sums[-1],
        "largest_loss": largest_loss(sums[:-1]),
        "lanes": list(map(dict, rows)),
    }
