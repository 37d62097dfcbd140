"""The simulator's side: plays what it is asked over two pipes, one episode at a time."""

import os
import sys
import traceback
from typing import BinaryIO

import numpy as np

from editlane.simulators.environment import EpisodeEnv
from editlane.simulators.wire import (
    HEAD,
    LONGEST_FRAME,
    Act,
    Acted,
    Answer,
    Began,
    Failed,
    Hello,
    Request,
    Reset,
    frame,
    unpack_request,
)

SIMULATORS = ("reach", "libero")
_LONGEST_REASON = 300


def build(name: str) -> EpisodeEnv:
    """Return the simulator of this name. Raises KeyError."""
    if name == "reach":
        from editlane.simulators.reach import Reach

        return Reach()
    if name == "libero":
        from editlane.simulators.libero import Libero

        return Libero()
    raise KeyError(name)


class Pipes:
    """Standard input and output, as frames. Whatever else is printed goes to standard error."""

    def __init__(self) -> None:
        self._in = sys.stdin.buffer
        self._out: BinaryIO = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # simulators print, their libraries in C, too; that must not land between frames

    def receive(self) -> Request | None:
        """Return the next request; None once the other side is gone. Raises ValueError if it is none."""
        head = self._in.read(HEAD)
        size = int.from_bytes(head, "big")
        if len(head) < HEAD:
            return None
        if size > LONGEST_FRAME:
            raise ValueError("a frame too large")
        body = self._in.read(size)
        return unpack_request(body) if len(body) == size else None

    def send(self, answer: Answer) -> None:
        """Send an answer. Raises BrokenPipeError once the other side is gone."""
        self._out.write(frame(answer))
        self._out.flush()


def serve(name: str, pipes: Pipes) -> int:
    """Play episodes until standard input closes, and return the exit code.

    After an error other than an unknown task the process ends, because a simulator in the middle of a step is in no
    state that a next episode may begin with.
    """
    try:
        env = build(name)
        pipes.send(Hello(dict(env.versions)))
        needs: tuple[str, ...] = ()
        while (asked := pipes.receive()) is not None:
            if isinstance(asked, Reset):
                needs = asked.needs
                pipes.send(_begin(env, asked))
            else:
                pipes.send(_act(env, asked, needs))
    except BrokenPipeError:
        return 0
    except Exception as error:  # noqa: BLE001 - whatever a simulator raises
        if not isinstance(error, ImportError):  # a package is missing, which says it all
            traceback.print_exc()
        pipes.send(Failed("simulator", f"{type(error).__name__}: {error}"[:_LONGEST_REASON]))
        return 1
    return 0


def _begin(env: EpisodeEnv, asked: Reset) -> Began | Failed:
    try:
        words = env.reset(asked.task)
    except LookupError as error:
        if type(error) is not LookupError:  # a KeyError of the simulator's own
            raise
        return Failed("unknown_task", str(error)[:_LONGEST_REASON])
    return Began(words, env.max_steps, env.observe(asked.needs))


def _act(env: EpisodeEnv, asked: Act, needs: tuple[str, ...]) -> Acted:
    actions = np.asarray(asked.actions, float)
    steps, solved = 0, False
    while steps < len(actions) and not solved:
        solved = env.step(actions[steps], asked.look and steps == len(actions) - 1)
        steps += 1
    is_seen = asked.look and steps == len(actions) and not solved
    return Acted(steps, solved, env.observe(needs) if is_seen else None)
