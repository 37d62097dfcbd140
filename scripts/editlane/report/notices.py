"""Find the notices that a reader needs before the numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editlane.protocols.load import find_generally_judged
from editlane.report.cells import SMALL_P, format_p, format_percent, format_rate
from editlane.report.load import Report, get_record, list_models
from editlane.report.summary import is_low
from editlane.report.texts import Texts, load_texts
from editlane.report.trust import (
    explain_verdict,
    format_canary_difference,
    get_verdict,
    name_left_out,
    name_missed_controls,
)

SIZES = ("requested_width", "requested_height", "edited_width", "edited_height")
"""Columns of scores with the sizes that servers were asked for, and those of the edits."""

MANY_UNCHANGED = 0.05
"""A notice appears if the share of unchanged edits exceeds this with its whole interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    title: str
    lines: tuple[str, ...]
    severe: bool = True
    """False for a remark that does not affect the validity of the numbers."""


def find_notices(report: Report, *, min_coverage: float = 0.0, language: str = "en") -> list[Notice]:
    """Find all notices of a report, the most severe first."""
    t = load_texts(language)
    found = (
        _meaningless(report, t),
        _partial(report, t),
        *(_not_ranked(report, judge, t) for judge in report.judges),
        *(_panel_members(report, panel, t) for panel in report.numbers["provenance"].get("panels") or {}),
        _canary(report, t),
        _coverage(report, min_coverage, t),
        _unchanged(report, t),
        _seed_ignored(report, t),
        _no_seed(report, t),
        _other_size(report, t),
        _odd_ratings(report, t),
        _truncated(report, t),
        _unscored(report, t),
        _left_out(report, t),
        _unpinned(report, t),
        _language(report, t),
        _general_rubric(report, t),
        _sampled(report, t),
    )
    return sorted((notice for notice in found if notice), key=lambda notice: not notice.severe)


def list_made_up(models: Sequence[tuple[str, str, Any]]) -> dict[str, list[str]]:
    """List the editors and judges that are no real models: drawn by a program, of random weights, or without a model.

    `models`: as `list_models` returns them.

    In a worked example a judge compares edits with pictures of what was asked for; then given edits count as drawn.
    """
    compared = any((record.get("params") or {}).get("references") for _, _, record in models)
    return {
        "drawn": sorted(
            name for kind, name, record in models if compared and kind == "editor" and record.get("adapter") == "given"
        ),
        "random_weights": sorted(name for _, name, record in models if record.get("random_weights")),
        "no_model": sorted(name for _, name, record in models if record.get("adapter") == "fake"),
    }


def _meaningless(report: Report, t: Texts) -> Notice | None:
    return say_made_up(list_made_up(list_models(report)), t)


def say_made_up(named: Mapping[str, Sequence[str]], t: Texts) -> Notice | None:
    """Return what a reader has to know of models that are made up; None if there are none."""
    made_up = {kind: names for kind, names in named.items() if names}
    if not made_up:
        return None
    lines = tuple(t(f"notice.{kind}", names=t.join(names)) for kind, names in made_up.items())
    return Notice(title=t(f"notice.meaningless_{next(iter(made_up))}"), lines=lines)


def _partial(report: Report, t: Texts) -> Notice | None:
    missing, rows = report.numbers["missing"], report.numbers["rows"]
    if not missing:
        return None
    lines = []
    for editor, judge in report.cells:
        cell, who = report.numbers["editors"][editor][judge], {"editor": editor, "judge": judge}
        count, expected = cell["overall"]["missing"], cell["overall"]["n"]
        if count == expected:
            lines.append(t("notice.partial_all", n=expected, **who))
        elif count:
            parts = t.join(f"{name} {s['missing']}" for name, s in cell["categories"].items() if s["missing"])
            lines.append(t("notice.partial_some", count=count, expected=expected, parts=parts, **who))
    lines.append(t("notice.partial_finish"))
    return Notice(title=t("notice.partial", n=missing, expected=rows + missing), lines=tuple(lines))


def _not_ranked(report: Report, judge: str, t: Texts) -> Notice | None:
    verdict = get_verdict(report, judge)
    if verdict == "accepted":
        left_out = name_left_out(report, judge, t)
        line = t("notice.in_part_line", names=left_out)
        return Notice(title=t("notice.in_part", judge=judge), lines=(line,)) if left_out else None
    line = t(f"notice.{explain_verdict(report, judge)}_line", controls=name_missed_controls(report, judge, t))
    others = any(get_verdict(report, other) == "accepted" for other in report.judges)  # the result is by one of them
    return Notice(title=t(f"notice.{verdict}", judge=judge), lines=(line,), severe=not others)


