"""Draw requests that are nearly right: one thing of a good one is changed, in its content or in its bytes."""

import io
import json
import math
import pickle
from copy import deepcopy
from typing import Any

import msgspec
from hypothesis import strategies as st
from PIL import Image
from rewards import make_edit, to_json

Body = tuple[bytes, str]
"""A body and its content type."""

LETTERS = st.characters(codec=None)  # with NULs, and with halves of characters
TEXTS = st.text(LETTERS, max_size=20) | st.sampled_from(
    ["", "\0", "\ud800", "x" * 9000, "panel", "fake", "data:image/png;base64,", "../../etc/passwd", "%s%n{0}", "物理"]
)
NUMBERS = st.sampled_from([0, -1, 2**31, 2**64, 10**400, 1e308, -1e308, math.nan, math.inf, -math.inf, 0.1])
PLAIN = st.none() | st.booleans() | NUMBERS | TEXTS


def nest(depth: int, *, in_objects: bool) -> Any:
    """Return a value so deep."""
    value: Any = 1
    for _ in range(depth):
        value = {"text": value} if in_objects else [value]
    return value


DEEP = st.builds(nest, st.sampled_from([30, 400, 900]), in_objects=st.booleans())
ODD = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(TEXTS, PLAIN, max_size=3) | DEEP


def list_places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of all values within this one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for name, one in inner for found in list_places(one, (*place, name)))]


@st.composite
def changed(draw: st.DrawFn, good: Any, odd: st.SearchStrategy[Any] = ODD) -> Any:
    """Draw a copy of `good` of which one value is another, is missing, or has a neighbour too many."""
    found = [deepcopy(good)]
    place = (0, *draw(st.sampled_from(list_places(good))))
    holder: Any = found
    for name in place[:-1]:
        holder = holder[name]
    how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "same"]))
    if how == "replace" and isinstance(holder[place[-1]], str):
        holder[place[-1]] = draw(TEXTS | TEXTS | TEXTS | odd)  # another text is less often refused as a whole
    elif how == "replace":
        holder[place[-1]] = draw(odd)
    elif how == "remove" and len(place) > 1:
        del holder[place[-1]]
    elif how == "add" and isinstance(holder, dict):
        holder[draw(TEXTS)] = draw(odd)
    elif how == "add":
        holder.append(draw(odd))
    return found[0]


