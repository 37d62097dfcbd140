"""How many FLOPs a question about an edit needs, counted from the config of a Qwen3-VL.

A product of matrices (m, k) and (k, n) counts 2 m k n; attention counts the pairs of tokens that see each other. Norms,
rotations and activations are left out: they need bandwidth.
"""

from typing import Any

from editlane.judges.qwen3_vl.prompt_trees import PromptTree


def question_work(
    config: Any, tree: PromptTree, *, questions: int = 1, prefix: int = 0, seen: int = 0, decoded: int = 0
) -> float:
    """FLOPs of the first `questions` of a tree from one prefill. Not computed: the first `prefix` tokens, whose keys
    and values are there, and what is seen in `seen` of the images. `decoded` tokens are generated one by one."""
    text = config.text_config
    shared, ends = len(tree.tokens), [len(suffix) for suffix in tree.suffixes[:questions]]
    computed = shared - prefix + sum(ends) + decoded * questions
    lengths = [(prefix, shared), *((shared, shared + end + decoded) for end in ends)]
    pairs = sum((last**2 - first**2) / 2 for first, last in lengths)
    width = text.num_attention_heads * text.head_dim
    attention = 4 * width * text.num_hidden_layers * pairs
    head = 2 * text.hidden_size * text.vocab_size * questions * max(1, decoded)
    looked = sum(image_work(config.vision_config, *image.grid) for image in tree.images[seen:])
    return 2 * token_weights(text) * computed + attention + head + looked


def token_weights(text: Any) -> float:
    """The weights that a token passes in all layers of the language model; of the experts those that it is sent to."""
    hidden, head = text.hidden_size, text.head_dim
    attention = 2 * hidden * head * (text.num_attention_heads + text.num_key_value_heads)
    if getattr(text, "num_experts", None):
        used = text.num_experts_per_tok * 3 * hidden * text.moe_intermediate_size
        return float(text.num_hidden_layers * (attention + used + hidden * text.num_experts))
    return float(text.num_hidden_layers * (attention + 3 * hidden * text.intermediate_size))


def image_work(vision: Any, rows: int, columns: int) -> float:
    """FLOPs of looking at an image of so many patches: every patch passes the blocks, every token the mergers."""
    hidden, patches = vision.hidden_size, rows * columns
    merged = hidden * vision.spatial_merge_size**2
    pixels = 3 * vision.temporal_patch_size * vision.patch_size**2
    block = 4 * hidden**2 + 2 * hidden * vision.intermediate_size
    mergers = 1 + len(vision.deepstack_visual_indexes)
    linear = 2 * patches * (vision.depth * block + pixels * hidden)
    linear += 2 * patches / vision.spatial_merge_size**2 * mergers * merged * (merged + vision.out_hidden_size)
    return float(linear + 4 * patches**2 * hidden * vision.depth)
