"""Edit without a model, for tests and dry runs: tint the photo, draw a rectangle, sign the edit.

The editor can fail, refuse or return the source unchanged on demand.
"""

import time
from typing import Annotated

from PIL import Image, ImageColor, ImageDraw
from pydantic import Field

from editlane.core.errors import EditFailed, EditRefused
from editlane.core.params import SPEED, Params
from editlane.core.types import Edit, EditRequest, RunsOn
from editlane.datasets.turns import join_turns
from editlane.models.fake_signals import SIDE, Seconds, hash_to_share, make_signature, pick_duration

Share = Annotated[float, Field(ge=0, le=1)]


class FakeEditorParams(Params):
    """Settings of the fake editor."""

    seconds: Annotated[Seconds, SPEED] = 0.0
    """Time per edit, or [least, most]; the item decides where between them."""
    load_seconds: Annotated[float, Field(ge=0), SPEED] = 0.0
    """Time to load, as a model takes."""
    steps: Annotated[int, Field(ge=1), SPEED] = 4
    """Calls of on_step per edit, spread over `seconds`."""
    failure_rate: Share = 0.0
    """Share of items, 0..1, that end as edit_failed; the item decides, not the order."""
    refusal_rate: Share = 0.0
    """Share of items that end as edit_refused."""
    noop_rate: Share = 0.0
    """Share of items that come back unchanged."""


class FakeEditor:
    """Makes the same tint and rectangle for the same seed and instruction on every machine."""

    VERSION = "2"
    RUNS_ON = RunsOn.NOTHING
    PARAMS = FakeEditorParams

    def __init__(self, *, model: str | None, revision: str | None, params: FakeEditorParams) -> None:
        self.params = params
        if params.load_seconds:
            time.sleep(params.load_seconds)

    def edit(self, request: EditRequest) -> Edit:
        """Tint the source and draw on it. Raises EditFailed and EditRefused as often as the params ask for."""
        params, item = self.params, request.item
        text = join_turns(item.turns, item.language) if item.turns else item.instruction  # what the judge will be told
        identity = (item.source_sha256, text)
        wait = pick_duration(params.seconds, hash_to_share("seconds", *identity)) / params.steps
        for step in range(1, params.steps + 1):
            if wait:
                time.sleep(wait)
            request.on_step(step, params.steps)
        if hash_to_share("failure", *identity) < params.failure_rate:
            raise EditFailed("the fake editor was told to fail on this item", kind="fake")
        if hash_to_share("refusal", *identity) < params.refusal_rate:
            raise EditRefused("the fake editor was told to refuse this item")
        if hash_to_share("noop", *identity) < params.noop_rate:
            return Edit(image=request.source.copy())
        return Edit(image=paint_edit(request.source, request.seed, text))


def paint_edit(source: Image.Image, seed: int, instruction: str) -> Image.Image:
    """Return a copy of `source`, RGB and of the same size, with a tint and a filled rectangle. Seed and instruction
    decide both.

    The top left corner holds the signature of the instruction, which the fake judge looks for. An image too small for
    it stays unsigned.
    """
    share = [hash_to_share(name, str(seed), instruction) for name in ("hue", "left", "top")]
    tint = ImageColor.getrgb(f"hsl({int(share[0] * 360)},80%,50%)")
    image = Image.blend(source, Image.new("RGB", source.size, tint), 0.25)
    width, height = source.size
    left, top = int(share[1] * width * 2 / 3), int(share[2] * height * 2 / 3)
    opposite = tuple(255 - value for value in tint)
    ImageDraw.Draw(image).rectangle((left, top, left + width // 3, top + height // 3), fill=opposite)
    if min(image.size) >= SIDE:
        image.paste(make_signature(instruction))
    return image
