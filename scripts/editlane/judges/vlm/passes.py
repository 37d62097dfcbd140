"""Prepare questions as tensors for forward passes: some questions each, whatever edits they are about."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from PIL.Image import Image

from editlane.core.errors import JudgeFailed
from editlane.core.types import Question
from editlane.images.files import PREPARING_THREADS, fit_within
from editlane.judges.vlm.inputs import Inputs
from editlane.judges.vlm.prompts import Prompts
from editlane.models.devices import convert_model_errors


class Prepared(NamedTuple):
    """Prepared batch."""

    passes: list[Inputs]
    """Tensors of some questions each, on the CPU, padded on the right."""
    counts: list[int]
    """Questions of each edit."""

    def group_by_edit(self, found: Sequence[Any]) -> list[list[Any]]:
        """Return what was found for each question, by edit."""
        left = iter(found)
        return [[next(left) for _ in range(count)] for count in self.counts]


class Passes:
    """Makes tensors of questions, for one model."""

    def __init__(self, prompts: Prompts, size: int, max_image_side: int, close: Callable[[Any], Any]) -> None:
        """Take the questions per pass, and the longest side of an image.

        `close`: is given the messages of a question, and returns them as they are asked.
        """
        self.prompts, self.size, self.max_image_side, self.close = prompts, size, max_image_side, close
        self.tokenizing = threading.Lock()  # two threads use the tokenizer, which allows one
        self._threads = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")

    def prepare(self, asked: Sequence[Sequence[Question]]) -> Prepared:
        """Shrink the images and let the processor make tensors, on the CPU.

        Raises JudgeFailed for the whole batch if the processor rejects an image.
        """
        questions = [question for edit in asked for question in edit]
        images = {id(part): part for one in questions for part in one.parts if not isinstance(part, str)}
        shrunk = dict(zip(images, self._threads.map(self._shrink, images.values()), strict=True))  # each once
        chats = [self.close(self.prompts.make_chat(question, shrunk)) for question in questions]
        starts = range(0, len(chats), self.size)
        with self.tokenizing, convert_model_errors(JudgeFailed):
            passes = [self._encode(chats[start : start + self.size]) for start in starts]
        return Prepared(passes=passes, counts=[len(edit) for edit in asked])

    def _shrink(self, image: Image) -> Image:
        return fit_within(image, self.max_image_side)

    def _encode(self, chats: list[Any]) -> Inputs:
        return dict(self.prompts.encode(chats, padding=True, padding_side="right"))
