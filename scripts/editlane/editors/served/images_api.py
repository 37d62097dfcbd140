"""Ask a server for one edit over OpenAI's `/images/edits`, and read the image in its answer.

Images go as PNG in a form and come back as base64. An address in an answer is never followed.
"""

import base64
import binascii
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from PIL import Image
from urllib3.filepost import encode_multipart_formdata

from editlane.core.errors import EditFailed, EditRefused, PassingError, SourceUnreadable, UserError
from editlane.endpoint.http import UNANSWERED, Refused
from editlane.endpoint.places import Connection, record_end
from editlane.endpoint.refusals import is_refusal
from editlane.endpoint.served_models import (
    FIX,
    PATIENCE,
    NoAnswer,
    ServedModel,
    ask_checkpoint,
    check_served,
    tell_refusal,
)
from editlane.images.files import open_content

LONGEST_REPLY = 96 * 2**20
"""Maximum bytes of an answer: a PNG of 16 megapixels without any compression, as base64."""
MOST_PIXELS = 32_000_000
"""Maximum pixels of an image that comes back."""
SUFFIXES = ("png", "jpg", "webp")

_BROKEN = re.compile(r"HTTP 503: .* exited; restart the server")
"""What SGLang answers to every edit once the process with its model has ended, while it still lists the model.
Source: runtime/entrypoints/http_server.py of sglang.multimodal_gen 0.5.23."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEdits:
    """Model under the name by which a server has it."""

    connection: Connection

    def ask(
        self,
        fields: Mapping[str, Any],
        images: Sequence[Image.Image],
        on_request: Callable[[], None],
        on_image: Callable[[], None],
    ) -> Image.Image:
        """Return the edit of `images`: RGB, or RGBA if it has transparency.

        `fields`: those of the form beside images and model. Raises EditRefused if a safety system refuses, and
        EditFailed for another failure of this edit alone. Raises UserError if the server refuses every request, or does
        not answer any more.
        """
        files = [_encode_png(image) for image in images]
        name = "image" if len(files) == 1 else "image[]"
        form: list[tuple[str, Any]] = [(name, (f"{n}.png", file, "image/png")) for n, file in enumerate(files)]
        form += [(field, str(value)) for field, value in {"model": self.connection.model, **fields}.items()]
        try:
            content = self._send(*encode_multipart_formdata(form), on_request)
        except Refused as error:
            raise self._explain(error, fields) from error
        on_image()
        return _decode(content)

    def _send(self, body: bytes, content_type: str, on_request: Callable[[], None]) -> bytes:
        endpoint = replace(self.connection.endpoint, on_attempt=on_request, longest_reply=LONGEST_REPLY)
        try:
            return record_end(
                self.connection.record, lambda: endpoint.ask("/images/edits", read_image, body, content_type)
            )
        except EditFailed as error:
            if _BROKEN.search(str(error)):
                raise PassingError(f"{self} makes no more edits ({error}). {FIX}") from error
            if error.kind in UNANSWERED:
                self.with_one_attempt(PATIENCE).check_served()
            raise

    def _explain(self, error: Refused, fields: Mapping[str, Any]) -> Exception:
        """Return what a refused request means: for this edit, or for all."""
        if is_refusal(error, [field for field in fields.values() if isinstance(field, str)]):
            return EditRefused(f"the server's safety system refused the edit: {error}")
        if error.concerns_all:
            return UserError(f"{self} {tell_refusal(error)}")
        return EditFailed(f"the server rejects the request: {error}")

    def with_one_attempt(self, timeout: float) -> "ImageEdits":
        """Return a copy that makes one attempt of at most `timeout` seconds per request."""
        return replace(self, connection=self.connection._replace(endpoint=self.connection.endpoint.once(timeout)))

    def check_served(self) -> list[ServedModel]:
        """Return the models that the server lists; empty if it has no such list.

        Raises NoAnswer if it does not answer, UserError if it rejects the key or does not serve this model.
        """
        return check_served(self.connection.endpoint, self.connection.model, str(self), self._where)

    def ask_checkpoint(self) -> dict[str, str]:
        """Return which checkpoint a server of SGLang says it has. Raises NoAnswer if it does not answer."""
        try:
            return ask_checkpoint(self.connection.endpoint)
        except EditFailed as error:
            raise NoAnswer(f"{self} does not answer: {error}. {FIX}") from error

    @property
    def _where(self) -> str:
        return f"The editor's server {self.connection.endpoint.base_url}"

    def __str__(self) -> str:
        return f"{self._where}{self.connection.endpoint.via} (model {self.connection.model})"


def read_image(reply: Any) -> bytes:
    """Return the bytes of the first image of an answer. Raises EditFailed, without a word of the answer."""
    match reply:
        case {"data": [{"b64_json": str(text)}, *_]}:
            try:
                return base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise EditFailed("the image in the server's answer is no base64") from None
        case {"data": [{"url": str()}, *_]}:
            raise EditFailed(
                "the server answered with an address in place of an image, and addresses are not followed; let it "
                "answer with b64_json"
            )
    raise EditFailed("the server's answer has no image")


def _decode(content: bytes) -> Image.Image:
    try:
        return open_content(content, "the server's image", SUFFIXES, MOST_PIXELS, keep_alpha=True)
    except SourceUnreadable as error:  # kind `model` for what is no image: the server may do better next time
        raise EditFailed(str(error), kind=None if error.kind == "decode" else error.kind) from error


def _encode_png(image: Image.Image) -> bytes:
    bare = image.convert("RGB")
    bare.info = {}
    encoded = io.BytesIO()
    bare.save(encoded, format="PNG", compress_level=1)
    return encoded.getvalue()


@lru_cache(maxsize=1)
def make_test_image() -> Image.Image:
    """Return a picture of 512 x 512 pixels with colours and edges, to try a server on."""
    picture = Image.linear_gradient("L").resize((512, 512))
    return Image.merge("RGB", (picture, picture.rotate(90), picture.rotate(180)))
