"""Declare and check an adapter's params. No model library is loaded, so that a dry run can check every editor and
judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from editlane.core.errors import UserError
from editlane.core.strict_model import StrictModel, read_model


@dataclass(frozen=True, slots=True)
class KeyedBy:
    """Marks a param that names a file: the journal key holds `fingerprint(value)`, so the file may be moved."""

    fingerprint: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Speed:
    """Type of SPEED."""


SPEED = _Speed()
"""Marks a param that changes only how fast a result is computed. The journal key leaves it out."""


@dataclass(frozen=True, slots=True)
class _EditsFolder:
    """Type of EDITS_FOLDER."""


EDITS_FOLDER = _EditsFolder()
"""Marks a param that names a folder with an edit for each item. An item's journal key holds the content of its edit, so
the folder may be moved."""


class Params(StrictModel):
    """Settings of an adapter. Each is part of the journal key, unless its type is annotated with `SPEED`,
    `EDITS_FOLDER` or `KeyedBy`."""

    RETIRED: ClassVar[frozenset[str]] = frozenset()
    """Names of `SPEED` params of older versions. They are ignored, so that an old config resumes its run."""

    @classmethod
    def key_parts(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of the journal key that comes from the params in the config.

        Values stay as written, and no default is filled in. Otherwise a new param, or a new default, would change the
        keys of results that it does not affect.
        """
        parts = {}
        for name, value in cls.drop_retired(given).items():
            marks = cls.model_fields[name].metadata if name in cls.model_fields else []
            if SPEED not in marks and EDITS_FOLDER not in marks:
                prints = [mark.fingerprint(value) for mark in marks if isinstance(mark, KeyedBy) and value]
                parts[name] = prints[0] if prints else value
        return parts

    @classmethod
    def list_files(cls, given: Mapping[str, Any]) -> list[Path]:
        """List the files on this machine that params name (`KeyedBy`), in the order of the class."""
        keyed = [
            name
            for name, field in cls.model_fields.items()
            if any(isinstance(mark, KeyedBy) for mark in field.metadata) and isinstance(given.get(name), str)
        ]
        return [path for name in keyed if (path := Path(given[name])).is_file()]

    @classmethod
    def find_edits_folder(cls, given: Mapping[str, Any]) -> Path | None:
        """Return the folder of edits that params name."""
        named = (given.get(name) for name, field in cls.model_fields.items() if EDITS_FOLDER in field.metadata)
        return next((Path(folder) for folder in named if folder), None)

    @classmethod
    def drop_retired(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the params without those that only older versions had."""
        return {name: value for name, value in given.items() if name not in cls.RETIRED}


Dtype = Literal["bfloat16", "float16", "float32"]
"""Number formats of weights and activations."""

AllowPickle = Annotated[
    bool,
    Field(
        description="Also load weights that are no safetensors (`.bin`). Such files are pickles, which can run any "
        "code when they are loaded: only for checkpoints whose maker you trust."
    ),
    SPEED,
]


class JudgeParams(Params):
    """Settings that every judge has."""

    optional_criteria: Sequence[str] = ()
    """Optional criteria of the protocol to ask as well."""
    replies: Annotated[int, Field(ge=1, le=100)] = 1
    """Replies to each question of a protocol with generated answers, each with a seed of its own; a score is their
    mean. Above 1 the judge must draw its replies (`temperature`), and the protocol must not be a read-out."""

    @property
    def samples(self) -> bool:
        """True if the same question may get another reply. Read-outs never sample."""
        return False


P = TypeVar("P", bound=Params)


def read_params(kind: type[P], owner: str, given: Mapping[str, Any]) -> P:
    """Build the params of the class `kind`. Raises UserError, which names `owner`, for a wrong name or value."""
    noun = f"parameter of {owner}"
    try:
        return read_model(kind, kind.drop_retired(given), noun=noun)
    except UserError as error:
        raise error if noun in str(error) else UserError(f"params of {owner}: {error}") from error
