"""How trainers ask for rewards, as items and back. One function for each; the server knows no trainer.

The shapes are those of the trainers' own clients: Flow-Factory (RemoteRewardClient), UniRL (EditReward service),
Edit-R1 (/mode/logits_non_cot), EditScore (its proxy), OpenRLHF (--reward.remote_url), and of the Pi0 reward server.
"""

import io
import json
import pickle
import pickletools
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

from editlane.client.trainers import cut_response
from editlane.server.wire import Failure, ScoreItem, decode_image, is_text

MOST_STEPS = 100_000
"""Instructions of a pickle. 256 edits have a few thousand; each can make an object, so more could fill the memory."""


class Malformed(Exception):
    """The request cannot be understood as a whole."""


class FlowFactoryRequest(TypedDict):
    """Flow-Factory's body. Images are base64 or data URLs; the last condition is the source."""

    prompt: list[str]
    image: list[str]
    condition_images: list[list[str] | str]


class OpenrlhfRequest(TypedDict):
    """OpenRLHF's body. Each label is an item of /v1/score, or its JSON; its instruction may be the query's end."""

    query: list[str]
    prompts: list[str]
    labels: list[str | dict[str, Any]]


class ListedRequest(TypedDict):
    """The Pi0 reward server's body, with edits as responses. Its `max_workers` is how many are at work at once."""

    responses: list[Any]
    metas: list[dict[str, Any]]
    reward_function_kwargs: NotRequired[dict[str, Any]]


class History(TypedDict):
    """One edit as turns of a talk: its source, its instruction, the edit. The names are those of judges."""

    history: list[dict[str, Any]]
    required_rewards: list[str]


class HistoriesRequest(TypedDict):
    """The body of UniRL's remote backend."""

    requests: list[History]


class Rewards(TypedDict):
    """A number of 0 to 1 for each edit."""

    rewards: list[float]


class OpenrlhfRewards(Rewards):
    """The same, twice."""

    scores: list[float]
    extra_logs: dict[str, float]


class ListedRewards(TypedDict):
    """A number of 0 to 1 for each edit, or null and an error."""

    done_result: list[float | None]
    errors: list[Failure | None]


class HistoryRewards(TypedDict):
    """For each edit its rewards by their names, and the errors of those that it has not."""

    results: list[dict[str, dict[str, float]]]
    errors: list[dict[str, str]]


