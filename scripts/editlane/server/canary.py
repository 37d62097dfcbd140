"""Ask every judge about the same fixed pairs from time to time, to notice one that changed while people train by it."""

import asyncio
import io
import json
import logging
import time
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from msgspec.structs import replace
from PIL import Image

from editlane.core.checkout import find_file
from editlane.core.errors import UserError, one_line
from editlane.core.files import replace_text
from editlane.core.os_errors import explain_os_error
from editlane.core.types import Row
from editlane.datasets.canary import draw_canary
from editlane.server.backend import BackendState
from editlane.server.online_judge import OnlineJudge
from editlane.server.questions import find_key
from editlane.server.service import RewardService
from editlane.server.wire import Fields
from editlane.server.work_queue import Full

log = logging.getLogger(__name__)

LIST = "resources/canary/items.jsonl"

LATER_SECONDS = 2.0
"""Time until the next attempt, if a judge is not ready or has no room."""

LEAST_SHARE = 0.8
"""Share of the pairs that have to be scored in a round."""

AT_ONCE = 2
"""Pairs that are asked at a time, so that people's edits need not wait for a round."""

LONGEST_WAIT = 60.0
"""Seconds after which a pair is asked although the queue never became empty."""

SEED_DIGITS = 12
"""Leading digits of a key that decide the seed of a sampled answer."""


class Reference(msgspec.Struct):
    """The first round of a judge."""

    key: str
    since: str
    scores: dict[str, float]


_decode = msgspec.json.Decoder(dict[str, Reference]).decode


