"""Memory of this machine, or of the container that this process runs in."""

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Bytes that can be had without swapping, on this machine or in the container that this is."""
    rows = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    available = next(int(row[1]) * 1024 for row in rows if row[0] == "MemAvailable:")
    container = container_memory()
    return min(available, container[1]) if container else available


def container_memory() -> tuple[int, int] | None:
    """(limit, what is left of it) in bytes, of the container that this is; None where there is no limit. Files that are
    only cached count as left."""
    try:
        limit = int((CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        lines = (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):  # no such file, or "max"
        return None
    cached = sum(int(line.split()[1]) for line in lines if line.split()[0] in ("active_file", "inactive_file"))
    return limit, max(0, limit - used + cached)
