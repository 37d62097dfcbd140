"""What a Qwen3-VL sees in an image, computed once however often the image is shown.

Each image is looked at by itself, so that what is seen does not depend on its neighbours in a batch: a lane that goes
on after a kill gets the numbers of an undisturbed one.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from editlane.judges.qwen3_vl.patches import Patches, PatchSettings, normalise
from editlane.judges.qwen3_vl.uploads import Upload

if TYPE_CHECKING:
    import torch

KEPT_IMAGES = 64
"""About 17 MB each at 1024 x 1024 in bfloat16: 1,024 tokens of 2,048 numbers, four times (three deeper layers)."""
KEPT_GRIDS = 64


class Features(NamedTuple):
    """What the language model gets of one image."""

    tokens: "torch.Tensor"
    """(tokens, hidden size)."""
    deeper: tuple["torch.Tensor", ...]
    """Of the same shape, one for each layer that gets some."""


class Vision:
    """The vision part of a loaded Qwen3-VL."""

    def __init__(self, model: Any, settings: PatchSettings) -> None:
        self.visual = model.model.visual
        self.settings = settings
        self._needs_device_lengths = "flash" in str(self.visual.config._attn_implementation)
        self._seen: OrderedDict[bytes, Features] = OrderedDict()
        self._grids: OrderedDict[tuple[int, int], dict[str, torch.Tensor]] = OrderedDict()
        _multiply_patches(self.visual.patch_embed)

    def look_at(self, image: Patches, upload: Upload) -> Features:
        """The features of an image that was uploaded, as patches or as features."""
        if image.digest not in self._seen:
            if image.digest in upload.features:
                tokens, *deeper = upload.features[image.digest]
            else:
                pixels = normalise(upload.patches[image.digest], self.settings)
                output = self.visual(pixels, **self._layout(image.grid))
                tokens, deeper = output.pooler_output, output.deepstack_features
            keep(self._seen, image.digest, Features(tokens, tuple(deeper)), KEPT_IMAGES)
        self._seen.move_to_end(image.digest)
        return self._seen[image.digest]

    def _layout(self, grid: tuple[int, int]) -> "dict[str, torch.Tensor]":
        """What depends on an image's size alone, as transformers' vision_utils compute it, once for each size.

        The lengths stay on the CPU, where the plain attention wants to know them: from the device they would be read
        back in every layer, which then has to wait.
        """
        import torch
        from transformers import vision_utils

        if grid not in self._grids:
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
            layout = stays | {name: tensor.to(self.visual.device) for name, tensor in moved.items()}
            keep(self._grids, grid, layout, KEPT_GRIDS)
        return self._grids[grid]


def _multiply_patches(embedding: Any) -> None:
    """Embed patches by a matrix product, which is all that a convolution is whose stride is its kernel."""
    import torch

    convolution = embedding.proj

    def embed(patches: torch.Tensor) -> torch.Tensor:
        weight = convolution.weight.flatten(1)
        return torch.nn.functional.linear(patches.to(weight.dtype), weight, convolution.bias)

    embedding.forward = embed


def keep(kept: "OrderedDict[Any, Any]", key: Any, value: Any, most: int) -> None:
    """Add or renew an entry; the one that was not needed for longest goes."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