def _panel_members(report: Report, panel: str, t: Texts) -> Notice | None:
    """Name the judges of an accepted panel that are not accepted themselves."""
    if panel not in report.judges or get_verdict(report, panel) != "accepted":
        return None
    members = report.numbers["provenance"]["panels"][panel]["judges"]
    names = [judge for judge in members if judge in report.judges and get_verdict(report, judge) == "not_accepted"]
    title = t("notice.panel_member", panel=panel, n=len(names), names=t.join(names))
    return Notice(title=title, lines=(t("notice.panel_member_line"),)) if names else None


def _canary(report: Report, t: Texts) -> Notice | None:
    lines = []
    for judge in report.judges:
        canary = report.numbers["canary"][judge]
        if canary and canary["moved"]:
            small = canary["p"] is not None and canary["p"] < SMALL_P
            line = t(
                "notice.canary_line_small" if small else "notice.canary_line",
                judge=judge,
                difference=format_canary_difference(canary),
                reference=canary["reference_run"],
                p=SMALL_P if small else format_p(canary["p"]),
                n=canary["n"],
            )
            lines.append(line)
    return Notice(title=t("notice.canary"), lines=tuple(lines)) if lines else None


def _coverage(report: Report, min_coverage: float, t: Texts) -> Notice | None:
    lines = []
    for editor, judge in report.cells:
        cell = report.numbers["editors"][editor][judge]
        named = {t("notice.coverage_overall"): cell["overall"]} | cell["categories"]
        low = [f"{name} {s['scored']}/{s['n']}" for name, s in named.items() if is_low(s, min_coverage)]
        if low:
            lines.append(t("notice.coverage_line", editor=editor, judge=judge, parts=t.join(low)))
    return Notice(title=t("notice.coverage", share=format_percent(min_coverage)), lines=tuple(lines)) if lines else None


def _unchanged(report: Report, t: Texts) -> Notice | None:
    lines = []
    for editor in report.editors:
        counts = [report.numbers["editors"][editor][judge]["overall"]["unchanged"] for judge in report.judges]
        most = max(counts, key=lambda unchanged: unchanged["n"])  # all judges judged the same edits
        if most["interval"] and most["interval"][0] > MANY_UNCHANGED:
            count, n = most["count"], most["n"]
            line = t(
                "notice.unchanged_line", editor=editor, count=count, n=n, rate=format_rate(count, n, most["interval"])
            )
            lines.append(line)
    return Notice(title=t("notice.unchanged"), lines=tuple(lines), severe=False) if lines else None


def _seed_ignored(report: Report, t: Texts) -> Notice | None:
    """Name the editors of which all samples of every item are the same picture."""
    seeds = report.numbers["seeds"]
    spreads = {name: list(of.values()) for name, of in seeds["editors"].items()} if seeds else {}
    ignoring = [
        name
        for name, of_judges in spreads.items()
        if any(one["items"] for one in of_judges) and all(one["equal_edits"] == one["items"] for one in of_judges)
    ]
    lines = tuple(t("notice.seed_ignored_line", editor=name) for name in ignoring)
    return Notice(title=t("notice.seed_ignored"), lines=lines, severe=False) if lines else None


def _no_seed(report: Report, t: Texts) -> Notice | None:
    """Name the editors on servers whose seed decides nothing, or that take none."""
    lines = []
    for editor in report.editors:
        edits = report.scores[report.scores["editor"] == editor].drop_duplicates("item_id")  # one row of each judge
        known = edits["seed_used"].dropna()
        count, n = int((~known).sum()), len(known)
        if count:
            lines.append(t("notice.no_seed_line", editor=editor, count=count, n=n))
    return Notice(title=t("notice.no_seed"), lines=tuple(lines), severe=False) if lines else None


