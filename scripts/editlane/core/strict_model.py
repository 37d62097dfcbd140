"""The base of all that a user writes: an adapter's params, a protocol file, the run's config.

A class of it is the only description of its keys: values are checked against it, errors are worded from it, and
`document_config.py` writes the JSON schema and the tables of keys from it. An attribute's docstring describes the key.
"""

from collections.abc import Iterator, Mapping
from textwrap import shorten
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from editlane.core.errors import UnknownName, UserError

JsonSchema = dict[str, Any]


class StrictModel(BaseModel):
    """Checked values: no unknown key, no text for a number, no true for a 1, no nan."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        regex_engine="python-re",
    )


Model = TypeVar("Model", bound=StrictModel)


def read_model(kind: type[Model], data: Any, *, noun: str) -> Model:
    """Check `data` against the class `kind`; `noun` is the word for one of its keys.

    Raises UserError for one thing that is wrong: its key, its value, what to write instead. A wrong name comes first,
    because it explains a key that is missing; then the texts of validators, which say more than a type.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        first = min(found, key=lambda one: _ORDER.get(one["type"], len(_ORDER)))
        raise _explained(dict(first), kind.model_json_schema(), noun) from error


_WRONG_NAMES = ("extra_forbidden", "invalid_key")
_ORDER = {"extra_forbidden": 0, "invalid_key": 0, "value_error": 1}


def _explained(error: dict[str, Any], schema: JsonSchema, noun: str) -> UserError:
    kind, value, name = error["type"], error["input"], str((error["loc"] or ("",))[-1])
    if kind in ("missing", *_WRONG_NAMES):
        path, node = _walk(error["loc"][:-1], schema)
        known = node.get("properties", {})
        if kind == "missing":
            entry = _deref(known[name], schema)
            return UserError(f"{_joined(path, name)} is missing; use {wanted(entry)}.{_hint(entry)}")
        if not known:
            return UserError(f"{name!r} is no {noun}: there is none. Remove it.")
        return UnknownName(f"{noun} in {path}:" if path else noun, name, known)
    path, node = _walk(error["loc"], schema)
    match kind:
        case "literal_error" if isinstance(value, str):
            return UserError(f"{UnknownName(path, value, _choices(node))}{_hint(node)}")
        case "union_tag_invalid":
            discriminator = node["discriminator"]
            return UnknownName(_joined(path, discriminator["propertyName"]), str(error["ctx"]["tag"]), _choices(node))
        case "value_error":
            text = str(error["ctx"]["error"])
            return UserError(f"{path}: {text}" if path else text)
    if error["loc"][-1:] == ("[key]",):
        name = wanted({"type": "string"} | node.get("propertyNames", {}))
        return UserError(f"{path}: {_shown(value)} cannot be a name; use {name}, in quotes.")
    use = wanted(node).replace("a text", "a text in quotes") if kind == "string_type" else wanted(node)
    use += ", not inf or nan" if kind == "finite_number" else ""
    return UserError(f"{path or 'the top level'} is {_shown(value)}; use {use}.{_hint(node)}")


def _walk(place: tuple[str | int, ...], schema: JsonSchema) -> tuple[str, JsonSchema]:
    """Return the path of a place as a user reads it, and the schema there. Names that pydantic gives to the members of
    a union are no part of the path."""
    path, node = "", _deref(schema, schema)
    place = place[:-2] if place[-1:] == ("[key]",) else place
    for number, part in enumerate(place, 1):
        inner = _inside(part, node, schema)
        if inner is None:
            node = _member(str(part), node, schema, is_last=number == len(place))
        else:
            path, node = _joined(path, str(part)), inner
    return path, node


def _inside(part: str | int, node: JsonSchema, schema: JsonSchema) -> JsonSchema | None:
    """Return the schema of a key or of an entry; None where `part` names a member of a union."""
    if isinstance(part, str) and part in node.get("properties", {}):
        return _deref(node["properties"][part], schema)
    if isinstance(part, int) and node.get("type") == "array":
        return _deref(node["items"], schema)
    if node.get("type") == "object" and node.get("additionalProperties") not in (None, False):
        entry = node["additionalProperties"]
        return {} if entry is True else _deref(entry, schema)
    return None if _members(node) or "$ref" in node else {}


def _member(name: str, node: JsonSchema, schema: JsonSchema, *, is_last: bool) -> JsonSchema:
    """Return the member of a union that a place goes through: the one of this name, or the one that has entries. A
    place that ends at a value, and not at a model, is that of the whole union."""
    tagged = node.get("discriminator", {}).get("mapping", {}).get(name)
    if tagged:
        return _deref({"$ref": tagged}, schema)
    members = [_deref(one, schema) for one in _members(node)]
    fitting = (one for one in members if one.get("title") == name or (not is_last and _nests(one)))
    return next(fitting, node)


