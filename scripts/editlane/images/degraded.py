"""Worse copies of an edit, which a judge should score lower than the edit."""

from PIL import Image, ImageFilter

BLUR = 1 / 32
"""Radius of the blur, as a share of the shorter side: meant to make faces, text and small objects unrecognisable."""


def blend_half(source: Image.Image, edited: Image.Image) -> Image.Image:
    """Return the mean of both images, RGB, in the edit's size; the source is resized to it."""
    return Image.blend(source.resize(edited.size, Image.Resampling.BICUBIC), edited, 0.5)


def blur(edited: Image.Image) -> Image.Image:
    """Return the image with a Gaussian blur of BLUR."""
    return edited.filter(ImageFilter.GaussianBlur(BLUR * min(edited.size)))
