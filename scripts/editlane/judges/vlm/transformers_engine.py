"""Any chat VLM that transformers has, without code for a family: one forward pass over its own chat template.

A score is read from the probabilities of the legal answers as the next tokens. The prompts of a pass are padded on the
right: every token then has the place and the past that it has alone, whatever a family does with padding. Answers of
several tokens take one more pass for each of their beginnings that no other beginning continues (see answers.py).
"""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

from editlane.core.errors import JudgeFailed
from editlane.core.types import Question, Readout, RunsOn
from editlane.judges.decoding import forget_generation_settings, write_replies
from editlane.judges.vlm.answers import AnswerTokens, Tokens
from editlane.judges.vlm.inputs import Inputs, append_tokens, count_tokens, pad_left
from editlane.judges.vlm.loading import VlmParams, load_chat_vlm, to_device
from editlane.judges.vlm.passes import Passes, Prepared
from editlane.judges.vlm.prompts import find_tokens_after, open_prompts
from editlane.models.devices import convert_model_errors, pick_device

if TYPE_CHECKING:
    import torch


class VlmJudge:
    """One checkpoint on the device of this process."""

    VERSION = "1"
    """Bump when the same question would get other probabilities."""
    REPLIES_VERSION = "1"
    """Bump when the same question would get another reply, but the same probabilities."""
    RUNS_ON = RunsOn.DEVICE
    PARAMS = VlmParams

    def __init__(self, *, model: str, revision: str | None, params: VlmParams) -> None:
        self.params = params
        self.device = pick_device()
        self.processor, self.model = load_chat_vlm(model, revision, params, self.device)
        self.prompts = open_prompts(self.processor, model)
        forget_generation_settings(self.model, self.processor.tokenizer)
        self.passes = Passes(self.prompts, params.batch_size, params.max_image_side, lambda chat: chat)
        self._keeps_logits = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        self._answers: dict[tuple[str, ...], AnswerTokens] = {}

    @property
    def max_batch_cost(self) -> int:
        """Edits prepared at once."""
        return self.params.batch_size

    def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """Return 1, because families count the tokens of an image in ways of their own."""
        return 1

    def prepare(self, asked: Sequence[Sequence[Question]]) -> Prepared:
        """Shrink the images and let the processor make tensors; see `Passes.prepare`."""
        return self.passes.prepare(asked)

    def read_out(self, batch: Prepared, answers: Sequence[str]) -> list[list[Readout]]:
        """Compute the log-probabilities in float32. Logits that are not finite give probabilities that are not finite.

        Raises UserError if an answer cannot be read, OutOfMemory, and JudgeFailed for another failure of this batch.
        An error that breaks the device for the whole process passes through.
        """
        tokens = self.find_answer_tokens(answers)
        with convert_model_errors(JudgeFailed):
            found = [readout for inputs in batch.passes for readout in self._read(inputs, tokens)]
        return batch.group_by_edit(found)

    def _read(self, inputs: Inputs, answers: AnswerTokens) -> list[Readout]:
        """Return a readout for each prompt of a pass."""
        wanted, rows = answers.beginnings, len(inputs["input_ids"])
        known: list[dict[Tokens, dict[int, float]]] = [{} for _ in range(rows)]
        for path in answers.paths:
            logprobs = self._compute_logprobs(inputs, path)
            for end in range(len(path) + 1):
                beginning = path[:end]
                values = logprobs[:, end, list(wanted[beginning])].tolist()
                for row in range(rows):
                    known[row].setdefault(beginning, dict(zip(wanted[beginning], values[row], strict=True)))
        return [answers.read(one) for one in known]

    def _compute_logprobs(self, inputs: Inputs, path: Tokens) -> "torch.Tensor":
        """Return the log-probabilities of the next token after each prompt and after each token of `path` behind it.

        Shape (prompts, 1 + tokens of the path, vocabulary), float32.
        """
        import torch

        ends = torch.tensor(count_tokens(inputs)) - 1
        places = ends[:, None] + torch.arange(len(path) + 1)
        kept, own = torch.unique(places, return_inverse=True)
        with torch.inference_mode():
            ready = to_device(append_tokens(inputs, path), self.model)
            only = {"logits_to_keep": kept.to(self.device)} if self._keeps_logits else {}
            logits = self.model(**ready, **only, use_cache=False).logits
            shown = own if self._keeps_logits else places
            rows = torch.arange(len(places))[:, None]
            return torch.log_softmax(logits[rows.to(logits.device), shown.to(logits.device)].float(), dim=-1)

    def generate(self, batch: Prepared, max_new_tokens: int, seeds: Sequence[Sequence[int]]) -> list[list[str]]:
        """Decode at the params' temperature, and ignore the checkpoint's own generation settings.

        A reply depends on its own seed, not on its neighbours in the batch (except for rounding). Thoughts are left
        out. Raises like read_out.
        """
        own = [seed for edit in seeds for seed in edit]
        replies: list[str] = []
        with convert_model_errors(JudgeFailed):
            for inputs in batch.passes:
                rows = len(inputs["input_ids"])
                replies += self._write(inputs, max_new_tokens, own[len(replies) : len(replies) + rows])
        return batch.group_by_edit(replies)

    def _write(self, inputs: Inputs, max_new_tokens: int, seeds: Sequence[int]) -> list[str]:
        ready = to_device(pad_left(inputs), self.model)
        return write_replies(self.model, ready, max_new_tokens, self.params.temperature, seeds, self._decode)

    def _decode(self, tokens: "torch.Tensor") -> list[str]:
        written = self.processor.batch_decode(tokens, skip_special_tokens=False)
        return [self.prompts.clean_reply(reply) for reply in written]

    def find_answer_tokens(self, answers: Sequence[str]) -> AnswerTokens:
        """Return the tokens of each answer after this checkpoint's chat template. Raises UserError if it has none."""
        if tuple(answers) not in self._answers:
            with self.passes.tokenizing:
                self._answers[tuple(answers)] = find_tokens_after(self.prompts, answers)
        return self._answers[tuple(answers)]
