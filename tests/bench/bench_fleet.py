"""What a fleet of model servers gains with each server, and what the death of one costs, in tables.

    python tests/bench/bench_fleet.py [--part scaling latency death] [--answer 0.1] [--seats 8] [--seconds 10] [--quick]

Real supervisor and real router, with doubles of vLLM that take a fixed time for an answer and have so many seats. So
the capacity of n servers is n * seats / answer requests a second, and the tables show what of it the fleet delivers,
not what a GPU would. All processes share the cores: where these are the limit, the column CPU says so.
"""

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "helpers"), str(Path(__file__).parents[2] / "scripts")]

from fleet_load import Answers, Cpu, drive  # noqa: E402 (found through the line above)
from fleet_run import FleetRun  # noqa: E402
from reward_load import show  # noqa: E402

WARM_UP = 2.0


@dataclass(frozen=True)
class Setting:
    """What the parts have in common."""

    folder: Path
    answer: float
    seats: int
    seconds: float
    sizes: Sequence[int]

    @property
    def warm_up(self) -> float:
        return min(WARM_UP, self.seconds)

    @contextmanager
    def fleet(self, servers: int) -> Iterator[FleetRun]:
        """A fleet that is ready."""
        environment = {"VLLM_DOUBLE_SECONDS": str(self.answer)}
        about = {"servers": servers, "adapters": {}, "affinity": "none", "max_num_seqs": self.seats}
        run = FleetRun(self.folder / f"{servers}-{time.monotonic_ns()}", environment=environment, **about)
        run.start()
        try:
            run.wait(lambda: run.states().count("ready") == servers and len(run.routed()) == servers, 120)
            yield run
        finally:
            run.stop()

    def measure(self, run: FleetRun, url: str, clients: int) -> tuple[Answers, tuple[float, float]]:
        """Return the answers after the warm-up, and the shares of the cores meanwhile."""
        assert run.process is not None
        cpu = Cpu({run.process.pid, *run.pids()})
        answers = drive(url, clients, self.warm_up + self.seconds)
        return answers.between(answers.began + self.warm_up, answers.ended), cpu.read()


def scaling(setting: Setting) -> None:
    """Twice as many requests at work as there are seats, so that no seat is empty."""
    rows, direct = [], 0.0
    for servers in setting.sizes:
        with setting.fleet(servers) as run:
            ways = [(f"router, {servers} server{'s' * (servers > 1)}", run.url)]
            if not direct:
                ways.insert(0, ("1 server, asked directly", f"http://127.0.0.1:{run.config['base_port']}"))
            for name, url in ways:
                answers, cpu = setting.measure(run, url, 2 * setting.seats * servers)
                direct = direct or answers.rate
                rows.append(
                    [name, *describe(answers, servers * setting.seats / setting.answer, servers * direct), *cells(cpu)]
                )
    heads = (
        "way",
        "requests/s",
        "of the seats' capacity",
        "efficiency",
        "p50 ms",
        "p99 ms",
        "lost",
        "CPU",
        "CPU of this",
    )
    show(heads, rows)
    print("\nEfficiency: requests/s of n servers / (n * requests/s of one that is asked directly).")


def describe(answers: Answers, capacity: float, wanted: float) -> list[str]:
    shares = [f"{answers.rate / capacity:.1%}", f"{answers.rate / wanted:.3f}"]
    return [
        f"{answers.rate:.1f}",
        *shares,
        f"{answers.percentile(50):.0f}",
        f"{answers.percentile(99):.0f}",
        str(answers.lost),
    ]


def cells(cpu: tuple[float, float]) -> list[str]:
    return [f"{share:.0%}" for share in cpu]


def latency(setting: Setting) -> None:
    """Half as many requests as seats: what the router adds to an answer."""
    rows = []
    with setting.fleet(1) as run:
        for name, url in (("asked directly", f"http://127.0.0.1:{run.config['base_port']}"), ("router", run.url)):
            answers, _ = setting.measure(run, url, max(1, setting.seats // 2))
            rows.append([name, *(f"{answers.percentile(share):.1f}" for share in (50, 95, 99)), str(answers.lost)])
    show(("one server", "p50 ms", "p95 ms", "p99 ms", "lost"), rows)


def death(setting: Setting) -> None:
    """As many requests at work as there are seats, and SIGKILL to one server."""
    servers = setting.sizes[-1]
    moments: dict[str, float] = {}
    with setting.fleet(servers) as run:
        answers = drive(run.url, setting.seats * servers, 0, during=lambda: strike(run, setting, moments))
    steady, killed, noticed, back = (moments[name] for name in ("steady", "killed", "noticed", "back"))
    spans = [answers.between(steady, killed), answers.between(killed, back), answers.between(back, answers.ended)]
    show(
        (f"one of {servers} servers is killed", "before", "until it is back", "afterwards"),
        [
            ["requests/s", *(f"{one.rate:.0f}" for one in spans)],
            ["p50 ms", *(f"{one.percentile(50):.0f}" for one in spans)],
            ["p99 ms", *(f"{one.percentile(99):.0f}" for one in spans)],
            ["longest time without any answer, s", *(f"{one.longest_gap():.2f}" for one in spans)],
            ["lost", *(str(one.lost) for one in spans)],
        ],
    )
    print(
        f"\nOut of the router after {noticed - killed:.2f} s; started, checked and in the router again after "
        f"{back - killed:.1f} s."
    )


def strike(run: FleetRun, setting: Setting, moments: dict[str, float]) -> None:
    """Kill the last server once the load is steady, and wait until it is back."""
    last = int(run.config["servers"]) - 1
    url = f"http://127.0.0.1:{run.config['base_port'] + last}"
    time.sleep(setting.warm_up)
    moments["steady"] = time.monotonic()
    time.sleep(setting.seconds)
    os.kill(run.server_pid(last), signal.SIGKILL)
    moments["killed"] = time.monotonic()
    run.wait(lambda: url not in run.routed())
    moments["noticed"] = time.monotonic()
    run.wait(lambda: run.state()["servers"][last]["starts"] == 2 and url in run.routed(), 120)
    moments["back"] = time.monotonic()
    time.sleep(setting.seconds)


PARTS: dict[str, tuple[Callable[[Setting], None], str]] = {
    "scaling": (scaling, "Requests a second by the number of servers"),
    "latency": (latency, "What the router adds to an answer"),
    "death": (death, "A server dies under load"),
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--answer", type=float, default=0.1, help="seconds for an answer (default: 0.1)")
    parser.add_argument("--seats", type=int, default=8, help="requests that a server works on at once (default: 8)")
    parser.add_argument("--seconds", type=float, default=10, help="length of each measurement (default: 10)")
    parser.add_argument("--quick", action="store_true", help="two servers, a second each: the figures mean nothing")
    args = parser.parse_args(argv)
    print(f"{describe_machine()} Answers take {args.answer:g} s; {args.seats} seats a server.\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        sizes, seconds = ((1, 2), 1.0) if args.quick else ((1, 2, 4, 8), args.seconds)
        for name in args.part:
            measure, title = PARTS[name]
            print(f"## {title} (`{name}`)\n", flush=True)
            measure(Setting(Path(folder) / name, args.answer, args.seats, seconds, sizes))
            print(flush=True)


def describe_machine() -> str:
    """Return what the figures depend on."""
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{cores} cores, load {load:.1f}; Python {platform.python_version()}, vllm-router {version('vllm-router')}."


if __name__ == "__main__":
    main()
