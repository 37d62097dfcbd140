"""The client of a reward server."""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from editlane.client.items import Pieces, build_body, cut, encode_items
from editlane.client.rewards import Reward, RewardError, failed, read_rewards
from editlane.client.transport import Answer, GaveUp, Transport

CHUNK_ITEMS, CHUNK_BYTES = 32, 16 * 2**20
"""Most of a request, if the server allows more: a lost connection costs no more than this."""
_ENVELOPE = 1024
"""Bytes around the items of a request."""
_LIMITS = {"body_bytes": 64 * 2**20, "items": 256}


class RewardClient:
    """Asks a reward server. Thread-safe; may be used before and after a fork."""

    def __init__(
        self,
        url: str | None = None,
        token_env: str | None = None,
        *,
        token: str | None = None,
        judge: str | None = None,
        deadline: float = 300.0,
        timeout: float = 120.0,
        attempts: int = 6,
        connections: int = 8,
    ) -> None:
        """Remember the server; nothing is sent yet.

        `url` is EDITLANE_REWARD_URL if it is left out. `token_env` is the environment variable that holds the server's
        token; without it, and without `token`, EDITLANE_REWARD_TOKEN is used if it is set. `judge` is a judge's name or
        "panel". `deadline` is for a whole call of `score`, `timeout` for one request, both in seconds. A server that
        has never answered is tried `attempts` times; one that is lost later is waited for until the deadline.
        """
        url = os.environ.get("EDITLANE_REWARD_URL") if url is None else url
        if url is None:
            raise RewardError("Give the reward server's address, or set EDITLANE_REWARD_URL: http://127.0.0.1:8200")
        if token_env is None and token is None:
            token = os.environ.get("EDITLANE_REWARD_TOKEN") or None
        if token_env is not None:
            token = os.environ.get(token_env)
            if not token:
                raise RewardError(
                    f"The environment variable {token_env} is not set. It should hold the server's token."
                )
        self._transport = Transport(url, token, timeout=timeout, attempts=attempts, connections=connections)
        self._judge = judge
        self._deadline = deadline
        self._limits: dict[str, int] | None = None

    def score(
        self, items: Sequence[Mapping[str, Any]], *, judge: str | None = None, deadline: float | None = None
    ) -> list[Reward]:
        """Return one reward for each item, in order.

        An item is a dictionary with `source` and `edited` (path, bytes or picture), `instruction`, and perhaps
        `category`, `description`, `rationale` and `id`. An item without a score has the reward None, with `kind` and
        `message`; it never raises. Raises RewardError if the server cannot be asked at all.
        """
        seconds = self._deadline if deadline is None else deadline
        until = time.monotonic() + seconds
        items = [dict(item) if isinstance(item, Mapping) else item for item in items]
        encoded = encode_items(items, self._transport.connections)
        parts = {place: part for place, part in enumerate(encoded) if not isinstance(part, Reward)}
        rewards = {place: part for place, part in enumerate(encoded) if isinstance(part, Reward)}
        if parts:
            call = _Call(self._transport, parts, judge or self._judge, until)
            try:
                rewards |= call.run(self._read_limits(until))
            except GaveUp as error:
                rewards |= {place: failed(error.kind, str(error)) for place in parts}
        late = failed("deadline", f"no answer within {seconds:g} s")
        return [replace(rewards.get(place, late), id=item.get("id") or str(place)) for place, item in enumerate(items)]

    async def ascore(
        self, items: Sequence[Mapping[str, Any]], *, judge: str | None = None, deadline: float | None = None
    ) -> list[Reward]:
        """Do the same as `score` without blocking the event loop."""
        return await asyncio.to_thread(self.score, items, judge=judge, deadline=deadline)

    def describe(self) -> dict[str, Any]:
        """Return the judges of the server with their keys, the default one, and the server's limits."""
        try:
            answer = self._read_judges(time.monotonic() + self._deadline)
        except GaveUp as error:
            raise RewardError(f"The reward server {self._transport.url} did not answer: {error}.") from error
        if answer.status != 200:
            raise _refused(self._transport, answer)
        try:
            return dict(json.loads(answer.content))
        except (ValueError, TypeError) as error:
            raise RewardError(f"{self._transport.url} is no reward server: it did not answer with JSON.") from error

    def _read_judges(self, until: float) -> Answer:
        try:
            return self._transport.ask("/v1/judges", None, until=until, over=threading.Event())
        except GaveUp as error:
            if error.kind == "deadline":
                raise
            raise RewardError(
                f"There is no reward server at {self._transport.url}: {error}. "
                "Start it, or correct the address (EDITLANE_REWARD_URL)."
            ) from None

    def _read_limits(self, until: float) -> dict[str, int]:
        """Return the server's limits. The first call asks for them, so that a wrong address or token is an error."""
        if self._limits is None:
            answer = self._read_judges(until)
            if answer.status not in (200, 404):
                raise _refused(self._transport, answer)
            try:
                found = json.loads(answer.content).get("limits", {})
                limits = {name: min(int(found.get(name, most)), most) for name, most in _LIMITS.items()}
            except (ValueError, TypeError, AttributeError):
                limits = _LIMITS
            self._limits = limits
        return self._limits


