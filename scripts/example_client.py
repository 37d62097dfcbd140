"""Ask a server of robot roll-outs, as an example for programs of your own.

    python scripts/example_client.py --url http://127.0.0.1:6006 --tasks 0,1,2 --trials 3 "pick up the bowl"

Each TEXT is what the policy is told, in each of the tasks; without one it is told the task's own words. Prints a line
for each item, then the success rate with its 95 % Wilson interval. With --parallel the items are dealt to that many
requests at once. A server on another machine may need a token: --token-env names the variable that holds it.

Exit codes: 0 every item has a result; 1 some have none; 2 a flag is wrong, or the server does not answer.
"""

import argparse
import json
import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from editlane.cli.flags import StepParser, whole_number
from editlane.cli.step import run_step
from editlane.client.transport import Answer, GaveUp, Transport
from editlane.core.errors import UserError
from editlane.core.printable import escape

SECONDS = 3600.0
"""Time for all episodes. The server returns what it has before."""
ATTEMPTS = 3
"""Connections that may fail before the server counts as away."""

Item = dict[str, Any]
"""What is asked: `text` and `meta`. What is answered: `score` or `error`, `solved`, `played` and more."""


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:6006", help="address of the server; default: %(default)s")
    parser.add_argument("--token-env", metavar="NAME", help="environment variable that holds the server's token")
    parser.add_argument("--parallel", type=whole_number(1, 256), default=1, metavar="N", help="requests at once")
    parser.add_argument("--suite", help="such as libero_goal; default: the server's")
    parser.add_argument("--tasks", type=_read_tasks, default=[None], metavar="0,1,2", help="default: the first one")
    parser.add_argument("--trials", type=whole_number(1, 1000), default=1, help="episodes of each item; default 1")
    parser.add_argument("texts", nargs="*", default=[], metavar="TEXT", help="what the policy is told")
    args = parser.parse_args()
    items = [_make_item(text, args.suite, task) for text in args.texts or [""] for task in args.tasks]
    token = _read_token(args.token_env)
    transport = Transport(args.url, token, timeout=SECONDS, attempts=ATTEMPTS, connections=args.parallel)
    found = ask_all(transport, items, args.trials, args.parallel)
    for number, (item, result) in enumerate(zip(items, found, strict=True), 1):
        print(f"{number}  {_describe(item)}  {_tell(result)}")
    print(_sum_up(found))
    sys.exit(0 if all(result["error"] is None for result in found) else 1)


def _read_tasks(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of tasks such as 0,1,2")
    return [int(part) for part in parts]


def _read_token(variable: str | None) -> str | None:
    if variable is None:
        return None
    token = os.environ.get(variable)
    if not token:
        raise UserError(f"The environment variable {variable} is not set. It should hold the server's token.")
    return token


def _make_item(text: str, suite: str | None, task: int | None) -> Item:
    named = {"suite": suite, "task_id": task}
    return {"text": text, "meta": {name: value for name, value in named.items() if value is not None}}


def ask_all(transport: Transport, items: Sequence[Item], trials: int, requests: int) -> list[Item]:
    """Ask about all items, dealt to so many requests at once, and return what was answered, in order.

    Items of a request that was lost have an error. Raises UserError if all were.
    """
    hands = [list(range(len(items)))[first::requests] for first in range(min(requests, len(items)))]
    found: dict[int, Item] = {}
    lost: list[Exception] = []

    def ask(places: list[int]) -> None:
        try:
            answers = _ask(transport, [items[place] for place in places], trials)
        except UserError as error:
            lost.append(error)
            answers = [
                {"score": None, "error": {"kind": "transport", "message": str(error)}, "solved": 0, "played": 0}
            ] * len(places)
        found.update(zip(places, answers, strict=True))

    # Daemons, so that Ctrl-C ends the program while a request is under way.
    threads = [threading.Thread(target=ask, args=[hand], daemon=True) for hand in hands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(lost) == len(hands):
        raise lost[0]
    return [found[place] for place in range(len(items))]


def _ask(transport: Transport, items: Sequence[Item], trials: int) -> list[Item]:
    """Send one request. It is sent again while the server is busy. Raises UserError."""

    def build(seconds: float) -> bytes:
        body = {
            "responses": [item["text"] for item in items],
            "metas": [item["meta"] for item in items],
            "reward_function_kwargs": {"num_trials_per_task": trials},
            "deadline_s": seconds,
        }
        return json.dumps(body).encode()

    try:
        answer = transport.ask("/score", build, until=time.monotonic() + SECONDS, over=threading.Event())
    except GaveUp as error:
        raise UserError(
            f"No server of roll-outs answers at {transport.url}: {error}. Start one with `python "
            "scripts/serve_rewards.py --configfile config/robots.yaml`, or correct --url."
        ) from None
    return _read_items(transport, answer, len(items))


def _read_items(transport: Transport, answer: Answer, count: int) -> list[Item]:
    if answer.status in (401, 403):
        raise UserError(
            f"{transport.url} refused the request: {transport.explain(answer)}. Set --token-env to the name of an "
            "environment variable that holds the server's token."
        )
    if answer.status != 200:
        raise UserError(
            f"{transport.url} refused the request: {transport.explain(answer)}. Correct --url or the other flags."
        )
    try:
        items = list(json.loads(answer.content)["items"])
        fine = len(items) == count and all({"error", "score", "solved", "played"} <= set(item) for item in items)
    except (ValueError, TypeError, KeyError):
        fine = False
    if not fine:
        raise UserError(f"{transport.url} is no server of roll-outs: its answer has no such items. Correct --url.")
    return items


def _describe(item: Item) -> str:
    named = f"{item['meta'].get('suite', '')} task {item['meta'].get('task_id', 0)}".strip()
    return escape(f"{named} {item['text'][:60]!r}" if item["text"] else named)


def _tell(result: Item) -> str:
    if result["error"] is not None:
        return escape(f"no result: {result['error']['kind']}: {result['error']['message']}")
    return f"{result['score']:.2f}  solved {result['solved']} of {result['played']}"


def _sum_up(found: Sequence[Item]) -> str:
    """Return the rate of all episodes that were played. Those without a result are no failures of the policy."""
    solved, played = sum(item["solved"] for item in found), sum(item["played"] for item in found)
    missing = sum(item["error"] is not None for item in found)
    low, high = find_interval(solved, played)
    rate = f"{solved / played:.2f}, 95 % interval {low:.2f} to {high:.2f}" if played else "no episode was played"
    return f"solved {solved} of {played}: {rate}" + (f"; items without a result: {missing}" if missing else "")


def find_interval(solved: int, played: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a rate; 0 to 1 if nothing is known."""
    if not played:
        return 0.0, 1.0
    z, rate = NormalDist().inv_cdf(0.975), solved / played
    middle = rate + z * z / (2 * played)
    half = z * math.sqrt(rate * (1 - rate) / played + z * z / (4 * played * played))
    scale = 1 + z * z / played
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


if __name__ == "__main__":
    run_step(main)
