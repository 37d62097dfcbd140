"""The model pi0 as transformers has it, tiny and with random weights: real code, and actions without sense."""

import zlib
from typing import Any

import numpy as np

from editlane.robots.dialects import CAMERAS, Observation

STEPS = 10
"""Actions in a chunk."""
COLUMNS = 7
"""Columns of an action that a robot uses, of the 32 that the model computes."""
IMAGE_TOKEN = 511
"""Id of the token that stands for a patch of a picture: the last one of the vocabulary."""
FIRST_TOKEN = 2
WORDS = 500
"""Ids that a word may get."""
SIDE = 224
"""Pixels of a picture's side."""
PATCH = 56


class TinyPi0:
    """Act on two pictures, the state and the prompt, in the same way for the same observation and seed.

    A word's checksum stands for a tokenizer, which a model without training does not need.
    """

    def __init__(self, seed: int) -> None:
        import torch
        from transformers import PI0ForConditionalGeneration

        self.metadata = {"policy": "tiny-pi0", "seed": seed, "action_dim": COLUMNS, "action_horizon": STEPS}
        self._seed = seed
        torch.manual_seed(seed)
        self._model = PI0ForConditionalGeneration(make_tiny_config()).eval()

    def infer(self, observation: Observation) -> dict[str, Any]:
        """Return `actions`, float32 [10, 7]. Raises ValueError for pictures that are not uint8 [224, 224, 3]."""
        words = [zlib.crc32(word.encode()) % WORDS for word in str(observation["prompt"]).split()]
        told = np.asarray(observation["observation/state"], np.float32)
        pictures = read_pictures(observation)
        return {"actions": sample(self._model, pictures, [FIRST_TOKEN, *words], told, self._seed)[:, :COLUMNS]}


def sample(model: Any, pictures: np.ndarray[Any, Any], words: list[int], state: np.ndarray[Any, Any], seed: int) -> Any:
    """Return what a pi0 of transformers computes, float32 [steps, max_action_dim], as it was trained: normalised.

    `pictures`: those of `read_pictures`; `words`: the prompt's tokens. The noise is the same for every observation.
    """
    import torch

    config, device = model.config, model.device
    vision = config.vlm_config.vision_config
    patches = pictures.shape[1] * (vision.image_size // vision.patch_size) ** 2
    ids = torch.tensor([[config.vlm_config.image_token_id] * patches + words], device=device)
    padded = torch.zeros(1, config.max_state_dim, device=device)
    padded[0, : len(state)] = torch.tensor(state)
    drawn = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, config.chunk_size, config.max_action_dim, generator=drawn)
    with torch.inference_mode():
        actions = model.sample_actions(
            state=padded,
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=torch.from_numpy(pictures).to(device),
            pixel_attention_mask=torch.ones(1, pictures.shape[1], dtype=torch.bool, device=device),
            noise=noise.to(device),
        )
    return actions[0].cpu().numpy()


def make_tiny_config() -> Any:
    """Return the PI0Config of half a million parameters."""
    from transformers import PI0Config

    text = {"model_type": "gemma", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": IMAGE_TOKEN + 1}
    vision = {"model_type": "siglip_vision_model", "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
    vision |= {"num_attention_heads": 2, "image_size": SIDE, "patch_size": PATCH, "vision_use_head": False}
    whole = {"model_type": "paligemma", "projection_dim": 64, "image_token_id": IMAGE_TOKEN}
    return PI0Config(
        vlm_config=whole | {"text_config": text, "vision_config": vision},
        dit_config=text | {"hidden_size": 32},
        chunk_size=STEPS,
        num_inference_steps=4,
    )


def read_pictures(observation: Observation) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the pictures of both cameras, float32 [1, 2, 3, 224, 224] from -1 to 1. Raises ValueError."""
    pictures = [np.asarray(observation[camera]) for camera in CAMERAS]
    if any(picture.shape != (SIDE, SIDE, 3) or picture.dtype != np.uint8 for picture in pictures):
        raise ValueError(f"the pictures are not uint8 of the shape ({SIDE}, {SIDE}, 3)")
    return (np.stack(pictures).transpose(0, 3, 1, 2)[None] / 127.5 - 1).astype(np.float32)
