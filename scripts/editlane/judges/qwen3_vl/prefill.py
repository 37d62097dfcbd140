"""Compute the answer distributions of many questions in plain transformers, without computing anything twice.

The text before the first image (system text and rubric of a category) is prefilled once; its keys and values are
cached. Image features are cached, too. The common prefix of the questions about one edit is prefilled once for all of
them. The results equal a forward pass over each whole prompt, except for rounding.

`stage` does all CPU work and starts the copy to the device. It runs in the reader thread, beside `compute_logits`.
"""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from editlane.judges.qwen3_vl.attention import use_causal_attention
from editlane.judges.qwen3_vl.lru_cache import LruCache
from editlane.judges.qwen3_vl.patches import Patches, PatchSettings, normalise
from editlane.judges.qwen3_vl.prompt_trees import PromptTree, count_common_tokens
from editlane.judges.qwen3_vl.uploads import Upload, Uploads
from editlane.judges.qwen3_vl.vision import Features, Vision

if TYPE_CHECKING:
    import torch

KEPT_PREFIXES = 8
SHORTEST_PREFIX = 32
"""Minimum tokens of a cached prefix; a shorter one does not repay a pass of its own."""
VOCABULARY_PART = 16384
"""Rows of the last layer that are converted to float32 at once."""


class PromptRow(NamedTuple):
    """Row of a forward pass before padding."""

    tokens: np.ndarray
    """(tokens,) int64."""
    positions: np.ndarray
    """(3, tokens) int64: time, row, column."""


class ForwardInputs(NamedTuple):
    """Inputs of one forward pass of the language model. Rows are padded on the right, which needs no mask in a causal
    model."""

    tokens: "torch.Tensor"
    """(rows, tokens) int64."""
    positions: "torch.Tensor"
    """(3, rows, tokens) int64."""
    last: "torch.Tensor"
    """(rows,) int64: the index of each row's last token."""
    mask: "torch.Tensor | None"
    """(rows, keys) int64, 0 for cached keys that are padding; None if there are none."""


class DeviceBatch(NamedTuple):
    """Batch of prompt trees on the device."""

    prefix: tuple[int, ...]
    images: tuple[Patches, ...]
    """In order of the trees and of the images in them."""
    shared: ForwardInputs
    """Tokens after the prefix. They include the suffixes if each tree has only one."""
    owners: "torch.Tensor | None"
    """(suffixes,) int64: the tree of each suffix; None if each tree has only one."""
    suffixes: ForwardInputs | None
    upload: Upload
    """Patches by digest. Wait for it before any tensor is used."""


