"""Ask a server which models it serves, and what it says of them."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from editlane.core.errors import ItemError, PassingError, UnknownName, UserError
from editlane.endpoint.http import Endpoint, Refused

FIX = (
    "Start the server or the fleet, or fix `model`, or `base_url`, `proxy` and `api_key_env` in `params`; finished "
    "items are kept."
)
TOP_UP = "Top up the account, or set another key; finished items are kept."
WORDS = ("root", "parent", "owned_by", "pipeline_class", "task_type", "dit_precision", "vae_precision")
"""What vLLM, vLLM-Omni and SGLang say of a model that is the same after a restart. Times and random ids are not."""

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


def check_served(endpoint: Endpoint, model: str, owner: str, endpoint_of: str) -> list[ServedModel]:
    """Return the models that the endpoint serves; empty if it has no such list.

    `owner`: names the endpoint and its model at the beginning of a message; `endpoint_of`: the endpoint alone. Raises
    NoAnswer if the endpoint does not answer. Raises UserError if it rejects the key, or if it lists its models and this
    is not among them.
    """
    try:
        models = _list_models(endpoint)
    except ItemError as error:
        raise NoAnswer(f"{owner} does not answer: {error}. {FIX}") from error
    except Refused as error:
        raise UserError(f"{owner} refuses to answer ({error}). {tell_fix(error)}") from error
    names = [one.name for one in models]
    if names and not {model, f"{_LISTED_BELOW}{model}"} & set(names):
        unknown = UnknownName("model", model, get_close_matches(model, names[:_COMPARED], n=10, cutoff=0))
        raise UserError(f"{endpoint_of} does not serve this model. {unknown}")
    return models


def tell_fix(error: Refused) -> str:
    """Say what to do about a server that refuses every request."""
    return TOP_UP if error.is_unpaid else FIX


def find_words(models: Sequence[ServedModel], name: str) -> dict[str, str]:
    """Return what the server says of the model of this name; nothing if it is not in the list."""
    return next((one.words for one in models if one.name == name), {})


def _list_models(endpoint: Endpoint) -> list[ServedModel]:
    """List the models that the endpoint serves; empty if it has no such list."""
    try:
        return [ServedModel(name, words) for name, words in endpoint.ask("/models", _read_models)]
    except Refused as error:
        if error.status in (401, 403):
            raise
    except (AttributeError, KeyError, TypeError):
        pass
    return []


def _read_models(reply: Any) -> list[list[Any]]:
    """Return the models of a server's list. Raises AttributeError, KeyError or TypeError if it is none."""
    return [_read_model(entry) for entry in reply["data"][:_MOST_NAMES]]


def _read_model(entry: Any) -> list[Any]:
    """Return a name and words as JSON, in which the key is hidden: as few texts as possible, as each takes its time."""
    words = {word: entry[word][:_LONGEST_NAME] for word in WORDS if isinstance(entry.get(word), str)}
    return [str(entry["id"])[:_LONGEST_NAME], words]
