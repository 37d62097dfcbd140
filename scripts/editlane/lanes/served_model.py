"""Notice that a server has another model than it had for a run's earlier edits."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from editlane.core.errors import UserError, format_value
from editlane.core.files import replace_text
from editlane.lanes.folder_lock import lock_folder


def keep_words(path: Path, words: Mapping[str, str], editor: str) -> None:
    """Write down what the server says of its model, and compare it with what it said before.

    The name of a model is all that keys hold of it, so another one under the same name would go unnoticed. Servers that
    say nothing are not compared. What is said later for the first time is written down, too. Lanes take turns, by the
    lock of the folder of `path`. Raises UserError if something that both tell has changed.
    """
    if not words:
        return
    with lock_folder(path.parent):
        before = _read_words(path)
        for name in sorted(before.keys() & words.keys()):
            if before[name] != words[name]:
                raise UserError(
                    f"The server of the editor {editor} now says {name}: {format_value(words[name])} of its model; "
                    f"for this run's earlier edits it said {format_value(before[name])}. Edits of two models must not "
                    "be mixed. Serve the former one again, or give this one its own editor in the config. If both are "
                    f"the same model, delete {path}."
                )
        if words.keys() - before.keys():
            replace_text(path, json.dumps({**before, **words}, ensure_ascii=False, sort_keys=True))


def _read_words(path: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
