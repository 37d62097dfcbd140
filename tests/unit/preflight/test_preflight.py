"""The checks before a run: each one passes, warns and fails where it should, and says what to do."""

import base64
import errno
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from preflight_project import GB, fake_config, gpu, levels, make_context, prepare, with_model, write_project
from stand_ins import NVIDIA_SMI, write_checkpoint, write_program, write_weights

from editlane.core import schemas, tables
from editlane.core.errors import UserError
from editlane.core.findings import Finding, format_counts, format_findings, run_checks
from editlane.core.pins import read_pip_pins
from editlane.core.text_width import measure_width
from editlane.lanes.editor_spec import EditorSpec
from editlane.lanes.journal import Journal
from editlane.lanes.lane_status import LaneStatus
from editlane.models.checkpoints import RANDOM_WEIGHTS_FILE
from editlane.models.weight_files import find_hub_cache
from editlane.preflight import dataset_scan as scan
from editlane.preflight import folders, machine, memory, packages
from editlane.preflight.dataset import check_dataset, check_prompts
from editlane.preflight.devices import Devices, find_devices
from editlane.preflight.estimate import disk
from editlane.preflight.estimate.disk import check_disk
from editlane.preflight.folders import check_leases, check_results
from editlane.preflight.gpus import check_gpus, check_lanes
from editlane.preflight.machine import check_clock, check_limits, check_software, check_temp
from editlane.preflight.memory import check_memory
from editlane.preflight.models import check_models
from editlane.preflight.packages import check_missing_packages, check_packages
from editlane.preflight.weights import count_loaded_bytes


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a small project, no GPU, leases and a hub's cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPULEASE_DIR", str(tmp_path / "leases"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    write_project(tmp_path)
    return tmp_path


def only(findings: Any) -> Finding:
    (one,) = list(findings)
    return one


# findings


def test_a_check_that_breaks_is_a_finding_and_hides_no_other() -> None:
    found = run_checks({"odd": lambda _: 1 / 0, "good": lambda _: [Finding("pass", "good", "is good")]}, None)
    assert levels(found) == ["fail", "pass"]
    assert "odd" in found[0].what
    assert "ZeroDivisionError" in found[0].text
    assert format_counts(found) == "1 passed, 0 to look at, 1 failed"

    def refuses(_: None) -> list[Finding]:
        raise UserError("Fix this.")

    assert run_checks({"odd": refuses}, None) == [Finding("fail", "odd", "Fix this.")]


def test_findings_are_one_line_each_unless_a_terminal_is_narrow() -> None:
    found = [
        Finding("warn", "dataset", "没有 物理 环境 社会 因果 指代 " * 8, "Do this."),
        Finding("pass", "clock", "right"),
    ]
    assert len(format_findings(found, None)) == 2
    narrow = format_findings(found, 80)
    assert all(measure_width(line) <= 80 for line in narrow)
    assert [line[:7] for line in narrow][:2] == ["warn   ", "       "]


# GPUs and lanes


