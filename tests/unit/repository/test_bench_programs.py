"""The benchmarks of models run through on tiny ones, and count the work that there is."""

import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import FirstBlockCacheConfig
from torch.utils.flop_counter import FlopCounterMode

from editlane.editors.optimizations.offloading import offload_blocks
from editlane.judges.qwen3_vl import attention as causal


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """The programs say that there is no hub; the tests after these must not hear it."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


BENCH = Path(__file__).parents[2] / "bench"
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


@pytest.mark.runs
def test_every_way_to_judge_is_measured(run, capsys):
    sizes = ["--sides", "64", "--items", "3", "--tokens", "2", "--texts", "0.05", "--batch-tokens", "512"]
    about, *rows = run("gpu_judge", "--model", "moe", *sizes, *TINY)
    assert about["matrix_rate"] > 0 and "torch" in about["versions"] and "gpu_judge.py" in about["command"]
    assert [row.get("error") for row in rows] == [None] * len(rows)
    assert len(rows) == 14
    assert all(row["seconds"] > 0 for row in rows)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0][2:] for line in lines[1:]] == [row["way"] for row in rows]


@pytest.fixture
def quick_compile(monkeypatch):
    """torch.compile without code that a compiler has to translate."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


def test_the_first_contact_with_a_gpu_can_be_tried_on_the_cpu(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCH))
    import first_batches
    import gpu_first

    def fail(*_):
        raise RuntimeError("no room")

    monkeypatch.setattr(first_batches, "multiply_in_float32", fail)
    flags = ["--scale", "tiny", "--device", "cpu", "--side", "64", "--items", "2"]
    monkeypatch.setattr(sys, "argv", ["gpu_first.py", *flags])
    gpu_first.main()
    parts = capsys.readouterr().out.split("## ")[1:]
    assert len(parts) == 8
    failed = [part.splitlines()[0] for part in parts if "Traceback" in part]
    assert failed == ["what rounding the logits to the model's dtype changes"], "a part that fails ends no other"
    assert "repeats bit by bit: True" in parts[5] and "aten::" in parts[7]


def test_the_first_contact_runs_programs_that_exist():
    script = BENCH / "first_contact.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    named = re.findall(r"(?:tests|scripts)/[\w/]+\.(?:py|sh)", script.read_text(encoding="utf-8"))
    assert len(set(named)) >= 5
    assert all((BENCH.parents[1] / name).is_file() for name in named)


EDIT = ["--side", "32", "--steps", "6", *TINY]


@pytest.mark.runs
def test_ways_to_edit_are_measured_and_one_that_fails_does_not_end_the_others(run, quick_compile):
    only = ["plain", "_native_cudnn", "positions", "compile", "known", "VAE"]
    _, *rows = run("gpu_edit", "--part", "exact", *EDIT, "--only", *only)
    assert len(rows) == 8
    for row in rows:
        assert ("error" in row) == ("_native_cudnn" in row["way"]), row


@pytest.mark.runs
def test_an_edit_of_less_work_has_no_share_of_the_floor(run, quick_compile):
    only = ["plain", "calibration", "mag", "Lightning's scheduler, 4"]
    _, plain, calibration, mag, lightning = run("gpu_edit", "--part", "inexact", *EDIT, "--only", *only)
    assert plain["of_floor"] > 0 and calibration["of_floor"] > 0
    assert lightning["of_floor"] is None and lightning["of_rate"] > 0
    assert mag["of_floor"] is None and mag["of_rate"] is None


@pytest.mark.runs
def test_one_way_to_offload_leaves_nothing_in_the_way_of_another(run, monkeypatch):
    """With what a GPU would get, on the CPU: it refuses blocks where the hooks of a whole model are left."""

    def place(pipe, denoiser, offload, device):
        if offload == "model":
            pipe.enable_model_cpu_offload(device=device)
            assert hasattr(pipe.transformer, "_hf_hook")
        else:
            offload_blocks(pipe, denoiser, device, use_stream=False)
            assert pipe.transformer.transformer_blocks[0]._diffusers_hook.hooks

    monkeypatch.setattr("editlane.editors.optimizations.apply.place_pipeline", place)
    _, *rows = run("gpu_edit", "--part", "offload", *EDIT)
    assert [row.get("error") for row in rows] == [None] * 3


