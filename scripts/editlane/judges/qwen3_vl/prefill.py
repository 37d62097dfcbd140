"""One answer's distribution for many questions, with nothing computed twice, in plain transformers.

The text before the first image (system text and rubric of a category) is prefilled once and its keys and values are
kept; the features of an image are kept for the next question that shows it; what the questions about one edit have in
common is prefilled once for all of them. Equal to a forward pass over each whole prompt, but for rounding.

`feed` does all that the CPU has to do and sends it to the device; it runs in the reader thread, beside `logits`.
"""

import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from editlane.judges.qwen3_vl.attention import use_causal_attention
from editlane.judges.qwen3_vl.feature_store import FeatureStore
from editlane.judges.qwen3_vl.patches import Patches, PatchSettings, normalise
from editlane.judges.qwen3_vl.prompt_trees import Stem, common_length
from editlane.judges.qwen3_vl.uploads import Upload, Uploads
from editlane.judges.qwen3_vl.vision import Features, Vision, keep

if TYPE_CHECKING:
    import torch

KEPT_PREFIXES = 8
SHORTEST_PREFIX = 32
"""Tokens; a shorter one is not worth a pass of its own."""


class Row(NamedTuple):
    """A row of a pass before padding."""

    tokens: np.ndarray
    """(tokens,) int64."""
    positions: np.ndarray
    """(3, tokens) int64: time, row, column."""


class Pass(NamedTuple):
    """The input of one pass of the language model, rows padded on the right: what is causal needs no mask for that."""

    tokens: "torch.Tensor"
    """(rows, tokens) int64."""
    positions: "torch.Tensor"
    """(3, rows, tokens) int64."""
    last: "torch.Tensor"
    """(rows,) int64: the place of each row's last token."""
    mask: "torch.Tensor | None"
    """(rows, keys) int64, 0 where a cached key is of padding; None where there is none."""


class Feed(NamedTuple):
    """A batch of stems on the device."""

    prefix: tuple[int, ...]
    images: tuple[Patches, ...]
    """As they are shown, stem by stem."""
    sources: tuple[Patches, ...]
    """Of these, the ones that other edits are likely to share."""
    shared: Pass
    """What follows the prefix: whole prompts where each stem has one ending, else without their endings."""
    owners: "torch.Tensor | None"
    """(endings,) int64: the stem of each ending; None where each stem has one."""
    endings: Pass | None
    upload: Upload
    """Patches by digest, and when all of this is there."""


