"""Put the comparison of runs into words: the head, the notices, and one sentence per difference."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editlane.report.cells import SMALL_P, format_interval, format_p, format_signed
from editlane.report.load import get_record
from editlane.report.notices import Notice, list_made_up, say_made_up
from editlane.report.runs.load import FinishedRun
from editlane.report.statements import BETTER, Statement
from editlane.report.summary import FEW, Fact
from editlane.report.texts import Texts

Numbers = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is said by one judge of one run against the reference."""

    run: str
    judge: str
    verdict: str
    """Why nothing is said; "" if the judge is accepted in both runs."""
    overall: tuple[Statement, ...]
    categories: tuple[Statement, ...]


def list_run_facts(numbers: Numbers, t: Texts) -> list[Fact]:
    """List the runs with what they hold, then how many items are shared."""
    facts = []
    for place, run in enumerate(numbers["runs"]):
        counted = t("facts.count_items", n=run["items"])
        contents = {name: _name_few(run[name], name, t) for name in ("editors", "judges")}
        label = t("runs.run" if place else "runs.reference")
        facts.append(
            Fact(label=label, name=run["name"], detail=t("runs.contents", items=counted, **contents), editor=place)
        )
    sizes = [run["items"] for run in numbers["runs"]]
    for one, of_run in zip(numbers["comparisons"], sizes[1:], strict=True):
        names = {"reference": numbers["reference"], "run": one["run"]}
        detail = t("runs.matched_of", all=sizes[0], of_run=of_run, **names)
        facts.append(Fact(label=t("runs.matched"), name=str(one["items"]["matched"]), detail=detail))
    return facts


def _name_few(names: Sequence[str], kind: str, t: Texts) -> str:
    """Return the names, or how many they are."""
    return t(f"runs.{kind}", names=t.join(names)) if len(names) <= FEW else t(f"facts.count_{kind}", n=len(names))


def find_run_notices(runs: Sequence[FinishedRun], numbers: Numbers, t: Texts) -> list[Notice]:
    """Find what a reader has to know before the differences, the most severe first."""
    found = list(_meaningless(runs, t))
    remarks: list[Notice] = []
    for one in numbers["comparisons"]:
        names = {"run": one["run"], "reference": numbers["reference"]}
        found += _nothing_in_common(numbers, one, names, t)
        found += (_not_compared(judge, names, t) for judge in one["not_compared"])
        found += _moved(one, names, t)
        remarks += _left_out(one["items"], names, t)
    return found + remarks


def _meaningless(runs: Sequence[FinishedRun], t: Texts) -> Iterator[Notice]:
    models = [
        (kind, name, get_record(run.report["provenance"], f"{kind}s", name))
        for run in runs
        for kind, names in (("editor", run.editors), ("judge", run.judges))
        for name in names
    ]
    named = {kind: sorted(set(names)) for kind, names in list_made_up(models).items()}
    if notice := say_made_up(named, t):
        yield notice


def _nothing_in_common(numbers: Numbers, one: Numbers, names: Mapping[str, str], t: Texts) -> Iterator[Notice]:
    if not one["items"]["matched"]:
        yield Notice(title=t("runs.notice.no_items", **names), lines=(t("runs.notice.no_items_line"),))
    if not one["judges"]:
        yield Notice(title=t("runs.notice.no_judge", **names), lines=())
    elif not any(judge["comparisons"] for judge in one["judges"]):
        yield Notice(title=t("runs.notice.no_editor", **names), lines=(t("runs.notice.no_editor_line", **names),))


def _not_compared(one: Numbers, names: Mapping[str, str], t: Texts) -> Notice:
    """Say why the scores of a judge are not subtracted."""
    if one["where"] != "both":
        lacking = names["run" if one["where"] == "reference" else "reference"]
        return Notice(title=t("runs.notice.absent", judge=one["judge"], run=lacking), lines=(), severe=False)
    lines = [
        t("runs.notice.another_line", setting=a["setting"], reference=a["reference"] or "–", run=a["run"] or "–")
        for a in one["differences"]
        if a["setting"] != "protocol.sha256"
    ]
    if any(a["setting"] == "protocol.sha256" for a in one["differences"]):
        lines.append(t("runs.notice.protocol_text"))
    title = t("runs.notice.another", judge=one["judge"], **names)
    return Notice(title=title, lines=tuple(lines) or (t("runs.notice.another_unknown"),))


