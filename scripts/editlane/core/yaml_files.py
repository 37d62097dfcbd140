"""Read YAML that a user wrote, and refuse what has no end: values that hold themselves, or that grow from a few lines
to millions of values."""

from pathlib import Path
from typing import Any

import yaml

from editlane.core.errors import UserError
from editlane.core.files import check_regular

_DEEPEST = 40
_MOST_VALUES = 100_000
_MOST_BYTES = 4 * 2**20


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file. Raises OSError and UserError."""
    content = read_content(path)
    try:
        return parse_yaml(content)
    except UserError as error:
        raise UserError(f"{path} cannot be read as YAML: {error}.") from error


def read_content(path: Path) -> bytes:
    """Return the bytes of a YAML file, of one that is too large only the beginning. Raises OSError and UserError."""
    check_regular(path)
    with path.open("rb") as file:
        return file.read(_MOST_BYTES + 1)


def parse_yaml(content: bytes) -> Any:
    """Return the content of a YAML document. Raises UserError with the reason alone."""
    if len(content) > _MOST_BYTES:
        raise UserError(f"it has more than {_MOST_BYTES} bytes")
    try:
        loader = yaml.SafeLoader(content.decode("utf-8"))
        root = loader.get_single_node()
        check_keys_once(root)
        found = loader.construct_document(root) if root else None
    except RecursionError as error:
        raise UserError("it is nested too deeply") from error
    # All but YAMLError come from PyYAML's readers of dates and numbers, such as one of 5000 digits.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(" ".join(str(error).split()) or type(error).__name__) from error
    check_size(found)
    return found


def check_keys_once(root: yaml.Node | None) -> None:
    """Raise UserError, with the reason alone, if a mapping has a key twice: PyYAML silently keeps the last."""
    seen: set[int] = set()  # an alias may point to its own parent, which would loop forever
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found: dict[str, int] = {}
        for key, _ in pairs:
            line = key.start_mark.line + 1
            if str(key.value) in found:
                raise UserError(
                    f"it has the key {key.value!r} twice, in lines {found[str(key.value)]} and {line}; keep one"
                )
            found[str(key.value)] = line
        waiting += [value for _, value in pairs]
        waiting += node.value if isinstance(node, yaml.SequenceNode) else []


def check_size(value: Any) -> None:
    """Raise UserError if a value holds itself, is nested too deeply, or holds too many values."""
    count, waiting = 0, [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        count += 1
        if depth > _DEEPEST:
            raise UserError(f"it holds itself, or is nested more than {_DEEPEST} levels deep")
        if count > _MOST_VALUES:
            raise UserError(f"it holds more than {_MOST_VALUES} values, perhaps because its aliases (*name) multiply")
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list | tuple | set) else ()
        waiting += [(entry, depth + 1) for entry in inner]
