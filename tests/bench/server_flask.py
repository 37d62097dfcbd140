"""The part of bench_server.py that compares with Flask and gunicorn."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import requests
from reward_load import Body, Client, Load, draw_pictures, drive, show, show_load
from server_parts import Setting, one_each

START_SECONDS = 60.0
SLOW = 4
"""Slow requests at once."""

ROUNDS = 3


def compare_with_flask(setting: Setting) -> None:
    """Print the same scoring behind Editlane's server and in the handler of Flask under gunicorn."""
    looking = [sys.executable, "-c", "import flask, gunicorn"]
    if subprocess.run(looking, env=use(setting), capture_output=True).returncode:
        print("Skipped: it needs `pip install --target FOLDER flask gunicorn`, and --flask FOLDER.")
        return
    ways: dict[str, Callable[[dict[str, Any]], Any]] = {
        "Editlane, 2 workers": lambda params: setting.serve(params, workers=2),
        "gunicorn -w 2": lambda params: serve_flask(setting, params, "-w", "2"),
        "gunicorn -w 2 --threads 4": lambda params: serve_flask(setting, params, "-w", "2", "--threads", "4"),
    }
    bodies, seconds = one_each(setting.pick(400, 12), draw_pictures(64, 182)), setting.pick(3, 1)
    loads: dict[str, list[Load]] = {name: [] for name in ways}
    for _ in range(setting.pick(ROUNDS, 1)):  # in turns, because others may use the machine, too
        for name, serve in ways.items():
            with serve({}) as server:
                drive(server.url, bodies[:2], 1)
                loads[name].append(drive(server.url, bodies[2:], 8))
    middle = {name: sorted(found, key=lambda load: load.rate)[len(found) // 2] for name, found in loads.items()}
    rows = []
    for name, serve in ways.items():
        with serve({"seconds": seconds / 2}) as server:
            health = ask_while_busy(server.url, bodies[:SLOW])
        times = middle[name].rate / next(iter(middle.values())).rate
        rows.append([name, *show_load(middle[name]), f"{times:.2f}", f"{1e3 * health:.0f}"])
    print("One edit of 2 x 100 kB a request, JSON; 8 clients; a judge that takes no time; the median of the rounds.")
    print(f"Last, how long GET /health takes while {SLOW} requests run that take {seconds} s each.\n")
    show(["server", "edits/s", "p50, ms", "p99, ms", "times", "/health, ms"], rows)


def use(setting: Setting) -> dict[str, str]:
    """Return the environment in which Flask is found."""
    return os.environ | ({"PYTHONPATH": str(setting.flask.absolute())} if setting.flask else {})


@contextmanager
def serve_flask(setting: Setting, params: dict[str, Any], *flags: str) -> Iterator[SimpleNamespace]:
    """Run flask_rewards.py under gunicorn, on a free port."""
    setting.folder.mkdir(parents=True, exist_ok=True)
    log = setting.folder / "gunicorn.txt"
    environment = use(setting) | {"JUDGE_PARAMS": json.dumps({"batch_size": 32} | params)}
    command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "--timeout", "120", *flags, "flask_rewards:app"]
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=Path(__file__).parent, env=environment, stdout=out, stderr=out)
    try:
        until, url = time.monotonic() + START_SECONDS, ""
        while not url or not answers(url):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
            url = log.read_text().partition("Listening at: ")[2].partition(" ")[0]
        yield SimpleNamespace(url=url)
    finally:
        process.terminate()
        process.wait(20)


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=60).status_code == 200
    except requests.RequestException:
        return False


def ask_while_busy(url: str, slow: list[Body]) -> float:
    """Return the seconds that GET /health takes while these requests run."""
    threads = [threading.Thread(target=lambda body=body: Client(url).send(body)) for body in slow]
    for one in threads:
        one.start()
    time.sleep(0.4)
    began = time.monotonic()
    assert requests.get(f"{url}/health", timeout=120).status_code == 200
    took = time.monotonic() - began
    for one in threads:
        one.join()
    return took
