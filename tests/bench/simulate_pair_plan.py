"""How often an active arena separates equal editors, and how many pairs it saves, on made-up answers.

    python tests/bench/simulate_pair_plan.py [--cases 300] [--seed 0]

Three editors, one item for each photo, three rounds of the arena's own planner. An answer is how much more probable a
win of the first editor is than one of the second, from -1 to 1, the same in both orders.
"""

import argparse
import random
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from editlane.protocols.pair_intervals import EditorPair, find_differences
from editlane.protocols.pair_plan import ArenaPlan

EDITORS = ("a", "b", "c")
ROUNDS = 3
ANSWERS: dict[str, Callable[[random.Random], float]] = {
    "a coin": lambda draw: draw.choice([-1.0, 1.0]),
    "mostly ties": lambda draw: draw.choice([-1.0, 1.0] + [0.0] * 8),
    "anything": lambda draw: draw.uniform(-1, 1),
    "skewed": lambda draw: draw.choice([-1.0] + [0.2] * 5),
}
"""Answers with a mean of 0."""


def make_plan(photos: int) -> ArenaPlan:
    names = [str(number) for number in range(photos)]
    columns = {"item_id": names, "category": ["x"] * photos, "source_sha256": names, "instruction": names}
    columns |= dict.fromkeys(("sample_of", "after"), pa.nulls(photos, pa.string()))
    return ArenaPlan(pa.table(columns), EDITORS, seed=0, rounds=ROUNDS, budget=None)


def run_arena(plan: ArenaPlan, answer: Callable[[EditorPair], float]) -> tuple[dict[EditorPair, float], float]:
    """Run all rounds. Return the means of the pairs that the last one left out, and the share of the budget asked."""
    rows: list[dict[str, object]] = []
    for number in range(1, ROUNDS + 1):
        found = find_differences(rows, len(plan.pairs), ROUNDS - 1)
        asked = plan.plan_pairs(number, rows)
        for one, other in list(pairwise(asked))[::2]:  # both orders
            won = answer((one.editor_a, one.editor_b))
            for shown, sign in ((one, 1), (other, -1)):
                p_a = (1 + sign * won) / 2
                names = {"editor_a": shown.editor_a, "editor_b": shown.editor_b, "control": None, "state": "scored"}
                item = {"item_id": str(one.place), "source_sha256": str(one.place)}
                rows.append(item | names | {"p_a": p_a, "p_b": 1 - p_a})
    return {pair: one.mean for pair, one in found.items() if one.is_separated}, len(rows) / 2 / plan.budget


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    print("| equal editors, answers | photos | runs that separated some pair, % |\n|---|---|---|")
    for name, answer in ANSWERS.items():
        for photos in (12, 30, 90):
            plan = make_plan(photos)
            wrong = sum(bool(run_arena(plan, lambda pair: answer(draw))[0]) for _ in range(args.cases))  # noqa: B023
            print(f"| {name} | {photos} | {100 * wrong / args.cases:.1f} |")
    print("\n| a better than b and c by | photos | a separated from both, % | in the wrong order, % | pairs asked, % |")
    print("|---|---|---|---|---|")
    for gain in (0.2, 0.4, 0.8):
        for photos in (30, 90):
            plan, runs = make_plan(photos), []
            for _ in range(args.cases):
                better = {("a", "b"): gain, ("a", "c"): gain, ("b", "c"): 0.0}
                runs.append(run_arena(plan, lambda pair: max(-1, min(1, better[pair] + draw.uniform(-0.8, 0.8)))))  # noqa: B023
            both = sum({("a", "b"), ("a", "c")} <= found.keys() for found, _ in runs)
            wrong = sum(any(found.get(pair, 0) < 0 for pair in (("a", "b"), ("a", "c"))) for found, _ in runs)
            asked = sum(share for _, share in runs) / len(runs)
            shown = (100 * both / args.cases, 100 * wrong / args.cases, 100 * asked)
            print(f"| {gain} | {photos} | {shown[0]:.0f} | {shown[1]:.1f} | {shown[2]:.0f} |")


if __name__ == "__main__":
    main()