@pytest.fixture
def two_gpus(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_program(project / "bin/nvidia-smi", NVIDIA_SMI)
    monkeypatch.setenv("PATH", f"{project}/bin:{os.environ['PATH']}")
    return project


def test_gpus_are_listed_and_one_that_is_busy_without_a_lease_is_named(two_gpus: Path) -> None:
    free, busy = check_gpus(make_context(devices=find_devices()))
    assert (free.level, free.text) == ("pass", "2 visible: 2 x NVIDIA H200 (150.8 GB)")
    assert busy.level == "warn"
    assert "GPU 1 has 43.0 GB in use" in busy.text


@pytest.mark.parametrize("end", ["echo '2, [GPU is lost]'", "echo 'Unable to determine the device handle'; exit 15"])
def test_a_gpu_that_is_lost_is_warned_of(two_gpus: Path, end: str) -> None:
    write_program(two_gpus / "bin/nvidia-smi", f"{NVIDIA_SMI}\n{end}\n")
    listed, lost, _ = check_gpus(make_context(devices=find_devices()))
    assert (listed.level, listed.text[:9]) == ("pass", "2 visible")
    assert (lost.level, end.split("'")[1] in lost.text) == ("warn", True)


def test_one_more_line_of_nvidia_smi_is_no_lost_gpu(two_gpus: Path) -> None:
    write_program(two_gpus / "bin/nvidia-smi", f"{NVIDIA_SMI}\necho 'A newer driver is available'\n")
    assert [found.text[:9] for found in check_gpus(make_context(devices=find_devices()))] == ["2 visible", "GPU 1 has"]


def test_a_leased_and_a_struck_gpu_are_warned_of(two_gpus: Path) -> None:
    (two_gpus / "leases").mkdir()
    with (two_gpus / "leases/GPU-aaaa1111.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        struck = {"holder": "1", "trial": "", "strikes": ["run:x", "run:y"]}
        (two_gpus / "leases/GPU-bbbb2222.lock").write_text(json.dumps(struck))
        found = list(check_gpus(make_context(devices=find_devices())))
    assert levels(found) == ["pass", "warn", "warn"]
    assert "GPU 0 is held" in found[1].text
    assert "GPU 1 is quarantined because commands died on it" in found[2].text
    assert "`python scripts/gpulease.py --forgive GPU-bbbb2222`" in found[2].remedy


def test_hidden_gpus_are_counted(two_gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found = only(check_gpus(make_context(devices=find_devices())))
    assert (found.level, found.text) == (
        "pass",
        "1 visible: 1 x NVIDIA H200 (150.8 GB) (CUDA_VISIBLE_DEVICES hides 1 more)",
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    write_checkpoint(two_gpus / "model", 0.002)
    found = only(check_gpus(make_context(with_model("model"), devices=find_devices())))
    assert found.level == "warn"
    assert "CUDA_VISIBLE_DEVICES hides all 2" in found.text


@pytest.mark.parametrize(
    ("smi", "visible", "level", "reason"),
    [
        ("#!/bin/sh\necho 'Driver/library version mismatch'; exit 18", None, "fail", "Driver/library version mismatch"),
        (NVIDIA_SMI, "7", "fail", "CUDA_VISIBLE_DEVICES names the GPU 7"),
        ("#!/bin/sh\nexec sleep 60", None, "warn", "does not answer within 1 seconds"),
    ],
    ids=["driver", "unknown", "slow"],
)
def test_gpus_that_cannot_be_asked_are_told_of(
    two_gpus: Path, monkeypatch: pytest.MonkeyPatch, smi: str, visible: str | None, level: str, reason: str
) -> None:
    monkeypatch.setattr("editlane.preflight.devices._TIMEOUT", 1)
    write_program(two_gpus / "bin/nvidia-smi", smi)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    context = make_context(devices=find_devices())
    found = only(check_gpus(context))
    assert found.level == level
    assert reason in found.text
    assert levels(list(check_lanes(context))) == ["pass"]
    assert list(check_memory(context)) == []


def test_no_gpu_is_a_warning_for_a_model_that_was_trained_only(project: Path) -> None:
    assert only(check_gpus(make_context())).level == "pass"
    write_checkpoint(project / "model", 0.002)
    found = only(check_gpus(make_context(with_model("model"))))
    assert found.level == "warn"
    assert "big will run on the CPU in float32" in found.text
    (project / "model" / RANDOM_WEIGHTS_FILE).write_text("{}")
    assert only(check_gpus(make_context(with_model("model")))).level == "pass"


def test_fewer_lanes_than_gpus_leave_gpus_idle() -> None:
    gpus = [gpu(str(number)) for number in range(6)]
    found = only(check_lanes(make_context(gpus=gpus)))
    assert (found.level, found.text) == ("warn", "2 lanes on 6 GPUs: 4 stay idle")
    assert "lanes: 6" in found.remedy
    assert only(check_lanes(make_context(gpus=gpus, gpu_limit=2))).level == "pass"
    three = {name: {"adapter": "fake"} for name in "abc"}
    assert only(check_lanes(make_context(fake_config(editors=three), gpus=gpus))).level == "pass"
    asked = list(check_gpus(make_context(gpus=gpus, gpu_limit=8)))
    assert levels(asked) == ["pass", "warn"]


# memory


def test_weights_are_counted_in_the_dtype_of_the_run(project: Path) -> None:
    model = write_checkpoint(project / "model", 20)
    assert count_loaded_bytes(model, "bfloat16") == 40 * GB
    assert count_loaded_bytes(model, "float32") == 80 * GB
    write_weights(model / "unet/diffusion_pytorch_model.fp16.safetensors", "BF16", [10**9])
    assert count_loaded_bytes(model, "bfloat16") == 40 * GB  # the same weights again
    quantised = project / "quantised"
    write_weights(quantised / "model.safetensors", "U8", [10**9])
    (quantised / "config.json").write_text(json.dumps({"quantization_config": {}}))
    assert count_loaded_bytes(quantised, "bfloat16") == (quantised / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("sizes", "level", "text"),
    [
        (
            [80, 80],
            "pass",
            "weights 40.0 GB in bfloat16, and about 5.2 GB for activations and buffers; the smallest GPU has 80.0 GB",
        ),
        ([42, 80], "warn", "which is tight"),
        ([24, 80], "warn", "does not fit on GPU 0"),
        ([24, 24], "fail", "the smallest GPU has 24.0 GB"),
    ],
)
def test_gpu_memory_against_the_weights(project: Path, sizes: list[int], level: str, text: str) -> None:
    write_checkpoint(project / "model", 20)
    gpus = [gpu(str(number), size * GB) for number, size in enumerate(sizes)]
    found = next(iter(check_memory(make_context(with_model("model"), gpus=gpus))))
    assert found.level == level
    assert text in found.text
    assert bool(found.remedy) == (level != "pass")


def write_peak(project: Path, peak: int, stage: str = "edit", judge: str | None = None) -> None:
    """As a lane of the part `big` leaves it behind that had so many gigabytes allocated at most."""
    status = LaneStatus(
        stage=stage, editor="a" if judge else "big", judge=judge, lane=0, attempt=1, host="h", pid=1, device="x",
        total=1, kept=0, started=0.0, time=0.0, peak_memory=peak * GB,
    )  # fmt: skip
    path = project / f"results/试验/heartbeats/{stage}/big/lane0.1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(asdict(status)))


@pytest.mark.parametrize(
    ("peak", "size", "text"),
    [
        (70, 60, "and 70.0 GB peak in an earlier run in this folder"),
        (42, 43, "and about 5.2 GB for activations and buffers"),  # of another model of this name, perhaps
    ],
)
def test_a_higher_peak_of_an_earlier_run_counts_instead_of_the_allowance(
    project: Path, peak: int, size: int, text: str
) -> None:
    write_checkpoint(project / "model", 20)
    write_peak(project, peak)
    found = next(iter(check_memory(make_context(with_model("model"), gpus=[gpu(size=size * GB)]))))
    assert found.level == "warn"
    assert text in found.text and "tight" in found.text


@pytest.mark.parametrize(
    ("params", "level", "text"),
    [
        (
            {},
            "pass",
            "and about 5.2 GB for activations and buffers; the smallest GPU has 60.0 GB, of which vLLM takes 0.9",
        ),
        ({"gpu_memory_utilization": 0.7}, "warn", "of which vLLM takes 0.7, which is tight"),
        ({"gpu_memory_utilization": 0.5}, "fail", "of which vLLM takes 0.5"),
    ],
)
def test_vllm_is_given_its_share_of_a_gpu_whatever_was_measured(
    project: Path, params: dict[str, Any], level: str, text: str
) -> None:
    write_checkpoint(project / "model", 20)
    write_peak(project, 59, stage="score", judge="big")
    config = fake_config(judges={"big": {"adapter": "qwen3-vl", "engine": "vllm", "model": "model", "params": params}})
    found = next(iter(check_memory(make_context(config, gpus=[gpu(size=60 * GB)]))))
    assert (found.level, text in found.text) == (level, True)
    assert ("max_model_len" in found.remedy) == (level == "warn")
    assert "batch_tokens" not in found.remedy


@pytest.mark.parametrize(
    ("total", "available", "level"),
    [(400, 400, "pass"), (400, 100, "warn"), (60, 60, "fail")],
    ids=lambda one: str(one),
)
def test_host_memory_against_the_weights_where_there_is_no_gpu(
    project: Path, monkeypatch: pytest.MonkeyPatch, total: int, available: int, level: str
) -> None:
    write_checkpoint(project / "model", 20)
    monkeypatch.setattr(memory, "read_host_memory", lambda: (total * GB, available * GB))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    found = only(check_memory(make_context(with_model("model"))))
    assert found.level == level
    assert "weights 80.0 GB in float32 on the CPU" in found.text
    if level == "warn":
        assert "--resources gpu=1" in found.remedy


def test_host_memory_beside_gpus(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(project / "model", 20)
    monkeypatch.setattr(memory, "read_host_memory", lambda: (64 * GB, 6 * GB))
    context = make_context(with_model("model"), gpus=[gpu("0"), gpu("1")])
    assert levels(list(check_memory(context))) == ["pass", "warn"]


def write_qwen(folder: Path) -> None:
    """A checkpoint with a transformer of 12 GB in bfloat16, of which half becomes fp8, and a text encoder of 8 GB."""
    names = {"a": "transformer_blocks.0.attn.to_q.weight", "b": "transformer_blocks.0.img_mod.1.weight"}
    for shard, name in names.items():
        write_weights(folder / f"transformer/{shard}.safetensors", "BF16", [160_000, 18_752], name)
    write_weights(folder / "text_encoder/model.safetensors", "BF16", [4 * 10**9])
    write_weights(folder / "vae/diffusion_pytorch_model.safetensors", "BF16", [10**8])
    parts = {"transformer": ["diffusers", "T"], "text_encoder": ["transformers", "E"], "vae": ["diffusers", "V"]}
    for part in parts:
        (folder / part / "config.json").write_text("{}")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "QwenImageEditPlusPipeline"} | parts))


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "weights 20.2 GB in bfloat16, and"),
        ({"quantization": "fp8"}, "weights 17.2 GB in bfloat16 and fp8, and"),
        ({"offload": "model"}, "weights 12.0 GB in bfloat16 at once with offload: model, and"),
        ({"offload": "model", "quantization": "fp8"}, "weights 9.0 GB in bfloat16 and fp8 at once with offload"),
    ],
)
def test_weights_on_the_gpu_are_fewer_with_fp8_and_offload(project: Path, params: dict[str, str], text: str) -> None:
    write_qwen(project / "model")
    found = list(check_memory(make_context(with_model("model", **params), gpus=[gpu(size=80 * GB)])))
    assert text in found[0].text
    assert ("about 24.2 GB each, including weights that pass through host memory" in found[1].text) == bool(params)


