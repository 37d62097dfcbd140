"""Request chat completions from one model of an endpoint, and check that the endpoint supports read-outs."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

from editlane.core.errors import ItemError, JudgeFailed, UserError, format_value
from editlane.core.text_width import pluralize
from editlane.core.types import State
from editlane.endpoint.http import UNANSWERED, Endpoint, Refused
from editlane.endpoint.places import record_end
from editlane.endpoint.refusals import is_refusal
from editlane.endpoint.served_models import NoAnswer, ServedModel, check_served, tell_refusal
from editlane.judges.endpoint.top_logprobs import TOP_TOKENS, NoLogprobs, read_top_logprobs

T = TypeVar("T")

Messages = list[dict[str, Any]]
Options = dict[str, Any]

FIRST_TOKEN: Options = {
    "max_tokens": 1,
    "temperature": 1,
    "top_p": 1,
    "logprobs": True,
    "top_logprobs": TOP_TOKENS,
}
"""At temperature 1 the probabilities are the model's, whether a server reports them before or after sampling. The
drawn token does not matter, because what is read does not depend on it (top_logprobs.py). So there is no seed: vLLM on
the CPU ends at a seeded request whose prompt it reads in pieces."""

Constraint = Literal["structured_outputs"]
"""Request fields that allow the given answers only; vLLM has this one since 0.12."""


class JudgeRefused(ItemError):
    """The judge, or a safety system in front of it, will not judge this edit."""

    state = State.JUDGE_UNREADABLE
    kind = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completions:
    """Model under the name by which the endpoint serves it."""

    endpoint: Endpoint
    model: str
    record: Callable[[float, bool], None] | None = None
    """Is told of each request that reached an end: its seconds with all attempts, and whether it was answered."""

    def ask(self, messages: Messages, options: Options, read: Callable[[Any], T]) -> T:
        """Return what `read` takes from the parsed JSON of the endpoint's reply.

        Raises UserError if the endpoint rejects the key, has no such model, or wants to be paid first. Raises
        JudgeRefused for a request that a safety system rejects, and JudgeFailed for one that the endpoint rejects
        otherwise (kind `model`) or did not answer (`transport`, `timeout`).
        """
        body = json.dumps({"model": self.model, "messages": messages, **options}).encode()
        try:
            return record_end(self.record, lambda: self.endpoint.ask("/chat/completions", read, body))
        except Refused as error:
            if is_refusal(error, list_texts(messages)):
                raise JudgeRefused(f"a safety system rejects the request: {error}") from error
            if error.concerns_all:
                raise UserError(f"{self} {tell_refusal(error)}") from error
            raise JudgeFailed(f"the endpoint rejects the request: {error}") from error

    def with_one_attempt(self, timeout: float) -> "Completions":
        """Return a copy that makes one attempt of at most `timeout` seconds per request."""
        return replace(self, endpoint=self.endpoint.once(timeout))

    def check_served(self) -> list[ServedModel]:
        """Return the models that the endpoint serves; empty if it has no such list. That is no attempt of a question.

        Raises NoAnswer if the endpoint does not answer. Raises UserError if it rejects the key, or if it lists its
        models and this is not among them.
        """
        where, endpoint = f"The judge's endpoint {self.endpoint.base_url}", replace(self.endpoint, on_attempt=None)
        return check_served(endpoint, self.model, str(self), where)

    def check_logprobs(self, messages: Messages, answers: Sequence[str], first_token: Options = FIRST_TOKEN) -> None:
        """Raise UserError if the reply lacks the requested log-probabilities, NoAnswer if there is no reply."""
        try:
            self.ask(messages, first_token, partial(read_top_logprobs, answers=answers))
        except NoLogprobs as error:
            raise UserError(
                f"{self} ignores `logprobs` ({error}), so no score can be read from it. Use a server that returns "
                "them, such as vLLM, or a protocol with generated answers, such as resources/protocols/legacy.yaml."
            ) from error
        except (JudgeFailed, JudgeRefused) as error:
            images = pluralize(sum(part["type"] == "image_url" for part in messages[-1]["content"]), "image")
            found = NoAnswer if error.kind in UNANSWERED else UserError
            raise found(f"{self} does not answer a question with {images} and `logprobs`: {error}.") from error

    def check_constraint(
        self,
        messages: Messages,
        answers: Sequence[str],
        constraint: str,
        threads: Executor,
        first_token: Options = FIRST_TOKEN,
    ) -> None:
        """Raise UserError if the constraint does not decide the answer, or if an answer is more than one token, and
        NoAnswer if there is no reply.

        All requests ask the same question without sampling, so an endpoint that ignores the constraint gives the same
        reply to all.
        """
        alone = [first_token | {"temperature": 0} | allow_only(constraint, [answer]) for answer in answers]
        try:
            texts = list(threads.map(partial(self.ask, messages, read=read_text), alone))
        except (JudgeFailed, JudgeRefused) as error:
            if error.kind in UNANSWERED:
                raise NoAnswer(f"{self} does not answer a question with an answer constraint: {error}.") from error
            raise UserError(f"{self} rejects the answer constraint `{constraint}`: {error}. {_WITHOUT}") from error
        for answer, text in zip(answers, texts, strict=True):
            if text != answer and text and answer.startswith(text) and len(set(texts)) > 1:
                raise UserError(
                    f"The answer {answer!r} of the protocol is more than one token for {self.model} "
                    f"({format_value(text)} is the first); an answer that is read from probabilities must be one "
                    "token. Use single digits, single letters or common short words."
                )
        wrong = [pair for pair in zip(answers, texts, strict=True) if pair[0] != pair[1]]
        if wrong:
            asked, text = wrong[0]
            told = f"limited to {asked!r}, the model replied {format_value(text)}"
            raise UserError(f"{self} ignores the answer constraint `{constraint}`: {told}. {_WITHOUT}")

    def __str__(self) -> str:
        return f"The judge's endpoint {self.endpoint.base_url}{self.endpoint.via} (model {self.model})"


_WITHOUT = (
    "Set `answer_constraint: null` in `params` to read the unconstrained probabilities alone. An edit may then end as "
    "judge_unreadable if the server does not show all legal answers."
)


def allow_only(constraint: str, answers: Sequence[str]) -> dict[str, Any]:
    """Return the request option that allows these answers only."""
    return {constraint: {"choice": list(answers)}}


def list_texts(messages: Messages) -> list[str]:
    """Return the texts of a request, without its images."""
    return [part["text"] for message in messages for part in message["content"] if part["type"] == "text"]


def read_text(reply: Any) -> str:
    """Return the reply text, or "" if the model refused. Raises JudgeFailed if the reply is not a chat completion."""
    try:
        text = reply["choices"][0]["message"]["content"] or ""
    except (KeyError, IndexError, TypeError) as error:
        raise JudgeFailed("the endpoint's reply is not a chat completion") from error
    if not isinstance(text, str):
        raise JudgeFailed("the content of the endpoint's reply is no text")
    return text
