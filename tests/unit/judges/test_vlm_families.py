"""The judge `vlm` on tiny random checkpoints of eight families: the real classes, on the CPU in float32."""

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import built
from PIL import Image
from step_commands import CATEGORIES, GOOD
from step_runs import run_step_program, write_inputs

from editlane.core import tables
from editlane.core.cut_replies import CutReply
from editlane.core.errors import UserError
from editlane.core.types import Question, Readout
from editlane.judges.vlm.inputs import append_tokens, count_tokens, pad_left
from editlane.judges.vlm.transformers_engine import VlmJudge

DIGITS = tuple("0123456789")
QUICK = ("qwen3.5", "internvl")
OTHERS = ("gemma4", "glm46v", "glm4v-moe", "minicpm-v", "qwen2.5-vl", "qwen3-vl", "qwen3.5-moe")
FAMILIES = [*QUICK, *(pytest.param(kind, marks=pytest.mark.runs) for kind in OTHERS)]

TinyModel = Callable[[str], Path]

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # transformers' GLM


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(seed).randbytes(3 * size[0] * size[1]))


def question(seed: int, source: tuple[int, int], edited: tuple[int, int], instruction: str) -> Question:
    parts = ("Source:\n", picture(seed, source), "\nEdited:\n", picture(seed + 100, edited), f"\n\n{instruction}\n\n")
    return Question(system="你是严格的评委。 Judge the edit.", parts=(*parts, "How good, 0 to 9?"))


MIXED = (
    question(1, (96, 64), (96, 64), "把杯子移到地板上"),
    question(2, (40, 200), (128, 128), "x"),
    question(3, (64, 64), (256, 192), "Make the sky red, but leave the house and the tree as they are."),
)


@pytest.fixture(scope="module", params=FAMILIES)
def judge(request: pytest.FixtureRequest, tiny_model: TinyModel) -> VlmJudge:
    return built(VlmJudge, model=str(tiny_model(request.param)), params={"max_image_side": 256})


@pytest.fixture(scope="module")
def qwen(tiny_model: TinyModel) -> VlmJudge:
    return built(VlmJudge, model=str(tiny_model("qwen3.5")), params={"max_image_side": 128, "batch_size": 2})


def read_out(judge: VlmJudge, asked: Sequence[Question], answers: Sequence[str] = DIGITS) -> list[Readout]:
    return [found for (found,) in judge.read_out(judge.prepare([[one] for one in asked]), answers)]


def difference(one: Sequence[Readout], other: Sequence[Readout]) -> float:
    pairs = zip(one, other, strict=True)
    return max(
        abs(a - b)
        for x, y in pairs
        for a, b in zip((*x.probabilities, x.mass), (*y.probabilities, y.mass), strict=True)
    )


def test_an_edit_is_judged_in_a_batch_as_alone(judge: VlmJudge) -> None:
    for answers in (DIGITS, (*DIGITS, "10")):
        together = read_out(judge, MIXED, answers)
        assert difference(together, [read_out(judge, [one], answers)[0] for one in MIXED]) < 1e-5
        for found in together:
            assert math.fsum(found.probabilities) == pytest.approx(1)
            assert 0 < found.mass <= 1
    shown = read_out(judge, [MIXED[0], Question(system="", parts=MIXED[1].parts)])
    assert difference(shown[:1], shown[1:]) > 1e-4  # so what is shown does matter


def test_padding_on_the_left_says_what_padding_on_the_right_says(judge: VlmJudge) -> None:
    """Prompts of a pass are padded on the right, those of replies on the left."""
    (inputs,) = judge.prepare([[one] for one in MIXED]).passes
    lengths = count_tokens(inputs)
    assert len(set(lengths)) > 1
    with torch.inference_mode():
        right = judge.model(**inputs).logits[range(len(MIXED)), [length - 1 for length in lengths]]
        left = judge.model(**pad_left(inputs)).logits[:, -1]
    assert (right.softmax(-1) - left.softmax(-1)).abs().max() < 1e-5


