"""What a class of settings says of its keys: which values are wrong, in which words, and what a journal key holds."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field

from editlane.core.errors import UnknownName, UserError
from editlane.core.json_schema import describe_values, iterate_keys
from editlane.core.params import SPEED, KeyedBy, Params, read_params
from editlane.core.strict_model import StrictModel


def no_spaces(text: str) -> str:
    if " " in text:
        raise ValueError(f"{text!r} has a space; use _.")
    return text


class Inner(StrictModel):
    kind: Literal["inner"]
    share: Annotated[float, Field(ge=0, le=1)] = 0.5


class Other(StrictModel):
    kind: Literal["other"]


class Example(Params):
    count: Annotated[int, Field(ge=1), SPEED] = 4
    """How many."""
    scale: float = 1.0
    names: Sequence[str] = ()
    dtype: Literal["bfloat16", "float32"] | None = None
    file: Annotated[str | None, KeyedBy(lambda path: {"sha256": f"of {path}"})] = None
    inner: Annotated[Inner | Other, Field(discriminator="kind")] | None = None
    seconds: float | list[float] = 0.0
    label: Annotated[str, AfterValidator(no_spaces)] = "a"


class Narrower(Example):
    count: Annotated[int, Field(ge=2), SPEED] = 4
    needed: str
    """A text."""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": True}, "count is True; use a whole number of 1 or more. How many."),
        ({"count": 1.0}, "count is 1.0; use a whole number of 1 or more"),
        ({"count": "3"}, "count is '3'; use a whole number of 1 or more"),
        ({"scale": True}, "scale is True; use a number"),
        ({"scale": float("nan")}, "scale is nan; use a number, not inf or nan"),
        ({"names": "abc"}, "names is 'abc'; use a list, each a text"),
        ({"names": [1]}, "names.0 is 1; use a text in quotes"),
        ({"dtype": "bf16"}, "Unknown dtype 'bf16'. Did you mean 'bfloat16'?"),
        ({"dtype": 16}, "dtype is 16; use `bfloat16` or `float32`, or null"),
        ({"inner": 3}, "inner is 3; use {kind: ...} with one of inner, other, or null"),
        ({"inner": {"kind": "iner"}}, "Unknown inner.kind 'iner'. Did you mean 'inner'?"),
        ({"inner": {"kind": "inner", "share": 2}}, "inner.share is 2; use a number from 0 to 1"),
        ({"inner": {"kind": "inner", "shares": 1}}, "in inner: 'shares'. Did you mean 'share'?"),
        ({"seconds": "1"}, "seconds is '1'; use a number or a list, each a number"),
        ({"label": "a b"}, "label: 'a b' has a space; use _."),
        ({"label": "x" * 500 + " "}, "label: 'xxx"),
        ({"scale": "x" * 500}, f"scale is '{'x' * 76}...; use a number"),
    ],
)
def test_a_wrong_value_is_named_with_what_to_use(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        read_params(Example, "the example", given)
    assert message in str(error.value)
    assert "the example" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_name_is_told_before_the_key_that_it_stands_for() -> None:
    with pytest.raises(UnknownName, match=r"Unknown parameter of the example 'neded'. Did you mean 'needed'\?"):
        read_params(Narrower, "the example", {"neded": "x", "scale": "1"})
    with pytest.raises(UserError, match=r"params of the example: needed is missing; use a text\. A text\."):
        read_params(Narrower, "the example", {})


def test_a_subclass_keeps_what_its_keys_mean() -> None:
    keys = {
        key: (entry.get("description"), describe_values(entry))
        for key, entry, _ in iterate_keys(Narrower.model_json_schema())
    }
    assert keys["count"] == ("How many.", "a whole number of 2 or more")
    assert keys["needed"][0] == "A text."


def test_a_key_holds_what_was_given_as_it_was_given() -> None:
    assert Example.key_parts({}) == {}
    assert repr(Example.key_parts({"scale": 1, "count": 3})) == repr({"scale": 1})
    assert repr(Example.key_parts({"scale": 1.0, "names": ["a"]})) == repr({"scale": 1.0, "names": ["a"]})
    assert Example.key_parts({"file": "a/b"}) == {"file": {"sha256": "of a/b"}}
    assert Example.key_parts({"file": None}) == {"file": None}
    assert Narrower.key_parts({"count": 3, "needed": "x"}) == {"needed": "x"}
