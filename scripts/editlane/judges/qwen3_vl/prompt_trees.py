"""Questions as tokens: what several questions about one edit have in common is written once. No model, no device."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from editlane.judges.qwen3_vl.patches import Patches

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stem:
    """A prompt with several ends: the shared tokens, with one token for every merged block of its images."""

    tokens: np.ndarray
    """(tokens,) int64."""
    positions: np.ndarray
    """(3, tokens) int64: time, row and column of each token."""
    after: int
    """The position of the first token after the stem, in all three."""
    images: tuple[Patches, ...]
    endings: tuple[np.ndarray, ...]
    """(tokens,) int64 each, one token or more; the answer comes after its last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StemBatch:
    """Questions about several edits, ready to be asked."""

    stems: list[Stem]
    places: list[list[tuple[int, int]]]
    """For each edit and question: which stem, and which of its endings."""

    def in_order(self, found: Sequence[T]) -> list[list[T]]:
        """What was found for every ending, stem by stem, in the order of the questions."""
        first = [0, *itertools.accumulate(len(stem.endings) for stem in self.stems)]
        return [[found[first[stem] + ending] for stem, ending in edit] for edit in self.places]

    def by_ending(self, values: Sequence[Sequence[T]]) -> list[T]:
        """The inverse: one value per question, in the order of the endings."""
        pairs = zip(itertools.chain(*self.places), itertools.chain(*values), strict=True)
        return [value for _, value in sorted(pairs, key=lambda pair: pair[0])]


def common_length(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with in common."""
    together = zip(*rows, strict=False)
    return next((place for place, tokens in enumerate(together) if len(set(tokens)) > 1), min(map(len, rows)))


def make_stem(prompts: Sequence[Sequence[int]], images: Sequence[Patches], image_token: int, merge: int) -> Stem:
    """The stem of prompts that show the same images; in each, one `image_token` stands for each image.

    The stem holds every image; each ending keeps at least the last token of its prompt. Positions are those of M-RoPE
    (arXiv:2409.12191, as transformers' `get_rope_index`): text advances by one in all three, an image's tokens share
    one time and count their own rows and columns, and what follows goes on after its longer side.
    """
    shared = min(common_length(prompts), min(map(len, prompts)) - 1)
    if list(prompts[0][:shared]).count(image_token) < len(images):
        raise ValueError("the prompts part before their last image")
    tokens: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    now = 0
    for piece, blocks in _pieces(prompts[0][:shared], images, image_token, merge):
        tokens.append(piece)
        positions.append(now + blocks)
        now += int(blocks.max(initial=-1)) + 1
    return Stem(
        tokens=np.concatenate([np.zeros(0, np.int64), *tokens]),
        positions=np.concatenate([np.zeros((3, 0), np.int64), *positions], axis=1),
        after=now,
        images=tuple(images),
        endings=tuple(np.array(row[shared:], np.int64) for row in prompts),
    )


def _pieces(
    tokens: Sequence[int], images: Sequence[Patches], image_token: int, merge: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Stretches of text and images as tokens (n,) and positions (3, n), counted from 0 in each."""
    left = iter(images)
    for is_image, group in itertools.groupby(tokens, key=lambda token: token == image_token):
        stretch = np.array(list(group), np.int64)
        if not is_image:
            yield stretch, np.broadcast_to(np.arange(len(stretch)), (3, len(stretch)))
            continue
        for _ in stretch:
            rows, columns = (side // merge for side in next(left).grid)
            row, column = np.divmod(np.arange(rows * columns), columns)
            yield np.full(rows * columns, image_token, np.int64), np.stack([np.zeros_like(row), row, column])
