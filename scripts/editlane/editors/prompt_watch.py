"""Find out if a pipeline's text encoders get the whole prompt.

Each pipeline has its own limit, and some ignore the one that they accept. So their tokenizers are watched while they
run. A pipeline that cuts the tokens or their embeddings later on is not caught.
"""

from collections.abc import Iterator
from typing import Any


class PromptWatch:
    """Watches the tokenizers of one pipeline."""

    def __init__(self, pipe: Any) -> None:
        self._prompt = ""
        self._cut: dict[int, bool] = {}
        """Of each tokenizer that was given the prompt: was it cut at any time?"""
        for number, tokenizer in enumerate(_find_tokenizers(pipe)):
            self._watch(number, tokenizer)

    def expect(self, prompt: str) -> None:
        """Forget what was seen, and look for this prompt from now on."""
        self._prompt = prompt
        self._cut.clear()

    def is_cut(self) -> bool | None:
        """Return whether no text encoder got the whole prompt; None if no tokenizer was given it.

        FLUX.1 Kontext has two: CLIP with 77 tokens, for a summary, and T5 with 512, for the words.
        """
        return all(self._cut.values()) if self._cut else None

    def _watch(self, number: int, tokenizer: Any) -> None:
        """Replace the class of `tokenizer`, because Python looks up `__call__` there."""
        plain = type(tokenizer)

        def call(self_: Any, text: Any = None, *rest: Any, **settings: Any) -> Any:
            texts = [text] if isinstance(text, str) else text or ()
            for one in texts:
                if isinstance(one, str) and self._prompt and self._prompt in one:
                    cut = _cuts(plain, self_, one, settings)
                    self._cut[number] = self._cut.get(number, False) or cut
            return plain.__call__(self_, text, *rest, **settings)

        tokenizer.__class__ = type(plain.__name__, (plain,), {"__call__": call, "__module__": plain.__module__})


def _cuts(plain: Any, tokenizer: Any, text: str, settings: dict[str, Any]) -> bool:
    """Return whether the tokenizer shortens `text` if it is called with these settings."""
    if settings.get("truncation") in (None, False, "do_not_truncate"):
        return False
    whole = plain.__call__(tokenizer, text, add_special_tokens=settings.get("add_special_tokens", True))
    limit: int = settings.get("max_length") or tokenizer.model_max_length
    return len(whole["input_ids"]) > limit


def _find_tokenizers(pipe: Any) -> Iterator[Any]:
    """Yield each tokenizer once. Those of processors are objects of their own."""
    from transformers import PreTrainedTokenizerBase

    parts = list(pipe.components.values())
    candidates = [*parts, *(getattr(part, "tokenizer", None) for part in parts)]
    known: set[int] = set()
    for part in candidates:
        if isinstance(part, PreTrainedTokenizerBase) and id(part) not in known:
            known.add(id(part))
            yield part