def test_with_blocks_two_units_of_each_part_are_on_the_gpu_and_pinned_memory_is_not_swapped(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_qwen(project / "model")
    for block in range(1, 6):
        name = f"transformer_blocks.{block}.attn.to_q.weight"
        write_weights(project / f"model/transformer/{block}.safetensors", "BF16", [10**9], name)
    write_weights(project / "model/transformer/in.safetensors", "BF16", [10**8], "img_in.weight")
    for layer in range(4):
        name = f"model.layers.{layer}.mlp.weight"
        write_weights(project / f"model/text_encoder/model{layer}.safetensors", "BF16", [10**9], name)
    (project / "model/text_encoder/model.safetensors").unlink()
    monkeypatch.setattr(memory, "read_host_memory", lambda: (500 * GB, 500 * GB))
    monkeypatch.setattr(memory, "read_available_memory", lambda: 30 * GB)
    found = list(check_memory(make_context(with_model("model", offload="blocks"), gpus=[gpu(size=80 * GB)])))
    # the whole transformer would be 22.2 GB, of which the first block has 12; the text encoder's largest layer has 2
    assert "weights 26.4 GB" in found[0].text
    assert (found[1].level, "`offload: blocks` pins them" in found[1].text) == ("warn", True)
    monkeypatch.setattr(memory, "rounds_pinned_blocks", lambda: True)
    rounded = list(check_memory(make_context(with_model("model", offload="blocks"), gpus=[gpu(size=80 * GB)])))
    assert "rounds each block up" in rounded[1].text and "rounds each block up" not in found[1].text
    sizes = [float(one[1].text.partition(", about ")[2].partition(" GB each")[0]) - 4 for one in (found, rounded)]
    assert sizes[1] == pytest.approx(2 * sizes[0], abs=0.2)


def test_a_lora_is_fused_in_the_hosts_memory(project: Path) -> None:
    write_qwen(project / "model")
    write_weights(project / "a.safetensors", "BF16", [16])
    found = list(check_memory(make_context(with_model("model", lora="a.safetensors"), gpus=[gpu(size=80 * GB)])))
    assert "about 24.2 GB each, including weights that pass through host memory" in found[1].text


def test_a_lora_is_looked_for_and_needs_peft(
    project: Path, monkeypatch: pytest.MonkeyPatch, installed: Callable[[str, str | None], None]
) -> None:
    write_qwen(project / "model")
    write_weights(project / "画.safetensors", "BF16", [16])
    local = make_context(with_model("model", lora="画.safetensors"), gpus=[gpu()])
    assert "LoRA 画.safetensors" in list(check_models(local))[1].text
    installed("peft", None)
    assert any("lacks peft" in one.text for one in check_missing_packages(local))
    assert not any(
        "peft" in one.text for one in check_missing_packages(make_context(with_model("model"), gpus=[gpu()]))
    )
    monkeypatch.setenv("HF_HUB_CACHE", str(project / "hub"))
    far = make_context(with_model("model", lora="hf://a/b@c1/v/l.safetensors"), gpus=[gpu()])
    found = list(check_models(far))[1]
    assert (found.level, found.remedy[:41]) == ("warn", "`hf download a/b v/l.safetensors --revisi")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert list(check_models(far))[1].level == "fail"
    cached = project / "hub/models--a--b/snapshots/c1/v/l.safetensors"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert list(check_models(far))[1].level == "pass"


def test_the_memory_of_this_machine_is_read() -> None:
    total, available = memory.read_host_memory()
    assert 0 < available <= total


# models


def test_a_checkpoint_folder_is_complete_and_random_weights_are_named(project: Path) -> None:
    model = write_checkpoint(project / "model", 0.002)
    found = list(check_models(make_context(with_model("model"))))
    assert levels(found) == ["pass", "pass"]
    assert found[0].text == "editor big: model is complete, 4.0 MB"
    (model / RANDOM_WEIGHTS_FILE).write_text("{}")
    assert "random weights" in next(iter(check_models(make_context(with_model("model"))))).text


def test_pickled_weights_are_refused_in_a_folder_and_in_the_hubs_cache(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = write_checkpoint(project / "hub/models--a--b/snapshots/c1", 0.002)
    for file in (snapshot / "unet").glob("*.safetensors*"):
        file.unlink()
    (snapshot / "unet/diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(UserError, match=r"editors\.big: .* but the pickle .*allow_pickle: true"):
        make_context(with_model(str(snapshot)))
    make_context(with_model(str(snapshot), allow_pickle=True))
    monkeypatch.setenv("HF_HUB_CACHE", str(project / "hub"))
    for params, level in (({}, "fail"), ({"allow_pickle": True}, "pass")):
        config = with_model("a/b", **params)
        config["editors"]["big"]["revision"] = "c1"
        (found, *_) = check_models(make_context(config))
        assert (found.level, "but the pickle" in found.text) == (level, level == "fail")
        assert ("allow_pickle: true" in found.remedy) == (level == "fail")
    pickle = snapshot / "unet/diffusion_pytorch_model.bin"
    pickle.rename(pickle.with_suffix(".ckpt"))
    (found, *_) = check_models(make_context(config))
    assert (found.level, "convert it" in found.remedy, "allow_pickle" in found.remedy) == ("fail", True, False)


def test_a_half_built_tiny_model_is_warned_of(project: Path) -> None:
    config = with_model("resources/models/tiny-instruct-pix2pix")
    assert "built by the workflow" in next(iter(check_models(make_context(config)))).text
    (project / "resources/models/tiny-instruct-pix2pix").mkdir(parents=True)
    assert next(iter(check_models(make_context(config)))).level == "warn"


def test_a_hub_model_is_looked_for_in_the_cache(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> Finding:
        return next(iter(check_models(make_context(with_model("org/name")))))

    assert found().level == "warn"
    assert "`hf download org/name`" in found().remedy
    cache = project / "hub/models--org--name"
    snapshot = write_checkpoint(cache / "snapshots/abc123", 0.002)
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text("abc123")
    assert found().level == "pass"
    assert "not pinned" in found().text
    (snapshot / "unet/diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    assert found().level == "warn"
    assert "incomplete" in found().text
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
        assert found().level == "fail"
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value", "folder"),
    [
        ("HF_HUB_CACHE", "~/缓存", "缓存"),
        ("HUGGINGFACE_HUB_CACHE", "$HOME/old", "old"),
        ("HF_HOME", "~/hf", "hf/hub"),
        ("XDG_CACHE_HOME", "~/.other", ".other/huggingface/hub"),
    ],
)
def test_the_hubs_cache_is_where_huggingface_hub_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, folder: str
) -> None:
    for other in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(name, value)
    assert find_hub_cache() == tmp_path / folder


# packages


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str | None], None]:
    """`installed(name, version)`: what this Python has, apart from the pins; None: not there."""
    changed: dict[str, str | None] = {}
    pins = {name: pin for env in Path("envs").glob("*.yaml") for name, pin in read_pip_pins(env).items()}
    monkeypatch.setattr(packages, "_find_version", lambda name: (pins | changed)[name])
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    return changed.__setitem__


def test_packages_as_pinned_other_and_missing(project: Path, installed: Callable[[str, str | None], None]) -> None:
    write_checkpoint(project / "model", 0.002)
    context = make_context(with_model("model"))
    installed("transformers", read_pip_pins(Path("envs/edit.yaml"))["transformers"])
    installed("torch", read_pip_pins(Path("envs/edit.yaml"))["torch"] + "+cpu")
    installed("nvidia-ml-py", None)
    found = list(check_packages(context))
    assert levels(found) == ["pass"] * 4
    assert "without nvidia-ml-py (optional)" in found[2].text
    installed("diffusers", "0.1.0")
    assert levels(list(check_packages(context))) == ["pass", "pass", "warn", "pass"]
    installed("tokenizers", None)
    assert "no tokenizers" in list(check_packages(context))[2].text
    installed("diffusers", None)
    found = list(check_packages(context))
    assert levels(found) == ["pass", "pass", "pass", "fail"]
    assert found[3].text == "envs/edit.yaml (big) is incomplete: this Python lacks diffusers"
    assert levels(list(check_missing_packages(context))) == ["fail"]


def test_adapters_without_a_model_need_no_model_library(installed: Callable[[str, str | None], None]) -> None:
    for name in ("torch", "transformers", "diffusers", "huggingface-hub"):
        installed(name, None)
    assert "fail" not in levels(list(check_packages(make_context())))


def test_a_package_that_only_another_program_needs_stops_no_run(installed: Callable[[str, str | None], None]) -> None:
    for name in ("rich", "snakemake"):
        installed(name, None)
    assert list(check_missing_packages(make_context())) == []
    workflow, *_ = check_packages(make_context())
    assert workflow.level == "warn"
    assert workflow.text == "envs/workflow.yaml: no snakemake, no rich, which only watch_lanes.py needs"


def test_a_report_without_evalica_is_told_before_the_lanes_work(installed: Callable[[str, str | None], None]) -> None:
    installed("evalica", None)
    assert levels(list(check_missing_packages(make_context()))) == ["fail"]


def test_what_the_report_imports_stops_a_run_before_its_lanes_work(
    installed: Callable[[str, str | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("scikit-image", None)
    assert list(check_missing_packages(make_context(fake_config(preservation=False)))) == []
    found = only(check_missing_packages(make_context(fake_config(preservation=True))))
    assert (found.level, found.text) == ("fail", "envs/report.yaml is incomplete: this Python lacks scikit-image")
    monkeypatch.setattr(packages, "find_spec", lambda name: name == "skimage" or None)  # packed by someone else
    assert list(check_missing_packages(make_context(fake_config(preservation=True)))) == []


def test_a_model_whose_work_is_done_needs_no_library(
    project: Path, installed: Callable[[str, str | None], None]
) -> None:
    write_checkpoint(project / "model", 0.002)
    config = with_model("model")
    installed("diffusers", None)
    assert levels(list(check_missing_packages(make_context(config)))) == ["fail"]
    run = project / "results/试验"
    prepare(project, run)
    assert levels(list(check_missing_packages(make_context(config)))) == ["fail"]
    options = config["editors"]["big"] | {"revision": None}
    lane = EditorSpec.of(run, "big", 42, options)
    failed = dict.fromkeys(schemas.EDIT_COLUMNS) | {"state": "edit_failed", "error_kind": "x"}
    with Journal(run / "journal/edit/big", "lane0") as journal:
        journal.finish({lane.key(item): failed for item in tables.read_items(run / "items.parquet")})
    assert list(check_missing_packages(make_context(config))) == []


def test_a_torch_for_the_cpu_on_a_machine_with_gpus_is_a_failure(
    project: Path, installed: Callable[[str, str | None], None]
) -> None:
    write_checkpoint(project / "model", 0.002)
    installed("torch", "2.13.0+cpu")
    found = only(check_missing_packages(make_context(with_model("model"), gpus=[gpu()])))
    assert (found.level, found.text) == ("fail", "torch 2.13.0+cpu is built for the CPU and cannot use 1 GPU")


def test_with_conda_the_client_and_its_environments_are_looked_at(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(project / "bin"))
    context = make_context(conda=True)
    assert levels(list(check_packages(context))) == ["fail", "pass"]
    write_program(project / "bin/conda", "#!/bin/sh\necho conda 23.1.0")
    assert "older than 24.7.1" in next(iter(check_packages(context))).text
    write_program(project / "bin/conda", "#!/bin/sh\necho conda 24.11.3")
    client, environments = check_packages(context)
    assert (client.level, client.text) == ("pass", "conda 24.11.3")
    assert "create envs/workflow.yaml" in environments.text
    for number, env in enumerate(("workflow", "report", "edit", "qwen3")):
        (project / f".snakemake/conda/{number}_").mkdir(parents=True)
        (project / f".snakemake/conda/{number}_.yaml").write_bytes(Path(f"envs/{env}.yaml").read_bytes())
    assert list(check_packages(context))[1].text == "all 4 environments exist"
    assert list(check_missing_packages(context)) == []


# dataset and prompts


def test_a_dataset_is_read_whole_and_nothing_is_written(project: Path) -> None:
    before = sorted(project.rglob("*"))
    found = list(check_dataset(make_context()))
    assert levels(found) == ["pass", "pass"]
    assert found[0].text == "资料/items.jsonl: 6 items (物理 3, 因果 3)"
    assert found[1].text.startswith("6 headers of 6 read")
    assert sorted(set(project.rglob("*")) - {project / "config.yaml"}) == before


def test_images_inside_the_dataset_are_looked_at(project: Path) -> None:
    picture = base64.b64encode((project / "资料/图 1.png").read_bytes()).decode()
    record = {"category": "物理", "instruction": "x"}
    images = [picture, "Tk9UIEFOIElNQUdF" * 8]
    (project / "资料/items.jsonl").write_text("".join(json.dumps(record | {"image": one}) + "\n" for one in images))
    config = fake_config(dataset={"path": "资料/items.jsonl", "categories": ["物理"]})
    records, found = check_dataset(make_context(config))
    assert (records.level, found.level) == ("pass", "warn")
    assert "1 cannot be decoded: record 2 (line 2)" in found.text


def test_every_image_of_an_item_is_looked_at(project: Path) -> None:
    record = {"category": "物理", "instruction": "x", "images": ["图 1.png", "图 2.png"]}
    (project / "资料/items.jsonl").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    config = fake_config(dataset={"path": "资料/items.jsonl", "categories": ["物理"]})
    _, found = check_dataset(make_context(config))
    assert found.text.startswith("2 headers of 2 read")


def test_what_is_doubtful_in_a_dataset_is_a_warning(project: Path) -> None:
    dataset = {"path": "资料/items.jsonl", "language": "zh", "categories": ["物理", "指代"]}
    found = list(check_dataset(make_context(fake_config(dataset=dataset))))
    assert levels(found) == ["warn", "warn", "pass"]
    assert "skipped because of their category: 因果 3: no item in 指代" in found[0].text
    assert "3 of 3 items" in found[1].text


def test_a_mistake_in_a_dataset_is_a_failure(project: Path) -> None:
    (project / "资料/图 3.png").unlink()
    found = only(check_dataset(make_context()))
    assert found.level == "fail"
    assert "图 3.png (record 4 (line 4), item_id 'i3')" in found.text
    with (project / "资料/items.jsonl").open("a") as file:
        file.write('{"category": "物理"')
    assert "broken JSON" in only(check_dataset(make_context())).text


def test_unreadable_images_are_named(project: Path) -> None:
    (project / "资料/图 2.png").write_text("no image")
    assert levels(list(check_dataset(make_context()))) == ["pass", "warn"]
    for path in (project / "资料").glob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    assert levels(list(check_dataset(make_context()))) == ["pass", "fail"]


def test_a_long_dataset_is_read_for_some_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "IMAGE_SECONDS", 0.0)
    records, images = check_dataset(make_context())
    assert records.text.endswith("(物理 3, 因果 3)")
    assert images.text.startswith("0 headers of 6 read, 0 images decoded")
    monkeypatch.setattr(scan, "RECORD_SECONDS", 0.0)
    assert "before the end of the dataset" in next(iter(check_dataset(make_context()))).text


def test_the_demos_photos_need_not_be_there_yet(project: Path) -> None:
    (project / "resources/demo").mkdir()
    (project / "resources/demo/items.jsonl").write_text("{}")
    config = fake_config(dataset={"path": "resources/demo/items.jsonl", "categories": ["物理"]})
    assert only(check_dataset(make_context(config))).level == "pass"


def test_the_prompts_are_named() -> None:
    found = only(check_prompts(make_context()))
    assert found.level == "pass"
    assert "rubrics for 物理, 因果" in found.text


# disk, results, leases


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """`free(bytes, inodes)`: what the file system has left."""

    def left(size: int, inodes: int = 10**6) -> None:
        values = SimpleNamespace(f_bavail=size, f_frsize=1, f_files=10**7, f_favail=inodes)
        monkeypatch.setattr(disk.os, "statvfs", lambda _: values)

    return left


def test_disk_against_the_expected_output(free: Callable[..., None]) -> None:
    context = make_context()
    expected = disk.estimate_output(context, context.scan)
    assert expected is not None
    edits = sum(60 * (40 + number) * 2 for number in range(6))
    sources = sum(path.stat().st_size for path in Path("资料").glob("*.png"))
    assert expected.size == edits + sources + 6 * 2 * disk.ROW_BYTES
    for size, level in ((2 * expected.size, "pass"), (expected.size, "warn"), (expected.size // 5, "fail")):
        free(size)
        assert only(check_disk(context, context.scan)).level == level
    free(2 * expected.size, 11)
    assert levels(list(check_disk(context, context.scan))) == ["pass", "fail"]


def test_disk_without_a_scan_is_only_nearly_full_or_not(free: Callable[..., None]) -> None:
    free(10**10)
    assert only(check_disk(make_context(), None)).level == "pass"
    free(10**8)
    assert only(check_disk(make_context(), None)).level == "warn"


def test_edits_that_are_there_are_not_written_again(project: Path) -> None:
    images = project / "results/试验/a/images/物理"
    images.mkdir(parents=True)
    for number in range(4):
        (images / f"i{number}.png").write_bytes(bytes(1000))
    context = make_context()
    sources = sum(path.stat().st_size for path in Path("资料").glob("*.png"))
    expected = disk.estimate_output(context, context.scan)
    assert expected is not None
    assert expected.size == sources + 2 * (1000 + 2 * disk.ROW_BYTES)
    assert "as large as the existing edits" in str(expected)


def test_results_can_be_written_and_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(check_results(make_context())).level == "pass"

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folders.fcntl, "flock", no_locks)
    assert only(check_results(make_context())).level == "warn"

    def read_only(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    found = only(check_results(make_context()))
    assert found.level == "fail"
    assert "Read-only file system" in found.text


def test_leases_are_this_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(check_leases(make_context())).level == "pass"
    monkeypatch.setattr(folders, "find_file_system", lambda _: "nfs4")
    assert only(check_leases(make_context())).level == "warn"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert only(check_leases(make_context())).level == "fail"


def test_the_type_of_a_file_system_is_read() -> None:
    assert folders.find_file_system(Path("/proc/self")) == "proc"


# the machine


def test_files_from_the_future_and_an_implausible_year_are_warned_of(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context()
    assert only(check_clock(context)).level == "pass"
    ahead = time.time() + 3600
    os.utime(project / "资料/items.jsonl", (ahead, ahead))
    found = only(check_clock(context))
    assert found.level == "warn"
    assert "dated later: 资料/items.jsonl" in found.text
    monkeypatch.setattr(machine.time, "time", lambda: 1000.0)
    assert "1970-01-01" in only(check_clock(context)).text


def test_a_temporary_folder_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(check_temp(make_context())).level == "pass"
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    found = only(check_temp(make_context()))
    assert found.level == "fail"
    assert "TMPDIR" in found.remedy


def test_few_open_files_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (4096, 4096))
    assert only(check_limits(make_context())).level == "pass"
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (256, -1))
    found = only(check_limits(make_context()))
    assert found.level == "warn"
    assert "ulimit -n 1024" in found.remedy


def test_an_old_snakemake_fails_and_none_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(check_software(make_context())).level == "pass"
    monkeypatch.setattr(machine, "version", lambda _: "8.30.0")
    assert only(check_software(make_context())).level == "fail"
    monkeypatch.setattr(machine, "version", lambda name: packages.version("no-such-package"))
    assert only(check_software(make_context())).level == "warn"
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    assert only(check_software(make_context())).level == "fail"


def test_no_devices_are_known_without_nvidia_smi(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_devices() == Devices()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1,MIG-2")
    assert [one.label for one in find_devices().gpus] == ["MIG-1", "MIG-2"]
    assert not (project / "leases").exists()  # looking makes none


def test_a_folder_of_locks_that_lanes_would_refuse_is_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "own")
    monkeypatch.setenv("GPULEASE_DIR", str(tmp_path / "link"))
    found = only(check_leases(make_context()))
    assert (found.level, "is a link" in found.text) == ("fail", True)


def test_a_folder_of_locks_that_cannot_be_there_is_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPULEASE_DIR", str(tmp_path / "file/leases"))
    found = only(check_leases(make_context()))
    assert (found.level, "file/leases: Not a directory" in found.text) == ("fail", True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "file/leases: Not a directory" in str(find_devices().problem)


def test_a_folder_of_locks_above_which_this_user_may_not_look_is_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, opened, looked = tmp_path / "secret/leases", os.open, Path.stat

    def deny(path: object) -> None:
        if str(path).startswith(f"{tmp_path}/secret/"):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setenv("GPULEASE_DIR", str(place))
    monkeypatch.setattr(os, "open", lambda path, *rest, **named: deny(path) or opened(path, *rest, **named))
    monkeypatch.setattr(Path, "stat", lambda path, **named: deny(path) or looked(path, **named))
    found = only(check_leases(make_context()))
    assert (found.level, "Permission denied" in found.text) == ("fail", True)
