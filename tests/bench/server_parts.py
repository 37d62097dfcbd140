"""The parts of bench_server.py that need nothing but Editlane. Each prints a table."""

import statistics
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from process_figures import read_cpu, read_memory
from reward_load import (
    Body,
    Client,
    as_forms,
    as_json,
    as_msgpack,
    draw_pictures,
    drive,
    make_edits,
    read_metric,
    show,
    show_load,
)
from reward_server import FAKE_JUDGE, RewardServer
from rewards import judge_offline, judge_with

from editlane.models import registry
from editlane.models.tiny import build_tiny_model

QWEN = {"batch_tokens": 4096, "max_image_side": 128}
"""Params of the tiny Qwen3-VL."""


@dataclass
class Setting:
    """Where and how a part is measured."""

    folder: Path
    quick: bool = False
    flask: Path | None = None
    servers: int = 0

    def pick(self, usual: int, quick: int) -> int:
        return quick if self.quick else usual

    def serve(self, params: dict[str, Any] | None = None, **config: Any) -> RewardServer:
        """Return a server, to be entered. `params` are those of its fake judge."""
        self.servers += 1
        judges = {"fake": FAKE_JUDGE | {"params": {"batch_size": 32} | (params or {})}}
        return RewardServer(self.folder / str(self.servers), **({"judges": judges, "workers": 1} | config))


def front(setting: Setting) -> None:
    """Print the CPU of the front process when all is known, against decoding and judging without a server."""
    edits = make_edits(range(4), draw_pictures(8, 182))
    rounds, offline = setting.pick(300, 4), setting.pick(50, 2)
    began = time.process_time()
    for _ in range(offline):
        judge_offline(edits)
    alone = 1e3 * (time.process_time() - began) / offline
    rows = []
    with setting.serve() as server:
        for name, write in (("JSON", as_json), ("msgpack", as_msgpack), ("four forms", as_forms)):
            bodies = write(edits)
            drive(server.url, bodies, 1)
            before = read_cpu(server.process.pid)
            load = drive(server.url, bodies * rounds, 4)
            cpu = 1e3 * (read_cpu(server.process.pid) - before) / rounds
            size = sum(len(body.content) for body in bodies) / 1e3
            rows.append([name, f"{size:.0f}", *show_load(load), f"{cpu:.2f}", f"{cpu / alone:.2f}"])
    print(f"4 edits of 2 x 100 kB, {rounds} times, 4 clients; the answers are in the store. Decoding and judging them")
    print(f"without a server takes {alone:.1f} ms of CPU; the last column is the share of it.\n")
    show(["sent as", "kB", "edits/s", "p50, ms", "p99, ms", "CPU of the front, ms", "share"], rows)


def batching(setting: Setting) -> None:
    """Print what batches of the edits that wait are worth to a judge with a cost per batch."""
    pictures, rates, rows = draw_pictures(64, 16), list[float](), []
    for chunk in (1, 32):
        count = setting.pick(400 if chunk > 1 else 160, 32)
        bodies = one_each(count, pictures)
        with setting.serve({"batch_seconds": 0.04, "seconds": 0.002}, limits={"chunk": chunk}) as server:
            load = drive(server.url, bodies, 32)
            batches = read_metric(server, "editlane_batch_items_count")
        rates.append(load.rate)
        rows.append([str(chunk), *show_load(load), f"{count / batches:.1f}", f"{load.rate / rates[0]:.2f}"])
    print("A judge that takes 40 ms a batch and 4 ms an edit; 32 clients of one edit each.\n")
    show(["limits.chunk", "edits/s", "p50, ms", "p99, ms", "edits a batch", "times"], rows)


def one_each(count: int, pictures: list[bytes], start: int = 0) -> list[Body]:
    """Return a request for each edit."""
    return [body for edit in make_edits(range(start, start + count), pictures) for body in as_json([edit])]


def latency(setting: Setting) -> None:
    """Print how long one edit takes among those of other clients."""
    pictures, rows, start = draw_pictures(64, 80), [], 0
    with setting.serve(workers=2) as server:
        for clients in (1, 8, 64):
            count = setting.pick(640, 64)
            load = drive(server.url, one_each(count, pictures, start), clients)
            start += count
            rows.append([str(clients), *show_load(load)])
    print("One edit of 2 x 19 kB a request, JSON; 2 workers with a judge that takes no time.\n")
    show(["clients", "edits/s", "p50, ms", "p99, ms"], rows)


