"""What a judge saw in a source image, kept for the judging of other editors: same numbers, nothing seen twice."""

import random
import threading

import pytest
import torch
from adapters import built
from PIL import Image

from editlane.core.types import Question
from editlane.judges.qwen3_vl.feature_store import UNWRITTEN, FeatureStore
from editlane.judges.qwen3_vl.transformers_engine import Qwen3VLJudge

DIGITS = tuple("0123456789")


def picture(seed):
    return Image.frombytes("RGB", (64, 96), random.Random(seed).randbytes(3 * 64 * 96))


def question(source, edited):
    return Question(system="Judge.", parts=("Source:\n", picture(source), "\nEdited:\n", picture(edited), "0 to 9?"))


def load(model, **params):
    return built(Qwen3VLJudge, model=str(model), params=params)


def ask(a_judge, *asked):
    """The readouts, and how many images were looked at for them."""
    looked = []
    hook = a_judge.model.model.visual.register_forward_pre_hook(lambda _, pixels: looked.append(1))
    found = a_judge.read_out(a_judge.prepare([[one] for one in asked]), DIGITS)
    hook.remove()
    if a_judge.prefill.store:
        a_judge.prefill.store._writer.submit(lambda: None).result()
    return found, len(looked)


def test_another_process_does_not_look_at_the_sources_again(tiny_model, tmp_path):
    model, folder = tiny_model("qwen3-vl"), tmp_path / "特征"
    first, second = question(1, 2), question(1, 3)
    plain, looked = ask(load(model), first, second)
    assert looked == 3
    stored, looked = ask(load(model, features_dir=str(folder)), first, second)
    assert (stored, looked) == (plain, 3)
    assert len(list(folder.rglob("*.safetensors"))) == 1  # the source; edits are nobody else's
    other = load(model, features_dir=str(folder))
    assert ask(other, first, second) == (plain, 2)
    assert ask(other, first) == (ask(load(model), first)[0], 0)
    assert not list(folder.rglob("*.partial"))


def test_another_precision_has_features_of_its_own(tiny_model, tmp_path):
    ask(load(tiny_model("qwen3-vl"), features_dir=str(tmp_path)), question(1, 2))
    judged = load(tiny_model("qwen3-vl"), features_dir=str(tmp_path), dtype="bfloat16")
    assert ask(judged, question(1, 2))[1] == 2
    (kept,) = judged.prefill.store.folder.rglob("*.safetensors")
    assert judged.prefill.store.read(bytes.fromhex(kept.stem)).dtype == torch.bfloat16


def test_a_damaged_file_costs_only_time(tiny_model, tmp_path):
    model = tiny_model("qwen3-vl")
    plain, _ = ask(load(model, features_dir=str(tmp_path)), question(1, 2))
    (kept,) = tmp_path.rglob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-8])
    assert ask(load(model, features_dir=str(tmp_path)), question(1, 2)) == (plain, 2)
    assert ask(load(model, features_dir=str(tmp_path)), question(1, 2)) == (plain, 1)  # repaired


def test_a_slow_folder_does_not_fill_the_device(tmp_path, monkeypatch):
    store, open_door = FeatureStore(tmp_path), threading.Event()
    write = store._write
    monkeypatch.setattr(store, "_write", lambda *what: (open_door.wait(10), write(*what)))
    for number in range(3 * UNWRITTEN):
        store.write(bytes([number]), torch.zeros(2, 3, 4))
    assert store._writer._work_queue.qsize() < UNWRITTEN
    open_door.set()
    store._writer.submit(lambda: None).result()
    assert len(list(tmp_path.rglob("*.safetensors"))) == UNWRITTEN
    monkeypatch.undo()
    store.write(b"later", torch.zeros(2, 3, 4))
    store._writer.submit(lambda: None).result()
    assert store.read(b"later") is not None


def test_a_folder_that_cannot_be_written_to_is_told_once(tmp_path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").write_text("in the way")
    store = FeatureStore(tmp_path / "file" / "features")
    for digest in (b"one", b"two"):
        store.write(digest, torch.zeros(2, 3, 4))
        store._writer.submit(lambda: None).result()
    assert [record.message.split(":")[0] for record in caplog.records] == [
        f"cannot store image features in {tmp_path}/file/features"
    ]
    assert store.read(b"one") is None
