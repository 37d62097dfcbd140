"""Build a folder once per test session and share it between processes."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Return the folder of this name, filled by `build` if it is not there yet; the others wait meanwhile.

    Treat it as read-only. It is built in another place and moved, so it is whole or not there.
    """
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, part = root / "shared" / name, root / "building" / name
    part.parent.mkdir(exist_ok=True)
    folder.parent.mkdir(exist_ok=True)
    with part.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            build(part)
            part.rename(folder)
    return folder
