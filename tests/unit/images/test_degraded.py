"""The worse copies of an edit that a judge is shown."""

import numpy as np
from PIL import Image

from editlane.images.degraded import blend_half, blur


def noise(size: tuple[int, int], seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def test_half_of_each_in_the_size_of_the_edit() -> None:
    source, edited = noise((40, 30), 1), noise((40, 30), 2)
    mean = (np.asarray(source, dtype=int) + np.asarray(edited, dtype=int)) / 2
    assert np.abs(np.asarray(blend_half(source, edited), dtype=int) - mean).max() <= 1
    assert blend_half(noise((64, 30), 1), edited).size == (40, 30)


def test_blurred_by_a_share_of_the_shorter_side() -> None:
    edge = Image.new("RGB", (640, 320))
    edge.paste((255, 255, 255), (320, 0, 640, 320))
    row = np.asarray(blur(edge))[160, :, 0]
    within = np.flatnonzero((row > 255 * 0.16) & (row < 255 * 0.84))
    assert 16 <= len(within) <= 24  # two standard deviations of a radius of 10 pixels
    assert blur(Image.new("RGB", (1, 1), (9, 8, 7))).getpixel((0, 0)) == (9, 8, 7)