class _Call:
    """One call of `score`: its items, and the rewards that have arrived."""

    def __init__(self, transport: Transport, parts: dict[int, Pieces], judge: str | None, until: float) -> None:
        self.transport = transport
        self.parts = parts
        self.judge = judge
        self.until = until
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.rewards: dict[int, Reward] = {}
        self.unasked: set[int] = set()
        """Items that no answer came for. They have had their attempts."""
        self.todo: deque[list[int]] = deque()

    def run(self, limits: Mapping[str, int]) -> dict[int, Reward]:
        """Ask about all items, and once more about those whose failure may pass. Return what is there in time."""
        self._ask_about(list(self.parts), limits)
        again = [place for place, reward in self.rewards.items() if reward.may_pass and place not in self.unasked]
        if again and time.monotonic() < self.until:
            self._ask_about(again, limits)
        with self.lock:
            return dict(self.rewards)

    def _ask_about(self, places: list[int], limits: Mapping[str, int]) -> None:
        sizes = {place: sum(map(len, self.parts[place])) for place in places}
        most_items = min(CHUNK_ITEMS, limits["items"], math.ceil(len(places) / self.transport.connections))
        most_bytes = min(CHUNK_BYTES, limits["body_bytes"] - _ENVELOPE)
        self.todo = deque(cut(sizes, most_bytes=most_bytes, most_items=max(1, most_items)))
        ended: SimpleQueue[BaseException | None] = SimpleQueue()
        count = min(self.transport.connections, len(self.todo))
        try:
            for _ in range(count):
                # A daemon: a server that sends its answer drop by drop holds up neither this call nor the process.
                threading.Thread(target=self._work, args=[ended], daemon=True, name="reward").start()
            for _ in range(count):
                error = ended.get(timeout=max(0.0, self.until - time.monotonic()) + _GRACE)
                if error is not None:
                    raise error
        except Empty:
            self.over.set()
        except BaseException:
            self.over.set()
            raise

    def _work(self, ended: SimpleQueue[BaseException | None]) -> None:
        try:
            while (places := self._take()) is not None:
                self._ask(places)
            ended.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            ended.put(error)

    def _take(self) -> list[int] | None:
        with self.lock:
            return self.todo.popleft() if self.todo and not self.over.is_set() else None

    def _ask(self, places: list[int]) -> None:
        parts = [self.parts[place] for place in places]

        def body(seconds: float) -> bytes:
            return build_body(parts, deadline_s=seconds, judge=self.judge)

        try:
            answer = self.transport.ask("/v1/score", body, until=self.until, over=self.over)
        except GaveUp as error:
            self._give_up(places, failed(error.kind, str(error)))
            return
        if answer.status == 413 and len(places) > 1:  # the limit of a proxy, or of a server that was restarted
            middle = len(places) // 2
            with self.lock:
                self.todo.extendleft([places[middle:], places[:middle]])
        elif answer.status == 413:
            self._give_up(places, failed("too_large", self.transport.explain(answer)))
        elif answer.status != 200:
            raise _refused(self.transport, answer)
        else:
            rewards = read_rewards(answer.content, [str(place) for place in places])
            with self.lock:
                self.rewards |= dict(zip(places, rewards, strict=True))

    def _give_up(self, places: list[int], reward: Reward) -> None:
        with self.lock:
            for place in places:
                # What a judge said about an item tells more than that it could not be asked once more.
                self.rewards.setdefault(place, reward)
            self.unasked.update(places)


_GRACE = 0.2
"""Seconds in which threads that have just met the deadline write down that they did."""


def _refused(transport: Transport, answer: Answer) -> RewardError:
    said = transport.explain(answer)
    advice = {
        401: "Set EDITLANE_REWARD_TOKEN, or `token_env`, to the server's token.",
        403: "Set EDITLANE_REWARD_TOKEN, or `token_env`, to the server's token.",
        404: "Is it Editlane's reward server, and the address without a path?",
        500: "The server's log says more.",
    }.get(answer.status, "Asking again would not help.")
    if 300 <= answer.status < 400:
        advice = "Redirects are not followed, because the token would go along. Give the final address."
    return RewardError(f"The reward server {transport.url} refused the request: {said.rstrip('.')}. {advice}")
