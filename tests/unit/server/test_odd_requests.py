"""What fuzzing found: requests that once failed the server are refused."""

import asyncio
import json
import math
import pickle
import resource
from typing import Any

import msgspec
import pytest
from rewards import make_edit, to_json
from starlette.requests import Request

from editlane.server import dialects
from editlane.server.reading import Refused, decode_request
from editlane.server.wire import ScoreRequest

HALF = "a\ud800b"
"""Half of a character, which JSON and pickles can hold and no file and no answer."""

METAS = [{"original_instruction": "x", "source": "AAAA"}]


def decode(body: bytes, kind: str) -> ScoreRequest:
    headers = [(b"content-type", kind.encode())]
    return asyncio.run(decode_request(Request({"type": "http", "headers": headers}), body))


def make_form(*more: bytes, **changes: bytes) -> bytes:
    """Return a form with one edit; `more` are whole parts."""
    values = {"instruction": b"make it rain", "category": b"x"} | changes
    parts = [b'name="' + name.encode() + b'"\r\n\r\n' + value for name, value in values.items()]
    parts += [b'name="' + name + b'"; filename="f"\r\n\r\n\x89PNG' for name in (b"source", b"edited")]
    return (
        b"".join(b"--x\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in (*parts, *more)) + b"--x--\r\n"
    )


def test_a_deadline_that_is_no_number_is_refused() -> None:
    body = msgspec.msgpack.encode({"items": [make_edit(1)], "deadline_s": math.nan})
    with pytest.raises(Refused, match="deadline_s"):
        decode(body, "application/msgpack")


@pytest.mark.parametrize(
    ("charset", "text"), [("idna", b"xn--0"), ("utf-7", b"+2AA-"), ("unicode_escape", b"\\ud800"), ("undefined", b"x")]
)
@pytest.mark.parametrize("field", ["instruction", "id"])
@pytest.mark.filterwarnings("ignore:.*invalid escape sequence:DeprecationWarning")
def test_a_form_in_an_encoding_that_gives_no_text_is_refused(charset: str, text: bytes, field: str) -> None:
    with pytest.raises(Refused) as refused:
        decode(make_form(**{field: text}), f"multipart/form-data; boundary=x; charset={charset}")
    assert refused.value.status == 400


def test_a_judge_that_is_a_file_is_not_ignored() -> None:
    assert decode(make_form(judge=b"fake"), "multipart/form-data; boundary=x").judge == "fake"
    file = b'name="judge"; filename="f"\r\n\r\nfake'
    with pytest.raises(Refused, match="Too many files"):
        decode(make_form(file), "multipart/form-data; boundary=x")


def test_halves_of_characters_are_refused_in_every_dialect() -> None:
    item = to_json([make_edit(1)])["items"][0]
    label = json.dumps({"source": "AAAA", "edited": "AAAA", "instruction": "x", "category": HALF})
    bodies: list[tuple[Any, dict[str, Any]]] = [
        (dialects.read_flow_factory, {"prompt": [HALF], "image": ["AAAA"], "condition_images": ["AAAA"]}),
        (dialects.read_openrlhf, {"query": ["x"], "prompts": ["x"], "labels": [label]}),
        (dialects.read_openrlhf, {"query": ["x"], "prompts": ["x"], "labels": [item | {"rationale": HALF}]}),
        (dialects.read_openrlhf, {"query": ["x"], "prompts": ["x"], "labels": [HALF]}),
    ]
    for read, body in bodies:
        with pytest.raises(dialects.Malformed):
            read(json.dumps(body).encode())
    with pytest.raises(dialects.Malformed):
        dialects.read_listed({"responses": ["AAAA"], "metas": [METAS[0] | {"original_instruction": HALF}]})
    turns = [{"image_b64": "AAAA"}, {"text": HALF}, {"image_b64": "AAAA"}]
    with pytest.raises(dialects.Malformed):
        dialects.read_histories({"requests": [{"history": turns, "required_rewards": ["editlane"]}]})
    for meta in (HALF, json.dumps({"instruction": HALF})):
        body = {"input_images": [b"a"], "output_image": [b"a"], "meta_datas": [meta]}
        with pytest.raises(dialects.Malformed):
            dialects.read_pickle(pickle.dumps(body))


def test_a_response_of_any_depth_is_read() -> None:
    """A list that the JSON parser just takes was too deep for the search for its text."""
    taken = 0
    for depth in range(700, 1000):
        body = json.dumps({"responses": [0], "metas": METAS}).replace(
            "[0]", "[" + "[" * depth + '"AAAA"' + "]" * depth + "]"
        )
        try:
            (item,), _ = dialects.read_listed(dialects.load_json(body.encode()))
        except dialects.Malformed:
            continue
        taken += 1
        assert item.edited == b"\0\0\0"
    assert taken > 50


@pytest.mark.parametrize(
    "body",
    [b"\x80\x04Nr\xff\xff\xff\x0f.", b"\x80\x04Np2000000000\n.", b"\x80\x04Np-1\n.", b"]" * 10_000_000 + b"."],
    ids=["a memo of 4 GB", "a memo of 32 GB", "a memo before its beginning", "ten million lists"],
)
def test_a_small_pickle_takes_no_memory(body: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(dialects.Malformed):
        dialects.read_pickle(body)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kB"
