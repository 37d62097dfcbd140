"""The design of the original Pi0 reward server, in a few lines: what the benchmark compares with.

Threads share one queue of results, whose numbers count from 0 in each request; one socket for each policy server, which
a thread keeps after any failure; a failure is 0.0; episodes step in the server's own threads. `sync`: one request at a
time, as gunicorn's default worker.
"""

import json
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

from editlane.robots.wire import pack, unpack
from editlane.simulators.reach import Reach
from editlane.simulators.wire import EpisodeTask

REPLAN_STEPS = 5


class Pool:
    """One thread for each policy server, which takes tasks from one queue and puts results into another."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.tasks: queue.Queue[tuple[int, EpisodeTask]] = queue.Queue()
        self.results: queue.Queue[tuple[int, float]] = queue.Queue()
        for address in addresses:
            threading.Thread(target=self._work, args=(address,), daemon=True).start()

    def _work(self, address: str) -> None:
        env = Reach()
        with connect(f"ws://{address}/", compression=None, max_size=None, ping_interval=None, proxy=None) as socket:
            socket.recv()
            while True:
                number, task = self.tasks.get()
                score = 0.0
                with suppress(Exception):
                    score = float(play(env, task, socket))
                self.results.put((number, score))

    def process(self, tasks: Sequence[EpisodeTask]) -> list[float | None]:
        for number, task in enumerate(tasks):
            self.tasks.put((number, task))
        scores: list[float | None] = [None] * len(tasks)
        for _ in tasks:
            number, score = self.results.get()
            if number < len(scores):
                scores[number] = score
        return scores


def play(env: Reach, task: EpisodeTask, socket: ClientConnection) -> bool:
    """Play an episode as openpi's example does."""
    prompt, steps = task.prompt or env.reset(task), 0
    if task.prompt:
        env.reset(task)
    while steps < env.max_steps:
        socket.send(pack({**env.observe(()), "prompt": prompt}))
        for action in np.asarray(unpack(socket.recv())["actions"])[:REPLAN_STEPS]:
            steps += 1
            if env.step(action, True):
                return True
    return False


def serve(port: int, addresses: Sequence[str], *, sync: bool) -> None:
    """Answer POST /score and GET /health until the process is killed."""
    pool = Pool(addresses)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"ok")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            tasks = [
                EpisodeTask("reach", meta["task_id"], 7, meta["init_state_id"], text or None)
                for text, meta in zip(body["responses"], body["metas"], strict=True)
            ]
            self._answer(json.dumps({"done_result": pool.process(tasks)}).encode())

        def _answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words: Any) -> None:
            pass

    (HTTPServer if sync else ThreadingHTTPServer)(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    import sys

    serve(int(sys.argv[1]), sys.argv[3:], sync=sys.argv[2] == "sync")
