"""Find out from a protocol's text how its answers become numbers."""

from editlane.core.errors import UserError
from editlane.core.yaml_files import parse_yaml

KINDS = ("readout", "generate", "scalar")


def find_answer_kind(text: str) -> str | None:
    """Return one of KINDS; None if the text, which another program may have written, is no protocol."""
    try:
        data = parse_yaml(text.encode())
    except UserError:
        return None
    answer = data.get("answer") if isinstance(data, dict) else None
    kind = answer.get("kind") if isinstance(answer, dict) else None
    return kind if kind in KINDS else None