def _nests(node: JsonSchema) -> bool:
    return node.get("type") in ("object", "array")


def _members(node: JsonSchema) -> list[JsonSchema]:
    return [*node.get("anyOf", []), *node.get("oneOf", [])]


def _deref(node: JsonSchema, schema: JsonSchema) -> JsonSchema:
    """Follow a reference, and see through `| None`. What a key says about itself stays."""
    own = {name: node[name] for name in ("description", "default") if name in node}
    if "$ref" in node:
        return _deref(schema["$defs"][node["$ref"].rpartition("/")[2]], schema) | own
    others = [one for one in _members(node) if one != {"type": "null"}]
    if len(others) == 1 and len(_members(node)) == 2:
        return _deref(others[0], schema) | own | {"nullable": True}
    return node | {"items": _deref(node["items"], schema)} if "items" in node else node


def schema_keys(schema: JsonSchema, at: JsonSchema | None = None) -> Iterator[tuple[str, JsonSchema, bool]]:
    """Yield every key of a schema with what is below it, parents first: its path, its schema, whether it is required.

    `{name}` stands for a name of the user's choice.
    """
    node = schema if at is None else at
    for name, entry in node.get("properties", {}).items():
        inner = _deref(entry, schema)
        yield name, inner, name in node.get("required", ())
        yield from ((f"{name}.{path}", *rest) for path, *rest in schema_keys(schema, inner))  # type: ignore[misc]
    if isinstance(node.get("additionalProperties"), Mapping):
        entry = _deref(node["additionalProperties"], schema)
        if entry.get("properties"):
            yield "{name}", entry, False
            yield from ((f"{{name}}.{path}", *rest) for path, *rest in schema_keys(schema, entry))  # type: ignore[misc]


def wanted(node: JsonSchema) -> str:
    """Say which values a key takes, as `a whole number of 1 or more`."""
    text = _wanted(node)
    return f"{text}, or null" if node.get("nullable") else text


def _wanted(node: JsonSchema) -> str:
    if "discriminator" in node:
        return f"{{{node['discriminator']['propertyName']}: ...}} with one of {', '.join(_choices(node))}"
    if "enum" in node or "const" in node:
        return " or ".join(f"`{one}`" for one in _choices(node))
    if _members(node):
        return " or ".join(wanted(one) for one in _members(node))
    match node.get("type"):
        case "integer" | "number" as kind:
            return f"a {'whole ' * (kind == 'integer')}number{_range(node)}"
        case "array":
            least, most = node.get("minItems"), node.get("maxItems")
            count = f" of {least}" if least == most and least else f" of {least} or more" if least else ""
            return f"a list{count}, each {wanted(node['items'])}"
        case "string":
            most = f" of at most {node['maxLength']} characters" if "maxLength" in node else ""
            return f"{'a text that is not empty' if node.get('minLength') else 'a text'}{most}"
    if node.get("type") == "boolean":
        return "true or false"
    if node.get("properties"):
        return f"a mapping with the keys {', '.join(node['properties'])}"
    return f"a mapping of names to values{', at least one' * (node.get('minProperties') == 1)}"


def _choices(node: JsonSchema) -> list[str]:
    if "discriminator" in node:
        return list(node["discriminator"]["mapping"])
    return [str(one) for one in (node["enum"] if "enum" in node else [node["const"]])]


def _range(node: JsonSchema) -> str:
    step = f", a multiple of {node['multipleOf']:g}" if "multipleOf" in node else ""
    return _limits(node) + step


def _limits(node: JsonSchema) -> str:
    least, most, above = (node.get(name) for name in ("minimum", "maximum", "exclusiveMinimum"))
    if least is not None:
        return f" of {least:.12g} or more" if most is None else f" from {least:.12g} to {most:.12g}"
    if above is not None:
        return f" above {above:.12g}" if most is None else f" above {above:.12g}, at most {most:.12g}"
    return "" if most is None else f" of at most {most:.12g}"


def _hint(node: JsonSchema) -> str:
    return f" {' '.join(node['description'].split())}" if node.get("description") else ""


def _shown(value: Any) -> str:
    return shorten(repr(value), 100, placeholder=" ...")


def _joined(path: str, name: str) -> str:
    name = name if name.isprintable() else repr(name)
    return f"{path}.{name}" if path else name
