"""Make reports with chosen numbers, in the form of report.json."""

import string
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from editlane.core.types import State
from editlane.lanes.costs import add_up
from editlane.report.load import Report
from editlane.report.numbers import compute_costs

CATEGORIES = ("物理", "因果")


def spread(mean: float | None = 6.0, *, n: int = 50, scored: int | None = None, **more: Any) -> dict[str, Any]:
    """Make the scores of one editor by one judge in one category."""
    scored = (n if mean is not None else 0) if scored is None else scored
    interval = None if mean is None else [mean - 0.5, mean + 0.5]
    return {
        "n": n,
        "scored": scored,
        "clusters": scored,
        "mean": mean,
        "interval": interval,
        "std": None if mean is None else 1.0,
        "median": mean,
        "min": mean,
        "max": mean,
        "coverage": scored / n if n else None,
        "bounds": [0.0, 10.0] if n else None,
        "states": dict.fromkeys(map(str, State), 0) | {"scored": scored, "edit_failed": n - scored},
        "missing": 0,
        "unchanged": {"count": 0, "n": scored, "interval": [0.0, 0.07] if scored else None},
    } | more


def cell(mean: float | None = 6.0, *, categories: Sequence[str] = CATEGORIES, **more: Any) -> dict[str, Any]:
    """Make the scores of one editor by one judge, equal in all categories."""
    counted = 0 if mean is None else len(categories)
    interval = None if mean is None else [mean - 0.4, mean + 0.4]
    return {
        "overall": spread(mean, n=50 * len(categories)),
        "macro": {"mean": mean, "interval": interval, "categories": counted, "of": len(categories)},
        "categories": {category: spread(mean) for category in categories},
        "criteria": {},
        "errors": {},
        "legacy": None,
    } | more


def comparison(a: str, b: str, category: str | None = None, **more: Any) -> dict[str, Any]:
    """Make a comparison: not separable by default. Without items left out, its bounds are the difference itself."""
    found = {
        "a": a,
        "b": b,
        "category": category,
        "n": 50,
        "left_out": 0,
        "clusters": 50,
        "difference": 0.1,
        "interval": [-0.5, 0.7],
        "p": 0.4,
        "p_holm": 0.8,
        "detectable": 1.2,
        "verdict": "not_separable",
    } | more
    return {"bounds": [found["difference"]] * 2} | found


def better(a: str, b: str, category: str | None = None, **more: Any) -> dict[str, Any]:
    """Make a comparison in which a is better than b by 0.8."""
    found = {"difference": 0.8, "interval": [0.3, 1.3], "p": 0.004, "verdict": "a_better"}
    return comparison(a, b, category, **found | {"p_holm": 0.02} | more)


def acceptance(verdict: str = "accepted", **more: Any) -> dict[str, Any]:
    """Make the acceptance of a judge that tells all controls apart, unless it was not tested.

    It is believed in five categories, and of every editor whose name is one letter.
    """
    told = {"n": 20, "scored": 20, "mean": 1.0, "missed": 1, "interval": [0.01, 0.24], "chance": 0.3, "p": 0.001}
    told["verdict"] = "told_apart"
    controls = ("source_as_edit", "other_instruction", "blank_edit", "swapped", "degraded", "together")
    categories = (*CATEGORIES, "环境", "社会", "指代")
    parts = {"categories": categories, "editors": string.ascii_letters, "controls": controls}
    found = {name: {} if verdict == "not_tested" else dict.fromkeys(names, told) for name, names in parts.items()}
    found |= {"verdict": verdict, "reasons": [], "too_few": [], "calls": 20, "share": 0.1}
    found["real"] = {"scored": 196, "mean": 6.4, "unsure": 0}
    return found | more


def made_costs(editors: Sequence[str], lanes: int, **more: Any) -> dict[str, Any]:
    """Make the costs of some editors and the judge `j`: 40 minutes of a GPU for every lane."""
    spent = {"attempts": 1, "died": 0, "items": 200, "load_seconds": 60.0, "busy_seconds": 2300.0, "idle_seconds": 40.0}
    spent |= {"imports_seconds": 20.0, "reading_seconds": 15.0, "transfer_seconds": 10.0, "warmup_seconds": 5.0}
    spent |= {"input_seconds": 12.0, "output_seconds": 8.0, "lost_seconds": 0.0}
    spent |= {"held_seconds": 2400.0, "gpu_hours": 2400 / 3600, "peak_memory": 60 * 2**30}
    place = {"device": "NVIDIA H200 (GPU-8c5f1b7e-1b2c-3d4e-5f60-718293a4b5c6)", "host": "node-1.cluster.example"}
    rows = [
        {"stage": "score" if judge else "edit", "editor": editor, "judge": judge, "lane": lane} | spent | place | more
        for editor, judge in [*((editor, None) for editor in editors), (None, "j")]
        for lane in range(lanes)
    ]
    return compute_costs([row | add_up([row]) for row in rows])


def _make_items(categories: Sequence[str]) -> pd.DataFrame:
    names = [category for category in categories for _ in range(50)]
    ids = [f"item-{place}" for place in range(len(names))]
    return pd.DataFrame({"item_id": ids, "category": names, "source_sha256": ids})


def made_report(
    cells: Mapping[str, Mapping[str, Any]] | None = None,
    comparisons: Sequence[Mapping[str, Any]] = (),
    accepted: Mapping[str, Any] | None = None,
    categories: Sequence[str] = CATEGORIES,
    scores: pd.DataFrame | None = None,
    items: pd.DataFrame | None = None,
    **more: Any,
) -> Report:
    """Make a report of one judge, `j`, from `cells` by editor."""
    cells = cells if cells is not None else {"A": cell(6.8), "B": cell(6.0)}
    items = _make_items(categories) if items is None else items
    if scores is None:
        columns = ["item_id", "item", "category", "editor", "judge", "state", "error_kind", "error", "score"]
        columns.append("prompt_truncated")
        scores = pd.DataFrame(columns=columns)
    if "requested_width" not in scores:
        sizes = ("requested_width", "requested_height", "edited_width", "edited_height")
        scores = scores.assign(**dict.fromkeys(sizes))
    if "seed_used" not in scores:
        scores = scores.assign(seed_used=pd.array([None] * len(scores), dtype="boolean"))
    numbers = {
        "run": "made",
        "items": len(items),
        "rows": len(items) * len(cells),
        "missing": 0,
        "editors": {editor: {"j": of_editor} for editor, of_editor in cells.items()},
        "comparisons": {"j": list(comparisons)},
        "failures_as_zero": {"j": None},
        "acceptance": {"j": accepted or acceptance()},
        "preferences": {"j": []},
        "noise": {"j": None},
        "judge_answers": {"j": {"definition_version": 1, "kind": None, "replies": None}},
        "seeds": None,
        "canary": {"j": None},
        "judges_together": [],
        "people": None,
        "preservation": {editor: {} for editor in cells},
        "costs": {"stages": [], "lanes": [], "total": {"attempts": 0}},
        "provenance": {},
    }
    return Report(
        numbers=numbers | more,
        items=items,
        scores=scores,
        editors=list(cells),
        judges=["j"],
        categories=list(categories),
        criteria=[],
        baseline=None,
    )
