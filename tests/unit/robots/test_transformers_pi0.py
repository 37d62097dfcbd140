"""pi0 of transformers with a checkpoint: its actions are those of the model, scaled by the checkpoint's statistics.

The checkpoints are tiny and their weights random. No released one was tried.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pi0_checkpoint import (
    ACTIONS_MEAN,
    ACTIONS_STD,
    HIGH,
    LOW,
    STATISTICS,
    add_lerobot,
    add_transformers,
    make_checkpoint,
    observe_scene,
)
from safetensors.torch import load_file, save_file
from transformers import PI0ForConditionalGeneration, PI0Processor, PreTrainedTokenizerFast
from transformers.models.pi0.image_processing_pi0 import PI0ImageProcessor

from editlane.core.errors import UserError
from editlane.robots.pi0 import TransformersPi0

Raw = Callable[[Path, dict[str, Any], int], np.ndarray]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("pi0") / "weights")


@pytest.fixture
def checkpoint(weights: Path, tmp_path: Path) -> Path:
    return shutil.copytree(weights, tmp_path / "tiny")


@pytest.fixture
def run_model(monkeypatch: pytest.MonkeyPatch) -> Raw:
    """Actions of the model alone, by transformers' own processor: its code for pictures needs torchvision."""

    def scale(self: Any, images: Any, **options: Any) -> dict[str, Any]:
        pictures = torch.stack([torch.from_numpy(np.asarray(image)) for image in images])
        return {"pixel_values": pictures.permute(0, 3, 1, 2) / 255 * 2 - 1}

    def run(folder: Path, observation: dict[str, Any], seed: int) -> np.ndarray:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        processor = PI0Processor(PI0ImageProcessor(image_seq_length=16), tokenizer, chunk_size=10, **STATISTICS)
        monkeypatch.setattr(PI0ImageProcessor, "__call__", scale)
        inputs = processor(
            images=[[observation["observation/image"], observation["observation/wrist_image"]]],
            text=[observation["prompt"]],
            state=observation["observation/state"],
            return_tensors="pt",
        )
        model = PI0ForConditionalGeneration.from_pretrained(folder).eval()
        assert processor.image_token_id == model.config.vlm_config.image_token_id
        noise = torch.randn(1, 10, 32, generator=torch.Generator().manual_seed(seed))
        return np.asarray(model.sample_actions(**inputs, noise=noise)[0])

    return run


def act(policy: TransformersPi0, observation: dict[str, Any]) -> np.ndarray:
    actions = policy.infer(observation)["actions"]
    assert (actions.shape, actions.dtype) == ((10, 7), np.float32)
    return np.asarray(actions)


def test_actions_are_the_models_scaled_by_the_statistics_of_the_checkpoint(checkpoint: Path, run_model: Raw) -> None:
    policy, seen = TransformersPi0(add_transformers(checkpoint), seed=3), observe_scene()
    raw = run_model(checkpoint, seen, 3)
    assert raw.shape == (10, 32) and np.abs(raw).max() > 0.1
    assert np.allclose(act(policy, seen), raw[:, :7] * ACTIONS_STD + ACTIONS_MEAN, atol=1e-5)


@pytest.mark.parametrize("how", ["MEAN_STD", "QUANTILES", "MIN_MAX"])
def test_the_statistics_of_lerobot_are_read(how: str, checkpoint: Path, run_model: Raw) -> None:
    relative = {"registry_name": "relative_actions_processor", "config": {"enabled": False}}
    policy, seen = TransformersPi0(add_lerobot(checkpoint, how, (relative,)), seed=3), observe_scene()
    raw = run_model(checkpoint, seen, 3)[:, :7]
    right = raw * ACTIONS_STD + ACTIONS_MEAN if how == "MEAN_STD" else (raw + 1) / 2 * (HIGH - LOW) + LOW
    assert np.allclose(act(policy, seen), right, atol=1e-5)
    assert policy.metadata["statistics"] == "policy_preprocessor.json"


def test_everything_that_is_seen_changes_the_actions(checkpoint: Path) -> None:
    policy, seen = TransformersPi0(add_transformers(checkpoint), seed=0), observe_scene()
    first = act(policy, seen)
    assert np.array_equal(first, act(policy, seen))
    others: list[dict[str, Any]] = [
        {"observation/image": observe_scene(1)["observation/image"]},
        {"observation/wrist_image": observe_scene(1)["observation/wrist_image"]},
        {"observation/state": np.zeros(8)},
        {"prompt": "move to the green goal"},
    ]
    for other in others:
        assert np.abs(act(policy, seen | other) - first).max() > 1e-6, list(other)
    assert np.abs(act(TransformersPi0(checkpoint, seed=1), seen) - first).max() > 1e-3


