"""The editor behind a server against a real vLLM-Omni on the CPU, with a tiny Qwen-Image-Edit of random weights."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from adapters import built
from PIL import Image
from real_edit_server import MODEL, ROOT, find_free_port, make_request, nothing, serving_tiny_model

from editlane.core.errors import EditFailed, UserError
from editlane.editors.served.openai_engine import ServedEditor

pytestmark = pytest.mark.omni


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("omni"), find_free_port()
    command = [ROOT / ".venv-omni/bin/vllm", "serve", folder / "tiny", "--omni", "--host", "127.0.0.1", "--port", port]
    command += ["--served-model-name", MODEL, "--dtype", "float32"]
    own = {"VLLM_TARGET_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    address = f"http://127.0.0.1:{port}/v1"
    with serving_tiny_model(command, own, folder, address, make_editor):
        yield address


def make_editor(address: str, model: str = MODEL, **params: Any) -> ServedEditor:
    options = {"dialect": "vllm-omni", "base_url": address, "size": "256x256", "num_inference_steps": 2}
    options |= {"true_cfg_scale": 1.0, "attempts": 1}
    return built(ServedEditor, model=model, params=options | params)


def test_a_real_server_uses_the_seed_and_ignores_what_it_does_not_know(url: str) -> None:
    editor = make_editor(url)
    editor.try_server(nothing, nothing)
    edit = editor.edit(make_request())
    assert (edit.seed_used, edit.fields_ignored) == (True, True)
    assert edit.image.size == edit.requested_size == (256, 256)
    assert editor.words["root"].endswith("/tiny")
    assert editor.words == make_editor(url).words


def test_edits_that_are_asked_for_at_once_are_those_asked_for_alone(url: str) -> None:
    editor = make_editor(url)
    alone = [editor.edit(make_request(seed)).image.tobytes() for seed in (1, 2, 3)]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda seed: editor.edit(make_request(seed)).image.tobytes(), (1, 2, 3)))
    assert together == alone
    assert len(set(alone)) == 3


def test_further_images_change_the_edit(url: str) -> None:
    editor = make_editor(url)
    references = (Image.new("RGB", (64, 64), "red"),)
    assert (
        editor.edit(make_request()).image.tobytes() != editor.edit(make_request(references=references)).image.tobytes()
    )


def test_a_size_that_the_model_cannot_make_is_noticed(url: str) -> None:
    with pytest.raises(UserError, match=r"asked for an image of 100x70 pixels and answered with 96x64"):
        make_editor(url, size="100x70").try_server(nothing, nothing)


def replace_model(editor: ServedEditor) -> ServedEditor:
    """Ask for a model that the server has not, although its list was right."""
    editor.edits = replace(editor.edits, connection=editor.edits.connection._replace(model="another"))
    return editor


def test_what_it_rejects_is_told_in_its_words(url: str) -> None:
    with pytest.raises(UserError, match="does not serve this model"):
        make_editor(url, model="another")
    with pytest.raises(EditFailed, match="HTTP 400: Model mismatch"):
        replace_model(make_editor(url)).edit(make_request())
