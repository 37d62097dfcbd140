"""What the programs that simulate statistics share."""

from collections.abc import Iterator


def covers(interval: tuple[float, float] | None, truth: float) -> bool:
    """Return whether there is an interval and it holds the truth."""
    return interval is not None and interval[0] <= truth <= interval[1]


def print_table(title: str, lines: Iterator[list[str]]) -> None:
    """Print a Markdown table line by line, as the lines are computed. The first line is its head."""
    print(f"\n## {title}\n", flush=True)
    for place, line in enumerate(lines):
        print(f"| {' | '.join(line)} |", flush=True)
        if not place:
            print("|" + "---|" * len(line), flush=True)
