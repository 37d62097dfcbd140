"""Request chat completions from one model of an endpoint, and check that the endpoint supports read-outs."""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, TypeVar

from editlane.core.errors import JudgeFailed, UnknownName, UserError, format_value
from editlane.judges.endpoint.http import Endpoint, Refused
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


class NoAnswer(UserError):
    """The endpoint does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completions:
    """Model under the name by which the endpoint serves it."""

    endpoint: Endpoint
    model: str
    record: Callable[[float, bool], None] | None = None
    """Is told of each request that reached an end: its seconds with all attempts, and whether it was answered."""

    def ask(self, messages: Messages, options: Options, read: Callable[[Any], T]) -> T:
        """Return what `read` takes from the parsed JSON of the endpoint's reply.

        Raises UserError if the endpoint rejects the key or has no such model. Raises JudgeFailed for a request that it
        rejects (kind `model`) or did not answer (`transport`, `timeout`).
        """
        body = json.dumps({"model": self.model, "messages": messages, **options}).encode()
        started, answered = time.monotonic(), False
        try:
            found = self.endpoint.ask("/chat/completions", read, body)
            answered = True
            return found
        except Refused as error:
            if error.status in (401, 403, 404):
                raise UserError(f"{self} refuses to answer ({error}). {_FIX}") from error
            raise JudgeFailed(f"the endpoint rejects the request: {error}") from error
        finally:
            if self.record is not None:
                self.record(time.monotonic() - started, answered)

    def with_one_attempt(self, timeout: float) -> "Completions":
        """Return a copy that makes one attempt of at most `timeout` seconds per request."""
        endpoint = replace(self.endpoint, attempts=1, timeout=min(timeout, self.endpoint.timeout))
        return replace(self, endpoint=endpoint)

    def check_served(self) -> list[str]:
        """Return the models that the endpoint serves; empty if it has no such list.

        Raises NoAnswer if the endpoint does not answer. Raises UserError if it rejects the key, or if it lists its
        models and this is not among them.
        """
        try:
            names = self._list_models()
        except JudgeFailed as error:
            raise NoAnswer(f"{self} does not answer: {error}. {_FIX}") from error
        except Refused as error:
            raise UserError(f"{self} refuses to answer ({error}). {_FIX}") from error
        if names and not {self.model, f"{_LISTED_BELOW}{self.model}"} & set(names):
            unknown = UnknownName("model", self.model, get_close_matches(self.model, names[:_COMPARED], n=10, cutoff=0))
            raise UserError(f"The judge's endpoint {self.endpoint.base_url} does not serve this model. {unknown}")
        return names

    def _list_models(self) -> list[str]:
        """List the models that the endpoint serves; empty if it has no such list."""
        try:
            return self.endpoint.ask("/models", _read_names)
        except Refused as error:
            if error.status in (401, 403):
                raise
        except (KeyError, TypeError):
            pass
        return []

    def check_logprobs(self, messages: Messages, answers: Sequence[str], first_token: Options = FIRST_TOKEN) -> None:
        """Raise UserError if the reply lacks the requested log-probabilities."""
        try:
            self.ask(messages, first_token, partial(read_top_logprobs, answers=answers))
        except NoLogprobs as error:
            raise UserError(
                f"{self} ignores `logprobs` ({error}), so no score can be read from it. Use a server that returns "
                "them, such as vLLM, or a protocol with generated answers, such as resources/protocols/legacy.yaml."
            ) from error
        except JudgeFailed as error:
            raise UserError(f"{self} does not answer a question with an image and `logprobs`: {error}.") from error

    def check_constraint(
        self,
        messages: Messages,
        answers: Sequence[str],
        constraint: str,
        threads: Executor,
        first_token: Options = FIRST_TOKEN,
    ) -> None:
        """Raise UserError if the constraint does not decide the answer, or if an answer is more than one token.

        All requests ask the same question without sampling, so an endpoint that ignores the constraint gives the same
        reply to all.
        """
        alone = [first_token | {"temperature": 0} | allow_only(constraint, [answer]) for answer in answers]
        try:
            texts = list(threads.map(partial(self.ask, messages, read=read_text), alone))
        except JudgeFailed as error:
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


_LISTED_BELOW = "models/"
"""Google lists its models with this before the name that a request has."""
_MOST_NAMES = 2000
_LONGEST_NAME = 200
"""Models that are read from a server's list, and characters of a name: hiding the key takes a second in all of them."""
_COMPARED = 200
"""Names that are compared with the model's, which takes a millisecond each."""
_FIX = (
    "Start the server or the fleet, or fix `model`, or `base_url`, `proxy` and `api_key_env` in `params`; finished "
    "items are kept."
)
_WITHOUT = (
    "Set `answer_constraint: null` in `params` to read the unconstrained probabilities alone. An edit may then end as "
    "judge_unreadable if the server does not show all legal answers."
)


def _read_names(reply: Any) -> list[str]:
    """Return the models of a server's list. Raises KeyError or TypeError if it is none."""
    return [str(entry["id"])[:_LONGEST_NAME] for entry in reply["data"][:_MOST_NAMES]]


def allow_only(constraint: str, answers: Sequence[str]) -> dict[str, Any]:
    """Return the request option that allows these answers only."""
    return {constraint: {"choice": list(answers)}}


def read_text(reply: Any) -> str:
    """Return the reply text, or "" if the model refused. Raises JudgeFailed if the reply is not a chat completion."""
    try:
        text = reply["choices"][0]["message"]["content"] or ""
    except (KeyError, IndexError, TypeError) as error:
        raise JudgeFailed("the endpoint's reply is not a chat completion") from error
    if not isinstance(text, str):
        raise JudgeFailed("the content of the endpoint's reply is no text")
    return text