class Prefill:
    """A loaded Qwen3-VL that is asked stems."""

    def __init__(self, model: Any, settings: PatchSettings, store: FeatureStore | None = None) -> None:
        self.model = model
        self.settings = settings
        self.store = store
        self.vision = Vision(model, settings)
        self.image_token = int(model.config.image_token_id)
        use_causal_attention(model.model.language_model)
        self.uploads = Uploads(str(model.device))
        self._prefixes: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        model.model.language_model._deepstack_process = _add_deeper

    def feed(self, stems: Sequence[Stem]) -> Feed:
        """Lay out the passes of a batch and send them, and its images, to the device."""
        prefix = self._prefix(stems)
        several = any(len(stem.endings) > 1 for stem in stems)
        rows = [_row(stem, len(prefix), with_ending=not several) for stem in stems]
        owners = np.repeat(np.arange(len(stems)), [len(stem.endings) for stem in stems])
        images = tuple(image for stem in stems for image in stem.images)
        upload = self.uploads.begin()
        with upload:
            self._send_images(images, upload)
            shared, keys = _pad(rows, np.ones((len(rows), len(prefix)), bool), upload)
            ends = [_ending(stem, ending) for stem in stems for ending in stem.endings]
            return Feed(
                prefix=prefix,
                images=images,
                sources=tuple(image for stem in stems for image in stem.images[:-1]),
                shared=shared,
                owners=upload.send(owners) if several else None,
                endings=_pad(ends, keys[owners], upload)[0] if several else None,
                upload=upload,
            )

    def logits(self, feed: Feed) -> "torch.Tensor":
        """The logits of the token after each ending, in order of stems and endings: (endings, vocabulary) float32."""
        import torch

        with torch.inference_mode():
            feed.upload.received()
            seen = {image.digest: self.vision.look_at(image, feed.upload) for image in _different(feed.images)}
            self._keep_sources(feed, seen)
            features = [seen[image.digest] for image in feed.images]
            cache = self._prefilled(feed.prefix, len(feed.shared.tokens), wanted=feed.endings is not None)
            hidden = self._forward(feed.shared, cache, features)
            if feed.endings is not None:
                cache.batch_select_indices(feed.owners)
                hidden = self._forward(feed.endings, cache, [])
            logits: torch.Tensor = self.model.lm_head(hidden).float()
            return logits

    def _send_images(self, images: Sequence[Patches], upload: Upload) -> None:
        """Each image once: what was seen in it where the store knows that, else its patches."""
        for image in _different(images):
            features = self.store.read(image.digest) if self.store else None
            if features is None:
                upload.patches[image.digest] = upload.send(image.values)
            else:
                upload.features[image.digest] = upload.send(features)

    def _keep_sources(self, feed: Feed, seen: Mapping[bytes, Features]) -> None:
        """Keep what was seen in the sources for other processes."""
        import torch

        if self.store is None:
            return
        for image in _different(feed.sources):
            if image.digest in feed.upload.patches:
                features = seen[image.digest]
                self.store.write(image.digest, torch.stack([features.tokens, *features.deeper]))

    def whole(self, stems: Sequence[Stem], pad: int) -> dict[str, "torch.Tensor"]:
        """What transformers' own `forward` and `generate` take: one row per ending, each with its whole prompt."""
        import torch

        prompts = [np.concatenate([stem.tokens, ending]) for stem in stems for ending in stem.endings]
        images = [image for stem in stems for _ in stem.endings for image in stem.images]
        length = max(map(len, prompts))
        ids = torch.from_numpy(np.stack([_left(prompt, length, pad) for prompt in prompts]))
        mask = torch.from_numpy(np.stack([_left(np.ones_like(prompt), length) for prompt in prompts]))
        batch = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": (ids == self.image_token).int()}
        if images:
            values = torch.from_numpy(np.concatenate([image.values for image in images]))
            batch["pixel_values"] = normalise(values.to(self.model.device), self.settings)
            batch["image_grid_thw"] = torch.tensor([(1, *image.grid) for image in images])
        return {name: tensor.to(self.model.device) for name, tensor in batch.items()}

    def _prefix(self, stems: Sequence[Stem]) -> tuple[int, ...]:
        """What all stems begin with, before an image; nothing where that is not worth it."""
        places = [int((stem.tokens == self.image_token).argmax()) for stem in stems]  # 0 where there is no image
        before = [stem.tokens[:place].tolist() for stem, place in zip(stems, places, strict=True)]
        end = common_length(before)
        return tuple(before[0][:end]) if end >= SHORTEST_PREFIX else ()

    def _prefilled(self, prefix: tuple[int, ...], rows: int, *, wanted: bool) -> Any:
        """Keys and values of the prefix for so many rows. Without one: an empty cache if it is wanted, else None."""
        from transformers import DynamicCache

        if not prefix:
            return DynamicCache(config=self.model.config) if wanted else None
        if prefix not in self._prefixes:
            cache = DynamicCache(config=self.model.config)
            row = Row(np.array(prefix), np.broadcast_to(np.arange(len(prefix)), (3, len(prefix))))
            upload = self.uploads.begin()
            with upload:
                alone, _ = _pad([row], np.ones((1, 0), bool), upload)
            upload.received()
            self._forward(alone, cache, [])
            keep(self._prefixes, prefix, cache, KEPT_PREFIXES)
        self._prefixes.move_to_end(prefix)
        copied = copy.deepcopy(self._prefixes[prefix])
        copied.batch_repeat_interleave(rows)
        return copied

    def _forward(self, one: Pass, cache: Any, features: Sequence[Features]) -> "torch.Tensor":
        """One pass of the language model: the last hidden state of each row's last token, (rows, hidden size)."""
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


def _add_deeper(hidden: "torch.Tensor", seen: "torch.Tensor", deeper: "torch.Tensor") -> "torch.Tensor":
    """Add what deeper layers saw to the tokens of images, as transformers does, but without a list of their places: to
    make one, the CPU has to wait for the device, in each of these layers."""
    import torch

    return hidden + torch.zeros_like(hidden).masked_scatter(seen[..., None], deeper.to(hidden.dtype))


def _different(images: Sequence[Patches]) -> list[Patches]:
    return list({image.digest: image for image in images}.values())


def _row(stem: Stem, skipped: int, *, with_ending: bool) -> Row:
    """What of a stem follows its first tokens."""
    ending = _ending(stem, stem.endings[0] if with_ending else np.zeros(0, np.int64))
    tokens = np.concatenate([stem.tokens[skipped:], ending.tokens])
    return Row(tokens, np.concatenate([stem.positions[:, skipped:], ending.positions], axis=1))


def _ending(stem: Stem, ending: np.ndarray) -> Row:
    return Row(ending, np.broadcast_to(stem.after + np.arange(len(ending)), (3, len(ending))))


def _pad(rows: Sequence[Row], past: np.ndarray, upload: Upload) -> tuple[Pass, np.ndarray]:
    """The pass of these rows, and where there are tokens among all keys, of which `past` (rows, keys) are cached."""
    lengths = [len(row.tokens) for row in rows]
    keys = np.concatenate([past, np.arange(max(lengths)) < np.array(lengths)[:, None]], axis=1)
    made = Pass(
        tokens=upload.send(np.stack([_right(row.tokens, max(lengths)) for row in rows])),
        positions=upload.send(np.stack([_right(row.positions, max(lengths)) for row in rows], axis=1)),
        last=upload.send(np.array(lengths) - 1),
        mask=None if past.all() else upload.send(keys.astype(np.int64)),
    )
    return made, keys


def _right(values: np.ndarray, length: int) -> np.ndarray:
    """Padded on the right, along the last axis."""
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, length - values.shape[-1])])


def _left(values: np.ndarray, length: int, pad: int = 0) -> np.ndarray:
    """Padded on the left."""
    return np.pad(values, (length - len(values), 0), constant_values=pad)