def _moved(one: Numbers, names: Mapping[str, str], t: Texts) -> Iterator[Notice]:
    for judge in one["judges"]:
        lines = [
            t(
                "runs.notice.moved_line",
                kind=t(f"runs.drift.kind_{drift['kind']}"),
                difference=format_signed(drift["difference"]),
                interval=f" {format_interval(drift['interval'])}" if drift["interval"] else "",
                equal=drift["equal"],
                n=drift["n"],
            )
            for drift in judge["drift"]
            if drift["moved"]
        ]
        if lines:
            yield Notice(title=t("runs.notice.moved", judge=judge["judge"], **names), lines=tuple(lines))


def _left_out(items: Numbers, names: Mapping[str, str], t: Texts) -> Iterator[Notice]:
    lines = [
        t("runs.notice.doubled", name=names[side], n=items[f"doubled_{side}"])
        for side in ("reference", "run")
        if items[f"doubled_{side}"]
    ]
    if items["asked_otherwise"]:
        lines.append(t("runs.notice.asked_otherwise", n=items["asked_otherwise"], run=names["run"]))
    if lines:
        yield Notice(title=t("runs.notice.left_out", **names), lines=tuple(lines), severe=False)


def say_differences(numbers: Numbers, t: Texts) -> list[Said]:
    """Put the differences by each judge of each run into sentences."""
    return [
        _say(numbers, place, one, judge, t)
        for place, one in enumerate(numbers["comparisons"], start=1)
        for judge in one["judges"]
        if judge["comparisons"]
    ]


def name_judge(judge: Numbers, run: str, t: Texts) -> str:
    """Return the judge's name in the reference, with that in the run if it is another one."""
    name: str = judge["judge"]
    alias = judge["judge_in_run"]
    return name if alias == name else t("runs.judge_alias", judge=name, alias=alias, run=run)


def name_pair(row: Numbers, reference: str, t: Texts) -> str:
    """Return the editor's name in the run, with that in the reference if it is another one."""
    names: tuple[str, str] = (row["editor_in_run"], row["editor"])
    if names[0] == names[1]:
        return names[0]
    return t("runs.pair", editor_in_run=names[0], editor=names[1], reference=reference)


def _say(numbers: Numbers, place: int, one: Numbers, judge: Numbers, t: Texts) -> Said:
    names = {"run": one["run"], "reference": numbers["reference"]}
    doubted = [names[side] for side in ("reference", "run") if judge["acceptance"][side] != "accepted"]
    name = name_judge(judge, one["run"], t)
    rows = [] if doubted else sorted(judge["comparisons"], key=_rank_weakness)
    statements = [(row["category"], _state(row, place, names, t)) for row in rows]
    return Said(
        run=one["run"],
        judge=name,
        verdict=t("runs.said.not_accepted", judge=name, runs=t.join(doubted)) if doubted else "",
        overall=tuple(said for category, said in statements if category is None),
        categories=tuple(said for category, said in statements if category is not None),
    )


def _rank_weakness(row: Numbers) -> tuple[int, float, float]:
    """Return a sort key that puts the strongest statement first, as in a report."""
    order = (*BETTER, "drift", "prefers", "not_separable", "too_few", "no_common_items", "not_believed")
    p = row["p_holm"]
    return max(order.index(row["verdict"]), 1), 1.0 if p is None else p, -abs(row["difference"] or 0.0)


def _state(row: Numbers, place: int, names: Mapping[str, str], t: Texts) -> Statement:
    verdict, where = row["verdict"], "" if row["category"] is None else "_in"
    pair = name_pair(row, names["reference"], t)
    claim = t(f"runs.said.{verdict}{where}", pair=pair, **names, category=row["category"])
    winner = {BETTER[0]: place, BETTER[1]: 0}.get(verdict)
    return Statement(claim=claim, space=t("page.space"), evidence=_format_evidence(row, names, t), winner=winner)


def _format_evidence(row: Numbers, names: Mapping[str, str], t: Texts) -> str:
    """Format the difference run - reference with its interval, p and n, and what is not in it."""
    p = row["p_holm"]
    values = {
        "difference": format_signed(row["difference"]),
        "interval": f" {format_interval(row['interval'])}" if row["interval"] else "",
        "n": row["n"],
    }
    if row["difference"] is None:
        said = t("said.no_common_evidence")
    elif p is None:
        said = t("said.evidence_without_p", **values)
    else:
        said = t(
            "said.evidence", **values, p=t("said.p_small", p=SMALL_P) if p < SMALL_P else t("said.p", p=format_p(p))
        )
    failed = row["not_scored"]
    if failed["run"] or failed["reference"]:
        said += t("runs.said.failed", of_run=failed["run"], of_reference=failed["reference"], **names)
    return said + (t("runs.said.same_edits", n=row["same_edits"]) if row["same_edits"] else "")