class Prefill:
    """Runs prompt trees through a loaded Qwen3-VL."""

    def __init__(self, model: Any, settings: PatchSettings) -> None:
        self.model = model
        self.settings = settings
        self.vision = Vision(model, settings)
        self.image_token = int(model.config.image_token_id)
        use_causal_attention(model.model.language_model)
        self.uploads = Uploads(str(model.device))
        self._prefixes: LruCache[tuple[int, ...], Any] = LruCache(KEPT_PREFIXES)
        model.model.language_model._deepstack_process = _add_deeper

    def stage(self, trees: Sequence[PromptTree]) -> DeviceBatch:
        """Build the forward passes of a batch, and start copying their inputs and images to the device."""
        prefix = self._find_prefix(trees)
        several = any(len(tree.suffixes) > 1 for tree in trees)
        rows = [_make_row(tree, len(prefix), with_suffix=not several) for tree in trees]
        owners = np.repeat(np.arange(len(trees)), [len(tree.suffixes) for tree in trees])
        images = tuple(image for tree in trees for image in tree.images)
        upload = self.uploads.begin()
        with upload:
            for image in _deduplicate(images):
                upload.patches[image.digest] = upload.send(image.values)
            shared, keys = _pad(rows, np.ones((len(rows), len(prefix)), bool), upload)
            ends = [_make_suffix_row(tree, suffix) for tree in trees for suffix in tree.suffixes]
            return DeviceBatch(
                prefix=prefix,
                images=images,
                shared=shared,
                owners=upload.send(owners) if several else None,
                suffixes=_pad(ends, keys[owners], upload)[0] if several else None,
                upload=upload,
            )

    def compute_logits(self, staged: DeviceBatch) -> "torch.Tensor":
        """Compute the logits after each suffix, in order of trees and suffixes: (suffixes, vocabulary) float32."""
        import torch

        with torch.inference_mode():
            staged.upload.wait()
            seen = {image.digest: self.vision.encode(image, staged.upload) for image in _deduplicate(staged.images)}
            features = [seen[image.digest] for image in staged.images]
            cache = self._prefill_prefix(staged.prefix, len(staged.shared.tokens), wanted=staged.suffixes is not None)
            hidden = self._forward(staged.shared, cache, features)
            if staged.suffixes is not None:
                cache.batch_select_indices(staged.owners)
                hidden = self._forward(staged.suffixes, cache, [])
            return multiply_in_float32(hidden, self.model.lm_head.weight)

    def pad_whole_prompts(self, trees: Sequence[PromptTree], pad: int) -> dict[str, "torch.Tensor"]:
        """Build the inputs of transformers' own `forward` and `generate`: one row per suffix, each with its whole
        prompt."""
        import torch

        prompts = [np.concatenate([tree.tokens, suffix]) for tree in trees for suffix in tree.suffixes]
        images = [image for tree in trees for _ in tree.suffixes for image in tree.images]
        length = max(map(len, prompts))
        ids = torch.from_numpy(np.stack([_pad_left(prompt, length, pad) for prompt in prompts]))
        mask = torch.from_numpy(np.stack([_pad_left(np.ones_like(prompt), length) for prompt in prompts]))
        batch = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": (ids == self.image_token).int()}
        if images:
            values = torch.from_numpy(np.concatenate([image.values for image in images]))
            batch["pixel_values"] = normalise(values.to(self.model.device), self.settings)
            batch["image_grid_thw"] = torch.tensor([(1, *image.grid) for image in images])
        return {name: tensor.to(self.model.device) for name, tensor in batch.items()}

    def _find_prefix(self, trees: Sequence[PromptTree]) -> tuple[int, ...]:
        """Return the tokens that all trees start with, before an image; empty if they are too few to cache."""
        places = [int((tree.tokens == self.image_token).argmax()) for tree in trees]  # 0 where there is no image
        before = [tree.tokens[:place].tolist() for tree, place in zip(trees, places, strict=True)]
        end = count_common_tokens(before)
        return tuple(before[0][:end]) if end >= SHORTEST_PREFIX else ()

    def _prefill_prefix(self, prefix: tuple[int, ...], rows: int, *, wanted: bool) -> Any:
        """Return a cache with the prefix's keys and values for `rows` rows.

        Without a prefix, return an empty cache if one is `wanted`, else None.
        """
        from transformers import DynamicCache

        if not prefix:
            return DynamicCache(config=self.model.config) if wanted else None
        copied = copy.deepcopy(self._prefixes.get(prefix, lambda: self._prefill_alone(prefix)))
        copied.batch_repeat_interleave(rows)
        return copied

    def _prefill_alone(self, prefix: tuple[int, ...]) -> Any:
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config)
        row = PromptRow(np.array(prefix), np.broadcast_to(np.arange(len(prefix)), (3, len(prefix))))
        upload = self.uploads.begin()
        with upload:
            inputs, _ = _pad([row], np.ones((1, 0), bool), upload)
        upload.wait()
        self._forward(inputs, cache, [])
        return cache

    def _forward(self, one: ForwardInputs, cache: Any, features: Sequence[Features]) -> "torch.Tensor":
        """Run the language model once. Return the last hidden state of each row's last token, (rows, hidden size)."""
        import torch

        embedded = self.model.get_input_embeddings()(one.tokens)
        seen, deeper = None, None
        if features:
            seen = one.tokens == self.image_token
            tokens = torch.cat([image.tokens for image in features]).to(embedded.dtype)
            embedded = embedded.masked_scatter(seen[..., None], tokens)
            deeper = [torch.cat(layer) for layer in zip(*(image.deeper for image in features), strict=True)]
        output = self.model.model.language_model(
            inputs_embeds=embedded,
            attention_mask=one.mask,
            position_ids=one.positions,
            past_key_values=cache,
            use_cache=cache is not None,
            visual_pos_masks=seen,
            deepstack_visual_embeds=deeper,
        )
        rows = torch.arange(len(one.last), device=one.last.device)
        hidden: torch.Tensor = output.last_hidden_state[rows, one.last]
        return hidden


