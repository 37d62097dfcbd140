"""What Schemathesis has to be told of this server: msgpack, and that everything in a form is text."""

from typing import Any

import msgspec
import schemathesis


@schemathesis.serializer("application/msgpack")
def write_msgpack(context: Any, value: Any) -> bytes:
    """Encode a body. An image becomes bytes: a schema has no word for them."""
    items = value.get("items") if isinstance(value, dict) else None
    for item in items if isinstance(items, list) else []:
        for name in ("source", "edited") if isinstance(item, dict) else ():
            if isinstance(item.get(name), str):
                item[name] = item[name].encode("utf-8", "surrogatepass")
    return msgspec.msgpack.encode(_fit(value), enc_hook=repr)


def _fit(value: Any) -> Any:
    """Return the value with what msgpack has no room for made smaller."""
    if isinstance(value, dict):
        return {str(_fit(name)): _fit(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_fit(one) for one in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value) if abs(value) < 1e300 else -1
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


@schemathesis.deserializer("application/msgpack")
def read_msgpack(context: Any, response: Any) -> Any:
    """Decode an answer."""
    return msgspec.msgpack.decode(response.content)


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leave out forms that are meant to be wrong because a number stands where a text belongs: in a form it is one."""
    is_negative = case.meta is not None and case.meta.generation.mode.is_negative
    return not (is_negative and case.media_type == "multipart/form-data")
