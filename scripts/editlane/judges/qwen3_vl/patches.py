"""Images as the Qwen-VL models read them: resized, cut into patches, as bytes; the device turns them into numbers.

An eighth of the bytes of the processor's float tensors (whose second frame repeats the first), without its arithmetic.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from editlane.core.errors import JudgeFailed

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """One image."""

    values: np.ndarray
    """(patches, channels * side * side) uint8, in the order of the processor: blocks of merge x merge, row by row."""
    grid: tuple[int, int]
    """Patches from top to bottom and from left to right."""

    digest: bytes
    """Equal for equal images only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSettings:
    """What an image processor of the Qwen-VL family does; taken from the checkpoint."""

    side: int
    """Pixels of a patch."""
    merge: int
    """Patches of a token's side."""
    frames: int
    """How often a still image is repeated in time."""
    least: int
    most: int
    """Pixels of an image, at least and at most."""
    resample: Image.Resampling
    table: np.ndarray
    """(3, 256) float32: the number that the processor makes of each byte of each channel."""

    @classmethod
    def of(cls, processor: Any) -> "PatchSettings":
        """The settings of a loaded image processor, with its backend left out: images are always resized by Pillow."""
        from transformers import Qwen2VLImageProcessorPil

        numbers = Qwen2VLImageProcessorPil()
        every_byte = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
        scaled = numbers.rescale(every_byte, processor.rescale_factor)
        table = numbers.normalize(scaled, processor.image_mean, processor.image_std)
        return cls(
            side=processor.patch_size,
            merge=processor.merge_size,
            frames=processor.temporal_patch_size,
            least=processor.size["shortest_edge"],
            most=processor.size["longest_edge"],
            resample=Image.Resampling(int(processor.resample)),
            table=np.ascontiguousarray(table, dtype=np.float32).reshape(3, 256),
        )


def fit_blocks(image: Image.Image, settings: PatchSettings) -> Image.Image:
    """Resize an RGB image to whole blocks of patches, its aspect ratio kept as well as that allows.

    Raises JudgeFailed for an image that is more than 200 times as long as it is wide, which the models refuse.
    """
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    unit = settings.side * settings.merge
    try:
        height, width = smart_resize(image.height, image.width, unit, settings.least, settings.most)
    except ValueError as error:
        raise JudgeFailed(f"the processor refuses the image: {error}", kind="question") from error
    return image if (width, height) == image.size else image.resize((width, height), settings.resample)


def cut_patches(image: Image.Image, settings: PatchSettings) -> Patches:
    """The patches of an RGB image of any size. Raises JudgeFailed as `fit_blocks`."""
    image = fit_blocks(image, settings)
    width, height = image.size
    rows, columns = height // settings.side, width // settings.side
    blocks = np.asarray(image).reshape(
        rows // settings.merge,
        settings.merge,
        settings.side,
        columns // settings.merge,
        settings.merge,
        settings.side,
        3,
    )
    values = np.ascontiguousarray(blocks.transpose(0, 3, 1, 4, 6, 2, 5)).reshape(rows * columns, -1)
    digest = hashlib.blake2b(values.data, digest_size=16, person=b"%d" % rows).digest()
    return Patches(values=values, grid=(rows, columns), digest=digest)


def normalise(values: "torch.Tensor", settings: PatchSettings) -> "torch.Tensor":
    """uint8 patches (patches, 3 * side * side) to float32 (patches, 3 * frames * side * side).

    Bit for bit what the processor makes of them, on whichever device they are: each byte is looked up.
    """
    import torch

    table = _on_device(settings.table.tobytes(), values.device)
    places = values.reshape(len(values), 3, -1).int() + 256 * torch.arange(3, device=values.device).view(1, 3, 1)
    numbers = table[places]
    return numbers.unsqueeze(2).expand(-1, -1, settings.frames, -1).reshape(len(values), -1)


@lru_cache(maxsize=8)
def _on_device(table: bytes, device: "torch.device") -> "torch.Tensor":
    """Kept there: to send it for each image makes the CPU wait for all that the device has to do."""
    import torch

    return torch.frombuffer(bytearray(table), dtype=torch.float32).to(device)
