"""The benchmarks of models run through on tiny ones, and count the work that there is."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

BENCH = Path(__file__).parents[1] / "bench"
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning"),
]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """`run(name, *flags)`: main() of a benchmark on the CPU; its JSON lines."""
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    threads = torch.get_num_threads()

    def run(name, *flags):
        out = tmp_path / f"{name}.jsonl"
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--json", str(out), *flags])
        __import__(name).main()
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]

    yield run
    torch.set_num_threads(threads)


TINY = ["--scale", "tiny", "--device", "cpu", "--turns", "1"]


def test_every_way_to_judge_is_measured(run, capsys):
    sizes = ["--sides", "64", "--items", "3", "--tokens", "2", "--texts", "0.05", "--batch-tokens", "512"]
    about, *rows = run("gpu_judge", "--model", "moe", *sizes, *TINY)
    assert about["matrix_rate"] > 0 and "torch" in about["versions"] and "gpu_judge.py" in about["command"]
    assert [row.get("error") for row in rows] == [None] * len(rows)
    assert len(rows) == 13
    assert all(row["seconds"] > 0 for row in rows)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0][2:] for line in lines[1:]] == [row["way"] for row in rows]


@pytest.mark.parametrize(
    ("part", "only", "count"),
    [
        ("exact", ["plain", "positions", "_native_cudnn", "VAE"], 6),
        ("inexact", ["calibration"], 1),
        ("offload", ["offload"], 2),
    ],
)
def test_ways_to_edit_are_measured_and_one_that_fails_does_not_end_the_others(run, part, only, count):
    _, *rows = run("gpu_edit", "--part", part, "--side", "64", "--steps", "6", *TINY, "--only", *only)
    assert len(rows) == count
    for row in rows:
        assert ("error" in row) == ("_native_cudnn" in row["way"]), row


def test_a_way_that_would_take_too_long_is_left_out(run):
    sizes = ["--sides", "64", "--items", "2", "--texts", "0.05", "--minutes", "0"]
    _, *rows = run("gpu_judge", *sizes, *TINY, "--only", "plain")
    assert [row["error"].split(":")[0] for row in rows] == ["left out", "left out"]


def test_the_judge_benchmark_of_make_bench_runs(run):
    _, *rows = run("bench_judge", "--runs", "tiny-dense", "--only", "source kept")
    assert len(rows) == 1 and "error" not in rows[0]


def test_the_work_of_a_question_is_what_torch_counts(monkeypatch, tmp_path):
    """torch counts causal attention as if each token saw all others."""
    monkeypatch.syspath_prepend(str(BENCH))
    from full_size import build_judge
    from judge_work import question_work
    from judged_items import Work

    built = build_judge("tiny", "dense", "cpu", torch.float32, 64, tmp_path)
    built.model.set_attn_implementation("eager")  # in products, which torch counts on every device
    judge = built.judge(max_image_side=64)
    work = Work(1, 64, 0.05)
    prepared = judge.prepare([entry[:1] for entry in work.asked(work.edits)])
    stem = prepared.questions.stems[0]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        whole = judge.prefill.whole([stem], 0)
        built.model(**whole, logits_to_keep=1, use_cache=False)
    text = built.model.config.text_config
    length = len(stem.tokens) + len(stem.endings[0])
    attention = 4 * text.num_attention_heads * text.head_dim * text.num_hidden_layers * length**2 / 2
    assert question_work(built.model.config, stem) + attention == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_the_floors_of_full_size_are_those_of_the_released_models(monkeypatch):
    """2.73 B active weights in the layers of Qwen3-VL-30B-A3B, 6.95 B in those of the 8B."""
    monkeypatch.syspath_prepend(str(BENCH))
    from judge_work import token_weights
    from model_sizes import JUDGES
    from transformers import Qwen3VLConfig, Qwen3VLMoeConfig

    moe, dense = Qwen3VLMoeConfig(**JUDGES["full", "moe"]), Qwen3VLConfig(**JUDGES["full", "dense"])
    assert token_weights(moe.text_config) == pytest.approx(2.73e9, rel=0.005)
    assert token_weights(dense.text_config) == pytest.approx(6.95e9, rel=0.005)
