"""Ask a server which models it serves, and what it says of them."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

from editlane.core.errors import ItemError, PassingError, UnknownName, UserError
from editlane.endpoint.http import Endpoint, Refused

FIX = (
    "Start the server or the fleet, or fix `model`, or `base_url`, `proxy` and `api_key_env` in `params`; finished "
    "items are kept."
)
MOVED = (
    "That is not followed, because the images and the key would go there, too. Set `base_url` to the address that "
    "answers; finished items are kept."
)
TOP_UP = "Top up the account, or set another key; finished items are kept."
WORDS = ("root", "parent", "owned_by", "pipeline_class", "task_type", "dit_precision", "vae_precision")
"""What vLLM, vLLM-Omni and SGLang say of a model that is the same after a restart. Times and random ids are not."""

PATIENCE = 10.0
"""Timeout in seconds of a request that only tests if a server answers."""

_LISTED_BELOW = "models/"
"""Google lists its models with this before the name that a request has."""
_MOST_NAMES = 2000
_LONGEST_NAME = 200
"""Models that are read from a server's list, and characters of a name: hiding the key takes a second in all of them."""
_COMPARED = 200
"""Names that are compared with the model's, which takes a millisecond each."""


class NoAnswer(PassingError):
    """The endpoint does not answer."""


class ServedModel(NamedTuple):
    """A model in a server's list."""

    name: str
    words: dict[str, str]
    """Those of WORDS that the server says of it."""
    is_asked: bool
    """True for the model that was asked for."""


def check_served(endpoint: Endpoint, model: str, owner: str, endpoint_of: str) -> list[ServedModel]:
    """Return the models that the endpoint serves; empty if it has no such list.

    `owner`: names the endpoint and its model at the beginning of a message; `endpoint_of`: the endpoint alone. Raises
    NoAnswer if the endpoint does not answer. Raises UserError if it rejects the key, or if it lists its models and this
    is not among them.
    """
    try:
        models = _list_models(endpoint, model)
    except ItemError as error:
        raise NoAnswer(f"{owner} does not answer: {error}. {FIX}") from error
    except Refused as error:
        raise UserError(f"{owner} {tell_refusal(error)}") from error
    if models and not any(one.is_asked for one in models):
        names = [one.name for one in models]
        unknown = UnknownName("model", model, get_close_matches(model, names[:_COMPARED], n=10, cutoff=0))
        raise UserError(f"{endpoint_of} does not serve this model. {unknown}")
    return models


def tell_refusal(error: Refused) -> str:
    """Say that a server refuses every request, and what to do about it."""
    if error.is_redirect:
        return f"sends requests elsewhere ({error}). {MOVED}"
    return f"refuses to answer ({error}). {TOP_UP if error.is_unpaid else FIX}"


def find_words(models: Sequence[ServedModel]) -> dict[str, str]:
    """Return what the server says of the model that was asked for; nothing if there is no list."""
    return next((one.words for one in models if one.is_asked), {})


def ask_checkpoint(endpoint: Endpoint) -> dict[str, str]:
    """Return the `model_path` of a server of SGLang, whose list holds only names; nothing if it does not say one.

    Source: runtime/entrypoints/openai/common_api.py of sglang.multimodal_gen 0.5.23. Raises an ItemError if the server
    does not answer.
    """
    try:
        return {"model_path": endpoint.ask("/model_info", _read_checkpoint)}
    except (Refused, KeyError, TypeError):
        return {}


def _list_models(endpoint: Endpoint, model: str) -> list[ServedModel]:
    """List the models that the endpoint serves; empty if it has no such list."""
    try:
        return [ServedModel(*one) for one in endpoint.ask("/models", partial(_read_models, model=model))]
    except Refused as error:
        if error.status in (401, 403) or error.is_redirect:
            raise
    except (AttributeError, KeyError, TypeError):
        pass
    return []


def _read_models(reply: Any, model: str) -> list[list[Any]]:
    """Return the models of a server's list. Raises AttributeError, KeyError or TypeError if it is none."""
    return [_read_model(entry, model) for entry in reply["data"][:_MOST_NAMES]]


def _read_checkpoint(reply: Any) -> str:
    return str(reply["model_path"])[:_LONGEST_NAME]


def _read_model(entry: Any, model: str) -> list[Any]:
    """Return a ServedModel as JSON, in which the key is hidden: as few texts as possible, as each takes its time.

    Names are compared here, because a short key may be a part of them.
    """
    words = {word: entry[word][:_LONGEST_NAME] for word in WORDS if isinstance(entry.get(word), str)}
    name = str(entry["id"])
    return [name[:_LONGEST_NAME], words, name in (model, f"{_LISTED_BELOW}{model}")]
