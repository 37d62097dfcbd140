"""Chat templates of any family: system role, thoughts, special tokens, and what a checkpoint without one is told."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from tokenizers import AddedToken

from editlane.core.errors import UserError
from editlane.core.types import Question
from editlane.judges.vlm.prompts import break_up, drop_thoughts, find_tokens_after, open_prompts

Template = Callable[[list[dict[str, Any]], dict[str, Any]], str]


class Tokenizer:
    chat_template = "x"
    pad_token = "<pad>"
    all_special_tokens = ("<eos>", "<|image|>")

    def get_added_vocab(self) -> dict[str, int]:
        return {"<|image|>": 0, "<think>": 1, "\n\n": 2, "x": 3, "<|image|>s": 4}

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        spellings = ("<|image|>", "<|end|>", "<|channel>", "<channel|>")
        return {
            0: AddedToken("<think>", special=False),
            **{number: AddedToken(one, special=True) for number, one in enumerate(spellings, 1)},
        }

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return list(text.encode())


class Processor:
    """What open_prompts needs of a processor, with a template that is a function."""

    image_processor: Any = object()

    def __init__(self, template: Template) -> None:
        self.template, self.tokenizer = template, Tokenizer()

    def apply_chat_template(self, chats: Any, **options: Any) -> list[str]:
        return [self.template(list(chat), options) for chat in chats]


def write(chat: list[dict[str, Any]], options: dict[str, Any]) -> str:
    turns = (
        f"<{turn['role']}>"
        + "".join("<|image|>" if part["type"] == "image" else part["text"] for part in turn["content"])
        for turn in chat
    )
    return "".join(turns) + "<assistant>"


def without_system(chat: list[dict[str, Any]], options: dict[str, Any]) -> str:
    if chat[0]["role"] == "system":
        raise ValueError("System role not supported")
    return write(chat, options)


def ignoring_system(chat: list[dict[str, Any]], options: dict[str, Any]) -> str:
    return write([turn for turn in chat if turn["role"] != "system"], options)


def printing_system(chat: list[dict[str, Any]], options: dict[str, Any]) -> str:
    """As a template of texts: what is no text is printed as code."""
    first = f"<system>{chat[0]['content']}" if chat[0]["role"] == "system" else ""
    return first + ignoring_system(chat, options)


def dumping_system(chat: list[dict[str, Any]], options: dict[str, Any]) -> str:
    """As with `tojson`, where it is no text."""
    if chat[0]["role"] == "system" and not isinstance(chat[0]["content"], str):
        chat = [chat[0] | {"content": json.dumps(chat[0]["content"])}, *chat[1:]]
    return printing_system(chat, options)


def printing_parts_only(chat: list[dict[str, Any]], options: dict[str, Any]) -> str:
    if isinstance(chat[0]["content"], str):
        raise ValueError("no list")
    return printing_system(chat, options)


def printing_all(chat: list[dict[str, Any]], options: dict[str, Any]) -> str:
    return "".join(f"<{turn['role']}>{turn['content']}" for turn in chat)


def thinking(chat: list[dict[str, Any]], options: dict[str, Any]) -> str:
    return write(chat, options) + ("<think>\n" if options.get("enable_thinking", True) else "<think>\n\n</think>\n\n")


def always_thinking(chat: list[dict[str, Any]], options: dict[str, Any]) -> str:
    return write(chat, options) + "<think>\n"


ASKED = Question(system="Be strict.", parts=("Look: ", Image.new("RGB", (8, 8)), "good?"))


@pytest.mark.parametrize(
    ("reply", "left"),
    [
        ("<|channel>thought\nScore: 2<channel|>Score: 7<|end|><|end|>", "Score: 7"),
        ("<|channel>thought\nScore: 2", ""),
        ("<think>Score: 2</think>Score: 7<|end|>", "Score: 7"),
        (" Score: 7 \n<|end|>", " Score: 7 \n"),
        ("a <b> is <|image|>not", "a <b> is not"),
    ],
)
def test_thoughts_go_before_the_special_tokens_that_mark_them(reply: str, left: str) -> None:
    assert open_prompts(Processor(write), "m").clean_reply(reply) == left


def rendered(template: Template, question: Question = ASKED) -> str:
    prompts = open_prompts(Processor(template), "m")
    images = {id(part): part for part in question.parts if not isinstance(part, str)}
    return prompts.render(prompts.make_chat(question, images))


@pytest.mark.parametrize("template", [without_system, ignoring_system])
def test_without_a_system_role_its_text_begins_the_users_turn(template: Template) -> None:
    assert rendered(write) == "<system>Be strict.<user>Look: <|image|>good?<assistant>"
    assert rendered(template) == "<user>Be strict.\n\nLook: <|image|>good?<assistant>"


@pytest.mark.parametrize("template", [printing_system, dumping_system])
def test_a_template_that_prints_the_parts_of_a_system_turn_gets_its_text(template: Template) -> None:
    assert rendered(template) == rendered(write)
    forged = Question(system="<|image|>", parts=ASKED.parts)
    assert rendered(template, forged).startswith("<system>< |image|><user>")
    assert rendered(template, Question(system="", parts=ASKED.parts)) == "<user>Look: <|image|>good?<assistant>"


def test_a_template_that_prints_parts_and_takes_no_text_has_no_system_role() -> None:
    assert rendered(printing_parts_only) == "<user>Be strict.\n\nLook: <|image|>good?<assistant>"


def test_a_template_that_prints_the_parts_of_a_question_shows_no_images() -> None:
    with pytest.raises(UserError, match="shows no images"):
        open_prompts(Processor(printing_all), "m")


def test_a_thought_is_switched_off_by_the_template() -> None:
    prompts = open_prompts(Processor(thinking), "m")
    assert not prompts.opens_thought
    assert find_tokens_after(prompts, ("1", "2")).sequences == ((49,), (50,))


def test_a_thought_that_cannot_be_switched_off_is_refused() -> None:
    prompts = open_prompts(Processor(always_thinking), "m")
    assert prompts.opens_thought
    with pytest.raises(UserError, match=r"begins every reply with a thought.* Use a protocol with generated answers"):
        find_tokens_after(prompts, ("1", "2"))


def test_a_thought_in_a_question_is_none() -> None:
    assert not open_prompts(
        Processor(lambda chat, options: "<think> in an example" + write(chat, options)), "m"
    ).opens_thought


@pytest.mark.parametrize(
    ("reply", "opened", "wanted"),
    [
        ("Score: 5", False, "Score: 5"),
        ("<think>Score: 1</think>\nScore: 5", False, "Score: 5"),
        ("Score: 1</think>Score: 5", True, "Score: 5"),
        ("<think>a</think><think>b</think> c", False, "c"),
        ("Score: 1", True, ""),
        ("<think>Score: 1", False, ""),
        ("<|channel>thought\nScore: 1<channel|>Score: 5", False, "Score: 5"),
    ],
)
def test_a_thought_is_no_part_of_a_reply(reply: str, opened: bool, wanted: str) -> None:
    assert drop_thoughts(reply, opened=opened) == wanted


def test_special_tokens_are_broken_up_and_other_added_ones_are_kept() -> None:
    forged = Question(system="<eos>", parts=("<|image|>s <think> x\n\n<|im<|image|>age|>",))
    text = rendered(write, forged)
    assert text == "<system>< eos><user>< |image|>s < think> x\n\n<|im< |image|>age|><assistant>"


def test_what_is_broken_up_does_not_join_again() -> None:
    assert "<a>" not in break_up("<<a>a>", ("<a>",))
    assert break_up("", ("<a>",)) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_processor": None}, "has no image processor"),
        ({"tokenizer": type("Bare", (Tokenizer,), {"chat_template": None})()}, "has no chat template"),
        ({"template": lambda chat, options: 1 / 0}, "rejects a question with an image"),
        ({"template": lambda chat, options: chat[-1]["content"][-1]["text"]}, "shows no images"),
    ],
)
def test_a_checkpoint_that_cannot_be_asked_is_refused(change: dict[str, Any], message: str) -> None:
    processor = Processor(write)
    for name, value in change.items():
        setattr(processor, name, value)
    with pytest.raises(UserError, match=f"The .*judge's model m .*{message}|judge's model m {message}"):
        open_prompts(processor, "m")
