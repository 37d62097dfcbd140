"""Qwen3-VL behind a server with OpenAI's chat completions and log-probabilities, such as vLLM's.

This process holds no device. A score is read from the log-probabilities of the first token: the 20 likeliest of the
whole distribution. If these do not show enough (see top_logprobs.py), a second request allows legal answers only. The
mass always comes from the first, because the second rules out all other answers.

Images are sent as PNG, shrunk to `max_image_side` and resized to whole blocks of 32 pixels. The processor of a released
Qwen3-VL does the same, so the server's own has nothing left to resize. With the same checkpoint and number format, a
server agrees with the other engines. Rounding and hidden probability are the exceptions.
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
from typing import Annotated, Any, Self, TypeVar

from PIL import Image
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from editlane.core.errors import ItemError, JudgeFailed, UserError
from editlane.core.fleets import fix_version
from editlane.core.params import SPEED
from editlane.core.published_names import is_published, strip_fingerprint
from editlane.core.strict_model import Text
from editlane.core.types import Question, Readout, RunsOn
from editlane.core.urls import check_proxy, check_url, check_variable
from editlane.endpoint.places import connect
from editlane.images.files import PREPARING_THREADS, fit_within
from editlane.judges.endpoint.completions import FIRST_TOKEN, Completions, Constraint, Messages, allow_only, read_text
from editlane.judges.endpoint.top_logprobs import HiddenProbability, combine, read_top_logprobs
from editlane.judges.qwen3_vl.chat import QwenJudgeParams, make_messages

BLOCK = 32
LEAST_PIXELS = 256 * 256

UNANSWERED = ("transport", "timeout")
PATIENCE = 10.0
"""Timeout in seconds of a request that only tests if the endpoint answers."""

S = TypeVar("S")
T = TypeVar("T")


class EndpointParams(QwenJudgeParams):
    """Settings of this judge."""

    base_url: Annotated[Annotated[str, AfterValidator(check_url)] | None, SPEED] = None
    """Address of the server, for example `http://127.0.0.1:8000/v1`; requests go to `/chat/completions` and `/models`
    below it. Exactly one of `base_url` and `fleet` is needed."""
    fleet: Annotated[Text | None, SPEED] = None
    """Config file of a fleet (config/fleet.md), in the place of `base_url`. `model` is then the name of one of its
    adapters or of its base model. The published name, which changes with the weights, counts as the model."""
    api_key_env: Annotated[str | None, BeforeValidator(check_variable), SPEED] = None
    """Environment variable that holds the key; the key itself is never in the config. null with `fleet`: its
    `token_env`."""
    proxy: Annotated[Annotated[str, AfterValidator(check_proxy)] | None, SPEED] = None
    """Proxy on the way to `base_url`, for example `http://proxy:3128`; null for none, whatever the environment says."""
    concurrency: Annotated[int, Field(ge=1), SPEED] = 16
    """Edits that are judged at once."""
    timeout: Annotated[float, Field(ge=0.01, le=1e6), SPEED] = 120.0
    """Seconds for one attempt."""
    attempts: Annotated[int, Field(ge=1), SPEED] = 5
    """Maximum number of attempts for a request, if another attempt may succeed."""
    answer_constraint: Constraint | None = "structured_outputs"
    """Request field of vLLM that allows legal answers only; null if the server has none."""

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        """Raise ValueError unless one place is named."""
        if (self.base_url is None) == (self.fleet is None):
            what = (
                "neither `base_url` nor `fleet` is there"
                if self.fleet is None
                else "`base_url` and `fleet` are both there"
            )
            raise ValueError(
                f"{what}; set one: `base_url` to the address of a server, such as http://127.0.0.1:8000/v1, or `fleet` "
                "to the config of a fleet, such as config/fleet.yaml."
            )
        return self


class EndpointJudge:
    """Model under the name by which a server serves it."""

    VERSION = "1"
    """Bump when the same question would get other probabilities.

    It was not for requests without a seed, nor when the 19th and the 20th reported token were no longer read: an answer
    there counts as hidden, and where hidden answers may hold more than NEGLIGIBLE, the question is asked again.
    """
    RUNS_ON = RunsOn.SERVER
    PARAMS = EndpointParams

    def __init__(self, *, model: str, revision: str | None, params: EndpointParams) -> None:
        self.params = params
        if not model:
            raise UserError(
                "the judge qwen3-vl on openai needs a `model`: the name under which the endpoint serves it."
            )
        self.completions = make_completions(model, self.params)
        self.completions.check_served()
        self._threads = ThreadPoolExecutor(self.params.concurrency, thread_name_prefix="endpoint")
        self._encoders = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")
        self._probed: set[tuple[str, ...]] = set()
        self._unclaimed: dict[bytes, Any] = {}

    @classmethod
    def check_served(cls, model: str, params: EndpointParams, timeout: float) -> list[str]:
        """Return the published names that the endpoint lists for this model, as servers of a fleet do.

        Raises UserError if the endpoint does not answer a single attempt, or does not serve this model; FleetDown if
        its fleet does not run.
        """
        listed = make_completions(model, params).with_one_attempt(timeout).check_served()
        return [name for name in listed if is_published(name) and strip_fingerprint(name) == model]

    @classmethod
    def name_version(cls, model: str, params: Mapping[str, Any]) -> str:
        """Return the name that stands for the model's weights in keys; with a fleet it changes with them.

        Raises UserError if the fleet never ran here, or does not serve the model.
        """
        return fix_version(params["fleet"], model) if params.get("fleet") else model

    @property
    def max_batch_cost(self) -> int:
        """Edits per batch: twice those judged at once, so that few wait for the slowest of a batch."""
        return 2 * self.params.concurrency

    def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """Return 1, because the server counts the tokens itself."""
        return 1

    def prepare(self, asked: Sequence[Sequence[Question]]) -> list[list[Messages]]:
        """Build the messages of every question. Encode each image once."""
        parts = itertools.chain.from_iterable(question.parts for questions in asked for question in questions)
        images = {id(part): part for part in parts if not isinstance(part, str)}
        urls = dict(zip(images, self._encoders.map(self._data_url, images.values()), strict=True))
        return [[_fill_messages(question, urls) for question in questions] for questions in asked]

    def _data_url(self, image: Image.Image) -> str:
        encoded = io.BytesIO()
        _resize_to_blocks(fit_within(image, self.params.max_image_side)).save(encoded, format="PNG", compress_level=1)
        return f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}"

    def read_out(self, batch: list[list[Messages]], answers: Sequence[str]) -> list[list[Readout]]:
        """Send one request per question, or two if the first shows too little. The first call tests the endpoint.

        Raises UserError if the endpoint fails the test, if an answer is not one token, or if the endpoint no longer
        answers. Raises JudgeFailed or HiddenProbability for the batch if the questions about one edit fail.
        """
        if tuple(answers) not in self._probed:
            self._probe(answers)
        return self._ask_each([[(messages, None) for messages in edit] for edit in batch], partial(self._read, answers))

    def _probe(self, answers: Sequence[str]) -> None:
        """Ask about a blank image, and allow each legal answer alone."""
        picture = Image.new("RGB", (64, 64), "grey")
        question = Question(system="", parts=(picture, f"Answer with one of: {', '.join(answers)}."))
        ((messages,),) = self.prepare([[question]])
        self.completions.check_logprobs(messages, answers)
        if self.params.answer_constraint is not None:
            self.completions.check_constraint(messages, answers, self.params.answer_constraint, self._threads)
        elif any(one != other and other.startswith(one) for one in answers for other in answers):
            raise UserError(
                "One answer of the protocol begins with another. Without an answer constraint the first token may "
                "belong to either. Use single digits, single letters or common short words."
            )
        self._probed.add(tuple(answers))

    def _read(self, answers: Sequence[str], messages: Messages, _: None) -> Readout:
        read = partial(read_top_logprobs, answers=answers)
        raw = self.completions.ask(messages, FIRST_TOKEN, read)
        if raw.is_enough:
            return raw.to_readout()
        if self.params.answer_constraint is None:
            raise HiddenProbability(
                f"the endpoint shows {raw.mass:.3g} of the probability on legal answers, and up to {raw.hidden:.3g} is "
                "hidden"
            )
        options = FIRST_TOKEN | allow_only(self.params.answer_constraint, answers)
        return combine(raw, self.completions.ask(messages, options, read))

    def generate(
        self, batch: list[list[Messages]], max_new_tokens: int, seeds: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        """Generate replies at the params' temperature. Whether the seed decides all chance is up to the server.

        Raises like read_out.
        """
        options = {"max_tokens": max_new_tokens, "temperature": self.params.temperature, "top_p": 1}
        draws = self.params.temperature > 0  # else a seed decides nothing; see FIRST_TOKEN

        def write(messages: Messages, seed: int) -> str:
            return self.completions.ask(messages, options | ({"seed": seed} if draws else {}), read_text)

        pairs = zip(batch, seeds, strict=True)
        return self._ask_each([list(zip(edit, own, strict=True)) for edit, own in pairs], write)

    def _ask_each(self, jobs: list[list[tuple[Messages, S]]], ask: Callable[[Messages, S], T]) -> list[list[T]]:
        """Call `ask` for every question. Questions about one edit go one after the other, so that the server can reuse
        their common prefix.

        If an edit fails, the caller asks again in halves. Results are kept until then, so that no edit is asked about
        twice. If a request got no answer and the endpoint is down, raises NoAnswer. It ends the lane and not its items.
        Only one thread may call this: the results kept are taken and left here, and the threads below see none.
        """
        keys = list(self._threads.map(_hash_edit, jobs)) if self._unclaimed else [b""] * len(jobs)
        kept: list[list[T] | ItemError | None] = [self._unclaimed.pop(key, None) for key in keys]
        if not any(one is not None for one in kept):
            self._unclaimed = {}  # results of another batch, whose halves were not all asked again

        def ask_about(edit: list[tuple[Messages, S]], known: list[T] | ItemError | None) -> list[T] | ItemError:
            if known is not None:
                return known
            try:
                return [ask(*question) for question in edit]
            except ItemError as error:
                if error.kind in UNANSWERED:
                    self.completions.with_one_attempt(PATIENCE).check_served()
                return error

        found = list(self._threads.map(ask_about, jobs, kept))
        errors = [one for one in found if isinstance(one, ItemError)]
        if not errors:
            return [one for one in found if not isinstance(one, ItemError)]
        if len(jobs) > 1:
            self._unclaimed |= {_hash_edit(edit): one for edit, one in zip(jobs, found, strict=True)}
        raise errors[0]


def make_completions(model: str, params: EndpointParams) -> Completions:
    """Build the client of the endpoint, or of the fleet's router.

    Raises UserError if the key is not set, or if the fleet does not serve the model; FleetDown if it does not run.
    """
    endpoint, served, record = connect(params, model, JudgeFailed)
    return Completions(endpoint=endpoint, model=served, record=record)


def _fill_messages(question: Question, urls: Mapping[int, str]) -> Messages:
    """Build the chat messages of a question, images included."""
    images = (urls[id(part)] for part in question.parts if not isinstance(part, str))
    messages = make_messages(question)
    messages[-1]["content"] = [
        part if part["type"] == "text" else {"type": "image_url", "image_url": {"url": next(images)}}
        for part in messages[-1]["content"]
    ]
    return messages


def _resize_to_blocks(image: Image.Image) -> Image.Image:
    """Resize an image like the processor of a released Qwen3-VL: round each side to whole blocks, and enlarge a small
    image to LEAST_PIXELS."""
    sides = [round(side / BLOCK) * BLOCK for side in image.size]
    if math.prod(sides) < LEAST_PIXELS:
        factor = math.sqrt(LEAST_PIXELS / math.prod(image.size))
        sides = [math.ceil(side * factor / BLOCK) * BLOCK for side in image.size]
    size = (sides[0], sides[1])
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def _hash_edit(edit: list[tuple[Messages, S]]) -> bytes:
    return hashlib.sha256(json.dumps(edit).encode()).digest()
