"""Notice that a server has another model than it had for a run's earlier edits."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from editlane.core.errors import UserError, format_value
from editlane.core.files import replace_text


def keep_words(path: Path, words: Mapping[str, str], editor: str) -> None:
    """Write down what the server says of its model, or compare it with what it said before.

    The name of a model is all that keys hold of it, so another one under the same name would go unnoticed. Servers that
    say nothing are not compared. Raises UserError if something that both tell has changed.
    """
    if not words:
        return
    before: dict[str, str] = {}
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        before = found if isinstance(found, dict) else {}
    for name in sorted(before.keys() & words.keys()):
        if before[name] != words[name]:
            raise UserError(
                f"The server of the editor {editor} now says {name}: {format_value(words[name])} of its model; for "
                f"this run's earlier edits it said {format_value(before[name])}. Edits of two models must not be "
                "mixed. Serve the former one again, or give this one its own editor in the config. If both are the "
                f"same model, delete {path}."
            )
    if not before:
        replace_text(path, json.dumps(dict(words), ensure_ascii=False, sort_keys=True))
