"""Define the base class of everything that a user writes: an adapter's params, a protocol file, the run's config.

A subclass is the only description of its keys. It checks values and words the errors; `document_config.py` writes the
JSON schema and the tables of keys from it. An attribute's docstring describes the key.
"""

import ast
import inspect
import re
import textwrap
from itertools import pairwise
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError

from editlane.core.errors import UnknownName, UserError, format_value
from editlane.core.json_schema import JsonSchema, deref, describe_values, find_node, join_path, list_choices

LEFT_OUT: Any = None
"""The default of a key that may be left out, but cannot be null."""


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[^\W_][\w.-]*", name):
        use = "use letters, digits, . _ and -, starting with a letter or a digit"
        raise ValueError(f"{name!r} cannot be a name; {use}.")
    return name


Name = Annotated[str, Field(max_length=80), AfterValidator(_check_name)]
Text = Annotated[str, Field(min_length=1)]


class StrictModel(BaseModel):
    """Checked values: no unknown key, no text for a number, no true for a 1, no NaN."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        regex_engine="python-re",
        defer_build=True,
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> JsonSchema:
        """Add the descriptions of keys.

        pydantic's own `use_attribute_docstrings` reads the source of every class at import, which would delay every
        lane.
        """
        schema = handler(core_schema)
        keys = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in _read_docstrings(cls).items():
            if name in keys:  # class attributes have docstrings, too
                keys[name]["description"] = text
        return schema


def _read_docstrings(kind: type[BaseModel]) -> dict[str, str]:
    """Return the docstring of each attribute of a class and of its bases."""
    found = {}
    for base in reversed(kind.__mro__[: kind.__mro__.index(StrictModel)]):
        try:
            source = inspect.getsource(base)
        except OSError:  # installed without its sources: messages then lack the descriptions
            continue
        body = ast.parse(textwrap.dedent(source)).body[0].body  # type: ignore[attr-defined]
        for field, after in pairwise(body):
            text = after.value if isinstance(after, ast.Expr) else None
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Constant):
                found[ast.unparse(field.target)] = inspect.cleandoc(str(text.value))
    return found


Model = TypeVar("Model", bound=StrictModel)


def read_model(kind: type[Model], data: Any, *, noun: str) -> Model:
    """Check `data` against the class `kind`; `noun` is the word for one of its keys.

    Raises UserError for one problem, with its key, its value and the fix. A wrong name comes first, because it explains
    a missing key. The texts of validators come next, because they are more specific than a type.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        first = min(found, key=lambda one: _ORDER.get(one["type"], len(_ORDER)))
        raise _explain(dict(first), kind.model_json_schema(), noun) from error


_WRONG_NAMES = ("extra_forbidden", "invalid_key")
_ORDER = {"extra_forbidden": 0, "invalid_key": 0, "value_error": 1}


def _explain(error: dict[str, Any], schema: JsonSchema, noun: str) -> UserError:
    kind, value, name = error["type"], error["input"], str((error["loc"] or ("",))[-1])
    if kind in ("missing", *_WRONG_NAMES):
        path, node = find_node(error["loc"][:-1], schema)
        known = node.get("properties", {})
        if kind == "missing":
            entry = deref(known[name], schema)
            return UserError(f"{join_path(path, name)} is missing; use {describe_values(entry)}.{_make_hint(entry)}")
        if not known:
            return UserError(f"{format_value(name)} is no {noun}: there is none. Remove it.")
        return UnknownName(f"{noun} in {path}:" if path else noun, name, known)
    path, node = find_node(error["loc"], schema)
    match kind:
        case "literal_error" if isinstance(value, str):
            return UserError(f"{UnknownName(path, value, list_choices(node))}{_make_hint(node)}")
        case "union_tag_invalid":
            discriminator = node["discriminator"]
            return UnknownName(
                join_path(path, discriminator["propertyName"]), str(error["ctx"]["tag"]), list_choices(node)
            )
        case "value_error":
            text = str(error["ctx"]["error"])
            return UserError(f"{path}: {text}" if path else text)
    if error["loc"][-1:] == ("[key]",):
        name = describe_values({"type": "string"} | node.get("propertyNames", {}))
        return UserError(f"{path}: {format_value(value)} cannot be a name; use {name}, in quotes.")
    use = (
        describe_values(node).replace("a text", "a text in quotes") if kind == "string_type" else describe_values(node)
    )
    use += ", not inf or nan" if kind == "finite_number" else ""
    return UserError(f"{path or 'the top level'} is {format_value(value)}; use {use}.{_make_hint(node)}")


def _make_hint(node: JsonSchema) -> str:
    return f" {' '.join(node['description'].split())}" if node.get("description") else ""
