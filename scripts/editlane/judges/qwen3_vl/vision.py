"""Compute the image features of a Qwen3-VL, once for all questions that show the image.

Each image is encoded alone, so that its features do not depend on its neighbours in a batch. A lane that resumes after
a kill gets the same numbers as an undisturbed one.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from editlane.judges.qwen3_vl.lru_cache import LruCache
from editlane.judges.qwen3_vl.patches import Patches, PatchSettings, normalise
from editlane.judges.qwen3_vl.uploads import Upload

if TYPE_CHECKING:
    import torch

KEPT_IMAGES = 64
"""About 17 MB each at 1024 x 1024 in bfloat16: 1,024 tokens of 2,048 numbers, four times (three deeper layers)."""
KEPT_LAYOUTS = 64


class Features(NamedTuple):
    """Inputs of the language model for one image."""

    tokens: "torch.Tensor"
    """(tokens, hidden size)."""
    deeper: tuple["torch.Tensor", ...]
    """Same shape, one for each deeper layer that gets image features."""


class Vision:
    """Vision encoder of a loaded Qwen3-VL."""

    def __init__(self, model: Any, settings: PatchSettings) -> None:
        self.visual = model.model.visual
        self.settings = settings
        self._needs_device_lengths = "flash" in str(self.visual.config._attn_implementation)
        self.features: LruCache[bytes, Features] = LruCache(KEPT_IMAGES)
        self._layouts: LruCache[tuple[int, int], dict[str, torch.Tensor]] = LruCache(KEPT_LAYOUTS)
        _multiply_patches(self.visual.patch_embed)

    def encode(self, image: Patches, upload: Upload) -> Features:
        """Return the features of an uploaded image."""
        return self.features.get(image.digest, lambda: self._encode(image, upload))

    def _encode(self, image: Patches, upload: Upload) -> Features:
        pixels = normalise(upload.patches[image.digest], self.settings)
        layout = self._layouts.get(image.grid, lambda: self._make_layout(image.grid))
        output = self.visual(pixels, **layout)
        return Features(output.pooler_output, tuple(output.deepstack_features))

    def _make_layout(self, grid: tuple[int, int]) -> "dict[str, torch.Tensor]":
        """Return the encoder's inputs that depend only on the image's size, as transformers' vision_utils compute them.

        `cu_seqlens` stays on the CPU, because eager and sdpa attention read it there. On the device, each layer would
        wait to read it back.
        """
        import torch
        from transformers import vision_utils

        grids = torch.tensor([(1, *grid)])
        merge = self.visual.spatial_merge_size
        places, weights = vision_utils.get_vision_interpolation_indices_and_weights(
            grids,
            num_grid_per_side=self.visual.num_grid_per_side,
            mode=self.visual.interpolation_mode,
            align_corners=self.visual.interpolation_align_corners,
            spatial_merge_size=merge,
        )
        moved = {
            "interp_indices": places,
            "interp_weights": weights,
            "position_ids": vision_utils.get_vision_position_ids(grids, merge),
        }
        stays = {"grid_thw": grids, "cu_seqlens": vision_utils.get_vision_cu_seqlens(grids)}
        if self._needs_device_lengths:
            moved["cu_seqlens"] = stays.pop("cu_seqlens")
            stays["max_seqlen"] = grid[0] * grid[1]  # or transformers reads it back from the device
        return stays | {name: tensor.to(self.visual.device) for name, tensor in moved.items()}


def _multiply_patches(embedding: Any) -> None:
    """Embed patches by a matrix product, which equals a convolution whose stride is its kernel size."""
    import torch

    convolution = embedding.proj

    def embed(patches: torch.Tensor) -> torch.Tensor:
        weight = convolution.weight.flatten(1)
        return torch.nn.functional.linear(patches.to(weight.dtype), weight, convolution.bias)

    embedding.forward = embed