class CanaryWatch:
    """The latest round of each judge, compared with its first one, which a restart does not forget."""

    def __init__(self, service: RewardService) -> None:
        """Read the references of earlier starts."""
        self._service, self._path = service, service.folder / "canary.json"
        self._minutes = service.config.canary.minutes
        self._found: dict[str, dict[str, Any]] = {}
        self._references = self._read_references()

    def _read_references(self) -> dict[str, Reference]:
        try:
            return _decode(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            log.warning("the canary's reference is made anew: %s: %s", self._path, one_line(error))
            return {}

    @property
    def warning(self) -> str:
        """What every answer says if a judge has changed; "" if none has. It is ASCII, as a header has to be."""
        passed_on = [one.warning for judge in self._service.judges.values() for one in judge.backends if one.warning]
        if passed_on:
            return ascii(passed_on[0])[1:-1]
        moved = {name: found["difference"] for name, found in self._found.items() if found["moved"]}
        if not moved:
            return ""
        listed = ", ".join(f"{name} by {difference:+.2f}" for name, difference in moved.items())
        return ascii(f"the canary's mean has moved: {listed} points of 10")[1:-1]

    def describe(self) -> dict[str, Any]:
        """Return the latest round of each judge."""
        return self._found

    async def run(self) -> None:
        """Ask all judges, every so many minutes. Ends when the task is cancelled, or if there is nothing to ask."""
        if self._minutes is None:
            return
        try:
            pairs = await asyncio.to_thread(draw_pairs)
        except UserError as error:
            log.warning("the canary set is not asked: %s", error)
            return
        # A front passes on what its back-ends say: they would answer it from their stores.
        own = [judge for judge in self._service.judges.values() if judge.is_local]
        async with asyncio.TaskGroup() as tasks:
            for judge in own:
                tasks.create_task(self._watch(judge, pairs, 60 * self._minutes))

    async def _watch(self, judge: OnlineJudge, pairs: list[Fields], seconds: float) -> None:
        edits = [pair for pair in pairs if judge.find_refusal(pair.category) is None]
        keys = {find_key(judge.spec, pair): pair for pair in edits}
        while keys:
            # Idle workers are left alone: somebody else may use their GPUs.
            while not any(backend.state == BackendState.READY for backend in judge.backends):
                await asyncio.sleep(LATER_SECONDS)
            try:
                rows = await self._ask(judge, keys)
            except Full:
                await asyncio.sleep(LATER_SECONDS)
                continue
            scores = {key: row["score"] for key, row in zip(keys, rows, strict=True) if row["score"] is not None}
            if len(scores) >= LEAST_SHARE * len(keys):  # else it says little, and would be a poor reference
                await asyncio.to_thread(self._compare, judge, scores)
            await asyncio.sleep(seconds)

    async def _ask(self, judge: OnlineJudge, keys: Mapping[str, Fields]) -> list[Row]:
        """Have the pairs judged again, whatever is known. Raises Full."""
        fresh = [replace(pair, key=key[:SEED_DIGITS] + uuid4().hex) for key, pair in keys.items()]
        rows: list[Row] = []
        for start in range(0, len(fresh), AT_ONCE):
            await _wait_for_quiet(judge)
            works = judge.queue.join(fresh[start : start + AT_ONCE], keep=False)
            try:
                rows += await asyncio.gather(*(asyncio.shield(work.future) for work in works))
            finally:
                for work in works:
                    judge.queue.leave(work)
        return rows

    def _compare(self, judge: OnlineJudge, scores: Mapping[str, float]) -> None:
        reference = self._references.get(judge.name)
        if reference is None or reference.key != judge.spec.texts_key:  # another judge of this name
            reference = Reference(judge.spec.texts_key, time.strftime("%Y-%m-%d %H:%M"), dict(scores))
            self._references[judge.name] = reference
            try:
                replace_text(self._path, msgspec.json.encode(self._references).decode())
            except OSError as error:
                log.warning("cannot keep the canary's reference: %s", explain_os_error(error) or error)
        found = compare(judge.name, scores, reference.scores) | {"since": reference.since}
        was_moved = self._found.get(judge.name, {}).get("moved", False)
        self._found[judge.name] = found
        metrics = self._service.metrics
        metrics.canary.labels(judge.name).set(found["difference"] or 0.0)
        metrics.moved.labels(judge.name).set(found["moved"])
        if found["moved"] and not was_moved:
            log.warning("%s has changed: the canary's mean moved by %+.2f", judge.name, found["difference"])


async def _wait_for_quiet(judge: OnlineJudge) -> None:
    """Wait until no edit of anybody waits for this judge, or for LONGEST_WAIT."""
    until = time.monotonic() + LONGEST_WAIT
    while len(judge.queue) and time.monotonic() < until:
        await asyncio.sleep(0.2)


def compare(judge: str, scores: Mapping[str, float], reference: Mapping[str, float]) -> dict[str, Any]:
    """Compare two rounds as the report compares those of two runs."""
    import pandas as pd  # in a thread, after the start: it takes a second

    from editlane.stats.noise import compare_canaries

    def frame(by_key: Mapping[str, float]) -> "pd.DataFrame":
        rows = [{"item_id": key, "judge_key": judge, "edited_sha256": key, "score": by_key[key]} for key in by_key]
        return pd.DataFrame(rows)

    return dict(compare_canaries(frame(scores), frame(reference), "reference"))


def draw_pairs() -> list[Fields]:
    """Return the canary set, without keys. Raises UserError if its photos are not installed."""
    listed = find_file(LIST)
    try:
        with as_file(files("skimage") / "data") as photos:
            pictures = dict(draw_canary(listed, Path(photos)))
    except ImportError as error:
        raise UserError("its photos come with scikit-image: pip install scikit-image") from error
    encoded = {name: _encode(content) for name, content in pictures.items()}
    records = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    return [
        Fields(
            "",
            one["category"],
            one["instruction"],
            encoded[Path(one["image"]).name],
            encoded[Path(one["edited"]).name],
        )
        for one in records
    ]


def _encode(content: bytes) -> bytes:
    """Encode as PNG, which the workers decode; the pixels are the same."""
    encoded = io.BytesIO()
    Image.open(io.BytesIO(content)).save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()
