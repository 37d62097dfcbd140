"""Judge the edits that the server sends over standard input, and answer over standard output.

Frames are a length and msgpack (see wire.py). The server sends chunks of edits. It is told `hello` when the process
runs, `ready` when its judge has answered once, `begin` before some edits of a chunk are touched, `done` with their
rows, `down` if the judge's engine no longer answers, and `fatal` if its judge cannot be loaded. `places` are the places
of edits in their chunk.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Queue, SimpleQueue
from typing import Any

from editlane.core.errors import UserError, one_line
from editlane.core.types import Judge, Row, RunsOn
from editlane.images.files import PREPARING_THREADS
from editlane.lanes.batches import cut_batches
from editlane.lanes.judging import JudgeSpec
from editlane.models.devices import device_label
from editlane.protocols.asking import Batch, ask, prepare
from editlane.server.questions import build_warm_up, estimate_cost, make_questions, make_seeds
from editlane.server.wire import HEAD, Chunk, Fields, frame, unpack_chunk

log = logging.getLogger(__name__)


class Wire:
    """Standard input and output, kept away from whatever else reads or prints."""

    def __init__(self) -> None:
        self._reading = os.fdopen(os.dup(0), "rb")
        self._writing = os.fdopen(os.dup(1), "wb")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def send(self, kind: str, **message: Any) -> None:
        """Send one frame. Any thread may call this. A server that is gone ends this process."""
        content = frame({"t": kind} | message)
        with self._lock:
            try:
                self._writing.write(content)
                self._writing.flush()
            except OSError:
                end_group(0)

    def receive(self) -> Iterator[Chunk]:
        """Yield each chunk, until the server closes its end."""
        while len(head := self._reading.read(HEAD)) == HEAD:
            yield unpack_chunk(self._reading.read(int.from_bytes(head, "big")))


def end_group(code: int) -> None:
    """End this process and all that it started. The server made it the leader of a group of its own."""
    if os.getpgid(0) == os.getpid() and code == 0:
        os.killpg(0, signal.SIGKILL)
    os._exit(code)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some edits of a chunk, which the judge gets as one batch."""

    chunk: int
    places: Sequence[int]
    edits: Sequence[Fields]
    batch: Batch


class Worker:
    """A loaded judge, and the wire to the server."""

    def __init__(self, spec: JudgeSpec, judge: Judge, wire: Wire, max_pixels: int) -> None:
        self._spec, self._judge, self._wire, self._max_pixels = spec, judge, wire, max_pixels
        self._device = device_label(judge)
        self._chunks: SimpleQueue[Chunk] = SimpleQueue()
        self._images = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")

    def warm_up(self) -> None:
        """Ask one question, so that the first edit does not pay for compilation. Raises UserError."""
        batch = prepare(self._judge, [build_warm_up(self._spec)])
        (row,) = ask(self._spec.protocol, self._judge, batch, [0])
        if row["state"] == "judge_failed":
            log.warning("the judge fails on a plain question: %s: %s", row["error_kind"], row["error"])

    def serve(self) -> None:
        """Answer chunks until the server closes its end; then this process is killed."""
        is_served = self._judge.RUNS_ON == RunsOn.SERVER
        params: Any = getattr(self._judge, "params", None)
        concurrency = params.concurrency if is_served else 0
        # The adapter itself gives up on a slow endpoint, after two requests for each question.
        patience = 2 * len(self._spec.criteria) * params.attempts * (params.timeout + 60) if is_served else 0.0
        about = {"device": self._device, "key": self._spec.texts_key}
        self._wire.send("ready", concurrency=concurrency, patience=patience, **about)
        _start(self._receive, "wire")
        if is_served:
            self._serve_each(concurrency)
        else:
            self._serve_batches()

    def _receive(self) -> None:
        """Read ahead of all work, so that the end of the server is noticed whatever the judge does."""
        for chunk in self._wire.receive():
            self._chunks.put(chunk)
        end_group(0)

    def _serve_batches(self) -> None:
        """Ask the judge in this thread, while another one prepares the next batch."""
        prepared: Queue[Piece] = Queue(1)
        _start(lambda: self._prepare_all(prepared), "prepare")
        while True:
            self._answer(prepared.get())

    def _prepare_all(self, prepared: "Queue[Piece]") -> None:
        while True:
            chunk = self._chunks.get()
            for places in self._cut(chunk.edits):
                prepared.put(self._prepare(chunk.number, places, [chunk.edits[place] for place in places]))

    def _cut(self, edits: Sequence[Fields]) -> list[list[int]]:
        """Return the places of the edits in batches that the judge can take."""
        costs = list(self._images.map(lambda edit: estimate_cost(self._spec, self._judge, edit), edits))
        batches = cut_batches(
            range(len(edits)),
            category=lambda place: edits[place].category,
            cost=lambda place: costs[place],
            max_cost=self._judge.max_batch_cost,
            wanted=lambda place: True,
        )
        return list(batches)

    def _prepare(self, chunk: int, places: Sequence[int], edits: Sequence[Fields]) -> Piece:
        self._wire.send("begin", n=chunk, places=places)  # first: a decoder may end the process
        asked = list(self._images.map(lambda edit: make_questions(self._spec, edit, self._max_pixels), edits))
        return Piece(chunk, places, edits, prepare(self._judge, asked))

    def _serve_each(self, concurrency: int) -> None:
        """Ask about single edits, so that none waits for the slowest of a batch: the engine makes batches itself."""
        with ThreadPoolExecutor(concurrency, thread_name_prefix="edits") as threads:
            while True:
                chunk = self._chunks.get()
                for place, edit in enumerate(chunk.edits):
                    threads.submit(_exit_on_bug(self._ask_one), chunk.number, place, edit)

    def _ask_one(self, chunk: int, place: int, edit: Fields) -> None:
        self._wire.send("begin", n=chunk, places=[place])
        batch = prepare(self._judge, [make_questions(self._spec, edit, self._max_pixels)])
        self._answer(Piece(chunk, [place], [edit], batch))

    def _answer(self, piece: Piece) -> None:
        started = time.monotonic()
        try:
            rows = ask(self._spec.protocol, self._judge, piece.batch, make_seeds(piece.edits))
        except UserError as error:  # nothing answers at the endpoint: not the fault of these edits
            self._wire.send("down", n=piece.chunk, places=piece.places, error=one_line(error))
            return
        seconds = time.monotonic() - started
        share = {"score_seconds": round(seconds / len(rows), 4), "score_device": self._device}
        whole: list[Row] = [
            row | self._spec.make_category_columns(edit.category) | share
            for row, edit in zip(rows, piece.edits, strict=True)
        ]
        self._wire.send("done", n=piece.chunk, places=piece.places, rows=whole, seconds=seconds)


def _start(target: Callable[[], None], name: str) -> None:
    threading.Thread(target=_exit_on_bug(target), name=name, daemon=True).start()


def _exit_on_bug(act: Callable[..., None]) -> Callable[..., None]:
    """End the process if a thread fails. Otherwise its edits would wait for nobody; so, others are asked elsewhere."""

    def call(*args: Any) -> None:
        try:
            act(*args)
        except BaseException:
            log.exception("this worker ends")
            end_group(1)

    return call
