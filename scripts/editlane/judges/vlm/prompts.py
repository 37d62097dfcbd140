"""Ask through the chat template of any checkpoint: find out what the template can do, before the first question.

Three things differ between families. A template may have no system role, so the system text goes into the user's turn,
or print the list of parts that a turn is, so it is given the text alone. It may open a thought, which its own switch
turns off. And special tokens have other spellings, so all those of the tokenizer are broken up in texts from outside.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from editlane.core.errors import UserError
from editlane.core.types import Question
from editlane.judges.chat import make_messages, set_padding
from editlane.judges.vlm.answers import AnswerTokens, find_answer_tokens

THOUGHTS = (("<think>", "</think>"), ("<|channel>thought", "<channel|>"))
"""What opens and closes a thought: Qwen, GLM, MiniCPM and most others; Gemma 4."""

SWITCH = {"enable_thinking": False}
"""The variable by which templates turn thinking off. A template without it ignores it."""

COMMON_SPECIALS = ("<|", "<start_of_", "<end_of_", "<turn|>", "<image", "<img", "</img>", "[INST]", "[/INST]", "[IMG]")
"""Beginnings of special tokens of most families, for servers whose tokenizer is not known."""

SystemForm = Literal["parts", "text"]
"""How a template takes the content of a system turn: as a list of parts like a user's, or as a text."""

_MARK = "8c1f3a"
_SYSTEM_MARK = _MARK * 2
"""Texts that no template has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """The chat template of a processor."""

    processor: Any
    model: str
    specials: tuple[str, ...]
    """Spellings of special tokens, the longest first."""
    silent: tuple[str, ...]
    """Those that a decoder leaves out of a text, such as the end of a turn, the longest first."""
    system_as: SystemForm | None
    """None if the template has no system role."""
    opens_thought: bool
    """True if a reply begins within a thought, although thinking is switched off."""

    def escape(self, text: str) -> str:
        """Break up special tokens, which an instruction could otherwise forge."""
        return break_up(text, self.specials)

    def clean_reply(self, reply: str) -> str:
        """Return a reply, which was decoded with its special tokens, without them and without what was thought.

        Thoughts go first, because in some families special tokens open and close them.
        """
        text = drop_thoughts(reply, opened=self.opens_thought)
        for special in self.silent:
            text = text.replace(special, "")
        return text

    def make_chat(self, question: Question, images: Mapping[int, Image.Image]) -> list[dict[str, Any]]:
        """Build the messages of a question. `images`: what is shown for each image, by its id."""
        if self.system_as is None and question.system:
            question = Question(system="", parts=(f"{question.system}\n\n", *question.parts))
        messages = make_messages(question, self.escape)
        if self.system_as == "text" and question.system:
            messages[0]["content"] = self.escape(question.system)
        shown = iter([images[id(part)] for part in question.parts if not isinstance(part, str)])
        for part in messages[-1]["content"]:
            if part["type"] == "image":
                part["image"] = next(shown)
        return messages

    def render(self, chat: Sequence[Mapping[str, Any]]) -> str:
        """Return the prompt as a text, with one placeholder for each image."""
        return _render(self.processor, chat)

    def encode(self, chats: Sequence[Sequence[Mapping[str, Any]]], **options: Any) -> Any:
        """Return the processor's tensors for several chats. `options` are the processor's own."""
        return self.processor.apply_chat_template(
            list(chats),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs=options,
            **SWITCH,
        )


def find_tokens_after(prompts: Prompts, answers: Sequence[str]) -> AnswerTokens:
    """Return the tokens of each answer after this chat template.

    Raises UserError if the next token cannot be an answer, or if an answer has no tokens of its own.
    """
    if prompts.opens_thought:
        raise UserError(
            f"The chat template of {prompts.model} begins every reply with a thought, which its switch "
            "`enable_thinking` does not turn off, so no answer can be read from the next token. Use a protocol "
            "with generated answers, such as resources/protocols/viescore.yaml, or a checkpoint that answers at "
            "once."
        )
    prompt = prompts.render(prompts.make_chat(Question(system="", parts=("?",)), {}))
    return find_answer_tokens(prompts.processor.tokenizer, prompt, answers, prompts.model)


def open_prompts(processor: Any, model: str) -> Prompts:
    """Find out what the chat template of a processor can do, and let its tokenizer pad prompts.

    Raises UserError if it has no template, or takes no images.
    """
    if not getattr(processor, "image_processor", None):
        raise UserError(f"The judge's model {model} has no image processor, so it cannot see an edit. Use a chat VLM.")
    if not (getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None)):
        raise UserError(
            f"The judge's model {model} has no chat template, so it cannot be asked. Use a checkpoint that was trained "
            "for chats (Instruct)."
        )
    set_padding(processor.tokenizer)
    alone = [_user({"type": "text", "text": _MARK})]
    try:
        plain = _render(processor, alone)
        shown = _render(processor, [_user({"type": "image"}, {"type": "text", "text": _MARK})])
    except Exception as error:  # a template is a program, and may raise anything
        raise UserError(
            f"The chat template of the judge's model {model} rejects a question with an image: {error}"
        ) from error
    if not _shows(plain, alone[0]["content"]) or len(shown) <= len(plain):
        raise UserError(f"The chat template of the judge's model {model} shows no images. Use a chat VLM.")
    return Prompts(
        processor=processor,
        model=model,
        specials=find_specials(processor.tokenizer),
        silent=find_silent(processor.tokenizer),
        system_as=_find_system_form(processor, alone),
        opens_thought=is_open(plain),
    )


def is_open(prompt: str) -> bool:
    """Return whether a rendered prompt ends within a thought."""
    tail = prompt.rpartition(_MARK)[2]
    return any(tail.rfind(start) > tail.rfind(end) for start, end in THOUGHTS)


def drop_thoughts(reply: str, *, opened: bool) -> str:
    """Return what follows the last thought of a reply. A thought that never ends has nothing after it.

    `opened`: the prompt ended within a thought.
    """
    for _, end in THOUGHTS:
        if end in reply:
            return reply.rpartition(end)[2].strip()
    if opened:
        return ""
    begun = [reply.index(start) for start, _ in THOUGHTS if start in reply]
    return reply[: min(begun)].strip() if begun else reply


def find_specials(tokenizer: Any) -> tuple[str, ...]:
    """Return the spellings of a tokenizer's added tokens, the longest first, without blanks and single characters."""
    added: Iterable[str] = {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}
    return _sort_specials(added)


