"""Look up keys in a JSON schema that pydantic wrote, and describe their values."""

from collections.abc import Iterator, Mapping
from typing import Any

JsonSchema = dict[str, Any]


def find_node(place: tuple[str | int, ...], schema: JsonSchema) -> tuple[str, JsonSchema]:
    """Return the path of a place, as a user reads it, and its schema. pydantic's names for members of a union are left
    out."""
    path, node = "", deref(schema, schema)
    place = place[:-2] if place[-1:] == ("[key]",) else place
    for number, part in enumerate(place, 1):
        inner = _find_inside(part, node, schema)
        if inner is None:
            node = _find_member(str(part), node, schema, is_last=number == len(place))
        else:
            path, node = join_path(path, str(part)), inner
    return path, node


def _find_inside(part: str | int, node: JsonSchema, schema: JsonSchema) -> JsonSchema | None:
    """Return the schema of a key or of an entry. Return None if `part` names a member of a union."""
    if isinstance(part, str) and part in node.get("properties", {}):
        return deref(node["properties"][part], schema)
    if isinstance(part, int) and node.get("type") == "array":
        return deref(node["items"], schema)
    if node.get("type") == "object" and node.get("additionalProperties") not in (None, False):
        entry = node["additionalProperties"]
        return {} if entry is True else deref(entry, schema)
    return None if _list_members(node) or "$ref" in node else {}


def _find_member(name: str, node: JsonSchema, schema: JsonSchema, *, is_last: bool) -> JsonSchema:
    """Return the member of a union that a place goes through: the one of this name, or the one with entries.

    Return the whole union if the place ends at a value and not at a model.
    """
    tagged = node.get("discriminator", {}).get("mapping", {}).get(name)
    if tagged:
        return deref({"$ref": tagged}, schema)
    members = [deref(one, schema) for one in _list_members(node)]
    fitting = (one for one in members if one.get("title") == name or (not is_last and _nests(one)))
    return next(fitting, node)


def _nests(node: JsonSchema) -> bool:
    return node.get("type") in ("object", "array")


def _list_members(node: JsonSchema) -> list[JsonSchema]:
    return [*node.get("anyOf", []), *node.get("oneOf", [])]


def deref(node: JsonSchema, schema: JsonSchema) -> JsonSchema:
    """Resolve a reference, and unwrap `| None`. Keep the key's own description and default."""
    own = {name: node[name] for name in ("description", "default") if name in node}
    if "$ref" in node:
        return deref(schema["$defs"][node["$ref"].rpartition("/")[2]], schema) | own
    others = [one for one in _list_members(node) if one != {"type": "null"}]
    if len(others) == 1 and len(_list_members(node)) == 2:
        return deref(others[0], schema) | own | {"nullable": True}
    return node | {"items": deref(node["items"], schema)} if "items" in node else node


def iterate_keys(schema: JsonSchema, at: JsonSchema | None = None) -> Iterator[tuple[str, JsonSchema, bool]]:
    """Yield the path, the schema and "is required" of every key, parents first.

    `{name}` stands for a name of the user's choice.
    """
    node = schema if at is None else at
    for name, entry in node.get("properties", {}).items():
        inner = deref(entry, schema)
        yield name, inner, name in node.get("required", ())
        for path, below, is_required in iterate_keys(schema, inner):
            yield f"{name}.{path}", below, is_required
    if isinstance(node.get("additionalProperties"), Mapping):
        entry = deref(node["additionalProperties"], schema)
        if entry.get("properties"):
            yield "{name}", entry, False
            for path, below, is_required in iterate_keys(schema, entry):
                yield f"{{name}}.{path}", below, is_required


def describe_values(node: JsonSchema) -> str:
    """Describe the values that a key accepts, such as `a whole number of 1 or more`."""
    text = _describe(node)
    return f"{text}, or null" if node.get("nullable") else text


def _describe(node: JsonSchema) -> str:
    if "discriminator" in node:
        return f"{{{node['discriminator']['propertyName']}: ...}} with one of {', '.join(list_choices(node))}"
    if "enum" in node or "const" in node:
        return " or ".join(f"`{one}`" for one in list_choices(node))
    if _list_members(node):
        return " or ".join(describe_values(one) for one in _list_members(node))
    match node.get("type"):
        case "integer" | "number" as kind:
            return f"a {'whole ' * (kind == 'integer')}number{_describe_range(node)}"
        case "array":
            least, most = node.get("minItems"), node.get("maxItems")
            count = f" of {least}" if least == most and least else f" of {least} or more" if least else ""
            return f"a list{count}, each {describe_values(node['items'])}"
        case "string":
            most = f" of at most {node['maxLength']} characters" if "maxLength" in node else ""
            return f"{'a text that is not empty' if node.get('minLength') else 'a text'}{most}"
    if node.get("type") == "boolean":
        return "true or false"
    if node.get("properties"):
        return f"a mapping with the keys {', '.join(node['properties'])}"
    return f"a mapping of names to values{', at least one' * (node.get('minProperties') == 1)}"


def list_choices(node: JsonSchema) -> list[str]:
    if "discriminator" in node:
        return list(node["discriminator"]["mapping"])
    return [str(one) for one in (node["enum"] if "enum" in node else [node["const"]])]


def _describe_range(node: JsonSchema) -> str:
    step = f", a multiple of {node['multipleOf']:g}" if "multipleOf" in node else ""
    return _describe_limits(node) + step


def _describe_limits(node: JsonSchema) -> str:
    least, most, above = (node.get(name) for name in ("minimum", "maximum", "exclusiveMinimum"))
    if least is not None:
        return f" of {least:.12g} or more" if most is None else f" from {least:.12g} to {most:.12g}"
    if above is not None:
        return f" above {above:.12g}" if most is None else f" above {above:.12g}, at most {most:.12g}"
    return "" if most is None else f" of at most {most:.12g}"


def join_path(path: str, name: str) -> str:
    name = name if name.isprintable() else repr(name)
    return f"{path}.{name}" if path else name