class _PlainUnpickler(pickle.Unpickler):
    """Loads dicts, lists, texts, numbers and bytes, and nothing that names a class or a function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError("a class or a function is named in it")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("a persistent object is named in it")


def read_flow_factory(body: bytes) -> list[ScoreItem]:
    """Read {"prompt": [...], "image": [base64], "condition_images": [[base64]]}; the last condition is the source."""
    data = load_json(body)
    rows = _zip_columns(data, "condition_images", "image", "prompt")
    return [_make_item(_last(sources), edited, text) for sources, edited, text in rows]


def read_openrlhf(body: bytes) -> list[ScoreItem]:
    """Read {"query": [...], "prompts": [...], "labels": [...]}; each label is the JSON of an item of /v1/score.

    A label without `instruction` gets the query behind its prompt: OpenRLHF trains language models.
    """
    items = []
    for query, prompt, label in _zip_columns(load_json(body), "query", "prompts", "labels"):
        fields = load_json(label) if isinstance(label, str) else label
        if not isinstance(fields, dict):
            raise Malformed("a label is no JSON object")
        text = fields.get("instruction")
        if text is None and isinstance(query, str) and isinstance(prompt, str):
            text = cut_response(query, prompt)
        items.append(_make_item(fields.get("source"), fields.get("edited"), text, fields))
    return items


def read_histories(data: dict[str, Any]) -> list[tuple[ScoreItem, list[str]]]:
    """Read UniRL's {"requests": [{"history": [source turn, edited turn], "required_rewards": [names]}]}.

    A turn has `image_b64` and `text`; the instruction is the last text before the edit. Returns items and names.
    """
    found = []
    for request in data["requests"] if isinstance(data.get("requests"), list) else [{}]:
        if not isinstance(request, dict):
            raise Malformed("an entry of `requests` is no object")
        turns = request.get("history")
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise Malformed("a request has no `history` of turns")
        shown = [place for place, turn in enumerate(turns) if turn.get("image_b64")]
        if len(shown) < 2:
            raise Malformed("a `history` needs the source and the edit")
        source, edited = shown[-2:]
        texts = [turn["text"] for turn in turns[source:edited] if isinstance(turn.get("text"), str)]
        texts = [text for text in texts if text.strip()]
        if not texts:
            raise Malformed("a `history` has no instruction between the source and the edit")
        names = request.get("required_rewards")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Malformed("`required_rewards` is no list of names")
        about = request.get("metadata") if isinstance(request.get("metadata"), dict) else {}
        found.append((_make_item(turns[source]["image_b64"], turns[edited]["image_b64"], texts[-1], about), names))
    return found


def read_listed(data: dict[str, Any]) -> tuple[list[ScoreItem], int | None]:
    """Read {"responses": [edit], "metas": [{"source", "original_instruction"}], "reward_function_kwargs"}.

    Returns the items, and how many may be at work at once (`max_workers`).
    """
    rows = _zip_columns(data, "responses", "metas")
    items = []
    for response, meta in rows:
        if not isinstance(meta, dict):
            raise Malformed("an entry of `metas` is no object")
        text = meta.get("original_instruction") or meta.get("instruction")
        items.append(_make_item(meta.get("source"), find_text(response), text, meta))
    settings = data.get("reward_function_kwargs") or {}
    at_once = settings.get("max_workers") if isinstance(settings, dict) else None
    if at_once is not None and (not isinstance(at_once, int) or isinstance(at_once, bool) or at_once < 1):
        raise Malformed("max_workers is not a whole number of 1 or more")
    return items, at_once


def read_pickle(body: bytes) -> tuple[str, list[ScoreItem]]:
    """Read the pickle of UniRL, Edit-R1 or EditScore, told apart by their keys. Returns the dialect and the items."""
    try:
        _check_steps(body)
        data = _PlainUnpickler(io.BytesIO(body)).load()
    except Exception as error:  # damaged pickles raise nearly anything
        raise Malformed(f"not a pickle of plain data: {type(error).__name__}: {error}") from error
    if not isinstance(data, dict):
        raise Malformed("the pickle holds no dict")
    if "output_image" in data:
        return "editscore", [
            _make_item(_last(sources), edited, _read_meta(meta).get("instruction"))
            for sources, edited, meta in _zip_columns(data, "input_images", "output_image", "meta_datas")
        ]
    if "ref_images" in data:  # Edit-R1's client sends the prompts of all images with every 64: refused, not guessed
        return "edit-r1", [_make_item(*row) for row in _zip_columns(data, "ref_images", "images", "prompts")]
    if isinstance(data.get("images"), dict):
        columns = data["images"] | {"prompts": data.get("prompts")}
        return "unirl", [_make_item(*row) for row in _zip_columns(columns, "source", "edited", "prompts")]
    raise Malformed("it holds no source images; a reward for an edit needs them")


def _check_steps(body: bytes) -> None:
    """Raise UnpicklingError before anything is loaded if that would take far more memory than the pickle has bytes.

    The memo of Python's unpickler becomes as long as the largest index in it: nine bytes can ask for 32 GB.
    """
    for number, (step, argument, _) in enumerate(pickletools.genops(body)):
        index = argument if step.name in ("PUT", "BINPUT", "LONG_BINPUT") else 0
        if number > MOST_STEPS or not 0 <= (index or 0) <= MOST_STEPS:
            raise pickle.UnpicklingError("it has too many parts")


def write_pickle(dialect: str, rewards: Sequence[float]) -> bytes:
    """Return the pickle that the client of this dialect expects."""
    scores = list(rewards)
    answer: dict[str, Any] = {"scores": scores}
    if dialect == "editscore":
        blank = [""] * len(scores)
        answer |= {"rewards": scores, "strict_rewards": scores, "reasoning": blank, "meta_data": [{} for _ in scores]}
    return pickle.dumps(answer)


def load_json(body: bytes | str) -> dict[str, Any]:
    """Return the JSON object in a body. Raises Malformed."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {type(error).__name__}") from error
    if not isinstance(data, dict):
        raise Malformed("a JSON object is expected")
    return data


def _read_meta(meta: Any) -> dict[str, Any]:
    return load_json(meta) if isinstance(meta, str) else meta if isinstance(meta, dict) else {}


def _zip_columns(data: dict[str, Any], *names: str) -> list[tuple[Any, ...]]:
    """Return the rows of these lists. Raises Malformed if they differ in length: no row is guessed."""
    columns = [data.get(name) for name in names]
    for name, column in zip(names, columns, strict=True):
        if not isinstance(column, list | tuple):
            raise Malformed(f"`{name}` is missing, or no list")
    lengths = {name: len(column) for name, column in zip(names, columns, strict=True) if column is not None}
    if len(set(lengths.values())) > 1:
        raise Malformed(f"lists of different lengths: {lengths}")
    return list(zip(*columns, strict=True))


def _last(images: Any) -> Any:
    return images[-1] if isinstance(images, list | tuple) and images else images


def _make_item(source: Any, edited: Any, text: Any, more: dict[str, Any] | None = None) -> ScoreItem:
    """Build an item from what may be anything. An image that is none fails later, alone."""
    if not is_text(text):
        raise Malformed("an instruction is missing, or no text")
    more = more or {}
    named = {name: more[name] for name in ("category", "description", "rationale") if isinstance(more.get(name), str)}
    if not all(map(is_text, named.values())):
        raise Malformed(f"one of {', '.join(named)} is no text")
    return ScoreItem(source=decode_image(source), edited=decode_image(edited), instruction=text, **named)


def find_text(response: Any) -> Any:
    """Return the text of a reply in one of the shapes of servers of language models."""
    while isinstance(response, list) and response:
        response = response[0]
    match response:
        case {"outputs": [{"text": text}, *_]} | {"choices": [{"text": text}, *_]}:
            return text
        case {"choices": [{"message": {"content": text}}, *_]}:
            return text
        case dict():
            names = ("text", "generated_text", "output_text", "response", "content", "edited")
            return next((response[name] for name in names if name in response), None)
    return response