def memory(setting: Setting) -> None:
    """Print the memory of the front process with a full queue, and after all clients have left."""
    requests, each = setting.pick(50, 4), setting.pick(200, 50)
    pictures = draw_pictures(100, 80)
    limits = {"items": requests * each, "megabytes": 1000, "chunk": 1, "depth": 1}
    with setting.serve({"seconds": setting.pick(30, 3) / 10}, limits=limits) as server:
        rows = [describe_queue(server, "nothing in the queue")]
        clients = [Client(server.url) for _ in range(requests)]
        for number, client in enumerate(clients):
            edits = make_edits(range(number * each, (number + 1) * each), pictures)
            threading.Thread(target=ask_in_vain, args=(client, edits)).start()
        wait_for_queue(server, range(requests * each - 20, requests * each + 1))
        rows.append(describe_queue(server, "full, of edits of 2 x 19 kB"))
        more = as_json(make_edits(range(10**6, 10**6 + 50), pictures))[0]
        began = time.monotonic()
        refused = server.post("/v1/score", data=more.content)
        waited = 1e3 * (time.monotonic() - began)
        for client in clients:
            client.leave()
        wait_for_queue(server, range(3))
        time.sleep(2)
        rows.append(describe_queue(server, "all clients left"))
    retry = refused.headers["Retry-After"]
    print(f"50 more edits: {refused.status_code}, Retry-After {retry} s, after {waited:.0f} ms.\n")
    show(["", "edits", "MB counted", "MB in memory", "times"], [[*row, f"{row[-1] / rows[0][-1]:.2f}"] for row in rows])


def ask_in_vain(client: Client, edits: list[dict[str, Any]]) -> None:
    with suppress(Exception):
        client.send(as_msgpack(edits)[0])


def wait_for_queue(server: RewardServer, items: range) -> None:
    """Wait until as many edits are in the queue. The judge goes on slowly."""
    until = time.monotonic() + 120
    while server.get("/pool_status").json()["queue"]["items"] not in items:
        assert time.monotonic() < until, server.get("/pool_status").text
        time.sleep(0.05)


def describe_queue(server: RewardServer, what: str) -> list[Any]:
    queue = server.get("/pool_status").json()["queue"]
    resident = round(read_memory(server.process.pid) / 1e6)
    return [what, queue["items"], round(queue["bytes"] / 1e6), resident]


def start(setting: Setting) -> None:
    """Print how long a server takes until it listens, and until it judges."""
    judges = {"fake": FAKE_JUDGE}
    if not setting.quick:
        judges["tiny Qwen3-VL"] = make_qwen(setting)
    rows = []
    for name, judge in judges.items():
        times = []
        for round_ in range(setting.pick(5, 1)):
            began = time.monotonic()
            server = RewardServer(setting.folder / f"{name} {round_}", judges={"one": judge}, workers=1)
            listening = time.monotonic() - began if server.start(ready=False) else 0.0
            server.start()
            times.append((listening, time.monotonic() - began))
            server.stop()
        middle = [statistics.median(column) for column in zip(*times, strict=True)]
        rows.append([name, *(f"{seconds:.2f}" for seconds in middle)])
    show(["judge", "listens after, s", "ready after, s"], rows)


def make_qwen(setting: Setting) -> dict[str, Any]:
    """Build a tiny Qwen3-VL. Returns the config of a judge with it."""
    folder = setting.folder / "qwen3-vl"
    folder.mkdir(parents=True)
    build_tiny_model("qwen3-vl", folder)
    return FAKE_JUDGE | {"adapter": "qwen3-vl", "model": str(folder), "params": QWEN}


def scores(setting: Setting) -> None:
    """Print the largest difference between a judge's scores with and without a server, alone and in micro-batches."""
    judge = make_qwen(setting)
    edits = make_edits(range(setting.pick(24, 4)), draw_pictures(25, 128))
    loaded = registry.build("judge", adapter="qwen3-vl", model=judge["model"], revision=None, params=QWEN)
    offline = [judge_with(loaded, [edit])[0] for edit in edits]
    rows = []
    for name, chunk, clients in (("alone", 1, 1), ("in micro-batches", 32, 32)):
        bodies = {edit["id"]: as_msgpack([edit])[0] for edit in edits}
        found: dict[str, Any] = {}
        with setting.serve(judges={"q": judge}, limits={"chunk": chunk}) as server:
            load = drive(server.url, list(bodies.values()), clients, keep=found)
            batches = read_metric(server, "editlane_batch_items_count")
        apart = {
            what: max(abs(found[edit["id"]][what] - row[what]) for edit, row in zip(edits, offline, strict=True))
            for what in ("score", "mass")
        }
        rows.append([name, f"{len(edits) / batches:.1f}", f"{load.rate:.1f}"])
        rows[-1] += [f"{apart['score']:.4f}", f"{apart['mass']:.1e}"]
    print(f"{len(edits)} edits of 2 x 128 x 128 pixels on the CPU, float32; scores have four decimals.\n")
    show(["online", "edits a batch", "edits/s", "largest difference of scores", "of mass"], rows)
