"""Made-up edits to judge: what is asked about them, and pictures that take as long to read as photos."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from editlane.core.types import Item, Question
from editlane.protocols.scoring import ScoringProtocol, build_questions, load_protocol

RUBRIC = Path(__file__).parents[2] / "resources/protocols/rubric.yaml"

Asked = list[list[Question]]
"""For each edit the questions about it."""


class Work:
    """Items with two criteria each."""

    def __init__(self, count: int, side: int, share: float) -> None:
        """`share` of the protocol's texts is asked, see `shortened`."""
        self.protocol = shortened(load_protocol(RUBRIC), share)
        self.criteria = self.protocol.select_criteria()
        self.side = side
        self.items = [made_item(number, side) for number in range(count)]
        self.sources, self.edits = ([photo(2 * number + kind, side) for number in range(count)] for kind in (0, 1))

    def asked(self, edits: Sequence[Image.Image]) -> Asked:
        """The questions about one edit of each item."""
        return [
            list(build_questions(self.protocol, item, source, edited, self.criteria).values())
            for item, source, edited in zip(self.items, self.sources, edits, strict=True)
        ]


def shortened(protocol: ScoringProtocol, share: float) -> ScoringProtocol:
    """The protocol with the first part of each long text: the tiny tokenizer makes a token of a byte, the released one
    of some four of these texts."""

    def cut(text: str) -> str:
        return text[: int(len(text) * share)]

    return replace(
        protocol,
        system=cut(protocol.system) + "{rubric}",
        rubrics={name: cut(text) for name, text in protocol.rubrics.items()},
        criteria=tuple(replace(one, question=cut(one.question)) for one in protocol.criteria),
    )


def made_item(number: int, side: int) -> Item:
    return Item(
        item_id=f"i{number:04}",
        category="物理",
        instruction=f"把第 {number} 个杯子移到地上",
        language="zh",
        source_path=f"sources/{number}.png",
        source_sha256="",
        width=side,
        height=side,
        cost=1.0,
    )


def photo(seed: int, side: int) -> Image.Image:
    """As smooth as a photo: a PNG of noise takes longer to read, one of a plain colour shorter."""
    small = max(1, side // 8)
    noise = Image.frombytes("RGB", (small, small), random.Random(seed).randbytes(3 * small**2))
    return noise.resize((side, side), Image.Resampling.BICUBIC)
