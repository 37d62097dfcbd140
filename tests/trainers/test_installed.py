"""verl, ms-swift and OpenRLHF call Editlane's reward functions: their own code from the package index, unchanged.

make test-trainers
"""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import editlane.client.openrlhf
from editlane.client import RewardError
from editlane.client.trainers import register_ms_swift

pytestmark = [pytest.mark.trainers, pytest.mark.filterwarnings("default")]

Edits = list[dict[str, Any]]


class Tokenizer:
    """Decodes the number of an edit."""

    def decode(self, ids: Any, skip_special_tokens: bool) -> str:
        return f"edit {int(ids[0])}"


def verl_rewards(edits: Edits, **reward_kwargs: Any) -> list[dict[str, Any]]:
    torch = pytest.importorskip("torch", reason="not in this venv; `make test-trainers` has it")
    pytest.importorskip("verl", reason="not in this venv; `make test-trainers` has it")
    import numpy as np
    from omegaconf import OmegaConf
    from verl import DataProto
    from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager
    from verl.trainer.ppo.reward import get_custom_reward_fn

    function = {"path": "pkg://editlane.client.trainers", "name": "verl_compute_score", "reward_kwargs": reward_kwargs}
    config = OmegaConf.create({"reward": {"custom_reward_function": function}})

    def pack(values: list[Any]) -> Any:
        packed = np.empty(len(values), dtype=object)
        packed[:] = values
        return packed

    data = DataProto.from_dict(
        tensors={
            "responses": torch.arange(len(edits))[:, None],
            "attention_mask": torch.ones(len(edits), 2, dtype=torch.int64),
        },
        non_tensors={
            "data_source": pack(["edits"] * len(edits)),
            "reward_model": pack([{"ground_truth": ""}] * len(edits)),
            "extra_info": pack([{"source": edit["source"], "edited": edit["edited"]} for edit in edits]),
        },
    )

    async def ask() -> list[dict[str, Any]]:
        manager = NaiveRewardManager(config, Tokenizer(), get_custom_reward_fn(config))
        return await asyncio.gather(*(manager.run_single(data[n : n + 1]) for n in range(len(edits))))

    return asyncio.run(ask())


def test_verls_reward_manager_gets_a_score_for_each_response(edits: Edits, wanted: list[float]) -> None:
    found = verl_rewards(edits[:3])
    assert [one["reward_score"] for one in found] == wanted[:3]
    assert [one["reward_extra_info"]["editlane_missing"] for one in found] == [0, 0, 0]


def test_verls_reward_manager_gets_an_error_or_an_invented_zero(edits: Edits) -> None:
    with pytest.raises(RewardError, match="1 of 1 edits have no reward: edit 0: decode"):
        verl_rewards(edits)
    found = verl_rewards(edits, on_error="zero")[3]
    assert found == {"reward_score": 0, "reward_extra_info": {"score": 0, "editlane_missing": 1}}


def swift_rewards(edits: Edits, **settings: Any) -> Any:
    pytest.importorskip("swift.rewards", reason="not in this venv; `make test-trainers` has it")
    import torch
    from swift.rl_core.grpo_algorithm import compute_rewards_per_func
    from swift.rlhf_trainers.utils import resolve_reward_funcs

    register_ms_swift(**settings)
    functions, names = resolve_reward_funcs(["editlane"])
    assert names == ["EditlaneReward"]

    def make_sample(source: str, edited: str, instruction: str) -> SimpleNamespace:
        messages = [{"role": "assistant", "content": instruction}]
        return SimpleNamespace(messages=messages, to_reward_row=lambda: {"source": source, "edited": edited})

    samples = [make_sample(**edit) for edit in edits]
    return compute_rewards_per_func(samples, functions, [None], torch.device("cpu"))


def test_ms_swift_gets_a_column_of_rewards(edits: Edits, wanted: list[float]) -> None:
    assert swift_rewards(edits[:3])[:, 0].tolist() == pytest.approx(wanted[:3])


def test_ms_swift_gets_an_error_or_an_invented_zero(edits: Edits) -> None:
    with pytest.raises(RewardError, match="1 of 4 edits have no reward: edit 3: decode"):
        swift_rewards(edits)
    assert swift_rewards(edits, on_error="zero")[3].tolist() == [0]


class Engine:
    """Writes the tokens of a response."""

    async def generate(self, prompt_ids: list[int], *_: Any, **__: Any) -> Any:
        output = SimpleNamespace(token_ids=[ord(letter) for letter in "edit 0<|im_end|>"], finish_reason="stop")
        return SimpleNamespace(outputs=[SimpleNamespace(**vars(output), logprobs=None)])


class LetterTokenizer:
    """Has a token for each letter."""

    def __call__(self, text: str, **_: Any) -> Any:
        import torch

        return {"input_ids": torch.tensor([[ord(letter) for letter in text]])}

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids))


def openrlhf_output(where: str, label: dict[str, Any]) -> dict[str, Any]:
    agent = pytest.importorskip("openrlhf.utils.agent", reason="not in this venv; `make test-trainers` has it")
    params = SimpleNamespace(max_tokens=20, logprobs=None)
    executor = agent.SingleTurnAgentExecutor(where)
    return asyncio.run(executor.execute("Edit:", json.dumps(label), params, 200, LetterTokenizer(), Engine()))


def test_openrlhf_loads_the_file(edits: Edits, wanted: list[float]) -> None:
    import torch

    label = {"source": edits[0]["source"], "edited": edits[0]["edited"]}
    found = openrlhf_output(str(Path(editlane.client.openrlhf.__file__)), label)
    assert torch.tensor([found["reward"]]).tolist() == pytest.approx([wanted[0]])
    assert torch.tensor([found["scores"]]).tolist() == pytest.approx([wanted[0]])
    broken = openrlhf_output(str(Path(editlane.client.openrlhf.__file__)), label | {"edited": edits[3]["edited"]})
    assert broken["reward"] is None  # OpenRLHF has logged the error


def test_openrlhf_asks_the_server_itself(edits: Edits, wanted: list[float], server_url: str) -> None:
    import base64

    files = {name: base64.b64encode(Path(edits[0][name]).read_bytes()).decode() for name in ("source", "edited")}
    found = openrlhf_output(f"{server_url}/get_reward", files | {"instruction": "edit 0"})
    assert found["reward"] == pytest.approx([wanted[0]])
