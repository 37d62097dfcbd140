"""Qwen3-VL behind a server that speaks OpenAI's chat completions and shows log-probabilities, as vLLM's does.

This process holds no device. A score is read from the log-probabilities of the first token: from the 20 likeliest of
the whole distribution, and where these do not show enough (see top_logprobs.py) from a second request that allows legal
answers only. The mass always comes from the first, since nothing can be said about it once other answers are ruled out.

Images are sent as PNG, shrunk to `max_image_side` and resized to whole blocks of 32 pixels, as the processor of a
released Qwen3-VL does it, so that the server's own finds nothing left to resize. A server with the same checkpoint in
the same number format agrees with the other engines but for rounding, and for what it does not show.
"""

import base64
import hashlib
import io
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from PIL import Image
from pydantic import AfterValidator, BeforeValidator, Field

from editlane.core.errors import ItemError, UserError
from editlane.core.params import SPEED
from editlane.core.types import Question, Readout, RunsOn
from editlane.images.files import PREPARING_THREADS, fit_within
from editlane.judges.endpoint.completions import FIRST_TOKEN, Completions, Constraint, Messages, only, text_of
from editlane.judges.endpoint.http import Endpoint, read_key
from editlane.judges.endpoint.top_logprobs import Hidden, combine, read_shown
from editlane.judges.qwen3_vl.chat import QwenJudgeParams, conversation

BLOCK = 32
LEAST_PIXELS = 256 * 256

UNANSWERED = ("transport", "timeout")
PATIENCE = 10.0
"""Seconds, where the question is only whether anybody is there."""

S = TypeVar("S")
T = TypeVar("T")


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        is_right = False
    if not is_right or parts.query or parts.fragment or any(letter.isspace() for letter in url):
        raise ValueError(f"{url!r} is no address; use that of an endpoint, such as http://127.0.0.1:8000/v1.")
    if parts.username or parts.password:
        raise ValueError("it holds a user or a password; name an environment variable with a key: `api_key_env`.")
    return url


def _check_variable(name: Any) -> Any:
    if name is not None and not (isinstance(name, str) and name.isidentifier()):
        raise ValueError("use the name of an environment variable; the key itself does not belong into a config.")
    return name


class EndpointParams(QwenJudgeParams):
    """The settings of this judge."""

    base_url: Annotated[str, AfterValidator(_check_url), SPEED]
    """As `http://127.0.0.1:8000/v1`; `/chat/completions` and `/models` lie under it."""
    api_key_env: Annotated[str | None, BeforeValidator(_check_variable), SPEED] = None
    """The environment variable that holds the key; the key itself is never in the config."""
    concurrency: Annotated[int, Field(ge=1), SPEED] = 16
    """Edits that are asked about at once."""
    timeout: Annotated[float, Field(ge=0.01, le=1e6), SPEED] = 120.0
    """Seconds for one attempt."""
    attempts: Annotated[int, Field(ge=1), SPEED] = 5
    """How often a request is tried if another attempt may succeed."""
    answer_constraint: Constraint | None = "structured_outputs"
    """The field of vLLM by which the server is told to allow legal answers only; null if it has none."""