@st.composite
def damaged(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> bytes:
    """Draw a body that may be cut, or have some bytes changed, added or doubled."""
    body = draw(bodies)
    how = draw(st.sampled_from([*["whole"] * 6, "cut", "change", "add", "double"]))
    place = draw(st.integers(0, max(0, len(body) - 1)))
    if how == "cut":
        return body[:place]
    if how == "change":
        return body[:place] + draw(st.binary(min_size=1, max_size=4)) + body[place + 1 :]
    if how == "add":
        return body[:place] + draw(st.binary(max_size=6)) + body[place:]
    return body[:place] + body[place // 2 :] if how == "double" else body


def with_type(bodies: st.SearchStrategy[bytes], kind: str) -> st.SearchStrategy[Body]:
    """Draw the content type that belongs to the bodies, most of the time."""
    others = [
        "application/json; charset=utf-16",
        "application/msgpack",
        "text/plain",
        "",
        "multipart/form-data",
        "a/b/c",
    ]
    return st.tuples(damaged(bodies), st.sampled_from([*[kind] * 20, *others]))


def write_json(value: Any) -> bytes:
    return json.dumps(value, default=repr).encode()


def double_key(body: bytes) -> bytes:
    """Return JSON whose first key comes twice."""
    return body.replace(b'{"items":', b'{"items": [], "items":', 1)


ASKED = to_json([make_edit(1), make_edit(2)], judge="fake", deadline_s=5.0)
PACKED = {"items": [make_edit(1), make_edit(2)], "judge": "fake", "deadline_s": 5.0}

JSON_BODIES = with_type(
    changed(ASKED).map(write_json) | changed(ASKED).map(write_json).map(double_key), "application/json"
)


def encode(kind: str, **options: Any) -> bytes:
    """Return a picture in this format."""
    encoded = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).convert("RGB").save(encoded, kind, **options)
    return encoded.getvalue()


ENCODED = [
    encode("PNG"),
    encode("JPEG"),
    encode("JPEG", progressive=True),
    encode("WEBP"),
    encode("WEBP", lossless=True),
]
ENCODED += [encode("GIF"), encode("TIFF"), encode("BMP"), encode("PPM"), b"<svg/>", b"%PDF-1.4", b"%!PS", b"8BPS", b""]
IMAGES = st.recursive(st.sampled_from(ENCODED), damaged, max_leaves=3)


def pack(value: Any) -> bytes:
    """Encode as msgpack; what it cannot hold becomes an extension."""
    return msgspec.msgpack.encode(value, enc_hook=lambda one: msgspec.msgpack.Ext(3, repr(one).encode()))


def packable(value: Any) -> bool:
    try:
        pack(value)
    except (UnicodeEncodeError, OverflowError, TypeError, RecursionError):
        return False
    return True


UNUSUAL = (
    ODD
    | st.builds(msgspec.msgpack.Ext, st.integers(-128, 127), st.binary(max_size=9))
    | st.dictionaries(st.integers() | st.binary(max_size=3) | st.none(), PLAIN, max_size=3)
    | st.binary(max_size=40)
)
MSGPACK_BODIES = with_type(changed(PACKED, UNUSUAL).filter(packable).map(pack), "application/msgpack")

SOURCES, EDITED, TEXTS_ = (
    [make_edit(number)[name] for number in (1, 2)] for name in ("source", "edited", "instruction")
)
CODED = ASKED["items"]
PICKLED: dict[str, list[dict[str, Any]]] = {
    "/": [
        {"images": {"source": SOURCES, "edited": EDITED}, "prompts": TEXTS_, "metadata": {}},
        {
            "input_images": [[one] for one in SOURCES],
            "output_image": EDITED,
            "meta_datas": ['{"instruction": "x"}'] * 2,
        },
    ],
    "/mode/logits_non_cot": [{"ref_images": SOURCES, "images": EDITED, "prompts": TEXTS_, "metadatas": [{}] * 2}],
}
TURNS = [[{"image_b64": one["source"]}, {"text": one["instruction"]}, {"image_b64": one["edited"]}] for one in CODED]
DIALECTS: dict[str, dict[str, Any]] = {
    "/compute": {
        "prompt": TEXTS_,
        "image": [one["edited"] for one in CODED],
        "condition_images": [[one["source"]] for one in CODED],
    },
    "/get_reward": {
        "query": ["x"] * 2,
        "prompts": ["x"] * 2,
        "labels": [json.dumps({name: one[name] for name in one if name != "id"}) for one in CODED],
    },
    "/score": {
        "responses": [CODED[0]["edited"], {"outputs": [{"text": CODED[1]["edited"]}]}],
        "metas": [{"original_instruction": one["instruction"], "source": one["source"]} for one in CODED],
        "reward_function_kwargs": {"max_workers": 2},
    },
    "/score of UniRL": {"requests": [{"history": turns, "required_rewards": ["editlane", "是非"]} for turns in TURNS]},
}


def dialect_bodies(dialect: str) -> st.SearchStrategy[Body]:
    return with_type(changed(DIALECTS[dialect]).map(write_json), "application/json")


@st.composite
def pickles(draw: st.DrawFn, path: str) -> Body:
    """Draw the pickle of plain data: sets, tuples and halves of characters are some, functions are not."""
    good = draw(st.sampled_from(PICKLED[path]))
    odd = (
        ODD | st.binary(max_size=9).map(bytearray) | st.frozensets(st.integers(), max_size=3) | st.tuples(PLAIN, PLAIN)
    )
    value = draw(changed(good, odd))
    return draw(damaged(st.just(pickle.dumps(value, draw(st.integers(0, 5)))))), "application/octet-stream"


NAMES = (
    st.sampled_from(["source", "edited", "instruction", "category", "id", "judge", "deadline_s", "items", ""]) | TEXTS
)
CHARSETS = st.sampled_from(["", "", "; charset=utf-8", "; charset=idna", "; charset=utf-7", "; charset=zlib"])


def form_part(name: bytes, content: bytes, filename: bytes | None) -> bytes:
    file = b"" if filename is None else b'; filename="' + filename + b'"'
    return b'--x\r\nContent-Disposition: form-data; name="' + name + b'"' + file + b"\r\n\r\n" + content + b"\r\n"


@st.composite
def forms(draw: st.DrawFn) -> Body:
    """Draw a form with one field changed, doubled, left out or too many."""
    edit = make_edit(1)
    fields = [(name, edit[name] if name in ("source", "edited") else edit[name].encode()) for name in edit]
    parts = [(name.encode(), content, b"f" if name in ("source", "edited") else None) for name, content in fields]
    how, place = draw(st.sampled_from(["double", "remove", "add", "change", "file"])), draw(st.integers(0, 4))
    more = draw(TEXTS).encode("utf-8", "surrogatepass") + draw(st.sampled_from([b"", b"+2AA-", b"a..b"]))
    if how == "double":
        parts.append(parts[place])
    elif how == "remove":
        del parts[place]
    elif how == "add":
        parts.append((draw(NAMES).encode("utf-8", "surrogatepass"), more, draw(st.none() | st.just(b"\0/../x"))))
    elif how == "change":
        parts[place] = (parts[place][0], more, parts[place][2])
    else:
        parts[place] = (*parts[place][:2], None if parts[place][2] else b"f")
    body = b"".join(form_part(*part) for part in parts) + b"--x--\r\n"
    return draw(damaged(st.just(body))), "multipart/form-data; boundary=x" + draw(CHARSETS)


def head(*lines: bytes, start: bytes = b"POST /v1/score HTTP/1.1") -> bytes:
    return b"\r\n".join([start, *lines, b"", b""])


HOST = b"Host: 127.0.0.1"
LENGTHS = [
    b"-1",
    b"+2",
    b"1e1",
    b"0x10",
    b" 2 ",
    b"2,2",
    b"9" * 30,
    b"9" * 5000,
    b"\xb2",
    b"",
    b"2\r\nContent-Length: 3",
]
STARTS = [
    b"POST /v1/score HTTP/9.9",
    b"GET /\xff HTTP/1.1",
    b"GET /%ff%00 HTTP/1.1",
    b"GET //../../etc/passwd HTTP/1.1",
    b"GET /v1/jobs/..%2f..%2fx HTTP/1.1",
    b"GET http://elsewhere/health HTTP/1.1",
    b"CONNECT x:1 HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"\0\0\0",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
    b"PRI * HTTP/2.0",
]
LINES = st.sampled_from(
    [
        HOST,
        b"Host: a b",
        b"Host: [::1",
        b"Host:",
        b"Origin: null",
        b"Authorization: Bearer \xff",
        b"Expect: 100-continue",
    ]
    + [
        b"Content-Encoding: gzip",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: x, chunked",
        b"Upgrade: websocket",
    ]
    + [b"Connection: upgrade, close", b"X: " + b"y" * 100_000, b" folded: 1", b"no colon", b"Accept: \xff/msgpack"]
    + [b"Content-Type: multipart/form-data; boundary=" + b"b" * 300, b"Content-Type: application/json"]
    + [b"Content-Length: " + one for one in LENGTHS]
)
ENDS = [b"", b"{}", b"2\r\n{}\r\n0\r\n\r\n", b"zz\r\n{}", b"ffffffffffffffff\r\n", b"\0" * 100]
RAW = st.builds(
    lambda start, lines, end: head(*lines, start=start) + end,
    st.just(b"POST /v1/score HTTP/1.1") | st.sampled_from(STARTS),
    st.lists(LINES, max_size=5),
    st.sampled_from(ENDS),
)
