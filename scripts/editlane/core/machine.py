"""Know whether a process id that somebody wrote down means a process that can be seen from here."""

from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PID_SPACE = Path("/proc/self/ns/pid")
_UNKNOWN = "unknown"


def read_machine() -> str:
    """Return what this start of this machine and its process ids are known by, without spaces.

    All containers of a machine have its boot id and often its name, but process ids of their own.
    """
    try:
        return f"{_BOOT.read_text().strip()}/{_PID_SPACE.readlink()}"
    except OSError:
        return _UNKNOWN


def is_here(machine: str) -> bool:
    """Return whether process ids of that machine mean the same processes here. What is unknown is elsewhere."""
    return machine == read_machine() != _UNKNOWN
