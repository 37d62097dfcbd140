"""How often judges that see are accepted, and judges that do not, on made-up scores of planned controls.

    python tests/bench/simulate_acceptance.py [--cases 100] [--seed 0] [--items 270] [--least 150]

The columns "before" are what the report used until 0.1.0: four kinds of control, and the interval of each one's AUC by
Brunner and Munzel above 0.5, over the whole dataset, at a tenth more questions.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.nonparametric import rank_compare_2indep

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from editlane.core.schemas import ITEMS
from editlane.core.tables import from_rows
from editlane.core.types import DEGRADED, SAME_FOR_ALL, WRONG, Control
from editlane.protocols.controls import plan_controls
from editlane.stats.acceptance import Acceptance, accept
from editlane.stats.preference import explains, measure_preferences

CATEGORIES = ["物理", "环境", "社会", "因果", "指代"]
PLANS = 10
"""Different plans of a dataset; planning takes longer than judging here."""

Rng = np.random.Generator
Judge = Callable[[Rng, pd.DataFrame], np.ndarray]
"""Scores rows with the columns item_id, category, editor, control ("" for an edit), edit (the score that the edit
deserves: 0..2 if it failed, else 4..10), deserved (that of the row) and brightness (0..1)."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset, and the controls that are planned for it."""

    items: int
    editors: int
    share: float
    least: int
    plans: list[pd.DataFrame] = field(default_factory=list)

    def get_plan(self, case: int) -> pd.DataFrame:
        while len(self.plans) <= case % PLANS:
            rows = [
                dict.fromkeys(ITEMS.names)
                | {
                    "item_id": f"{name}{n}",
                    "category": name,
                    "instruction": f"{name}{n}",
                    "language": "zh",
                    "cost": 1.0,
                }
                | {"source_path": "", "source_sha256": ""}
                for name in CATEGORIES
                for n in range(self.items // len(CATEGORIES))
            ]
            plan = plan_controls(
                from_rows(rows, ITEMS), self.list_editors(), share=self.share, least=self.least, repeats=0.0,
                seed=len(self.plans),
            )  # fmt: skip
            self.plans.append(plan.select(["item_id", "category", "editor", "control"]).to_pandas())
        return self.plans[case % PLANS]

    def list_editors(self) -> list[str]:
        return [f"e{n}" for n in range(self.editors)]

    def judge(self, judge: Judge, fails: float, case: int, rng: Rng) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return edits and controls with their scores."""
        edits = pd.DataFrame(
            [
                (f"{name}{n}", name, editor, "")
                for editor in self.list_editors()
                for name in CATEGORIES
                for n in range(self.items // len(CATEGORIES))
            ],
            columns=["item_id", "category", "editor", "control"],
        )
        right = rng.random(len(edits)) >= fails
        edits["edit"] = edits["deserved"] = np.where(
            right, rng.uniform(4, 10, len(edits)), rng.uniform(0, 2, len(edits))
        )
        edits["brightness"] = rng.random(len(edits))
        controls = self.get_plan(case).merge(edits.drop(columns="control"), on=["item_id", "category", "editor"])
        worse = controls["edit"] * rng.uniform(0.3, 1, len(controls))
        copies = controls["control"].isin(list(map(str, DEGRADED))) & (controls["edit"] >= 4)
        controls["deserved"] = np.where(copies, worse, rng.uniform(0, 2, len(controls)))
        half = controls["control"] == str(Control.HALF_BLENDED)
        controls.loc[half, "brightness"] = (controls["brightness"] + rng.random(len(controls)))[half] / 2
        for rows in (edits, controls):
            rows["score"] = judge(rng, rows)
        same = controls["control"].isin(list(map(str, SAME_FOR_ALL)))
        first = controls.groupby(["item_id", "control"])["score"].transform("first")  # one question, one answer
        controls["score"] = controls["score"].where(~same, first)
        return edits, controls.assign(state="scored")


def sees(rng: Rng, rows: pd.DataFrame) -> np.ndarray:
    return rows["deserved"].to_numpy()


def guesses(where: Callable[[pd.DataFrame], pd.Series]) -> Judge:
    """Sees, but takes what it is shown for just any edit where it is blind."""

    def judge(rng: Rng, rows: pd.DataFrame) -> np.ndarray:
        return np.where(where(rows), rng.choice(rows["edit"].to_numpy(), len(rows)), rows["deserved"])

    return judge


def ranks_by_brightness(rng: Rng, rows: pd.DataFrame) -> np.ndarray:
    """Knows right from wrong, but ranks what is right by brightness."""
    right = (rows["edit"] >= 4) & ~rows["control"].isin(list(map(str, WRONG)))
    shown = (rows["brightness"] + rng.normal(0, 0.01, len(rows))).clip(0, 1)
    return np.where(right, 4 + 6 * shown, rows["deserved"])


def prefers(rng: Rng, rows: pd.DataFrame) -> np.ndarray:
    """Gives the pictures of one editor three points more."""
    of_editor = (rows["editor"] == "e1") & ~rows["control"].isin(list(map(str, SAME_FOR_ALL)))
    return np.minimum(rows["deserved"] + 3.0 * of_editor, 10.0)


def is_half(rows: pd.DataFrame) -> pd.Series:
    return rows["item_id"].map(lambda name: hashlib.sha256(name.encode()).digest()[0] % 2 == 0)


BLIND: dict[str, tuple[int, Judge]] = {
    "guesses": (1, guesses(lambda rows: rows["control"] == rows["control"])),
    "blind to the instruction": (1, guesses(lambda rows: rows["control"] == "other_instruction")),
    "blind to unchanged edits": (1, guesses(lambda rows: rows["control"] == "source_as_edit")),
    "blind to unchanged edits of 8 editors": (8, guesses(lambda rows: rows["control"] == "source_as_edit")),
    "right for half the items": (1, guesses(is_half)),
    "right for one of 2 editors": (2, guesses(lambda rows: rows["editor"] == "e1")),
    "right in 3 of 5 categories": (1, guesses(lambda rows: rows["category"].isin(CATEGORIES[:2]))),
    "ranks right edits by brightness": (1, ranks_by_brightness),
}
"""Judges that should be told from one that sees, and the number of editors."""


def accepted_before(edits: pd.DataFrame, controls: pd.DataFrame) -> bool:
    for control in WRONG:
        scores = controls["score"][controls["control"] == str(control)]
        with np.errstate(divide="ignore", invalid="ignore"):
            found = rank_compare_2indep(edits["score"], scores)
        if not (found.conf_int()[0] > 0.5 or (found.prob1 == 1 and len(scores) > 3)):
            return False
    return True


def is_misled(found: Acceptance, name: str) -> bool:
    """Return whether the judge is believed where it should not be."""
    blind = {
        "right for one of 2 editors": ("editors", ["e1"]),
        "right in 3 of 5 categories": ("categories", CATEGORIES[:2]),
    }
    if name not in blind or found["verdict"] != "accepted":
        return found["verdict"] == "accepted"
    results, names = found[blind[name][0]], blind[name][1]  # type: ignore[literal-required]
    return any(results[one]["verdict"] == "told_apart" for one in names)


class Simulation:
    def __init__(self, items: int, least: int, cases: int, rng: Rng) -> None:
        self.items, self.least, self.cases, self.rng = items, least, cases, rng
        self._datasets: dict[tuple[int, float, int], Dataset] = {}

    def run(
        self, editors: int, judge: Judge, fails: float, before: bool = False
    ) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        share, least = (0.15, 0) if before else (0.1, self.least)  # four of six kinds were a tenth
        key = (editors, share, least)
        dataset = self._datasets.setdefault(key, Dataset(items=self.items, editors=editors, share=share, least=least))
        for case in range(self.cases):
            yield dataset.judge(judge, fails, case, self.rng)

    def simulate_blind(self) -> Iterator[list[str]]:
        """How often a judge is believed where it should not be, by the share of edits that fail."""
        yield ["judge", "before, 30 % fail", "10 % fail", "30 % fail", "60 % fail"]
        for name, (editors, judge) in BLIND.items():
            before = np.mean([accepted_before(*one) for one in self.run(editors, judge, 0.3, before=True)])
            rates = [
                np.mean([is_misled(accept(*one), name) for one in self.run(editors, judge, fails)])
                for fails in (0.1, 0.3, 0.6)
            ]
            yield [name, *map(percent, (before, *rates))]

    def simulate_seeing(self) -> Iterator[list[str]]:
        """How often a judge that sees is accepted, and a category of its believed."""
        yield [
            "edits that fail",
            "editors",
            "questions",
            "of the edits",
            "accepted before",
            "accepted",
            "categories believed",
        ]
        for editors in (1, 2, 8):
            for fails in (0.1, 0.3, 0.6):
                before = np.mean([accepted_before(*one) for one in self.run(editors, sees, fails, before=True)])
                found = [accept(*one) for one in self.run(editors, sees, fails)]
                accepted = np.mean([one["verdict"] == "accepted" for one in found])
                told = [result["verdict"] == "told_apart" for one in found for result in one["categories"].values()]
                calls = np.mean([one["calls"] for one in found])
                cells = map(percent, (calls / self.items / editors, before, accepted, np.mean(told)))
                yield [percent(fails), str(editors), f"{calls:.0f}", *cells]

    def simulate_preference(self) -> Iterator[list[str]]:
        """Two equal editors, one of which a judge gives three points more: how often it is said to be better."""
        yield ["judge", "difference withheld", "of differences"]
        for name, judge in (("prefers one editor by 3", prefers), ("sees", sees)):
            withheld = []
            for edits, controls in self.run(2, judge, 0.3):
                [found] = measure_preferences(controls, ["e0", "e1"])
                means = edits.groupby("editor")["score"].mean()
                withheld.append(explains(found, means["e0"] - means["e1"]))
            yield [name, percent(np.mean(withheld)), str(self.cases)]


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100, help="datasets of each line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--items", type=int, default=270)
    parser.add_argument("--least", type=int, default=150)
    args = parser.parse_args()
    simulation, many = (
        Simulation(args.items, args.least, cases, np.random.default_rng(args.seed))
        for cases in (args.cases, 6 * args.cases)
    )
    for table in (simulation.simulate_blind, simulation.simulate_seeing, many.simulate_preference):
        print(f"\n{table.__doc__}\n", flush=True)
        for number, cells in enumerate(table()):
            print("| " + " | ".join(cells) + " |", flush=True)
            if number == 0:
                print("|" + " --- |" * len(cells), flush=True)


if __name__ == "__main__":
    main()
