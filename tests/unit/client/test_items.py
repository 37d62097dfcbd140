"""What is sent for an item: the images as they are, and each item in one request."""

import base64
import io
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from editlane.client.items import build_body, cut, encode_items, read_picture
from editlane.client.rewards import Reward

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)


def decode(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(content)))


def why_not(image: Any) -> Reward:
    (found,) = encode_items([{"source": image, "edited": b"x", "instruction": "x"}], 1)
    assert isinstance(found, Reward)
    assert found.reward is None
    return found


def test_files_and_bytes_are_sent_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "照片.jpg"
    path.write_bytes(b"any bytes")
    for image in (path, str(path), b"any bytes", bytearray(b"any bytes"), memoryview(b"any bytes")):
        assert read_picture(image) == b"any bytes"
    assert read_picture({"bytes": b"any bytes", "path": None}) == b"any bytes"
    assert read_picture({"bytes": None, "path": str(path)}) == b"any bytes"


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_pictures_of_pillow_keep_every_pixel(mode: str) -> None:
    picture = Image.fromarray(PIXELS).convert("L").convert(mode) if mode == "I;16" else None
    picture = picture or Image.fromarray(PIXELS).convert(mode)
    sent = Image.open(io.BytesIO(read_picture(picture)))
    assert sent.format == "PNG"
    assert np.array_equal(np.asarray(sent.convert("RGBA")), np.asarray(picture.convert("RGBA")))


def test_other_colours_become_rgb() -> None:
    picture = Image.fromarray(PIXELS).convert("CMYK")
    assert np.array_equal(decode(read_picture(picture)), np.asarray(picture.convert("RGB")))


def test_a_picture_is_not_turned_by_its_exif() -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(PIXELS).save(out, "PNG", exif=exif)
    opened = Image.open(out)
    assert opened.getexif()[ExifTags.Base.Orientation] == 6
    sent = Image.open(io.BytesIO(read_picture(opened)))
    assert not sent.getexif()
    assert np.array_equal(np.asarray(sent), PIXELS)


@pytest.mark.parametrize(
    "picture",
    [
        PIXELS,
        PIXELS / 255,
        (PIXELS / 255).astype(np.float16),
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        (torch.from_numpy(PIXELS).permute(2, 0, 1) / 255).requires_grad_(),
    ],
)
def test_arrays_and_tensors_are_the_pixels_that_they_hold(picture: Any) -> None:
    assert np.array_equal(decode(read_picture(picture)), PIXELS)


def test_grey_arrays_and_short_floats_are_pictures() -> None:
    assert np.array_equal(decode(read_picture(PIXELS[:, :, :1])), PIXELS[:, :, 0])
    assert np.array_equal(decode(read_picture(PIXELS[:, :, 0])), PIXELS[:, :, 0])
    found = decode(read_picture((torch.from_numpy(PIXELS).permute(2, 0, 1) / 255).bfloat16()))
    assert abs(found.astype(int) - PIXELS).max() <= 1


@pytest.mark.parametrize(
    "image",
    [
        np.full((4, 4, 3), np.nan),
        PIXELS / 127.5 - 1,
        PIXELS.astype(np.float32),
        PIXELS.astype(np.uint16),
        torch.zeros(1, 3, 4, 4),
        np.zeros((0, 4, 3), np.uint8),
        Image.new("F", (4, 4)),
        None,
        7,
        "none.png",
        "",
        "/",
        "a\0b",
        {},
        {"bytes": None},
    ],
)
def test_what_is_no_picture_has_a_reason(image: Any) -> None:
    assert why_not(image).kind == ("missing" if isinstance(image, str) else "decode")


def test_a_picture_that_is_cut_off_has_a_reason() -> None:
    out = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(out, "PNG")
    found = why_not(Image.open(io.BytesIO(out.getvalue()[:2000])))
    assert found.kind == "decode"
    assert "cannot be read" in str(found.message)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert why_not(tmp_path / "pipe.png").kind == "missing"


def test_a_picture_is_encoded_once_for_all_its_edits() -> None:
    class Counting:
        mode = "RGB"
        saved = 0

        def save(self, out: io.BytesIO, *_: Any, **__: Any) -> None:
            Counting.saved += 1
            out.write(b"png")

    source = Counting()
    items = [{"source": source, "edited": b"x", "instruction": str(number)} for number in range(16)]
    parts = encode_items(items, 4)
    assert Counting.saved == 1
    assert len({id(part[1]) for part in parts if not isinstance(part, Reward)}) == 1


texts = st.text(st.characters(exclude_categories=["Cs"]))
some_items = st.lists(st.tuples(st.binary(max_size=50), st.binary(max_size=50), texts), min_size=1, max_size=8)


@given(some_items, st.none() | texts)
def test_a_body_holds_what_was_given(given_items: list[tuple[bytes, bytes, str]], judge: str | None) -> None:
    items = [{"source": a, "edited": b, "instruction": text} for a, b, text in given_items]
    parts = [part for part in encode_items(items, 2) if not isinstance(part, Reward)]
    body = json.loads(build_body(parts, deadline_s=1.5, judge=judge))
    found = [
        (base64.b64decode(one["source"]), base64.b64decode(one["edited"]), one["instruction"]) for one in body["items"]
    ]
    assert found == given_items
    assert [one["id"] for one in body["items"]] == [str(place) for place in range(len(items))]
    assert body.get("judge") == judge
    assert body["deadline_s"] == 1.5


@given(st.lists(st.integers(1, 120)), st.integers(1, 100), st.integers(1, 7))
def test_requests_hold_every_item_once_and_keep_the_limits(sizes: list[int], most_bytes: int, most_items: int) -> None:
    places = random.Random(0).sample(range(1000), len(sizes))
    chunks = cut(dict(zip(places, sizes, strict=True)), most_bytes=most_bytes, most_items=most_items)
    assert [place for chunk in chunks for place in chunk] == places
    of = dict(zip(places, sizes, strict=True))
    for chunk in chunks:
        assert len(chunk) <= most_items
        assert len(chunk) == 1 or sum(of[place] + 1 for place in chunk) <= most_bytes
