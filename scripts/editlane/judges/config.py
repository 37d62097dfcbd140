"""Define the keys of a judge in a config, of a run or of a reward server."""

from typing import Any, Literal

from pydantic import Field

from editlane.core.strict_model import StrictModel, Text
from editlane.models.registry import judge_on_engine

ENGINE_ENVS = {"openai": "envs/workflow.yaml", "transformers": "envs/qwen3.yaml", "vllm": "envs/qwen3-vllm.yaml"}
"""Default environment file of a judge, by engine."""


class JudgeConfig(StrictModel):
    """A judging model."""

    adapter: str
    """`qwen3-vl` (Qwen3-VL, dense and MoE: the fastest), `vlm` (any chat VLM, and hosted models), `reward-head` (reward
    models that give a number) or `fake` (no model)."""
    engine: Literal["transformers", "vllm", "openai"] = "transformers"
    """Engine that runs the judge's model. `transformers` and `vllm`: a process on each GPU. `openai`: a remote server
    that speaks OpenAI's chat completions and returns log-probabilities (a hosted one without them needs `vlm` and a
    protocol with generated answers), with its address in `params.base_url`, or a
    fleet of such servers in `params.fleet`; its lanes take no GPU."""
    model: str | None = None
    """A checkpoint folder, or a hub id such as `Qwen/Qwen3-VL-30B-A3B-Instruct`; with `engine: openai` the name under
    which the server, or the fleet, has it."""
    revision: str | None = None
    """Commit or tag of the hub model."""
    protocol: str = "resources/protocols/rubric.yaml"
    """Protocol file: the questions to the judge and how to read its answers."""
    env: Text | None = None
    """Conda environment of this judge, used with `--sdm conda`. Default: `envs/qwen3.yaml`,
    `envs/qwen3-vllm.yaml` with `engine: vllm`, and `envs/workflow.yaml` with `engine: openai`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Settings of the adapter, for example `batch_tokens`, `max_image_side`, and `optional_criteria` (a list of
    criteria that the protocol marks as optional). All that can change an answer are part of the journal key; settings
    of speed are not."""

    def resolve(self) -> dict[str, Any]:
        """Return the settings with the engine as a part of the adapter's name. Raises UserError."""
        return self.model_dump() | {"adapter": judge_on_engine(self.adapter, self.engine)}
