"""TRL's GRPOTrainer trains a tiny model on the CPU with rewards of a reward server.

make test-trainers
"""

import math
from pathlib import Path
from typing import Any

import pytest

from editlane.client import RewardClient, RewardError
from editlane.client.trainers import trl_reward

pytest.importorskip("trl", reason="TRL is not installed here; `make test-trainers` does it in a venv of its own")
pytestmark = [pytest.mark.trainers, pytest.mark.filterwarnings("default")]


def build_model(folder: Path) -> str:
    """Write a tiny language model with random weights, and a tokenizer of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    names = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<s>", "</s>", "<pad>"]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(names), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        bos_token_id=256, eos_token_id=257, pad_token_id=258,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def train(folder: Path, rows: list[dict[str, Any]], reward: Any) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    config = GRPOConfig(
        output_dir=str(folder / "out"), max_steps=2, per_device_train_batch_size=8, num_generations=4,
        max_completion_length=8, report_to=[], use_cpu=True, save_strategy="no", logging_steps=1, bf16=False,
    )  # fmt: skip
    model = build_model(folder / "model")
    trainer = GRPOTrainer(model=model, reward_funcs=reward, args=config, train_dataset=Dataset.from_list(rows))
    trainer.train()
    return trainer


def test_two_steps_with_one_pair_that_cannot_be_scored(
    edits: list[dict[str, Any]], tmp_path: Path, server_url: str
) -> None:
    calls: list[tuple[list[str], dict[str, Any], list[float | None]]] = []

    def reward(completions: list[str], **columns: Any) -> list[float | None]:
        found = trl_reward(completions, **columns)
        calls.append((completions, columns, found))
        return found

    rows = [{"prompt": "Edit: ", "source": edit["source"], "edited": edit["edited"]} for edit in edits]
    trainer = train(tmp_path, rows, reward)
    client = RewardClient(server_url)
    missing = 0
    for completions, columns, found in calls:
        for text, source, edited, got in zip(completions, columns["source"], columns["edited"], found, strict=True):
            item = {"source": source, "edited": edited, "instruction": text}
            assert got == client.score([item])[0].reward
            assert got is not None or edited == edits[3]["edited"] or not text
            missing += got is None
    steps = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert len(steps) == 2
    assert all(math.isfinite(entry["loss"]) for entry in steps)
    assert missing
    assert sum(entry["editlane_missing"] for entry in steps) > 0


def test_a_dead_server_ends_the_training(edits: list[dict[str, Any]], tmp_path: Path) -> None:
    def reward(completions: list[str], **columns: Any) -> list[float | None]:
        return trl_reward(completions, server_url="http://127.0.0.1:1", **columns)

    rows = [{"prompt": "Edit: ", "source": edit["source"], "edited": edit["edited"]} for edit in edits]
    with pytest.raises(RewardError, match=r"no reward server at http://127\.0\.0\.1:1"):
        train(tmp_path, rows, reward)
