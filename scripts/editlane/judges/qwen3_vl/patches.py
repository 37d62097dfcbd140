"""Resize images and cut them into patches for Qwen-VL models. Patches stay bytes; the device converts them to numbers.

The processor's float tensors are eight times as large, because they are float and their second frame repeats the first.
Bytes also need none of its arithmetic.
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
    """Patches of one image."""

    values: np.ndarray
    """(patches, channels * side * side) uint8, in the order of the processor: blocks of merge x merge, row by row."""
    grid: tuple[int, int]
    """Patches from top to bottom and from left to right."""

    digest: bytes
    """Equal for equal images only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSettings:
    """Settings of an image processor of the Qwen-VL family, read from the checkpoint."""

    side: int
    """Pixels along a side of a patch."""
    merge: int
    """Patches along a side of a token."""
    frames: int
    """Number of times a still image is repeated in time."""
    least: int
    most: int
    """Minimum and maximum pixels of an image."""
    resample: Image.Resampling
    table: np.ndarray
    """(3, 256) float32: the processor's value for each byte of each channel."""

    @classmethod
    def from_processor(cls, processor: Any) -> "PatchSettings":
        """Read the settings of a loaded image processor. Its backend is ignored: Pillow always resizes the images."""
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
    """Resize an RGB image to whole blocks of patches. Keep its aspect ratio as well as that allows.

    Raises JudgeFailed for an image with an aspect ratio above 200, which the models reject.
    """
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    unit = settings.side * settings.merge
    try:
        height, width = smart_resize(image.height, image.width, unit, settings.least, settings.most)
    except ValueError as error:
        raise JudgeFailed(f"the processor rejects the image: {error}", kind="question") from error
    return image if (width, height) == image.size else image.resize((width, height), settings.resample)


def cut_patches(image: Image.Image, settings: PatchSettings) -> Patches:
    """Cut an RGB image of any size into patches. Raises JudgeFailed like `fit_blocks`."""
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
    """Convert uint8 patches (patches, 3 * side * side) to float32 (patches, 3 * frames * side * side).

    Each byte is looked up in a table, so the values equal the processor's bit for bit on any device.
    """
    import torch

    table = _copy_to_device(settings.table.tobytes(), values.device)
    places = values.reshape(len(values), 3, -1).int() + 256 * torch.arange(3, device=values.device).view(1, 3, 1)
    numbers = table[places]
    return numbers.unsqueeze(2).expand(-1, -1, settings.frames, -1).reshape(len(values), -1)


@lru_cache(maxsize=8)
def _copy_to_device(table: bytes, device: "torch.device") -> "torch.Tensor":
    """Cache the table on the device. Copying it for each image would make the CPU wait for all queued work."""
    import torch

    return torch.frombuffer(bytearray(table), dtype=torch.float32).to(device)
