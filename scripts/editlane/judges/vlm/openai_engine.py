"""Any model behind a server with OpenAI's chat completions: open ones with log-probabilities, hosted ones without.

With log-probabilities, scores are read out as in endpoint/asker.py. Without them a protocol with generated answers is
needed: what a reply says is a sample, so the same question may get another score, and its noise is measured by repeats.

Images are sent as PNG, shrunk to `max_image_side`. The server resizes them further as its model needs.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from PIL import Image

from editlane.core.errors import UserError
from editlane.core.types import NumbersAsked, Question, Readout, RunsOn, do_nothing
from editlane.endpoint.places import name_version
from editlane.endpoint.served_models import ServedModel
from editlane.images.files import PREPARING_THREADS, fit_within
from editlane.judges.chat import make_messages
from editlane.judges.endpoint.asker import Asker, make_probe
from editlane.judges.endpoint.completions import FIRST_TOKEN, Messages, Options
from editlane.judges.endpoint.connect import make_completions
from editlane.judges.endpoint.messages import prepare_messages
from editlane.judges.endpoint.open_servers import PLAIN, is_open
from editlane.judges.endpoint.replies import read_parts, read_reply
from editlane.judges.vlm.endpoint_params import VlmEndpointParams
from editlane.judges.vlm.prompts import COMMON_SPECIALS, SWITCH, break_up, drop_thoughts
from editlane.protocols.json_replies import make_schema

Asked = tuple[Messages, NumbersAsked | None]
"""The messages of a question, and the numbers that its reply holds."""


class VlmEndpointJudge:
    """Model under the name by which a server serves it."""

    VERSION = "3"
    """Bump when the same question would get other probabilities or another reply."""
    RUNS_ON = RunsOn.SERVER
    PARAMS = VlmEndpointParams

    def __init__(self, *, model: str, revision: str | None, params: VlmEndpointParams) -> None:
        self.params = params
        if not model:
            raise UserError("the judge vlm on openai needs a `model`: the name under which the endpoint serves it.")
        self.on_request: Callable[[], None] = do_nothing
        self.completions = make_completions(model, params, lambda: self.on_request())
        self._is_open = is_open(self.completions)
        self._encoders = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")
        self.asker = Asker(
            self.completions,
            params.concurrency,
            params.answer_constraint,
            lambda question: self.prepare([[question]])[0][0][0],
            make_first_token(params, is_open=self._is_open),
        )

    @classmethod
    def check_served(cls, model: str, params: VlmEndpointParams, timeout: float) -> list[ServedModel]:
        """Make a single attempt to list the models of the endpoint; see `served_models.check_served`."""
        return make_completions(model, params).with_one_attempt(timeout).check_served()

    @classmethod
    def check_readable(cls, model: str, params: VlmEndpointParams, timeout: float, answers: Sequence[str]) -> None:
        """Ask one question about a blank image. Raises UserError if no probabilities come back."""
        completions = make_completions(model, params).with_one_attempt(timeout)
        with ThreadPoolExecutor(1) as encoder:
            ((messages,),) = prepare_messages([[make_probe(answers)]], lambda image: image, make_chat, encoder)
        completions.check_logprobs(messages, answers, make_first_token(params, is_open=is_open(completions)))

    @classmethod
    def name_version(cls, model: str, params: Mapping[str, Any]) -> str:
        """Return the name that stands for the model's weights in keys."""
        return name_version(model, params)

    @property
    def max_batch_cost(self) -> int:
        """Edits per batch; see `EndpointParams.edits_per_batch`."""
        return self.params.edits_per_batch

    def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """Return 1, because the server counts the tokens itself."""
        return 1

    def prepare(self, asked: Sequence[Sequence[Question]]) -> list[list[Asked]]:
        """Build the messages of every question. Encode each image once."""
        messages = prepare_messages(asked, self._fit, make_chat, self._encoders)
        return [
            [(one, question.numbers) for one, question in zip(edit, questions, strict=True)]
            for edit, questions in zip(messages, asked, strict=True)
        ]

    def _fit(self, image: Image.Image) -> Image.Image:
        return fit_within(image, self.params.max_image_side)

    def read_out(self, batch: list[list[Asked]], answers: Sequence[str]) -> list[list[Readout]]:
        """Send one request per question, or two if the first shows too little; see `Asker.read_out`."""
        return self.asker.read_out([[messages for messages, _ in edit] for edit in batch], answers)

    def generate(
        self, batch: list[list[Asked]], max_new_tokens: int, seeds: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        """Generate replies. Whether the seed decides all chance is up to the server. Thoughts are left out.

        Raises like read_out, and JudgeRefused or NothingSaid for the batch if the reply about one edit is none.
        """
        options = self._make_options(max_new_tokens)
        jobs = [
            [
                (messages, self._make_own_options(seed, numbers))
                for (messages, numbers), seed in zip(edit, own, strict=True)
            ]
            for edit, own in zip(batch, seeds, strict=True)
        ]
        return self.asker.ask_each(jobs, partial(self._write, options))

    def _make_options(self, max_new_tokens: int) -> Options:
        """Return the fields that all questions share."""
        options: Options = PLAIN if self._is_open else {}
        options = options | {self.params.tokens_field: max_new_tokens + self.params.reasoning_tokens}
        if self.params.temperature is not None:
            options["temperature"] = self.params.temperature
        return _add_request(options, self.params, is_open=self._is_open)

    def _make_own_options(self, seed: int, numbers: NumbersAsked | None) -> Options:
        """Return the fields of one question."""
        drawn = {"seed": seed} if self.params.temperature and self.params.send_seed else {}
        return drawn | (_make_format(numbers) if self.params.structured_output else {})

    def _write(self, options: Options, messages: Messages, own: Options) -> str:
        return read_reply(self.completions.ask(messages, options | own, read_parts), _drop_thoughts)


def _drop_thoughts(text: str) -> str:
    return drop_thoughts(text, opened=False)


def make_first_token(params: VlmEndpointParams, *, is_open: bool) -> Options:
    """Return the fields of a read-out."""
    fields = {name: value for name, value in FIRST_TOKEN.items() if name != "max_tokens"}
    fields[params.tokens_field] = FIRST_TOKEN["max_tokens"]
    return _add_request(fields, params, is_open=is_open)


def _add_request(fields: Options, params: VlmEndpointParams, *, is_open: bool) -> Options:
    """Return the fields with those of `request`. A server of open models switches thinking off, unless `request` says
    more."""
    variables = (SWITCH if is_open else {}) | params.request.get("chat_template_kwargs", {})
    return fields | params.request | ({"chat_template_kwargs": variables} if variables else {})


def make_chat(question: Question) -> Messages:
    """Build the messages of a question. The server's tokenizer is not known, so all common spellings are broken up."""
    return make_messages(question, lambda text: break_up(text, COMMON_SPECIALS))


def _make_format(numbers: NumbersAsked | None) -> Options:
    if numbers is None:
        raise UserError(
            "`structured_output: true` needs a protocol that reads JSON with the keys `reasoning` and `score`, such as "
            "resources/protocols/viescore.yaml. Use such a protocol, or remove `structured_output`."
        )
    schema = {"name": "marks", "strict": True, "schema": make_schema(numbers)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