def test_a_checkpoint_that_is_saved_again_acts_alike(checkpoint: Path, tmp_path: Path) -> None:
    policy = TransformersPi0(add_transformers(checkpoint), seed=0)
    again = shutil.copytree(checkpoint, tmp_path / "again")
    (again / "model.safetensors").unlink()
    PI0ForConditionalGeneration.from_pretrained(checkpoint).save_pretrained(again)
    assert np.array_equal(act(policy, observe_scene()), act(TransformersPi0(again, seed=0), observe_scene()))


def test_two_checkpoints_are_two_policies_and_a_copy_is_the_same_one(checkpoint: Path, tmp_path: Path) -> None:
    metadata = TransformersPi0(add_transformers(checkpoint), seed=0).metadata
    assert metadata | {"fingerprint": ""} == {
        "policy": "transformers-pi0",
        "checkpoint": "tiny",
        "fingerprint": "",
        "statistics": "processor_config.json",
        "seed": 0,
        "action_dim": 7,
        "action_horizon": 10,
    }
    copy = shutil.copytree(checkpoint, tmp_path / "elsewhere/tiny")
    assert TransformersPi0(copy, seed=0).metadata == metadata
    trained = load_file(copy / "model.safetensors")
    name = min(trained)
    save_file({**trained, name: trained[name] + 1}, copy / "model.safetensors", {"format": "pt"})
    assert TransformersPi0(copy, seed=0).metadata["fingerprint"] != metadata["fingerprint"]


def test_an_observation_of_another_shape_is_refused(checkpoint: Path) -> None:
    policy = TransformersPi0(add_transformers(checkpoint), seed=0)
    with pytest.raises(ValueError, match="there are 7 numbers, but the checkpoint has 8"):
        policy.infer(observe_scene() | {"observation/state": np.zeros(7)})
    with pytest.raises(ValueError, match="not uint8 of the shape"):
        policy.infer(observe_scene() | {"observation/image": np.zeros((8, 8, 3), np.uint8)})


def write(name: str, content: Any) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def drop_weight(folder: Path) -> None:
    kept = load_file(folder / "model.safetensors")
    save_file({name: kept[name] for name in sorted(kept)[1:]}, folder / "model.safetensors", {"format": "pt"})


UNKNOWN = {"registry_name": "relative_actions_processor", "config": {"enabled": True}}
WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no statistics": (lambda folder: None, "has no statistics of its states and actions"),
    "openpi": (write("norm_stats.json", {"norm_stats": {}}), "Its norm_stats.json of openpi does not suffice"),
    "half": (lambda folder: add_transformers(folder, actions_std=None), "`std` of `actions` are not finite"),
    "two": (lambda folder: add_lerobot(add_transformers(folder)), "Remove those of another one"),
    "infinite": (lambda folder: add_transformers(folder, state_mean=[float("inf")] * 8), "are not finite"),
    "lengths": (lambda folder: add_transformers(folder, state_mean=[0.0] * 7), "or of two lengths"),
    "words": (lambda folder: add_transformers(folder, state_mean=["a"] * 8), "or they are no numbers"),
    "few": (
        lambda folder: add_transformers(folder, actions_mean=[0] * 3, actions_std=[1] * 3),
        "statistics of 3 numbers",
    ),
    "pictures": (lambda folder: add_transformers(folder, image_processor={"image_std": [1, 1, 1]}), "`image_std` is"),
    "relative": (lambda folder: add_lerobot(folder, steps=(UNKNOWN,)), "step 'relative_actions_processor', which is"),
    "identity": (lambda folder: add_lerobot(folder, "IDENTITY"), "scales `action` by 'IDENTITY'"),
    "one file": (lambda folder: (add_lerobot(folder) / "policy_postprocessor.json").unlink(), "has 0 steps"),
    "no tensors": (
        lambda folder: (add_lerobot(folder) / "policy_postprocessor_step_0.safetensors").unlink(),
        "cannot be read",
    ),
    "garbage": (write("processor_config.json", "{"), "processor_config.json cannot be read"),
    "a list": (write("processor_config.json", []), "is not a JSON object"),
    "another model": (write("config.json", {"type": "pi05"}), "is of the type 'pi05', and only pi0"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
    "cut weights": (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "is not a safetensors file"),
    "fewer weights": (lambda folder: drop_weight(add_transformers(folder)), "lacks 1 weights, such as "),
    "no tokenizer": (lambda folder: (add_transformers(folder) / "tokenizer.json").unlink(), "no tokenizer"),
}


@pytest.mark.parametrize(("harm", "told"), WRONG.values(), ids=WRONG)
def test_a_checkpoint_that_cannot_be_served_rightly_is_refused(harm: Any, told: str, checkpoint: Path) -> None:
    harm(checkpoint)
    with pytest.raises(UserError) as refused:
        TransformersPi0(checkpoint, seed=0)
    assert told in str(refused.value)
