"""Tokenized questions as trees: questions about one edit share a prefix. No model, no device."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from editlane.judges.qwen3_vl.patches import Patches

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PromptTree:
    """Prompt prefix with several suffixes. Each merged block of an image is one token of the prefix."""

    tokens: np.ndarray
    """(tokens,) int64."""
    positions: np.ndarray
    """(3, tokens) int64: time, row and column of each token."""
    next_position: int
    """Position of the first token after the prefix, in all three axes."""
    images: tuple[Patches, ...]
    suffixes: tuple[np.ndarray, ...]
    """(tokens,) int64 each, at least one token. The answer follows the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTreeBatch:
    """Questions about several edits, as prompt trees."""

    trees: list[PromptTree]
    places: list[list[tuple[int, int]]]
    """(tree, suffix) of each question of each edit."""

    def group_by_edit(self, found: Sequence[T]) -> list[list[T]]:
        """Group one value per suffix, in order of trees, by edit and question."""
        first = [0, *itertools.accumulate(len(tree.suffixes) for tree in self.trees)]
        return [[found[first[tree] + suffix] for tree, suffix in edit] for edit in self.places]

    def order_by_suffix(self, values: Sequence[Sequence[T]]) -> list[T]:
        """Flatten one value per question to the order of the suffixes; the inverse of `group_by_edit`."""
        pairs = zip(itertools.chain(*self.places), itertools.chain(*values), strict=True)
        return [value for _, value in sorted(pairs, key=lambda pair: pair[0])]


def count_common_tokens(rows: Sequence[Sequence[int]]) -> int:
    """Count the tokens that all rows start with."""
    together = zip(*rows, strict=False)
    return next((place for place, tokens in enumerate(together) if len(set(tokens)) > 1), min(map(len, rows)))


def make_prompt_tree(
    prompts: Sequence[Sequence[int]], images: Sequence[Patches], image_token: int, merge: int
) -> PromptTree:
    """Build the tree of prompts that show the same images. In each prompt, one `image_token` stands for each image.

    The prefix holds every image; each suffix keeps at least the last token of its prompt. Positions follow M-RoPE
    (arXiv:2409.12191, transformers' `get_rope_index`). Text advances by one in all three axes. The tokens of an image
    share one time and count their own rows and columns. The next token continues after the image's longer side.
    """
    shared = min(count_common_tokens(prompts), min(map(len, prompts)) - 1)
    if list(prompts[0][:shared]).count(image_token) < len(images):
        raise ValueError("the prompts differ before their last image")
    tokens: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    now = 0
    for piece, blocks in _split_pieces(prompts[0][:shared], images, image_token, merge):
        tokens.append(piece)
        positions.append(now + blocks)
        now += int(blocks.max(initial=-1)) + 1
    return PromptTree(
        tokens=np.concatenate([np.zeros(0, np.int64), *tokens]),
        positions=np.concatenate([np.zeros((3, 0), np.int64), *positions], axis=1),
        next_position=now,
        images=tuple(images),
        suffixes=tuple(np.array(row[shared:], np.int64) for row in prompts),
    )


def _split_pieces(
    tokens: Sequence[int], images: Sequence[Patches], image_token: int, merge: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield stretches of text and images as tokens (n,) and positions (3, n), which start at 0 in each."""
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
