"""Read the memory of this machine, or of the container that this process runs in."""

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def read_available_memory() -> int:
    """Return the bytes available without swapping, on this machine or in its container."""
    rows = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    available = next(int(row[1]) * 1024 for row in rows if row[0] == "MemAvailable:")
    container = read_container_memory()
    return min(available, container[1]) if container else available


def read_container_memory() -> tuple[int, int] | None:
    """Return the container's (limit, remaining bytes), or None without a limit. Cached files count as remaining."""
    try:
        limit = int((CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        lines = (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):  # no such file, or "max"
        return None
    cached = sum(int(line.split()[1]) for line in lines if line.split()[0] in ("active_file", "inactive_file"))
    return limit, max(0, limit - used + cached)
