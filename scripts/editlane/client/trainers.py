"""Reward functions for trainers: each asks a reward server in the form that its trainer calls.

The address is the argument `server_url` or EDITLANE_REWARD_URL; the token, if the server wants one, is
EDITLANE_REWARD_TOKEN.
An edit without a score is None where the trainer knows a missing reward. Elsewhere it raises RewardError, which names
the edits; `on_error="zero"` makes it 0.0 instead, which teaches the policy that this edit was the worst.
config/rewards.md has the lines of each trainer's config.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from editlane.client.client import RewardClient
from editlane.client.rewards import Reward, RewardError

OnError = Literal["raise", "zero"]
_LOG = logging.getLogger(__name__)
_CONNECTIONS = 32
"""Trainers that ask about one edit at a time ask for many at once, and judges want full batches."""


def trl_reward(
    completions: Sequence[Any],
    log_metric: Callable[[str, float], None] | None = None,
    server_url: str | None = None,
    **columns: Any,
) -> list[float | None]:
    """Reward completions in TRL's `reward_funcs`. None where there is no score: TRL leaves it out.

    Columns of the dataset: `source` (else `image`, else the first of `images`) and `edited`, as paths or images, and
    `category`, if the judge has some. A completion is the instruction that is judged with them, unless the dataset has
    `instruction`.
    """
    rewards = _score_columns(completions, columns, server_url)
    missing = sum(reward.reward is None for reward in rewards)
    if missing:
        _LOG.warning("%s", _name_missing(rewards))
    if log_metric is not None and rewards:
        log_metric("editlane_missing", missing / len(rewards))
    return [reward.reward for reward in rewards]


def verl_compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    server_url: str | None = None,
    on_error: OnError = "raise",
    **_: Any,
) -> dict[str, float]:
    """Reward one response in verl's `reward.custom_reward_function`, with every reward manager.

    `extra_info` has `source` and `edited`, as paths or images, and perhaps `category`. The response is the instruction
    that is judged with them, unless `extra_info` has `instruction`.
    """
    item = _read_info(extra_info, instruction=solution_str)
    return _to_score(_find_client(server_url).score([_complete(item, "extra_info")])[0], on_error)


async def verl_omni_compute_score(
    data_source: str,
    solution_image: Any,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    source_dir: str | None = None,
    server_url: str | None = None,
    on_error: OnError = "raise",
    **_: Any,
) -> dict[str, float]:
    """Reward one edit in VeRL-Omni, whose own HTTP client sends no source.

    The source is `source` of `extra_info` (a path or an image), or the file `image` of `extra_info` in `source_dir`.
    The instruction is `ground_truth`, unless `extra_info` has `instruction`.
    """
    item = _read_info(extra_info, instruction=ground_truth)
    item["source"] = _find_source(extra_info or {}, source_dir)
    item["edited"] = solution_image[0] if solution_image.ndim == 4 else solution_image
    return _to_score((await _find_client(server_url).ascore([_complete(item, "extra_info")]))[0], on_error)


def flow_grpo_score(
    device: Any = None, source_dir: str | None = None, server_url: str | None = None, on_error: OnError = "raise"
) -> Callable[..., tuple[list[float], dict[str, Any]]]:
    """Make a function for the `score_functions` of flow_grpo.

    It takes the sources from `source` of each image's metadata (a path or an image), or from the file `image` of it
    in `source_dir`; from `ref_images`, if `multi_score` is changed to pass them on.
    """

    def score(
        images: Any, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]], ref_images: Any = None
    ) -> tuple[list[float], dict[str, Any]]:
        if ref_images is None:
            ref_images = [_find_source(about, source_dir) for about in metadata]
        categories = [about.get("category") for about in metadata]
        columns = {"source": ref_images, "edited": images, "instruction": prompts, "category": categories}
        items = _make_items(columns)
        return _to_numbers(_find_client(server_url).score(items), on_error), {}

    return score


def edit_r1_score(
    device: Any = None, server_url: str | None = None, on_error: OnError = "raise"
) -> Callable[..., tuple[list[float], dict[str, Any]]]:
    """Make a function for the `score_functions` of Edit-R1, under a name that begins with `mllm_`.

    Only such a name gets the sources. Unlike Edit-R1's own client it sends each edit its own prompt.
    """

    def score(
        ref_images: Any, images: Any, prompts: Sequence[str], metadatas: Sequence[Mapping[str, Any]]
    ) -> tuple[list[float], dict[str, Any]]:
        return flow_grpo_score(server_url=server_url, on_error=on_error)(images, prompts, metadatas, ref_images)

    return score


def register_ms_swift(name: str = "editlane", server_url: str | None = None, on_error: OnError = "raise") -> None:
    """Register a reward function of ms-swift; call it in the file of `--external_plugins`.

    The columns are those of `trl_reward`. ms-swift counts None as 0 unless there are other reward functions.
    """
    swift = import_module("swift.rewards")

    class EditlaneReward(swift.ORM):  # type: ignore[name-defined, misc]
        def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float]:
            return _to_numbers(_score_columns(completions, columns, server_url), on_error)

    swift.orms[name] = EditlaneReward


def openrlhf_reward(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str], server_url: str | None = None
) -> dict[str, Any]:
    """Reward responses of OpenRLHF; the file editlane/client/openrlhf.py is what its `--reward.remote_url` names.

    A label is a JSON text with `source` and `edited` as paths, and perhaps `category`. The response is the instruction
    that is judged with them, unless the label has `instruction`.
    """
    responses = [cut_response(query, prompt) for query, prompt in zip(queries, prompts, strict=True)]
    items = [
        _complete({"instruction": response} | json.loads(label), "label")
        for response, label in zip(responses, labels, strict=True)
    ]
    # Tensors of one number, as in OpenRLHF's examples: it would make a table of a list.
    rewards = import_module("torch").tensor(_to_numbers(_find_client(server_url).score(items), "raise"))
    return {"rewards": rewards, "scores": rewards, "extra_logs": {}}


_KEYS = ("source", "edited", "instruction", "category", "description", "rationale")
_SPECIAL = re.compile(r"(?:\s*(?:<\|[^<>|]*\|>|</?s>|<eos>|<pad>|<end_of_turn>))+\s*$")
"""Tokens after a response, which OpenRLHF does not leave out."""


@lru_cache(maxsize=8)
def _make_client(url: str, token: str | None) -> RewardClient:
    return RewardClient(url, token=token, connections=_CONNECTIONS)


def _find_client(server_url: str | None) -> RewardClient:
    url = server_url or os.environ.get("EDITLANE_REWARD_URL")
    if not url:
        raise RewardError(
            "Set EDITLANE_REWARD_URL, or `server_url`, to the reward server's address: http://127.0.0.1:8200"
        )
    return _make_client(url, os.environ.get("EDITLANE_REWARD_TOKEN") or None)


def _score_columns(completions: Sequence[Any], columns: Mapping[str, Any], server_url: str | None) -> list[Reward]:
    found = {name: columns[name] for name in _KEYS if columns.get(name) is not None}
    if "source" not in found and columns.get("image") is not None:
        found["source"] = columns["image"]
    elif "source" not in found and columns.get("images") is not None:
        found["source"] = [images[0] if images else None for images in columns["images"]]
    if "source" not in found or "edited" not in found:
        raise RewardError("The dataset needs the columns 'source' and 'edited': paths, or images.")
    found.setdefault("instruction", [_read_completion(one) for one in completions])
    return _find_client(server_url).score(_make_items(found))


def _read_info(info: Mapping[str, Any] | None, instruction: Any) -> dict[str, Any]:
    found = {name: info[name] for name in _KEYS if info.get(name) is not None} if info else {}
    return {"instruction": instruction} | found


def _make_items(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise RewardError(f"The columns differ in length: {lengths}.")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _read_completion(completion: Any) -> Any:
    """Return the text of a completion, which may be a list of messages, whose content may be a list of parts."""
    if isinstance(completion, list):
        completion = completion[-1]["content"] if completion else ""
    if isinstance(completion, list):
        completion = "".join(part.get("text") or "" for part in completion)
    return completion


def cut_response(query: str, prompt: str) -> str | None:
    """Return the response in a query; None if the query does not begin with the prompt, as for prompts with images."""
    return _SPECIAL.sub("", query[len(prompt) :]).strip() if query.startswith(prompt) else None


def _complete(item: dict[str, Any], where: str) -> dict[str, Any]:
    for name in ("source", "edited", "instruction"):
        if item.get(name) is None:
            raise RewardError(f"There is no {name!r} in {where}. A reward needs source, edited and instruction.")
    return item


def _find_source(about: Mapping[str, Any], source_dir: str | None) -> Any:
    if about.get("source") is not None:
        return about["source"]
    if source_dir is not None and about.get("image") is not None:
        return Path(source_dir, about["image"])
    raise RewardError("An edit has no source: give 'source' in its metadata, or 'image' there and `source_dir`.")


def _to_score(reward: Reward, on_error: OnError) -> dict[str, float]:
    return {"score": _to_numbers([reward], on_error)[0], "editlane_missing": float(reward.reward is None)}


def _to_numbers(rewards: Sequence[Reward], on_error: OnError) -> list[float]:
    if on_error not in ("raise", "zero"):
        raise RewardError(f"on_error is {on_error!r}. Known: raise, zero.")
    if on_error == "raise" and any(reward.reward is None for reward in rewards):
        raise RewardError(_name_missing(rewards))
    return [0.0 if reward.reward is None else reward.reward for reward in rewards]


def _name_missing(rewards: Sequence[Reward]) -> str:
    missing = [(place, reward) for place, reward in enumerate(rewards) if reward.reward is None]
    named = "; ".join(f"edit {place}: {reward.kind}: {reward.message}" for place, reward in missing[:3])
    return f"{len(missing)} of {len(rewards)} edits have no reward: {named}{'; ...' if len(missing) > 3 else ''}"
