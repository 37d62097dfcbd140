"""Make rows of full-precision numbers from the object of report.json, one fact per column, for further analysis."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Numbers = Mapping[str, Any]
Record = dict[str, Any]

COUNTS = ("n", "scored", "clusters", "coverage")
SPREAD = (*COUNTS, "mean", "low", "high", "std", "median", "min", "max", "bound_low", "bound_high")
PAIR = ("n", "left_out", "clusters", "difference", "low", "high", "p", "p_holm", "bound_low", "bound_high")


class Tidy(NamedTuple):
    """A table of records."""

    columns: tuple[str, ...]
    records: list[Record]


def make_tidy_tables(numbers: Numbers) -> dict[str, Tidy]:
    """Make the tables by name. Those without records are left out, but never `headline` and `categories`."""
    headline = (
        *("editor", "judge", "acceptance", "n", "scored", "coverage", "mean", "low", "high", "categories"),
        *("of_categories", "best_rank", "worst_rank", "micro_mean", "micro_low", "micro_high", "std"),
        *("unchanged", "unchanged_of"),
    )
    names = ("editor", "judge")
    tables = {
        "headline": Tidy(headline, [_make_headline(*cell, numbers) for cell in _list_cells(numbers)]),
        "categories": Tidy((*names, "category", *SPREAD), list(_spread_of(numbers, "categories", "category"))),
        "criteria": Tidy((*names, "criterion", *SPREAD), list(_spread_of(numbers, "criteria", "criterion"))),
        "comparisons": Tidy(
            ("judge", "acceptance", "category", "editor_a", "editor_b", *PAIR, "detectable", "verdict"),
            list(_list_comparisons(numbers)),
        ),
        "breakdowns": Tidy(("judge", "by", "value", "editor", *SPREAD, "too_few"), list(_list_breakdowns(numbers))),
        "chains": Tidy(("editor", "chains", "whole", "rate", "low", "high"), list(_list_chains(numbers))),
        "win_rates": Tidy(
            (
                *("judge", "editor_a", "editor_b", "n", "clusters", "wins_a", "ties", "wins_b"),
                *("win_rate_a", "low", "high"),
            ),
            list(_list_win_rates(numbers)),
        ),
        "speed": Tidy(("editor", "n", "clusters", "seconds", "low", "high", "devices"), list(_list_speeds(numbers))),
    }
    return {name: tidy for name, tidy in tables.items() if tidy.records or name in ("headline", "categories")}


def _list_cells(numbers: Numbers) -> Iterator[tuple[str, str, Numbers]]:
    for editor, by_judge in numbers["editors"].items():
        for judge, cell in by_judge.items():
            yield editor, judge, cell


def _make_headline(editor: str, judge: str, cell: Numbers, numbers: Numbers) -> Record:
    overall, macro, unchanged = cell["overall"], cell["macro"], cell["overall"]["unchanged"]
    micro = split_interval(overall["interval"], "micro_low", "micro_high")
    best, worst = numbers.get("ranks", {}).get(judge, {}).get(editor) or (None, None)
    return {
        "editor": editor,
        "judge": judge,
        "acceptance": numbers["acceptance"][judge]["verdict"],
        **{name: overall[name] for name in ("n", "scored", "coverage", "std")},
        "mean": macro["mean"],
        **split_interval(macro["interval"]),
        "categories": macro["categories"],
        "of_categories": macro["of"],
        "best_rank": best,
        "worst_rank": worst,
        "micro_mean": overall["mean"],
        **micro,
        "unchanged": unchanged["count"],
        "unchanged_of": unchanged["n"],
    }


def _spread_of(numbers: Numbers, kind: str, column: str) -> Iterator[Record]:
    for editor, judge, cell in _list_cells(numbers):
        for name, spread in cell[kind].items():
            yield {"editor": editor, "judge": judge, column: name} | _split_spread(spread)


def _split_spread(spread: Numbers) -> Record:
    bounds = split_interval(spread["bounds"], "bound_low", "bound_high")
    return dict(spread) | split_interval(spread["interval"]) | bounds


def split_interval(interval: Sequence[float] | None, low: str = "low", high: str = "high") -> Record:
    """Return the ends of an interval under two names, None without one."""
    ends = (None, None) if interval is None else interval
    return dict(zip((low, high), ends, strict=True))


def _list_comparisons(numbers: Numbers) -> Iterator[Record]:
    for judge, comparisons in numbers["comparisons"].items():
        acceptance = numbers["acceptance"][judge]["verdict"]
        for one in comparisons:
            names = {"judge": judge, "acceptance": acceptance, "editor_a": one["a"], "editor_b": one["b"]}
            bounds = split_interval(one["bounds"], "bound_low", "bound_high")
            yield dict(one) | names | split_interval(one["interval"]) | bounds


def _list_breakdowns(numbers: Numbers) -> Iterator[Record]:
    for by, found in numbers.get("breakdowns", {}).items():
        for judge, values in found["judges"].items() if by != "definition_version" else ():
            for value, editors in values.items():
                for editor, spread in editors.items():
                    yield {"judge": judge, "by": by, "value": value, "editor": editor} | _split_spread(spread)


def _list_chains(numbers: Numbers) -> Iterator[Record]:
    for editor, one in (numbers.get("chains") or {"editors": {}})["editors"].items():
        rate = one["count"] / one["n"] if one["n"] else None
        yield {"editor": editor, "chains": one["n"], "whole": one["count"], "rate": rate} | split_interval(
            one["interval"]
        )


def _list_win_rates(numbers: Numbers) -> Iterator[Record]:
    for judge, pairs in numbers.get("win_rates", {}).get("judges", {}).items():
        for one in pairs:
            yield {
                "judge": judge,
                "editor_a": one["a"],
                "editor_b": one["b"],
                **{name: one[name] for name in ("n", "clusters", "ties")},
                "wins_a": one["wins"],
                "wins_b": one["losses"],
                "win_rate_a": one["rate"],
                **split_interval(one["interval"]),
            }


def _list_speeds(numbers: Numbers) -> Iterator[Record]:
    for editor, one in numbers.get("speed", {}).get("editors", {}).items():
        ends = split_interval(one["interval"])
        devices = "; ".join(one["devices"])
        yield (
            {"editor": editor, "n": one["n"], "clusters": one["clusters"], "seconds": one["mean"]}
            | ends
            | {"devices": devices}
        )
