"""Chat completions by one model of an endpoint, and whether the endpoint does what a read-out needs."""

import json
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal

from editlane.core.errors import JudgeFailed, UnknownName, UserError
from editlane.judges.endpoint.http import Endpoint, Refused
from editlane.judges.endpoint.top_logprobs import SHOWN, read_shown

Messages = list[dict[str, Any]]
Options = dict[str, Any]

FIRST_TOKEN: Options = {
    "max_tokens": 1,
    "temperature": 1,
    "top_p": 1,
    "seed": 0,
    "logprobs": True,
    "top_logprobs": SHOWN,
}
"""At temperature 1 the probabilities are those of the model, whether a server shows them before sampling or after. The
token that is drawn does not matter, but a server may show it in the place of another."""

Constraint = Literal["structured_outputs"]
"""Fields of a request that allow the given answers only; this one is vLLM's since 0.12."""


class NoAnswer(UserError):
    """Nobody answers at this address, or not now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completions:
    """The model by the name under which the endpoint serves it."""

    endpoint: Endpoint
    model: str

    def ask(self, messages: Messages, options: Options) -> Any:
        """The reply, as the endpoint words it.

        Raises UserError where the endpoint wants another key, or does not know the model; JudgeFailed for a request
        that it does not take (kind `model`), or that it did not answer (`transport`, `timeout`).
        """
        body = json.dumps({"model": self.model, "messages": messages, **options}).encode()
        try:
            return self.endpoint.ask("/chat/completions", body)
        except Refused as error:
            if error.status in (401, 403, 404):
                raise UserError(f"{self} refuses to answer ({error}). {_MEND}") from error
            raise JudgeFailed(f"the endpoint refuses the request: {error}") from error

    def asked_once(self, timeout: float) -> "Completions":
        """The same, but a request is given up after one attempt of so many seconds at most."""
        endpoint = replace(self.endpoint, attempts=1, timeout=min(timeout, self.endpoint.timeout))
        return replace(self, endpoint=endpoint)

    def check_served(self) -> None:
        """Raises NoAnswer where nobody answers, UserError where the endpoint does not take the key, or where it lists
        its models and this is not among them."""
        try:
            names = self._names()
        except JudgeFailed as error:
            raise NoAnswer(f"{self} does not answer: {error}. {_MEND}") from error
        except Refused as error:
            raise UserError(f"{self} refuses to answer ({error}). {_MEND}") from error
        if names and self.model not in names:
            unknown = UnknownName("model", self.model, get_close_matches(self.model, names, n=10, cutoff=0))
            raise UserError(f"The judge's endpoint {self.endpoint.base_url} does not serve this model. {unknown}")

    def _names(self) -> list[str]:
        """What the endpoint lists; nothing where it has no such list."""
        try:
            return [str(entry["id"]) for entry in self.endpoint.ask("/models")["data"]]
        except Refused as error:
            if error.status in (401, 403):
                raise
        except (KeyError, TypeError):
            pass
        return []

    def check_logprobs(self, messages: Messages, answers: Sequence[str]) -> None:
        """Raises UserError where log-probabilities that were asked for do not come."""
        try:
            reply = self.ask(messages, FIRST_TOKEN)
        except JudgeFailed as error:
            raise UserError(f"{self} does not answer a question with an image and `logprobs`: {error}.") from error
        try:
            read_shown(reply, answers)
        except JudgeFailed as error:
            raise UserError(
                f"{self} ignores `logprobs` ({error}), so no score can be read from it. Use a server that returns "
                "them, as vLLM does, or a protocol whose answers are generated, as resources/protocols/legacy.yaml."
            ) from error

    def check_constraint(self, messages: Messages, answers: Sequence[str], constraint: str, threads: Executor) -> None:
        """Raises UserError where the constraint does not decide the answer, or an answer is more than one token.

        The same question for every answer, without chance: an endpoint that ignores the constraint says the same.
        """
        alone = [FIRST_TOKEN | {"temperature": 0} | only(constraint, [answer]) for answer in answers]
        try:
            replies = list(threads.map(partial(self.ask, messages), alone))
        except JudgeFailed as error:
            raise UserError(
                f"{self} does not take the answer constraint `{constraint}`: {error}. {_WITHOUT}"
            ) from error
        texts = list(map(text_of, replies))
        for answer, text in zip(answers, texts, strict=True):
            if text != answer and text and answer.startswith(text) and len(set(texts)) > 1:
                raise UserError(
                    f"The answer {answer!r} of the protocol is more than one token for {self.model} ({text!r} is the "
                    "first); an answer that is read from probabilities must be one token. "
                    "Use single digits, single letters or common short words."
                )
        wrong = [pair for pair in zip(answers, texts, strict=True) if pair[0] != pair[1]]
        if wrong:
            asked, text = wrong[0]
            told = f"allowed to say {asked!r} alone, the model said {text!r}"
            raise UserError(f"{self} ignores the answer constraint `{constraint}`: {told}. {_WITHOUT}")

    def __str__(self) -> str:
        return f"The judge's endpoint {self.endpoint.base_url} (model {self.model})"


_MEND = "Start the server, or fix `model`, or `base_url` and `api_key_env` in `params`; finished items are kept."
_WITHOUT = (
    "Set `answer_constraint: null` in `params` to read the unconstrained probabilities alone; an edit whose legal "
    "answers are not all among those that the server shows may then end as judge_unreadable."
)


def only(constraint: str, answers: Sequence[str]) -> dict[str, Any]:
    """The option that allows these answers only."""
    return {constraint: {"choice": list(answers)}}


def text_of(reply: Any) -> str:
    """What was said; nothing where the model refused to. Raises JudgeFailed where it is no chat completion."""
    try:
        return str(reply["choices"][0]["message"]["content"] or "")
    except (KeyError, IndexError, TypeError) as error:
        raise JudgeFailed("the endpoint's reply is not a chat completion") from error
