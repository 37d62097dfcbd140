"""Get an editor's server ready for a lane, and notice that it has another model than for a run's earlier edits."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from editlane.core.errors import UserError, format_value
from editlane.core.files import replace_text
from editlane.core.paths import LaneId, RunPaths
from editlane.lanes.requests_sent import RequestCount, lock_counts


def open_server(editor: Any, paths: RunPaths, lane: LaneId, editor_key: str, check: Callable[[], None]) -> RequestCount:
    """Try the server of an editor, whose settings have this key, and return the count of this lane's requests to it.

    The tests are counted. `check` raises Stopped if the lane is to stop; waits for the server call it. Raises UserError
    if the server says another thing of its model than in an earlier process, and what the editor's `try_server` raises.
    """
    name, params = str(lane.editor), editor.params
    folder = paths.requests(name, editor_key)
    count = RequestCount(
        folder,
        lane,
        most=params.max_requests,
        per_minute=params.requests_per_minute,
        check=check,
    )
    path = folder / "server.json"
    check_words(_read_words(path), path, editor.words, name)  # before tests that may cost money
    editor.try_server(count.begin, count.count_image)
    keep_words(path, editor.words, name)  # a server that fails the tests makes no edit of this run
    return count


def keep_words(path: Path, words: Mapping[str, str], editor: str) -> None:
    """Write down what a server says of its model, or compare it with what was said before; `path` is among the counts.

    The name of a model is all that keys hold of it, so another one under the same name would go unnoticed. Words that
    no one said before are added, so that the next server has to agree with them, too. Servers that say nothing are not
    compared. Raises UserError if something that both tell has changed.
    """
    if not words:
        return
    with lock_counts(path.parent):  # lanes that start at once may ask different servers
        before = _read_words(path)
        check_words(before, path, words, editor)
        if words.keys() - before.keys():
            replace_text(path, json.dumps({**before, **words}, ensure_ascii=False, sort_keys=True))


def check_words(before: Mapping[str, Any], path: Path, words: Mapping[str, str], editor: str) -> None:
    """Raise UserError if a server says another thing of its model than `before`, which was written to `path`."""
    for name in sorted(before.keys() & words.keys()):
        if before[name] != words[name]:
            raise UserError(
                f"The server of the editor {editor} now says {name}: {format_value(words[name])} of its model; for "
                f"this run's earlier edits it said {format_value(before[name])}. Edits of two models must not be "
                "mixed. Serve the former one again, or give this one its own editor in the config. If both are "
                f"the same model, delete {path}."
            )


def _read_words(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
