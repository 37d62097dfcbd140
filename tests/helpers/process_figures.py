"""What a process takes at the moment, from /proc."""

import os
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def read_memory(pid: int) -> int:
    """Return its bytes in memory (RSS)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def read_cpu(pid: int) -> float:
    """Return the CPU seconds of all its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def count_files(pid: int) -> int:
    """Return how many files and connections it has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def list_children() -> list[int]:
    """Return the process ids of this process's children that still run."""
    return [
        pid
        for thread in Path("/proc/self/task").iterdir()
        for pid in map(int, (thread / "children").read_text().split())
    ]


def list_descendants(pid: int) -> list[int]:
    """Return the process ids of all that a process has started, the deepest first."""
    found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [below for child in found for below in (*list_descendants(child), child)]
