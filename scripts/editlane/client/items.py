"""Turn items into the JSON that a reward server reads, and cut them into requests."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from editlane.client.rewards import Reward, RewardError, failed

TEXTS = ("instruction", "category", "description", "rationale")
FIELDS = ("id", "source", "edited", *TEXTS)

Pieces = tuple[bytes, ...]
"""The JSON of one item. Items that share a picture share its bytes."""


class _Unusable(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.reward = failed(kind, message)


def encode_items(items: Sequence[Mapping[str, Any]], threads: int) -> list[Pieces | Reward]:
    """Return the JSON of each item, or why it cannot be asked about. Raises RewardError for items of another form."""
    for place, item in enumerate(items):
        _check_fields(place, item)
    # By identity: the edits of a group share their source, and a picture that Pillow has yet to load is not
    # thread-safe.
    pictures = {id(image): image for item in items for image in (item["source"], item["edited"])}
    with ThreadPoolExecutor(threads) as pool:
        encoded = dict(zip(pictures, pool.map(_encode_picture, pictures.values()), strict=True))
    missing = [one for one in encoded.values() if isinstance(one, Reward) and one.kind == "missing"]
    if missing and len(missing) == len(encoded):
        raise RewardError(f"None of the images is there: {missing[0].message}. Check their folder.")
    return [_join(place, item, encoded) for place, item in enumerate(items)]


def cut(sizes: Mapping[int, int], *, most_bytes: int, most_items: int) -> list[list[int]]:
    """Cut items into requests, in order. An item that is too large for any is a request of its own."""
    chunks: list[list[int]] = []
    room = 0
    for place, size in sizes.items():
        if not chunks or size + 1 > room or len(chunks[-1]) >= most_items:
            chunks.append([])
            room = most_bytes
        chunks[-1].append(place)
        room -= size + 1  # the comma
    return chunks


def build_body(parts: Sequence[Pieces], *, deadline_s: float, judge: str | None) -> bytes:
    """Return the body of a request."""
    asked = {"deadline_s": deadline_s} | ({} if judge is None else {"judge": judge})
    middle = [piece for part in parts for piece in (*part, b",")][:-1]
    return b"".join([b'{"items":[', *middle, b"],", json.dumps(asked).encode()[1:]])


def read_picture(image: Any) -> bytes:
    """Return an encoded image as it is, the content of an image file, or a picture as PNG.

    A picture is one of Pillow, a tensor (channels first) or an array (channels last), with bytes, or numbers from 0
    to 1. A dictionary with `bytes` or `path` is how datasets and verl store an image.
    """
    if isinstance(image, Mapping):
        image = image.get("path") if image.get("bytes") is None else image["bytes"]
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        if not Path(image).is_file():  # a pipe would never end
            raise _Unusable("missing", f"there is no image file {os.fspath(image)!r}")
        return Path(image).read_bytes()
    if hasattr(image, "shape"):
        image = _to_pillow(image)
    if not hasattr(image, "save"):
        raise _Unusable("decode", f"a path, bytes or a picture is needed, not {type(image).__name__}")
    return _to_png(image)


def _check_fields(place: int, item: Any) -> None:
    if not isinstance(item, Mapping):
        raise RewardError(f"Item {place} is no dictionary, but {type(item).__name__}.")
    for name in item:
        if name not in FIELDS:
            raise RewardError(f"Item {place} has an unknown key {name!r}. Known: {', '.join(FIELDS)}.")
    for name in ("source", "edited", "instruction"):
        if name not in item:
            raise RewardError(f"Item {place} has no {name!r}. Each item needs source, edited and instruction.")


def _encode_picture(image: Any) -> bytes | Reward:
    try:
        return base64.b64encode(read_picture(image))
    except _Unusable as error:
        return error.reward
    except Exception as error:  # noqa: BLE001  Pillow raises a dozen types, and one picture must not fail the others
        return failed("decode", f"the image cannot be read: {error}")


def _join(place: int, item: Mapping[str, Any], encoded: Mapping[int, bytes | Reward]) -> Pieces | Reward:
    source, edited = encoded[id(item["source"])], encoded[id(item["edited"])]
    if isinstance(source, Reward):
        return source
    if isinstance(edited, Reward):
        return edited
    try:
        texts = json.dumps({"id": str(place)} | _read_texts(item), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return failed("text", "a text holds half a character (a lone surrogate)")
    except _Unusable as error:
        return error.reward
    return (texts[:-1] + b',"source":"', source, b'","edited":"', edited, b'"}')


def _read_texts(item: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: item[name] for name in TEXTS if name == "instruction" or item.get(name) is not None}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise _Unusable("text", f"the {name} is no text, but {type(text).__name__}")
    return texts


def _to_png(picture: Any) -> bytes:
    if picture.mode == "F":
        raise _Unusable("decode", "a picture of the mode F has no range of brightness; convert it")
    if picture.mode not in ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"):
        picture = picture.convert("RGB")  # PNG has no other colours
    out = io.BytesIO()
    # Pixels alone: an orientation in the EXIF would turn the picture again.
    picture.save(out, "PNG", compress_level=1, exif=b"")
    return out.getvalue()


def _to_pillow(array: Any) -> Any:
    from PIL import Image

    if hasattr(array, "detach"):  # a tensor of torch
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()
        if array.ndim == 3:
            array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype.kind == "f":
        if not (array.min() >= -0.1 and array.max() <= 1.1):  # False for NaN, too
            raise _Unusable("decode", "the picture has numbers outside of 0 to 1")
        array = (array * 255).round().clip(0, 255).astype("uint8")
    elif array.dtype != "uint8":
        raise _Unusable("decode", f"the picture has pixels of {array.dtype}, not bytes or numbers from 0 to 1")
    return Image.fromarray(array)
