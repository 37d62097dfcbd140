"""Ask one model of an endpoint about the edits of a batch, several at once: probabilities and replies.

A score is read from the log-probabilities of the first token: the 20 likeliest of the whole distribution. If these do
not show enough (see top_logprobs.py), a second request allows legal answers only. The mass always comes from the first,
because the second rules out all other answers.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from PIL import Image

from editlane.core.errors import ItemError, UserError
from editlane.core.types import Question, Readout
from editlane.endpoint.http import UNANSWERED
from editlane.endpoint.served_models import PATIENCE
from editlane.judges.endpoint.completions import FIRST_TOKEN, Completions, Constraint, Messages, Options, allow_only
from editlane.judges.endpoint.top_logprobs import HiddenProbability, combine, read_top_logprobs

S = TypeVar("S")
T = TypeVar("T")


class Asker:
    """Asks a model, several edits at once."""

    def __init__(
        self,
        completions: Completions,
        concurrency: int,
        constraint: Constraint | None,
        make_probe: Callable[[Question], Messages],
        first_token: Options = FIRST_TOKEN,
    ) -> None:
        """Take how to reach the model, and the edits asked about at once.

        `constraint`: the request field that allows legal answers only. `make_probe`: builds the messages of a question
        that only tests the endpoint. `first_token`: fields of a read-out.
        """
        self.completions = completions
        self.constraint = constraint
        self.make_probe = make_probe
        self.first_token = first_token
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="endpoint")
        self._probed: set[tuple[str, ...]] = set()
        self._unclaimed: dict[bytes, list[Any]] = {}

    def read_out(self, batch: list[list[Messages]], answers: Sequence[str]) -> list[list[Readout]]:
        """Send one request per question, or two if the first shows too little. The first call tests the endpoint.

        Raises UserError if the endpoint fails the test, if an answer is not one token, or if the endpoint no longer
        answers. Raises JudgeFailed or HiddenProbability for the batch if the questions about one edit fail.
        """
        if tuple(answers) not in self._probed:
            self._probe(answers, min(count_images(messages) for edit in batch for messages in edit))
        return self.ask_each([[(messages, None) for messages in edit] for edit in batch], partial(self._read, answers))

    def _probe(self, answers: Sequence[str], images: int) -> None:
        """Ask about as many blank images as a question shows, and allow each legal answer alone.

        Otherwise every item would fail on a server that takes fewer images.
        """
        messages = self.make_probe(make_probe(answers, images))
        self.completions.check_logprobs(messages, answers, self.first_token)
        if self.constraint is not None:
            self.completions.check_constraint(messages, answers, self.constraint, self._threads, self.first_token)
        elif any(one != other and other.startswith(one) for one in answers for other in answers):
            raise UserError(
                "One answer of the protocol begins with another. Without an answer constraint the first token may "
                "belong to either. Use single digits, single letters or common short words."
            )
        self._probed.add(tuple(answers))

    def _read(self, answers: Sequence[str], messages: Messages, _: None) -> Readout:
        read = partial(read_top_logprobs, answers=answers)
        raw = self.completions.ask(messages, self.first_token, read)
        if raw.is_enough:
            return raw.to_readout()
        if self.constraint is None:
            raise HiddenProbability(
                f"the endpoint shows {raw.mass:.3g} of the probability on legal answers, and up to {raw.hidden:.3g} is "
                "hidden"
            )
        options = self.first_token | allow_only(self.constraint, answers)
        return combine(raw, self.completions.ask(messages, options, read))

    def ask_each(self, jobs: list[list[tuple[Messages, S]]], ask: Callable[[Messages, S], T]) -> list[list[T]]:
        """Call `ask` for every question. Questions about one edit go one after the other, so that the server can reuse
        their common prefix.

        If an edit fails, the caller asks again in halves. Results are kept until then, so that no edit is asked about
        twice. If a request got no answer and the endpoint is down, raises NoAnswer. It ends the lane and not its items.
        Only one thread may call this: the results kept are taken and left here, and the threads below see none.
        """
        keys = list(self._threads.map(_hash_edit, jobs)) if self._unclaimed else [b""] * len(jobs)
        kept: list[list[T] | ItemError | None] = [self._claim(key) for key in keys]
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
            for edit, one in zip(jobs, found, strict=True):
                self._unclaimed.setdefault(_hash_edit(edit), []).append(one)
        raise errors[0]

    def _claim(self, key: bytes) -> Any:
        """Take a result that is kept. Equal questions, as of a repeat, have one each."""
        kept = self._unclaimed.get(key, [])
        found = kept.pop(0) if kept else None
        if not kept:
            self._unclaimed.pop(key, None)
        return found


def make_probe(answers: Sequence[str], images: int = 1) -> Question:
    """Return a question about blank images that one of these answers answers."""
    picture = Image.new("RGB", (64, 64), "grey")
    return Question(system="", parts=(*[picture] * images, f"Answer with one of: {', '.join(answers)}."))


def count_images(messages: Messages) -> int:
    """Return how many images a question shows."""
    return sum(part["type"] == "image_url" for part in messages[-1]["content"])


def _hash_edit(edit: list[tuple[Messages, S]]) -> bytes:
    return hashlib.sha256(json.dumps(edit).encode()).digest()
