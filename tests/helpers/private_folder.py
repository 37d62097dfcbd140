"""Stand in for a folder of another user, which root, as whom tests may run, could look into."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def make_private(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let everything in the folder, though not the folder itself, be denied to this process, as with mode 0700."""

    def deny(call: Callable[..., Any], *, inside: bool) -> Callable[..., Any]:
        def checked(path: Any = ".", *args: Any, **named: Any) -> Any:
            if not isinstance(path, int):
                place = Path(os.fsdecode(path)).absolute()
                if folder.absolute() in ([] if inside else [place]) + list(place.parents):
                    raise PermissionError(13, "Permission denied", str(path))
            return call(path, *args, **named)

        return checked

    for name, inside in (("stat", True), ("lstat", True), ("open", True), ("scandir", False), ("listdir", False)):
        monkeypatch.setattr(os, name, deny(getattr(os, name), inside=inside))
