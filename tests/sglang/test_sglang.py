"""The editor behind a server against a real SGLang on the CPU, with a tiny Qwen-Image-Edit of random weights."""

import io
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import psutil
import pytest
import requests
from adapters import built
from images_double import KNOWN, serving_images
from PIL import Image
from real_edit_server import MODEL, ROOT, find_free_port, make_request, nothing, serving_tiny_model

from editlane.core.errors import EditFailed, UserError
from editlane.editors.served.openai_engine import ServedEditor

pytestmark = pytest.mark.sglang


class Server(NamedTuple):
    url: str
    pid: int


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("sglang"), find_free_port()
    command = [ROOT / ".venv-sglang/bin/sglang", "serve", "--model-type", "diffusion", "--model-path", folder / "tiny"]
    command += ["--model-id", "Qwen-Image-Edit-2511", "--served-model-name", MODEL, "--warmup-mode", "off"]
    command += ["--output-path", "", "--input-save-path", "", "--host", "127.0.0.1", "--port", port]
    own = {"SGLANG_DIFFUSION_PLATFORM_OVERRIDE": "cpu", "HF_HUB_OFFLINE": "1"}
    address = f"http://127.0.0.1:{port}/v1"
    with serving_tiny_model(command, own, folder, address, make_editor) as process:
        yield Server(address, process.pid)


def make_editor(address: str, model: str = MODEL, **params: Any) -> ServedEditor:
    options = {"dialect": "sglang", "base_url": address, "size": "256x256", "num_inference_steps": 2}
    options |= {"true_cfg_scale": 1.0, "attempts": 1}
    return built(ServedEditor, model=model, params=options | params)


def edit(editor: ServedEditor, **request: Any) -> bytes:
    return editor.edit(make_request(**request)).image.tobytes()


def test_a_real_server_uses_the_seed_and_ignores_what_it_does_not_know(server: Server) -> None:
    editor = make_editor(server.url)
    editor.try_server(nothing, nothing)
    found = editor.edit(make_request())
    assert (found.seed_used, found.fields_ignored) == (True, True)
    assert found.image.size == found.requested_size == (256, 256)


def test_it_says_which_checkpoint_it_has_beside_its_name(server: Server) -> None:
    words = make_editor(server.url).words
    assert words == make_editor(server.url).words
    assert words["root"] == MODEL
    assert words["model_path"].endswith("/tiny")
    assert (words["pipeline_class"], words["task_type"]) == ("QwenImageEditPlusPipeline", "I2I")


def test_edits_that_are_asked_for_at_once_are_those_asked_for_alone(server: Server) -> None:
    editor = make_editor(server.url)
    alone = [edit(editor, seed=seed) for seed in (1, 2, 3)]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda seed: edit(editor, seed=seed), (1, 2, 3)))
    assert together == alone
    assert len(set(alone)) == 3


def test_further_images_change_the_edit(server: Server) -> None:
    editor = make_editor(server.url)
    assert edit(editor) != edit(editor, references=(Image.new("RGB", (64, 64), "red"),))


def test_guidance_has_two_names_and_the_negative_prompt_counts_with_it(server: Server) -> None:
    strong = edit(make_editor(server.url, true_cfg_scale=4.0))
    assert strong == edit(make_editor(server.url, true_cfg_scale=None, guidance_scale=4.0))
    assert strong == edit(make_editor(server.url, true_cfg_scale=None)), "4 is its default"
    assert strong != edit(make_editor(server.url))
    assert strong != edit(make_editor(server.url, true_cfg_scale=4.0, negative_prompt="a hat"))


def test_it_chooses_about_a_megapixel(server: Server) -> None:
    assert make_editor(server.url, size="auto").edit(make_request()).image.size == (1248, 832)


def test_a_size_that_the_model_cannot_make_is_noticed(server: Server) -> None:
    with pytest.raises(UserError, match=r"asked for an image of 100x70 pixels and answered with 96x64"):
        make_editor(server.url, size="100x70").try_server(nothing, nothing)


def test_only_its_list_tells_that_a_model_is_not_served(server: Server) -> None:
    with pytest.raises(UserError, match="does not serve this model"):
        make_editor(server.url, model="another")
    editor = make_editor(server.url)
    right = edit(editor)
    editor.edits = replace(editor.edits, connection=editor.edits.connection._replace(model="another"))
    assert edit(editor) == right


def test_it_does_not_say_why_the_model_failed(server: Server) -> None:
    with pytest.raises(EditFailed, match="HTTP 500: Internal Server Error") as error:
        edit(make_editor(server.url), instruction="天" * 3000)
    assert error.value.kind == "transport"
    edit(make_editor(server.url))


# --- the double


def send(url: str, with_image: bool = True, **changed: str | None) -> requests.Response:
    fields = {"prompt": "红", "model": MODEL, "size": "64x32", "seed": "7", "num_inference_steps": "1", "n": "1"}
    fields |= {"output_format": "png", "response_format": "b64_json"}
    form: list[Any] = [(name, (None, value)) for name, value in {**fields, **changed}.items() if value is not None]
    encoded = io.BytesIO()
    make_request().source.save(encoded, format="PNG")
    files = [("image", ("0.png", encoded.getvalue(), "image/png"))] if with_image else []
    return requests.post(f"{url}/images/edits", files=form + files, timeout=60)


@pytest.mark.parametrize(
    "changed",
    [
        {"with_image": False},
        {"prompt": None},
        {"prompt": ""},
        {"seed": "x"},
        {"size": "auto"},
        {"size": "0x64"},
        {"response_format": "xml"},
    ],
    ids=str,
)
def test_the_double_refuses_in_the_words_of_the_real_server(server: Server, changed: dict[str, Any]) -> None:
    real = send(server.url, **changed)
    with serving_images("sglang") as double:
        ours = send(double.url, **changed)
    assert (ours.status_code, ours.json()) == (real.status_code, real.json())
    assert real.status_code in (400, 422)


def test_the_double_answers_in_the_form_of_the_real_server(server: Server) -> None:
    with serving_images("sglang") as double:
        ours, listed = send(double.url).json(), requests.get(f"{double.url}/models", timeout=60).json()
    real, real_listed = send(server.url).json(), requests.get(f"{server.url}/models", timeout=60).json()
    assert ours.keys() == real.keys()
    assert ours["data"][0].keys() == real["data"][0].keys()
    assert real["data"][0]["file_path"] is None, "it keeps no edit if it is told so"
    assert listed["data"][0].keys() == real_listed["data"][0].keys()


def test_the_double_knows_the_fields_of_the_real_server(server: Server) -> None:
    schemas = requests.get(f"{server.url.removesuffix('/v1')}/openapi.json", timeout=60).json()["components"]["schemas"]
    (fields,) = (one["properties"] for name, one in schemas.items() if "_edits_" in name)
    assert KNOWN["sglang"] == fields.keys() - {"image", "image[]", "url[]"}


# --- at its end


def test_a_server_whose_model_has_ended_ends_the_lane(server: Server) -> None:
    editor = make_editor(server.url, attempts=3)
    (worker,) = (one for one in psutil.Process(server.pid).children() if "scheduler" in " ".join(one.cmdline()))
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(UserError, match=r"makes no more edits .*exited; restart the server"):
        editor.edit(make_request())
    assert make_editor(server.url).words, "its list does not tell"
