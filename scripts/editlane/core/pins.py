"""Read the pinned versions of an environment file, and compare them with installed ones."""

import re
from pathlib import Path

from editlane.core.yaml_files import read_yaml


def read_pip_pins(env: Path) -> dict[str, str]:
    """Read the lines `name==version` of an environment file's pip section, as package -> version."""
    content = read_yaml(env)
    listed_ones = content.get("dependencies") or [] if isinstance(content, dict) else []
    requirements = [line for entry in listed_ones if isinstance(entry, dict) for line in entry.get("pip") or []]
    found = (re.fullmatch(r"\s*([\w.-]+)(?:\[.*\])?\s*==\s*([\w.+!]+)\s*", line) for line in requirements)
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in found if match}


def differ(there: str, wanted: str) -> bool:
    """Compare versions without their build tag, such as +cpu."""
    return there.partition("+")[0] != wanted.partition("+")[0]
