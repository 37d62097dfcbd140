"""The judge's read-out as wide as the released models, on torch's meta device, which stands in for a GPU.

It holds no numbers, so nothing is computed. An operation on two devices raises, and so does whatever reads a value back
(`.item()`, `.tolist()`, an index by a mask), for which a GPU would make the CPU wait.
"""

from copy import deepcopy
from pathlib import Path
from types import MethodType

import pytest
import torch
import transformers
from adapters import built
from test_judges import DIGITS, picture
from transformers import AttentionInterface

from editlane.core.types import Question
from editlane.judges.qwen3_vl.prefill import Prefill
from editlane.judges.qwen3_vl.transformers_engine import Qwen3VLJudge
from editlane.judges.qwen3_vl.uploads import Upload
from editlane.models.tiny.qwen_processor import find_image_token_ids
from editlane.models.tiny.tokenizers import build_qwen_tokenizer

BENCH = Path(__file__).parents[2] / "bench"
FAMILIES = {"dense": "Qwen3VL", "moe": "Qwen3VLMoe"}
FEWER = {"vision_config": {"depth": 4, "deepstack_visual_indexes": [0, 1, 2]}, "text_config": {"num_hidden_layers": 4}}
"""Layers are alike, but for those that add features of images, the first three."""


def edit(seed, size, ends=("Rubric, 0 to 9?", "Instruction, 0 to 9?")):
    """The questions about one edit."""
    parts = ("Source:\n", picture(seed, size), "\nEdited:\n", picture(seed + 100, size), f"\n\n移走 {seed} 号杯子\n\n")
    return [Question(system="You are a careful judge of edits. " * 3, parts=(*parts, end)) for end in ends]


EDITS = [edit(1, (96, 64)), edit(2, (256, 192)), edit(3, (64, 200), ("Rubric?", "Is it as asked, 0 to 9?"))]
BATCHES = {
    "one edit": EDITS[:1],
    "equal lengths": [EDITS[0], edit(4, (96, 64))],
    "other lengths": EDITS,
    "one question each": [questions[:1] for questions in EDITS],
}


@pytest.fixture(scope="module")
def judge(tiny_model):
    return built(Qwen3VLJudge, model=str(tiny_model("qwen3-vl")), params={"max_image_side": 256})


@pytest.fixture(scope="module")
def batches(judge):
    """The prompt trees of each batch; a tiny tokenizer's tokens are tokens of any model."""
    return {name: judge.prepare(asked).questions.trees for name, asked in BATCHES.items()}


@pytest.fixture
def send_to_meta(monkeypatch):
    """What is sent to the device goes to meta; `send_to_meta(False)` leaves it on the CPU."""

    def patch(sent=True):
        monkeypatch.setattr(
            Upload, "send", lambda upload, values: torch.from_numpy(values).to("meta" if sent else "cpu")
        )

    patch()
    return patch


@pytest.fixture
def make_prefill(monkeypatch, judge, send_to_meta):
    """`make_prefill(kind, attention, seeing)`: a prefill around a model on the meta device, in bfloat16.

    `seeing` is the attention of the vision tower, if it is another.
    """
    monkeypatch.syspath_prepend(str(BENCH))
    from model_sizes import JUDGES

    def make(kind, attention, seeing=None):
        sizes = deepcopy(JUDGES["full", kind])
        for part, fewer in FEWER.items():
            sizes[part] |= fewer
        special = find_image_token_ids(build_qwen_tokenizer())
        config = getattr(transformers, f"{FAMILIES[kind]}Config")(**sizes, tie_word_embeddings=False, **special)
        family = getattr(transformers, f"{FAMILIES[kind]}ForConditionalGeneration")
        with torch.device("meta"), torch.no_grad():
            model = family._from_config(config, dtype=torch.bfloat16, attn_implementation=attention).eval()
        if seeing:
            model.model.visual.config._attn_implementation = seeing
        return Prefill(model, judge.settings)

    return make


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_read_out_stays_on_the_device_and_reads_nothing_back(make_prefill, batches, kind, attention):
    prefill = make_prefill(kind, attention)
    for name, trees in batches.items():
        logits = prefill.compute_logits(prefill.stage(trees))
        suffixes = sum(len(tree.suffixes) for tree in trees)
        assert (logits.shape, logits.dtype) == ((suffixes, 151936), torch.float32), name
        assert logits.device.type == "meta"


def test_flash_attention_is_told_the_length_of_an_image(make_prefill, batches):
    """Or transformers reads it back from the device, once an image. The kernels themselves need a GPU."""
    lengths = []

    def attend(module, query, key, value, attention_mask, *, max_length_q, max_length_k, **settings):
        lengths.append((query.shape[2], max_length_q, max_length_k))
        return query.transpose(1, 2).contiguous(), None

    AttentionInterface.register("flash_stub", attend)
    prefill = make_prefill("dense", "sdpa", "flash_stub")
    prefill.compute_logits(prefill.stage(batches["other lengths"]))
    assert len(set(lengths)) > 1
    assert all(len(set(one)) == 1 for one in lengths)


def test_the_tests_above_see_what_is_read_back(make_prefill, batches):
    """Of a mask, as transformers' own code indexes with."""
    prefill = make_prefill("dense", "sdpa")
    language = prefill.model.model.language_model
    language._deepstack_process = MethodType(type(language)._deepstack_process, language)
    with pytest.raises((NotImplementedError, RuntimeError), match="nonzero"):
        prefill.compute_logits(prefill.stage(batches["one edit"]))


def test_the_tests_above_see_what_was_left_on_the_cpu(make_prefill, batches, send_to_meta):
    prefill = make_prefill("dense", "sdpa")
    send_to_meta(False)
    with pytest.raises((NotImplementedError, RuntimeError), match="device"):
        prefill.compute_logits(prefill.stage(batches["one edit"]))


def test_logits_are_not_rounded_to_the_dtype_of_the_model(tiny_model):
    judge = built(Qwen3VLJudge, model=str(tiny_model("qwen3-vl")), params={"max_image_side": 256, "dtype": "bfloat16"})
    prepared = judge.prepare(EDITS)
    logits = judge.prefill.compute_logits(prepared.staged)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())
    exact = judge.read_out(prepared, DIGITS)
    assert all(abs(sum(one.probabilities) - 1) < 1e-5 for questions in exact for one in questions)