def test_optimizations_in_shared_parts_are_undone(monkeypatch, tmp_path, quick_compile):
    monkeypatch.syspath_prepend(str(BENCH))
    from edit_ways import undone
    from full_size import build_editor

    from editlane.editors.optimizations.compilation import compile_blocks
    from editlane.editors.optimizations.real_rope import use_real_positions

    model = build_editor("tiny", "cpu", torch.float32, tmp_path)["transformer"]
    before = [set(vars(module)) for module in model.modules()]
    processors = [block.attn.processor for block in model.transformer_blocks]
    with undone([model]):
        use_real_positions(model)
        compile_blocks(model)
        model.enable_cache(FirstBlockCacheConfig())
    assert [set(vars(module)) for module in model.modules()] == before
    assert [block.attn.processor for block in model.transformer_blocks] == processors
    assert not any(block._forward_pre_hooks or block._forward_pre_hooks_with_kwargs for block in model.modules())


@pytest.mark.parametrize("name", ["gpu_edit", "gpu_judge"])
def test_the_full_size_is_refused_without_a_gpu(run, capsys, name):
    with pytest.raises(SystemExit) as end:
        run(name, "--device", "cpu")
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "error: The full size needs a GPU: none can be used here. Try --scale tiny or mid.\n"
    )


def test_a_way_that_would_take_too_long_is_left_out(run):
    sizes = ["--sides", "64", "--items", "2", "--texts", "0.05", "--minutes", "0"]
    _, *rows = run("gpu_judge", *sizes, *TINY, "--only", "plain")
    assert [row["error"].split(":")[0] for row in rows] == ["left out", "left out"]


def test_the_plain_ways_to_judge_run_transformers_own_code(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCH))
    from full_size import build_judge
    from judge_ways import JudgeWays
    from judged_items import Work

    built = build_judge("tiny", "dense", "cpu", torch.float32, 64, tmp_path)
    visual, language = built.model.model.visual, built.model.model.language_model

    def code():
        methods = "forward" in vars(visual.patch_embed), "_deepstack_process" in vars(language)
        return *methods, language.config._attn_implementation

    own = code()
    ways = JudgeWays(built, Work(2, 64, 0.05), Namespace(batch_tokens=[512]), tmp_path)
    ours = code()
    with ways._own_code(), ways._own_attention():
        assert code() == own == (False, False, "sdpa")
    assert code() == ours == (True, True, causal.NAME)


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
    tree = prepared.questions.trees[0]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        whole = judge.prefill.pad_whole_prompts([tree], 0)
        built.model(**whole, logits_to_keep=1, use_cache=False)
    text = built.model.config.text_config
    length = len(tree.tokens) + len(tree.suffixes[0])
    attention = 4 * text.num_attention_heads * text.head_dim * text.num_hidden_layers * length**2 / 2
    assert question_work(built.model.config, tree) + attention == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_the_floors_of_full_size_are_those_of_the_released_models(monkeypatch):
    """2.73 B active weights in the layers of Qwen3-VL-30B-A3B, 6.95 B in those of the 8B."""
    monkeypatch.syspath_prepend(str(BENCH))
    from judge_work import token_weights
    from model_sizes import JUDGES
    from transformers import Qwen3VLConfig, Qwen3VLMoeConfig

    moe, dense = Qwen3VLMoeConfig(**JUDGES["full", "moe"]), Qwen3VLConfig(**JUDGES["full", "dense"])
    assert token_weights(moe.text_config) == pytest.approx(2.73e9, rel=0.005)
    assert token_weights(dense.text_config) == pytest.approx(6.95e9, rel=0.005)


def test_every_answer_about_unchanged_edits_is_counted(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCH))
    import bench_unchanged

    monkeypatch.setattr(bench_unchanged, "PHOTOS", ("coffee",))
    monkeypatch.setattr(bench_unchanged, "SHARED", Path("nowhere"))
    monkeypatch.setattr(bench_unchanged, "print_speed", lambda compare: None)
    monkeypatch.setattr(sys, "argv", ["bench_unchanged.py", "--only", "brightness"])
    bench_unchanged.main()
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| whole picture | brightness +2 % | 2 | 0 | 0 | 2 |",
        "| whole picture | brightness +5 % | 2 | 0 | 0 | 2 |",
    ]