class EndpointJudge:
    """A model by the name under which a server knows it."""

    VERSION = "1"
    """Bump when the same question would get other probabilities."""
    RUNS_ON = RunsOn.SERVER
    PARAMS = EndpointParams

    def __init__(self, *, model: str, revision: str | None, params: EndpointParams) -> None:
        self.params = params
        if not model:
            raise UserError(
                "the judge qwen3-vl on openai needs a `model`: the name under which the endpoint serves it."
            )
        self.completions = endpoint_of(model, self.params)
        self.completions.check_served()
        self._threads = ThreadPoolExecutor(self.params.concurrency, thread_name_prefix="endpoint")
        self._encoders = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")
        self._probed: set[tuple[str, ...]] = set()
        self._left: dict[bytes, Any] = {}

    @classmethod
    def check_served(cls, model: str, params: EndpointParams, timeout: float) -> None:
        """Raises UserError where, asked once, the endpoint does not answer or does not serve this model."""
        endpoint_of(model, params).asked_once(timeout).check_served()

    @property
    def capacity(self) -> int:
        """Edits of a batch: twice those that are asked about at once, so that few wait for its slowest."""
        return 2 * self.params.concurrency

    def weigh(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """1: the server counts the tokens itself."""
        return 1

    def prepare(self, asked: Sequence[Sequence[Question]]) -> list[list[Messages]]:
        """The messages of every question, each image encoded once."""
        parts = itertools.chain.from_iterable(question.parts for questions in asked for question in questions)
        images = {id(part): part for part in parts if not isinstance(part, str)}
        urls = dict(zip(images, self._encoders.map(self._data_url, images.values()), strict=True))
        return [[_messages(question, urls) for question in questions] for questions in asked]

    def _data_url(self, image: Image.Image) -> str:
        encoded = io.BytesIO()
        _in_blocks(fit_within(image, self.params.max_image_side)).save(encoded, format="PNG", compress_level=1)
        return f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}"

    def read_out(self, batch: list[list[Messages]], answers: Sequence[str]) -> list[list[Readout]]:
        """One request for each question, sometimes two. The first call makes sure that the endpoint does its part.

        Raises UserError where it does not, where an answer is not one token, or where nobody answers any more;
        JudgeFailed or Hidden for the batch if the questions about one edit fail.
        """
        if tuple(answers) not in self._probed:
            self._probe(answers)
        return self._each([[(messages, None) for messages in edit] for edit in batch], partial(self._read, answers))

    def _probe(self, answers: Sequence[str]) -> None:
        """One picture with nothing in it, and the legal answers one by one."""
        picture = Image.new("RGB", (64, 64), "grey")
        question = Question(system="", parts=(picture, f"Answer with one of: {', '.join(answers)}."))
        ((messages,),) = self.prepare([[question]])
        self.completions.check_logprobs(messages, answers)
        if self.params.answer_constraint is not None:
            self.completions.check_constraint(messages, answers, self.params.answer_constraint, self._threads)
        elif any(one != other and other.startswith(one) for one in answers for other in answers):
            raise UserError(
                "One answer of the protocol begins with another, and without an answer constraint nobody knows which "
                "of the two the first token belongs to. Use single digits, single letters or common short words."
            )
        self._probed.add(tuple(answers))

    def _read(self, answers: Sequence[str], messages: Messages, _: None) -> Readout:
        raw = read_shown(self.completions.ask(messages, FIRST_TOKEN), answers)
        if raw.is_enough:
            return raw.readout()
        if self.params.answer_constraint is None:
            raise Hidden(
                f"the endpoint shows {raw.mass:.3g} of the probability on legal answers, and up to {raw.hidden:.3g} is "
                "on those that it does not show"
            )
        limited = self.completions.ask(messages, FIRST_TOKEN | only(self.params.answer_constraint, answers))
        return combine(raw, read_shown(limited, answers))

    def generate(
        self, batch: list[list[Messages]], max_new_tokens: int, seeds: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        """Replies at the params' temperature; that the seed decides all chance is up to the server.

        Raises like read_out.
        """
        options = {"max_tokens": max_new_tokens, "temperature": self.params.temperature, "top_p": 1}

        def write(messages: Messages, seed: int) -> str:
            return text_of(self.completions.ask(messages, options | {"seed": seed}))

        pairs = zip(batch, seeds, strict=True)
        return self._each([list(zip(edit, own, strict=True)) for edit, own in pairs], write)

    def _each(self, jobs: list[list[tuple[Messages, S]]], ask: Callable[[Messages, S], T]) -> list[list[T]]:
        """What `ask` finds for every question, edit by edit; those about one edit one after the other, since the
        server may keep what they have in common.

        Where an edit fails, the caller asks again in halves: what was found out is kept until then, so that no edit is
        asked about twice. Raises NoAnswer, which ends the lane and not its items, where one got no answer and nobody
        is there any more.
        """
        keys = list(self._threads.map(_key, jobs)) if self._left else [b""] * len(jobs)
        if self._left.keys().isdisjoint(keys):
            self._left = {}  # of another batch, whose halves were not all asked again

        def about(edit: list[tuple[Messages, S]], key: bytes) -> list[T] | ItemError:
            known: list[T] | ItemError | None = self._left.pop(key, None)
            if known is not None:
                return known
            try:
                return [ask(*question) for question in edit]
            except ItemError as error:
                if error.kind in UNANSWERED:
                    self.completions.asked_once(PATIENCE).check_served()
                return error

        found = list(self._threads.map(about, jobs, keys))
        errors = [one for one in found if isinstance(one, ItemError)]
        if not errors:
            return [one for one in found if not isinstance(one, ItemError)]
        if len(jobs) > 1:
            self._left |= {_key(edit): one for edit, one in zip(jobs, found, strict=True)}
        raise errors[0]


def endpoint_of(model: str, params: EndpointParams) -> Completions:
    """Raises UserError where the key is not set."""
    endpoint = Endpoint(
        base_url=params.base_url.rstrip("/"),
        key=read_key(params.api_key_env),
        timeout=params.timeout,
        attempts=params.attempts,
    )
    return Completions(endpoint=endpoint, model=model)


def _messages(question: Question, urls: Mapping[int, str]) -> Messages:
    """The conversation with its images in their places."""
    images = (urls[id(part)] for part in question.parts if not isinstance(part, str))
    messages = conversation(question)
    messages[-1]["content"] = [
        part if part["type"] == "text" else {"type": "image_url", "image_url": {"url": next(images)}}
        for part in messages[-1]["content"]
    ]
    return messages


def _in_blocks(image: Image.Image) -> Image.Image:
    """The image as the processor of a released Qwen3-VL resizes it: each side rounded to whole blocks, a small one
    enlarged to LEAST_PIXELS."""
    sides = [round(side / BLOCK) * BLOCK for side in image.size]
    if math.prod(sides) < LEAST_PIXELS:
        factor = math.sqrt(LEAST_PIXELS / math.prod(image.size))
        sides = [math.ceil(side * factor / BLOCK) * BLOCK for side in image.size]
    size = (sides[0], sides[1])
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def _key(edit: list[tuple[Messages, S]]) -> bytes:
    return hashlib.sha256(json.dumps(edit).encode()).digest()