def _other_size(report: Report, t: Texts) -> Notice | None:
    """Name the editors on servers whose edits have another size than was asked for, although the test had it."""
    lines = []
    for editor in report.editors:
        edits = report.scores[report.scores["editor"] == editor].drop_duplicates("item_id")  # one row of each judge
        asked = edits[edits["seed_used"].notna() & edits["requested_width"].notna()]
        came = asked[["edited_width", "edited_height"]].to_numpy()
        other = asked[(came != asked[["requested_width", "requested_height"]].to_numpy()).any(axis=1)]
        if len(other):
            first = {name: int(other.iloc[0][name]) for name in SIZES}
            lines.append(t("notice.other_size_line", editor=editor, count=len(other), n=len(asked), **first))
    return Notice(title=t("notice.other_size"), lines=tuple(lines), severe=False) if lines else None


def _odd_ratings(report: Report, t: Texts) -> Notice | None:
    """Say where the rated edits are no random sample of the run's, and which ratings are of other edits."""
    people = report.numbers["people"]
    if not people:
        return None
    lines = [t("notice.ratings_differ", judge=judge) for judge, one in people["sample"].items() if one["differs"]]
    if people["unrated_categories"]:
        lines.append(t("notice.ratings_lack", names=t.join(people["unrated_categories"])))
    if unused := sum((people["outdated"] | people["unknown"]).values()):
        lines.append(t("notice.ratings_unused", n=unused))
    return Notice(title=t("notice.ratings"), lines=tuple(lines), severe=bool(people["ratings"] == 0)) if lines else None


def _truncated(report: Report, t: Texts) -> Notice | None:
    lines = []
    for editor in report.editors:
        edits = report.scores[report.scores["editor"] == editor].drop_duplicates("item_id")  # one row of each judge
        known = edits["prompt_truncated"].dropna()
        count, n = int(known.sum()), len(known)
        if count:
            lines.append(t("notice.truncated_line", editor=editor, count=count, n=n, share=format_percent(count / n)))
    return Notice(title=t("notice.truncated"), lines=tuple(lines)) if lines else None


def _unscored(report: Report, t: Texts) -> Notice | None:
    lines = []
    for editor, judge in report.cells:
        overall = report.numbers["editors"][editor][judge]["overall"]
        if is_low(overall, 1.0):
            counts = {"scored": overall["scored"], "n": overall["n"]}
            lines.append(t("notice.unscored_line", editor=editor, judge=judge, **counts))
    return Notice(title=t("notice.unscored"), lines=tuple(lines), severe=False) if lines else None


def _left_out(report: Report, t: Texts) -> Notice | None:
    lines = []
    for judge in report.judges:
        overall = [one for one in report.numbers["comparisons"][judge] if one["category"] is None]
        most = max(overall, key=lambda one: one["left_out"], default=None)
        if most and most["left_out"]:
            counts = {"count": most["left_out"], "n": most["n"] + most["left_out"]}
            lines.append(t("notice.left_out_line", judge=judge, a=most["a"], b=most["b"], **counts))
    return Notice(title=t("notice.left_out"), lines=tuple(lines), severe=False) if lines else None


def _unpinned(report: Report, t: Texts) -> Notice | None:
    unpinned = [entry for entry in list_models(report) if entry[2].get("pinned") is False]
    named = [t(f"notice.unpinned_{kind}", name=name, model=record["model"]) for kind, name, record in unpinned]
    line = t("notice.full_stop", text=t.join(named))
    return Notice(title=t("notice.unpinned"), lines=(line,), severe=False) if named else None


def _language(report: Report, t: Texts) -> Notice | None:
    dataset = report.numbers["provenance"].get("dataset", {})
    count = dataset.get("fallback_language")
    if not count:
        return None
    title = t("notice.language", n=count, all=len(report.items), language=dataset["language"])
    return Notice(title=title, lines=(t("notice.language_line"),), severe=False)


def _sampled(report: Report, t: Texts) -> Notice | None:
    """Name the judges whose scores are read from replies, so that another reply may give another score."""
    found = {judge: one for judge, one in report.numbers["judge_answers"].items() if one["kind"] == "generate"}
    lines = tuple(t("notice.sampled_line", judge=judge, n=one["replies"]) for judge, one in found.items())
    return Notice(title=t("notice.sampled"), lines=lines, severe=False) if lines else None


def _general_rubric(report: Report, t: Texts) -> Notice | None:
    lines = []
    for judge in report.judges:
        protocol = get_record(report.numbers["provenance"], "judges", judge).get("protocol") or {}
        names = find_generally_judged(str(protocol.get("text", "")), report.categories)
        if names:
            lines.append(t("notice.general_rubric_line", judge=judge, names=t.join(names)))
    return Notice(title=t("notice.general_rubric"), lines=tuple(lines), severe=False) if lines else None
