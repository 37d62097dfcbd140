"""What every dashboard for Grafana keeps to."""

from typing import Any


def check_places(board: dict[str, Any]) -> None:
    """No two panels share a cell of the grid, which is 24 columns wide."""
    cells = [
        (place["x"] + column, place["y"] + line)
        for place in (panel["gridPos"] for panel in board["panels"])
        for column in range(place["w"])
        for line in range(place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) == 23
