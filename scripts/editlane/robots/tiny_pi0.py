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
        import torch

        config = self._model.config
        words = [zlib.crc32(word.encode()) % WORDS for word in str(observation["prompt"]).split()]
        ids = torch.tensor([[IMAGE_TOKEN] * (len(CAMERAS) * (SIDE // PATCH) ** 2) + [FIRST_TOKEN, *words]])
        told = torch.tensor(np.asarray(observation["observation/state"], np.float32))
        state = torch.zeros(1, config.max_state_dim)
        state[0, : len(told)] = told
        drawn = torch.Generator().manual_seed(self._seed)
        with torch.inference_mode():
            actions = self._model.sample_actions(
                state=state,
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                pixel_values=torch.from_numpy(read_pictures(observation)),
                pixel_attention_mask=torch.ones(1, len(CAMERAS), dtype=torch.bool),
                noise=torch.randn(1, STEPS, config.max_action_dim, generator=drawn),
            )
        return {"actions": actions[0, :, :COLUMNS].numpy()}


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
