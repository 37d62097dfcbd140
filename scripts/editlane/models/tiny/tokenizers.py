"""Build tokenizers with one token per byte or character, without training or download."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import CLIPTokenizer, GemmaTokenizer, Qwen2Tokenizer, T5Tokenizer

QWEN_SPECIALS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""In the order of the released Qwen2.5-VL and Qwen3-VL vocabularies."""

WHOLE_WORDS = ("Yes", "No", "yes", "no")
"""One token each, as in the released vocabularies, because answers have one token."""

QWEN_CHAT_TEMPLATE = (
    "{%- for m in messages %}"
    "{{- '<|im_start|>' + m.role + '\n' }}"
    "{%- if m.content is string %}{{- m.content }}"
    "{%- else %}{%- for c in m.content %}"
    "{%- if c.type == 'image' or 'image' in c or 'image_url' in c %}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif c.type == 'video' or 'video' in c %}{{- '<|vision_start|><|video_pad|><|vision_end|>' }}"
    "{%- elif 'text' in c %}{{- c.text }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
"""Gives the same text as the released Qwen3-VL template for texts and images without tools."""


def build_qwen_tokenizer(
    named: Mapping[str, str] | None = None, chat_template: str = QWEN_CHAT_TEMPLATE, more: Sequence[str] = ()
) -> "Qwen2Tokenizer":
    """Build a byte-level Qwen2 tokenizer: 256 bytes, the merges of `WHOLE_WORDS`, the special tokens.

    `named`: special tokens of another family by the names under which its processor looks for them. `more`: others.

    It has no further merges, because Qwen-Image-Edit drops the first 64 tokens of its prompt template. With longer
    tokens these would reach into the user's instruction.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import AddedToken, Qwen2Tokenizer

    vocab = {symbol: index for index, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for word in WHOLE_WORDS:
        for end in range(1, len(word)):
            if word[: end + 1] not in vocab:
                vocab[word[: end + 1]] = len(vocab)
                merges.append((word[:end], word[end]))
    names = {"extra_special_tokens": dict(named)} if named else {}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges, model_max_length=32768, padding_side="left", **names)
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in (*QWEN_SPECIALS, *more)])
    tokenizer.eos_token = "<|im_end|>"  # as in the Instruct checkpoints; padding stays <|endoftext|>
    tokenizer.chat_template = chat_template
    return tokenizer


def build_clip_tokenizer() -> "CLIPTokenizer":
    """Build a CLIP tokenizer: 256 bytes, within and at the end of a word; at most 77 tokens."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    symbols = sorted(ByteLevel.alphabet())
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def build_t5_tokenizer() -> "T5Tokenizer":
    """Build a T5 tokenizer: one token per printable ASCII character. All other characters are unknown."""
    from transformers import T5Tokenizer

    printable = [(chr(code), -3.0) for code in range(33, 127)]
    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=specials + printable, extra_ids=0, model_max_length=512)


def build_gemma_tokenizer(chat_template: str) -> "GemmaTokenizer":
    """Build a Gemma tokenizer: printable ASCII, whole words with a space before them, and bytes for all others."""
    from transformers import GemmaTokenizer

    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    characters = ["\n", "▁", *(chr(code) for code in range(33, 127))]
    vocab = {token: place for place, token in enumerate([*specials, *(f"<0x{byte:02X}>" for byte in range(256))])}
    for token in characters:
        vocab.setdefault(token, len(vocab))
    merges: list[tuple[str, str]] = []
    for word in (*WHOLE_WORDS, "▁Yes", "▁No"):
        for end in range(1, len(word)):
            if word[: end + 1] not in vocab:
                vocab[word[: end + 1]] = len(vocab)
                merges.append((word[:end], word[end]))
    named = {
        "image_token": "<|image|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "audio_token": "<|audio|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
    }
    tokenizer = GemmaTokenizer(vocab=vocab, merges=merges, model_max_length=32768, extra_special_tokens=named)
    tokenizer.add_tokens(["<|turn>", "<turn|>", "<|channel>", "<channel|>"], special_tokens=True)
    tokenizer.eos_token = "<turn|>"
    tokenizer.chat_template = chat_template
    return tokenizer
