"""Reward models of edits: a chat VLM whose head gives one number instead of the next token.

The number is the head's output for the last token of the prompt, or for a token of its own at the end of the question,
as reward models of the EditReward kind are trained (https://github.com/TIGER-AI-Lab/EditReward). How it becomes a score
is up to the protocol (`kind: scalar`). The head is computed in float32.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from pydantic import AfterValidator, Field

from editlane.core.errors import JudgeFailed, UserError
from editlane.core.params import KeyedBy
from editlane.core.strict_model import Text
from editlane.core.types import Question, Readout, RunsOn
from editlane.judges.reward_head.heads import read_head
from editlane.judges.vlm.inputs import Inputs, count_tokens
from editlane.judges.vlm.loading import VlmParams, load_chat_vlm, to_device
from editlane.judges.vlm.passes import Passes, Prepared
from editlane.judges.vlm.prompts import open_prompts
from editlane.models.checkpoints import fingerprint_file
from editlane.models.devices import convert_model_errors, pick_device
from editlane.models.weight_files import find_weights

if TYPE_CHECKING:
    import torch


def _fingerprint_head(file: str) -> Any:
    path = Path(file)
    if not path.is_file():
        raise UserError(
            f"params: head_file is {file}, which is not a file. Set it to a safetensors file with the head."
        )
    return fingerprint_file(path)


def _refuse_draws(temperature: float) -> float:
    if temperature:
        raise ValueError("a reward head draws nothing, so it would change no number; remove it.")
    return temperature


def _refuse_replies(replies: int) -> int:
    if replies != 1:
        raise ValueError("a reward head generates no replies: one number shows all; remove it.")
    return replies


class RewardHeadParams(VlmParams):
    """Settings of this judge."""

    temperature: Annotated[float, AfterValidator(_refuse_draws)] = 0.0
    """0 only: a head draws nothing."""
    replies: Annotated[int, AfterValidator(_refuse_replies)] = 1
    """1 only: the number of a question is always the same."""

    head: Text = "score"
    """Name of the head's weights: `score` of a model for sequence classification, `rm_head`, `rm_heads.head_0` or
    `v_head`. Linear layers with ReLU between them."""
    head_file: Annotated[str | None, KeyedBy(_fingerprint_head)] = None
    """Safetensors file with the head; null if it is among the weights of the model."""
    output: Annotated[int, Field(ge=0)] = 0
    """Output of the head to use, counted from 0; others may be an uncertainty."""
    reward_token: Text | None = None
    """Token that ends the question and at which the number is read, such as `<|Reward|>`; null for the last token of
    the prompt."""

    @property
    def samples(self) -> bool:
        """False: the same question gets the same number."""
        return False


class RewardHeadJudge:
    """One reward model on the device of this process."""

    VERSION = "1"
    """Bump when the same question would get another number."""
    RUNS_ON = RunsOn.DEVICE
    PARAMS = RewardHeadParams

    def __init__(self, *, model: str, revision: str | None, params: RewardHeadParams) -> None:
        self.params = params
        self.device = pick_device()
        processor, self.model = load_chat_vlm(model, revision, params, self.device, without=("lm_head",))
        files = list_head_files(params, find_weights(model, revision))
        self.head = read_head(files, params.head, self.device)
        self._check_head()
        self.reward_id = _find_token(processor.tokenizer, params.reward_token, model)
        self.prompts = open_prompts(processor, model)
        self._check_token()
        self.passes = Passes(self.prompts, params.batch_size, params.max_image_side, self._close)

    def _check_head(self) -> None:
        hidden = self.model.get_output_embeddings().weight.shape[1]
        if self.head.hidden_size != hidden:
            raise UserError(
                f"params: the head {self.params.head!r} takes {self.head.hidden_size} numbers, but the model's hidden "
                f"states have {hidden}. It belongs to another model."
            )
        check_output(self.params, self.head.outputs)

    def _check_token(self) -> None:
        """Raise UserError unless the reward token is a token of its own in a prompt of this chat template."""
        if self.reward_id is None:
            return
        prompt = self.prompts.render(self._close(self.prompts.make_chat(Question(system="", parts=("?",)), {})))
        if self.reward_id not in self.prompts.processor.tokenizer.encode(prompt, add_special_tokens=False):
            raise UserError(
                f"params: reward_token is {self.params.reward_token!r}, which is no token of its own at the end of a "
                f"question to {self.prompts.model}: its tokenizer joins it to the text around it, or its chat template "
                "leaves it out. Use the token that the model was trained with, or leave it out."
            )

    def _close(self, chat: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put the reward token at the end of the question."""
        if self.params.reward_token is not None:
            chat[-1]["content"].append({"type": "text", "text": self.params.reward_token})
        return chat

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

    def rate(self, batch: Prepared) -> list[list[float]]:
        """Return the head's number for each question, which may not be finite.

        Raises OutOfMemory, and JudgeFailed for another failure of this batch. An error that breaks the device for the
        whole process passes through.
        """
        with convert_model_errors(JudgeFailed):
            return batch.group_by_edit([number for inputs in batch.passes for number in self._rate(inputs)])

    def _rate(self, inputs: Inputs) -> list[float]:
        import torch

        with torch.inference_mode():
            hidden = self.model.base_model(**to_device(inputs, self.model), use_cache=False).last_hidden_state
            rows = torch.arange(len(hidden), device=hidden.device)
            numbers = self.head(hidden[rows, self._find_places(inputs).to(hidden.device)])[:, self.params.output]
        found: list[float] = numbers.tolist()
        return found

    def _find_places(self, inputs: Inputs) -> "torch.Tensor":
        """Return the place of the token of each prompt at which the number is read.

        Raises JudgeFailed if a prompt has no reward token, because the number at any other place means nothing.
        """
        import torch

        if self.reward_id is None:
            return torch.tensor(count_tokens(inputs)) - 1
        found: torch.Tensor = inputs["input_ids"] == self.reward_id
        if not found.any(-1).all():
            raise JudgeFailed(f"the prompt has no reward token {self.params.reward_token!r}")
        return found.shape[1] - 1 - found.flip(-1).int().argmax(-1)

    def read_out(self, batch: Prepared, answers: Sequence[str]) -> list[list[Readout]]:
        """Raise UserError: a head has no words."""
        _refuse()

    def generate(self, batch: Prepared, max_new_tokens: int, seeds: Sequence[Sequence[int]]) -> list[list[str]]:
        """Raise UserError: a head has no words."""
        _refuse()


def list_head_files(params: RewardHeadParams, weights: Sequence[Path]) -> Sequence[Path]:
    """Return the files that may hold the head: its own, or the `weights` of the model."""
    return [Path(params.head_file)] if params.head_file else weights


def check_output(params: RewardHeadParams, outputs: int) -> None:
    """Raise UserError if the head with so many outputs lacks the one that is used."""
    if params.output >= outputs:
        raise UserError(
            f"params: output is {params.output}, but the head {params.head!r} has {outputs}, counted from 0."
        )


def _refuse() -> NoReturn:
    raise UserError(
        "The judge reward-head gives a number and no words. Use a protocol with `kind: scalar`, such as "
        "resources/protocols/scalar.yaml."
    )


def _find_token(tokenizer: Any, token: str | None, model: str) -> int | None:
    """Return the id of the reward token. Raises UserError if it is more than one token."""
    if token is None:
        return None
    ids = tokenizer.encode(token, add_special_tokens=False)
    if len(ids) != 1:
        raise UserError(
            f"params: reward_token is {token!r}, which is {len(ids)} tokens for the tokenizer of {model}. Use the "
            "token that the model was trained with, or leave it out."
        )
    return int(ids[0])
