"""Tie a process to the one that started it. Standard library only, because every lane starts through here."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have this process killed as soon as its parent has ended, however that ended. It survives an exec.

    `parent`: the parent's process id; if it ended before, this process ends now.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