def find_silent(tokenizer: Any) -> tuple[str, ...]:
    """Return the spellings of the tokens that a tokenizer leaves out of texts, as `find_specials` does."""
    return _sort_specials(str(one) for one in tokenizer.added_tokens_decoder.values() if one.special)


def _sort_specials(added: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted((one for one in added if len(one.strip()) > 1), key=lambda one: (-len(one), one)))


def break_up(text: str, specials: Sequence[str]) -> str:
    """Put a space after the first character of every special token in a text, until none is left."""
    begun = set(text)  # some tokenizers have thousands, and most texts hold the first character of none
    possible = [special for special in specials if special[0] in begun]
    found = True
    while found:
        found = False
        for special in possible:
            if special in text:
                text, found = text.replace(special, f"{special[0]} {special[1:]}"), True
    return text


def _user(*content: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def _find_system_form(processor: Any, chat: Sequence[Mapping[str, Any]]) -> SystemForm | None:
    """Return the form of a system text that the template shows as it is.

    A text is only tried where a list is printed: elsewhere the scores of older runs have it in the user's turn.
    """

    def render(content: Any) -> str:
        with suppress(Exception):  # a template without this role raises an error of its own
            return _render(processor, [{"role": "system", "content": content}, *chat])
        return ""

    parts = [{"type": "text", "text": _SYSTEM_MARK}]
    shown = render(parts)
    if _SYSTEM_MARK not in shown:
        return None
    if _shows(shown, parts):
        return "parts"
    return "text" if _SYSTEM_MARK in render(_SYSTEM_MARK) else None


def _shows(prompt: str, parts: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a prompt has the text of a turn's first part, and not the part printed as code."""
    return parts[0]["text"] in prompt and not any(one in prompt for one in (str(parts[0]), json.dumps(parts[0])))


def _render(processor: Any, chat: Sequence[Mapping[str, Any]]) -> str:
    text: str = processor.apply_chat_template([list(chat)], add_generation_prompt=True, tokenize=False, **SWITCH)[0]
    return text
