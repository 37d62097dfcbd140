"""Build the messages of a request: texts, and images as PNG within the message. No URL of anybody's is sent."""

import base64
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from PIL.Image import Image

from editlane.core.types import Question
from editlane.judges.endpoint.completions import Messages


def prepare_messages(
    asked: Sequence[Sequence[Question]],
    fit: Callable[[Image], Image],
    make_chat: Callable[[Question], Messages],
    threads: Executor,
) -> list[list[Messages]]:
    """Build the messages of every question. Encode each image once.

    `fit`: resizes an image. `make_chat`: builds the messages with placeholders for images.
    """
    parts = itertools.chain.from_iterable(question.parts for questions in asked for question in questions)
    images = {id(part): part for part in parts if not isinstance(part, str)}
    urls = dict(zip(images, threads.map(lambda image: encode_png(fit(image)), images.values()), strict=True))
    return [[_fill(make_chat(question), question, urls) for question in questions] for questions in asked]


def encode_png(image: Image) -> str:
    """Return an image as a data URL."""
    encoded = io.BytesIO()
    image.save(encoded, format="PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}"


def _fill(messages: Messages, question: Question, urls: Mapping[int, str]) -> Messages:
    """Put the images of a question in the place of their placeholders."""
    images = (urls[id(part)] for part in question.parts if not isinstance(part, str))
    content: list[dict[str, Any]] = messages[-1]["content"]
    messages[-1]["content"] = [
        part if part["type"] == "text" else {"type": "image_url", "image_url": {"url": next(images)}}
        for part in content
    ]
    return messages