def test_an_answer_of_several_tokens_is_read_exactly(judge: VlmJudge) -> None:
    """Against one forward pass for each prefix, without the shortcuts of a batch."""
    answers = ("1", "10", "100", "Yes", "是", "是的")
    (found,) = read_out(judge, MIXED[:1], answers)
    tokens = judge.find_answer_tokens(answers)
    assert max(map(len, tokens.sequences)) > 1
    (inputs,) = judge.prepare([[MIXED[0]]]).passes

    def chance(sequence: tuple[int, ...]) -> float:
        whole = 1.0
        for end in range(len(sequence)):
            with torch.inference_mode():
                logits = judge.model(**append_tokens(inputs, sequence[:end])).logits[0, -1]
            whole *= float(logits.double().softmax(-1)[sequence[end]])
        return whole

    begun = {answer: chance(one) for answer, one in zip(answers, tokens.sequences, strict=True)}
    own = begun | {"1": begun["1"] - begun["10"], "10": begun["10"] - begun["100"], "是": begun["是"] - begun["是的"]}
    mass = begun["1"] + begun["Yes"] + begun["是"]
    assert found.mass == pytest.approx(mass, rel=1e-4)
    assert found.probabilities == pytest.approx([own[answer] / mass for answer in answers], abs=1e-5)


def test_a_reply_depends_on_its_seed_and_not_on_its_neighbours(judge: VlmJudge) -> None:
    def write(asked: Sequence[Question], seeds: Sequence[int]) -> list[str]:
        return [one for (one,) in judge.generate(judge.prepare([[ask] for ask in asked]), 5, [[one] for one in seeds])]

    assert write(MIXED, (1, 2, 3)) == [write([one], [9])[0] for one in MIXED]  # temperature 0 draws nothing


