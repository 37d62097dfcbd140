"""A reward server that misbehaves on demand, and pauses too short to wait for."""

from collections.abc import Iterator

import pytest
from reward_double import Double, serving

from editlane.client import transport


@pytest.fixture
def server() -> Iterator[Double]:
    with serving() as double:
        yield double


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(transport, "_LONGEST_PAUSE", 0.05)
