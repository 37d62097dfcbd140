"""An adapter's params. Checking them loads no model library, so a dry run does it for every editor and judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from editlane.core.errors import UserError
from editlane.core.strict_model import StrictModel, read_model


@dataclass(frozen=True, slots=True)
class KeyedBy:
    """Marks a param that names a file: the journal key holds `fingerprint(value)`, so the file may be moved."""

    fingerprint: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Speed:
    """The type of SPEED."""


SPEED = _Speed()
"""Marks a param that changes how fast a result comes, and not the result. The journal key leaves it out."""


class Params(StrictModel):
    """The settings of an adapter. Each is part of the journal key, unless `SPEED` or `KeyedBy` in its type says
    otherwise."""

    @classmethod
    def key_parts(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the journal key holds of the params that a user gave.

        The values stay as they were written, and no default is filled in. Otherwise a new param, or a new default,
        would change the keys of results that it does not change.
        """
        parts = {}
        for name, value in given.items():
            marks = cls.model_fields[name].metadata if name in cls.model_fields else []
            if SPEED not in marks:
                prints = [mark.fingerprint(value) for mark in marks if isinstance(mark, KeyedBy) and value]
                parts[name] = prints[0] if prints else value
        return parts


Dtype = Literal["bfloat16", "float16", "float32"]
"""Number formats of weights and activations."""


class JudgeParams(Params):
    """The settings that every judge has."""

    optional_criteria: Sequence[str] = ()
    """The optional criteria of the protocol that are asked as well."""

    @property
    def samples(self) -> bool:
        """Whether the same question again may get another reply. Read-outs never draw."""
        return False


P = TypeVar("P", bound=Params)


def read_params(kind: type[P], owner: str, given: Mapping[str, Any]) -> P:
    """Build the params of the class `kind`. Raises UserError, which names `owner`, for a wrong name or value."""
    noun = f"parameter of {owner}"
    try:
        return read_model(kind, given, noun=noun)
    except UserError as error:
        raise error if noun in str(error) else UserError(f"params of {owner}: {error}") from error