def test_what_a_model_thinks_between_special_tokens_is_no_reply(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = built(VlmJudge, model=str(tiny_model("gemma4")), params={"max_image_side": 128})
    written = judge.processor.tokenizer.encode(
        "<|channel>thought\nScore: 2<channel|>Score: 7<turn|>", add_special_tokens=False
    )
    monkeypatch.setattr(
        judge.model,
        "generate",
        lambda input_ids, **_: torch.cat([input_ids, torch.tensor([written] * len(input_ids))], dim=1),
    )
    assert judge.generate(judge.prepare([[MIXED[0]]]), 30, [[1]]) == [["Score: 7"]]


def write(judge: VlmJudge, tokens: int = 6) -> list[str]:
    return [one for (one,) in judge.generate(judge.prepare([[ask] for ask in MIXED]), tokens, [[1], [2], [3]])]


def test_the_checkpoints_own_generation_settings_change_no_reply(
    qwen: VlmJudge, tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder, wanted = copy(tiny_model("qwen3.5"), tmp_path), write(qwen)
    likeliest = qwen.processor.tokenizer.encode(wanted[0], add_special_tokens=False)[:1]
    path = folder / "generation_config.json"
    own = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    more = {"do_sample": True, "repetition_penalty": 9.0, "num_beams": 2, "suppress_tokens": likeliest}
    path.write_text(json.dumps(own | more), encoding="utf-8")
    judge = built(VlmJudge, model=str(folder), params={"max_image_side": 128, "batch_size": 2})
    assert write(judge) == wanted


def test_a_reply_that_no_token_ends_was_cut(qwen: VlmJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {type(one) for one in write(qwen)} == {CutReply}
    ended = torch.tensor([[5, 6, 7], [5, qwen.model.generation_config.eos_token_id, 0]])
    monkeypatch.setattr(qwen.model, "generate", lambda input_ids, **_: torch.cat([input_ids, ended], dim=1))
    replies = qwen.generate(qwen.prepare([[MIXED[0], MIXED[1]]]), 3, [[1, 2]])[0]
    assert [type(one) for one in replies] == [CutReply, str]


def test_a_tokenizer_without_padding_pads_with_the_end_of_a_text(
    qwen: VlmJudge, tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder = copy(tiny_model("qwen3.5"), tmp_path)
    path = folder / "tokenizer_config.json"
    own = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(own | {"pad_token": None}), encoding="utf-8")
    judge = built(VlmJudge, model=str(folder), params={"max_image_side": 128})
    assert judge.processor.tokenizer.pad_token_id == judge.processor.tokenizer.eos_token_id
    assert difference(read_out(judge, MIXED), read_out(qwen, MIXED)) < 1e-5
    assert write(judge) == write(qwen)


def test_replies_are_drawn_with_their_own_seeds(qwen: VlmJudge, tiny_model: TinyModel) -> None:
    params = {"max_image_side": 128, "temperature": 1.5, "batch_size": 2}
    hot = built(VlmJudge, model=str(tiny_model("qwen3.5")), params=params)
    asked = hot.prepare([[MIXED[0]] * 4])
    ((first, second, third, again),) = hot.generate(asked, 6, [[1, 2, 3, 1]])
    assert first == again
    assert len({first, second, third}) > 1


def test_questions_of_an_edit_stay_together_across_passes(qwen: VlmJudge) -> None:
    batch = qwen.prepare([[MIXED[0]], [MIXED[1], MIXED[2], MIXED[0]], [MIXED[1]]])
    assert [len(inputs["input_ids"]) for inputs in batch.passes] == [2, 2, 1]
    found = qwen.read_out(batch, DIGITS)
    assert [len(one) for one in found] == [1, 3, 1]
    assert difference([found[0][0], found[1][0]], [found[1][2], found[2][0]]) < 1e-5


def test_thinking_is_switched_off(qwen: VlmJudge) -> None:
    text = qwen.prompts.render(qwen.prompts.make_chat(Question(system="", parts=("?",)), {}))
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_a_template_that_always_thinks_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = copy(tiny_model("qwen3.5"), tmp_path)
    template = folder / "chat_template.jinja"
    text = template.read_text(encoding="utf-8")
    template.write_text(text.replace("<think>\n\n</think>\n\n", "<think>\n"), encoding="utf-8")
    text = template.read_text(encoding="utf-8").replace("'<think>\\n\\n</think>\\n\\n'", "'<think>\\n'")
    template.write_text(text, encoding="utf-8")
    judge = built(VlmJudge, model=str(folder), params={"max_image_side": 64})
    with pytest.raises(UserError, match="begins every reply with a thought"):
        read_out(judge, MIXED[:1])
    assert judge.generate(judge.prepare([[MIXED[0]]]), 3, [[1]]) == [[""]]  # a thought that never ends says nothing


def copy(source: Path, folder: Path) -> Path:
    found = folder / "模型"
    found.mkdir()
    for path in source.iterdir():
        (found / path.name).write_bytes(path.read_bytes())
    return found


def test_a_checkpoint_with_code_of_its_own_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    """As MiniCPM-V is before 4.6."""
    folder = copy(tiny_model("qwen3.5"), tmp_path)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"model_type": "minicpmv", "auto_map": {"AutoConfig": "configuration_minicpm.MiniCPMVConfig"}}
    path.write_text(json.dumps(config), encoding="utf-8")
    (folder / "configuration_minicpm.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    with pytest.raises(UserError, match="needs code of its own, which Editlane never runs"):
        built(VlmJudge, model=str(folder), params={})


def test_a_checkpoint_that_sees_nothing_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = copy(tiny_model("qwen3.5"), tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps({"model_type": "qwen2"}), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"has the type 'qwen2', which does not see images .* Set `model:` to a chat VLM"
    ):
        built(VlmJudge, model=str(folder), params={})


def test_weights_that_are_pickles_are_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = copy(tiny_model("qwen3.5"), tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="safetensors"):
        built(VlmJudge, model=str(folder), params={})


@pytest.mark.runs
@pytest.mark.parametrize("kind", ["internvl", "gemma4"])
def test_a_lane_is_judged_with_its_controls(kind: str, tiny_model: TinyModel, tmp_path: Path) -> None:
    write_inputs(tmp_path)
    for step in ("prepare_items", "split_lanes", "edit_lane", "draw_canary", "plan_controls"):
        assert run_step_program(step, GOOD[step], tmp_path).code == 0
    own: dict[str, Any] = {
        "--adapter": ["vlm"],
        "--model": [str(tiny_model(kind))],
        "--params": [json.dumps({"max_image_side": 128})],
    }
    ended = run_step_program("score_lane", GOOD["score_lane"] | own, tmp_path)
    assert ended.code == 0, ended.err
    folder = tmp_path / "run/a"
    rows = [row for one in CATEGORIES for row in tables.read_rows(folder / f"scores/j/{one}/lane0.parquet")]
    assert len(rows) == 4
    controls = tables.read_rows(folder / "controls/j/lane0.parquet")
    assert len({row["control"] for row in controls}) > 3
    for row in [*rows, *controls]:
        assert (row["state"], row["error_kind"]) in {("scored", None), ("judge_unreadable", "mass")}, row["error"]
        assert 0 < row["mass"] <= 1
