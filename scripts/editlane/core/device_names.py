"""Shorten the names of devices for display."""

import re


def shorten_device_ids(text: str, digits: int) -> str:
    """Cut the UUIDs of GPUs and MIG instances to `digits` hex digits, at most 8. nvidia-smi accepts such prefixes."""
    return re.sub(rf"\b((?:GPU|MIG)-[0-9a-fA-F]{{{digits}}})[0-9a-fA-F-]*", r"\1", text)
