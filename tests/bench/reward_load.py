"""Load for servers of rewards: requests made before, connections that are kept, times of each answer."""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np
from reward_server import RewardServer
from rewards import draw_noise, make_edit, to_json

JSON, MSGPACK, FORM = "application/json", "application/msgpack", "multipart/form-data; boundary=xxxx"
CATEGORY = "物理"


class Body(NamedTuple):
    """One request."""

    content: bytes
    kind: str
    edits: int


@dataclass(frozen=True)
class Load:
    """What came of some requests."""

    wall: float
    seconds: list[float]
    edits: int

    @property
    def rate(self) -> float:
        """Edits a second."""
        return self.edits / self.wall

    def percentile(self, share: float) -> float:
        """Return the milliseconds within which this share of the requests, in percent, was answered."""
        return 1e3 * float(np.percentile(self.seconds, share))


def make_edits(numbers: Sequence[int], pictures: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return edits of one category, all different."""
    count = len(pictures)
    return [
        make_edit(number, source=pictures[number % count], edited=pictures[(number + 1) % count], category=CATEGORY)
        for number in numbers
    ]


def draw_pictures(count: int, side: int) -> list[bytes]:
    """Return so many pictures of 3 bytes a pixel: 182 pixels are 100 kB, 80 are 19 kB."""
    return [draw_noise(number, side) for number in range(count)]


def as_json(edits: Sequence[dict[str, Any]]) -> list[Body]:
    return [Body(msgspec.json.encode(to_json(edits)), JSON, len(edits))]


def as_msgpack(edits: Sequence[dict[str, Any]]) -> list[Body]:
    return [Body(msgspec.msgpack.encode({"items": edits}), MSGPACK, len(edits))]


def as_forms(edits: Sequence[dict[str, Any]]) -> list[Body]:
    """Return a form for each edit: a form holds one."""
    return [Body(_write_form(edit), FORM, 1) for edit in edits]


def _write_form(edit: dict[str, Any]) -> bytes:
    parts = []
    for name, value in edit.items():
        file = f'; filename="{name}.png"' if isinstance(value, bytes) else ""
        head = f'--xxxx\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + (value if isinstance(value, bytes) else str(value).encode()) + b"\r\n")
    return b"".join(parts) + b"--xxxx--\r\n"


class Client:
    """One connection, kept."""

    def __init__(self, url: str, path: str = "/v1/score") -> None:
        place = urlsplit(url)
        self.path, self._connection = path, http.client.HTTPConnection(place.hostname or "", place.port, timeout=600)

    def send(self, body: Body) -> dict[str, Any]:
        """Return the answer. Fails unless every edit has a score."""
        self._connection.request("POST", self.path, body.content, {"Content-Type": body.kind})
        response = self._connection.getresponse()
        content = response.read()
        assert response.status == 200, content[:300]
        answer: dict[str, Any] = json.loads(content)
        assert answer["n_error"] == 0 and answer["n_ok"] == body.edits, content[:300]
        return answer

    def close(self) -> None:
        self._connection.close()

    def leave(self) -> None:
        """Close the connection while another thread waits for the answer."""
        if self._connection.sock:
            self._connection.sock.shutdown(socket.SHUT_RDWR)


def drive(url: str, bodies: Sequence[Body], clients: int, keep: dict[str, Any] | None = None) -> Load:
    """Send each body once, so many at a time, each client after its last answer. `keep` gets the answers by id."""
    waiting, seconds = iter(list(bodies)), list[float]()
    failed: list[BaseException] = []

    def work() -> None:
        client = Client(url)
        try:
            for body in waiting:
                began = time.monotonic()
                answer = client.send(body)
                seconds.append(time.monotonic() - began)
                if keep is not None:
                    keep.update({item["id"]: item for item in answer["items"]})
        except BaseException as error:  # noqa: BLE001  raised below, in the thread that has a caller
            failed.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    began = time.monotonic()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if failed:
        raise failed[0]
    return Load(time.monotonic() - began, seconds, sum(body.edits for body in bodies))


def read_metric(server: RewardServer, name: str) -> float:
    """Return the sum of a figure over all its labels."""
    return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", server.get("/metrics").text, re.MULTILINE)))


def show_load(load: Load) -> list[str]:
    """Return the cells of a load: edits a second, and milliseconds."""
    return [f"{load.rate:.0f}", f"{load.percentile(50):.1f}", f"{load.percentile(99):.1f}"]


def show(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a Markdown table; all but the first column are numbers."""
    print("| " + " | ".join(heads) + " |")
    print("|---|" + "---:|" * (len(heads) - 1))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