def multiply_in_float32(hidden: "torch.Tensor", weight: "torch.Tensor") -> "torch.Tensor":
    """Return the logits of `hidden`, (rows, vocabulary) float32, with products and sums in float32.

    The model's own last layer rounds its sums to the model's dtype. In bfloat16, logits of 16 to 32 are then multiples
    of 1/8, so that scores move and answers tie.
    """
    import torch

    if hidden.is_cuda and weight.dtype != torch.float32:
        return torch.mm(hidden, weight.t(), out_dtype=torch.float32)
    parts = torch.split(weight, VOCABULARY_PART)  # or a second copy of the whole layer would be made
    return torch.cat([torch.nn.functional.linear(hidden.float(), part.float()) for part in parts], dim=1)


def _add_deeper(hidden: "torch.Tensor", seen: "torch.Tensor", deeper: "torch.Tensor") -> "torch.Tensor":
    """Add the features of deeper layers to the tokens of images, as transformers does, but without indexing by a mask.

    Indexing by a mask makes the CPU wait for the device in each of these layers.
    """
    import torch

    return hidden + torch.zeros_like(hidden).masked_scatter(seen[..., None], deeper.to(hidden.dtype))


def _deduplicate(images: Sequence[Patches]) -> list[Patches]:
    return list({image.digest: image for image in images}.values())


def _make_row(tree: PromptTree, skipped: int, *, with_suffix: bool) -> PromptRow:
    """Return the tokens of a tree after the first `skipped`."""
    suffix = _make_suffix_row(tree, tree.suffixes[0] if with_suffix else np.zeros(0, np.int64))
    tokens = np.concatenate([tree.tokens[skipped:], suffix.tokens])
    return PromptRow(tokens, np.concatenate([tree.positions[:, skipped:], suffix.positions], axis=1))


def _make_suffix_row(tree: PromptTree, suffix: np.ndarray) -> PromptRow:
    return PromptRow(suffix, np.broadcast_to(tree.next_position + np.arange(len(suffix)), (3, len(suffix))))


def _pad(rows: Sequence[PromptRow], past: np.ndarray, upload: Upload) -> tuple[ForwardInputs, np.ndarray]:
    """Pad rows to one forward pass. Also return a mask of all keys, of which `past`, (rows, keys), are cached."""
    lengths = [len(row.tokens) for row in rows]
    keys = np.concatenate([past, np.arange(max(lengths)) < np.array(lengths)[:, None]], axis=1)
    made = ForwardInputs(
        tokens=upload.send(np.stack([_pad_right(row.tokens, max(lengths)) for row in rows])),
        positions=upload.send(np.stack([_pad_right(row.positions, max(lengths)) for row in rows], axis=1)),
        last=upload.send(np.array(lengths) - 1),
        mask=None if past.all() else upload.send(keys.astype(np.int64)),
    )
    return made, keys


def _pad_right(values: np.ndarray, length: int) -> np.ndarray:
    """Pad on the right, along the last axis."""
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, length - values.shape[-1])])


def _pad_left(values: np.ndarray, length: int, pad: int = 0) -> np.ndarray:
    """Pad on the left."""
    return np.pad(values, (length - len(values), 0), constant_values=pad)
