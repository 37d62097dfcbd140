"""Requests of trainers, read from their bodies alone."""

import base64
import json
import pickle
from typing import Any

import pytest

from editlane.server.dialects import (
    Malformed,
    load_json,
    read_flow_factory,
    read_histories,
    read_listed,
    read_openrlhf,
    read_pickle,
)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def history(*turns: tuple[str, str | None]) -> dict[str, Any]:
    shown = [{"text": text, "image_b64": image and b64(image)} for text, image in turns]
    return {"requests": [{"history": shown, "required_rewards": ["editlane"]}]}


@pytest.mark.parametrize(
    ("turns", "wanted"),
    [
        ([("make it snow", "photo"), ("", "edit")], ("photo", "edit", "make it snow")),
        ([("", "photo"), ("make it snow", None), ("here it is", "edit")], ("photo", "edit", "make it snow")),
        (
            [("make it snow", "photo"), ("done", "edit 1"), ("now add a dog", None), ("", "edit 2")],
            ("edit 1", "edit 2", "now add a dog"),
        ),
    ],
)
def test_the_last_instruction_belongs_to_the_last_edit(turns: Any, wanted: tuple[str, str, str]) -> None:
    ((item, names),) = read_histories(history(*turns))
    assert (item.source.decode(), item.edited.decode(), item.instruction) == wanted and names == ["editlane"]


@pytest.mark.parametrize("turns", [[("a", "photo")], [("", "photo"), ("b", "edit")], [("a", None), ("b", None)], []])
def test_a_history_without_an_edit_or_an_instruction_is_refused(turns: Any) -> None:
    with pytest.raises(Malformed):
        read_histories(history(*turns))


def test_the_response_is_what_follows_the_prompt_and_nothing_is_guessed() -> None:
    label = {"source": b64("photo"), "edited": b64("edit")}

    def body(query: str, **more: str) -> bytes:
        return json.dumps({"query": [query], "prompts": ["P: "], "labels": [json.dumps(label | more)]}).encode()

    (item,) = read_openrlhf(body("P: make it snow<|im_end|>"))
    assert item.instruction == "make it snow" and item.edited == b"edit"
    (item,) = read_openrlhf(body("something else", instruction="rain"))
    assert item.instruction == "rain"
    with pytest.raises(Malformed):
        read_openrlhf(body("a query that does not begin with its prompt"))


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": ["a"], "image": [b64("x")], "condition_images": []},
        {"prompt": ["a"], "image": b64("x"), "condition_images": [[b64("x")]]},
        {"prompt": [None], "image": [b64("x")], "condition_images": [[b64("x")]]},
        {"image": [b64("x")], "condition_images": [[b64("x")]]},
        [],
        3,
    ],
)
def test_columns_that_do_not_fit_are_refused(body: Any) -> None:
    with pytest.raises(Malformed):
        read_flow_factory(json.dumps(body).encode())


def test_the_last_condition_is_the_source_and_a_damaged_image_fails_later() -> None:
    body = {"prompt": ["a"], "image": ["no base64!"], "condition_images": [[b64("one"), b64("two")]]}
    (item,) = read_flow_factory(json.dumps(body).encode())
    assert item.source == b"two" and item.edited == b""


@pytest.mark.parametrize("workers", [0, -1, True, "2", 1.5])
def test_max_workers_is_a_whole_number(workers: Any) -> None:
    kwargs = {"reward_function_kwargs": {"max_workers": workers}}
    with pytest.raises(Malformed):
        read_listed(load_json(json.dumps({"responses": [], "metas": []} | kwargs).encode()))


def test_pickles_are_told_apart_by_their_keys() -> None:
    images = {"source": [b"s"], "edited": [b"e"]}
    for dialect, body in (
        ("unirl", {"images": images, "prompts": ["p"]}),
        ("edit-r1", {"images": [b"e"], "ref_images": [b"s"], "prompts": ["p"]}),
        ("editscore", {"input_images": [[b"s"]], "output_image": [b"e"], "meta_datas": ['{"instruction": "p"}']}),
    ):
        found, (item,) = read_pickle(pickle.dumps(body))
        assert (found, item.source, item.edited, item.instruction) == (dialect, b"s", b"e", "p")
