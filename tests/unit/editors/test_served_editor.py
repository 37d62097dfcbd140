"""The editor behind a server, against doubles of vLLM-Omni, SGLang and OpenAI: what is sent, read and refused."""

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from adapters import built, checked
from images_double import KNOWN, MODEL, ImagesDouble, Refusal, encode, serving_images
from PIL import Image

from editlane.core.errors import EditFailed, EditRefused, ItemError, Stopped, UserError
from editlane.core.types import EditRequest, Item
from editlane.editors.served.openai_engine import ServedEditor
from editlane.editors.served.params import ServedParams
from editlane.endpoint import http as endpoints
from editlane.endpoint.served_models import NoAnswer

SMALL = "64x32"
DIALECTS = ("vllm-omni", "sglang", "openai")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "FIRST_PAUSE", 0)


@pytest.fixture
def double() -> Iterator[ImagesDouble]:
    with serving_images() as server:
        yield server


class Count:
    """What the editor told of its requests."""

    def __init__(self, most: float = float("inf")) -> None:
        self.requests = self.images = 0
        self.most = most

    def request(self) -> None:
        if self.requests >= self.most:
            raise UserError("spent")
        self.requests += 1

    def image(self) -> None:
        self.images += 1


def make_request(instruction: str = "把天空变成红色", count: Count | None = None, **changed: Any) -> EditRequest:
    item = Item(
        item_id="项-1",
        category="物理",
        instruction=instruction,
        language="zh",
        source_path="",
        source_sha256="",
        width=90,
        height=60,
        cost=1.0,
    )
    hooks = {"on_request": count.request, "on_image": count.image} if count else {}
    options: dict[str, Any] = {
        "source": Image.linear_gradient("L").resize((90, 60)).convert("RGB"),
        "given": None,
        "seed": 4_294_967_295,
        "on_step": lambda step, steps: None,
    }
    return EditRequest(item=item, **options | hooks | changed)


def make_editor(double: ImagesDouble, count: Count | None = None, **params: Any) -> ServedEditor:
    """Build an editor and try its server, as a lane does."""
    editor, count = build_editor(double, **params), count or Count()
    editor.try_server(count.request, count.image)
    return editor


def build_editor(double: ImagesDouble, **params: Any) -> ServedEditor:
    size = {} if double.dialect == "openai" else {"size": SMALL}
    options = {"dialect": double.dialect, "base_url": double.url, "attempts": 2, "timeout": 20} | size | params
    return built(ServedEditor, model=MODEL, params=options)


def fail(editor: ServedEditor, request: EditRequest | None = None) -> ItemError:
    with pytest.raises(ItemError) as error:
        editor.edit(request or make_request())
    return error.value


# --- what is sent


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_edit_is_asked_for_in_the_fields_of_the_dialect_and_read_from_base64(dialect: str) -> None:
    with serving_images(dialect) as double:
        edit = make_editor(double).edit(make_request())
        (sent,), (files,) = double.edits, double.images[-1:]
    assert set(sent) <= KNOWN[dialect]
    assert (sent["prompt"], sent["model"], sent["n"], sent["output_format"]) == ("把天空变成红色", MODEL, "1", "png")
    assert sent.get("seed") == (None if dialect == "openai" else "4294967295")
    assert sent.get("response_format") == (None if dialect == "openai" else "b64_json")
    assert sent["size"] == ("auto" if dialect == "openai" else SMALL)
    assert [name for name, _ in files] == ["image"]
    with Image.open(io.BytesIO(files[0][1])) as shown:
        assert (shown.format, shown.mode, shown.size) == ("PNG", "RGB", (90, 60))
        assert shown.tobytes() == make_request().source.tobytes()
    assert edit.image.mode == "RGB"
    assert edit.image.size == ((90, 60) if dialect == "openai" else (64, 32))
    assert edit.requested_size == (None if dialect == "openai" else (64, 32))
    assert edit.seed_used is (dialect != "openai")
    assert edit.fields_ignored is (dialect != "openai")


def test_settings_of_a_diffusion_model_are_sent_if_they_are_set(double: ImagesDouble) -> None:
    settings = {"num_inference_steps": 4, "guidance_scale": 1.5, "true_cfg_scale": 4.0, "negative_prompt": "模糊"}
    make_editor(double, **settings).edit(make_request())
    assert double.edits[0].items() >= {name: str(value) for name, value in settings.items()}.items()
    make_editor(double).edit(make_request())
    assert double.edits[1].keys().isdisjoint(settings)


def test_openais_quality_is_sent() -> None:
    with serving_images("openai") as double:
        make_editor(double, quality="low", size="1024x1024").edit(make_request())
    assert (double.edits[0]["quality"], double.edits[0]["size"]) == ("low", "1024x1024")


def test_further_images_follow_the_source_in_their_order(double: ImagesDouble) -> None:
    references = tuple(Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    make_editor(double).edit(make_request(references=references))
    names, files = zip(*double.images[-1], strict=True)
    assert names == ("image[]",) * 3
    sizes = [Image.open(io.BytesIO(file)).size for file in files]
    assert sizes == [(90, 60), (8, 8), (8, 8)]
    assert Image.open(io.BytesIO(files[1])).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("source", "size"), [((1024, 1024), (1024, 1024)), ((1920, 1080), (1376, 768)), ((100, 1), (10240, 96))]
)
def test_the_sources_aspect_ratio_is_asked_for_in_multiples_of_32(
    double: ImagesDouble, source: tuple[int, int], size: tuple[int, int]
) -> None:
    edit = build_editor(double, size="aspect").edit(make_request(source=Image.new("RGB", source)))
    assert edit.requested_size == edit.image.size == size


def test_a_server_may_choose_the_size(double: ImagesDouble) -> None:
    edit = make_editor(double, size="auto").edit(make_request())
    assert double.edits[0]["size"] == "auto"
    assert (edit.requested_size, edit.image.size) == (None, (90, 60))


def test_the_key_is_sent_and_shown_nowhere(double: ImagesDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGES_KEY", "sk-secret-0123456789")
    double.key = "sk-secret-0123456789"
    make_editor(double, api_key_env="IMAGES_KEY").edit(make_request())
    double.key = "another"
    with pytest.raises(UserError, match="401") as error:
        make_editor(double, api_key_env="IMAGES_KEY")
    assert "secret" not in str(error.value)


def test_a_key_that_a_server_echoes_is_hidden(double: ImagesDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGES_KEY", "sk-secret-0123456789")
    editor = make_editor(double, api_key_env="IMAGES_KEY")
    editor.edit(make_request())
    double.trouble = lambda fields, attempt: Refusal(400, "bad header Bearer sk-secret-0123456789")
    assert "***" in str(fail(editor))
    assert "secret" not in str(fail(editor))


# --- wrong settings


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"dialect": "openai", "num_inference_steps": 4}, "`dialect: openai` has no num_inference_steps. Remove it"),
        ({"dialect": "openai", "negative_prompt": "x", "true_cfg_scale": 1}, "no negative_prompt and no true_cfg"),
        ({"dialect": "openai", "size": "aspect"}, "fixed sizes only"),
        ({"dialect": "sglang", "quality": "low"}, "has no quality.*set `dialect: openai`"),
        ({"dialect": "sglang", "size": "big"}, "is none of `aspect`, `auto` and a size"),
        ({"dialect": "sglang", "fleet": "fleet.yaml"}, "`base_url` and `fleet` are both there"),
        ({"dialect": "sglang", "cost_per_image": 0.04}, "belong together"),
        ({"dialect": "sglang", "seed": 3}, "Unknown parameter of .* 'seed'"),
        ({"dialect": "azure"}, "dialect"),
        ({}, "dialect"),
    ],
)
def test_a_setting_that_the_server_would_ignore_is_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        checked(ServedEditor, {"base_url": "http://127.0.0.1:1/v1"} | params)


def test_settings_of_speed_and_money_are_no_part_of_the_key() -> None:
    given = {
        "dialect": "openai",
        "base_url": "http://127.0.0.1:1/v1",
        "concurrency": 9,
        "max_requests": 10,
        "requests_per_minute": 5,
        "cost_per_image": 0.1,
        "currency": "USD",
        "quality": "low",
    }
    assert ServedParams.key_parts(given) == {"dialect": "openai", "quality": "low"}


# --- what comes back


def image_reply(text: str) -> dict[str, Any]:
    return {"created": 1, "data": [{"b64_json": text}]}


def png_of(width: int, height: int) -> str:
    """Base64 of a PNG that claims to be large."""
    encoded = io.BytesIO()
    Image.new("1", (width, height)).save(encoded, format="PNG")
    return base64.b64encode(encoded.getvalue()).decode()


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        ({"created": 1, "data": []}, "model", "has no image"),
        ({"detail": "fine"}, "model", "has no image"),
        ([], "model", "has no image"),
        (image_reply("%%%"), "model", "no base64"),
        (image_reply(base64.b64encode(b"<html>").decode()), "model", "no image; accepted here: jpg, png, webp"),
        (image_reply(encode(Image.new("RGB", (8, 8)), "GIF")), "model", "gif; accepted here"),
        (image_reply(encode(Image.new("RGB", (90, 90), "red"))[:80]), "model", "the server's image"),
        (image_reply(png_of(8000, 8000)), "too_large", "too large"),
        ({"data": [{"url": "http://127.0.0.1:1/a.png", "b64_json": None}]}, "model", "addresses are not followed"),
        (b"<html>busy</html>", "transport", 'the answer is not JSON but a page ("busy"); check that `base_url` is'),
        ("close", "transport", "asked 2 times"),
    ],
)
def test_an_answer_without_a_usable_image_is_a_failed_edit(
    double: ImagesDouble, reply: Any, kind: str, said: str
) -> None:
    editor = make_editor(double)
    double.trouble = lambda fields, attempt: reply
    error = fail(editor)
    assert isinstance(error, EditFailed)
    assert (error.kind, said in str(error)) == (kind, True), str(error)
    assert double.elsewhere == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_image_of_another_format_is_taken(double: ImagesDouble, kind: str) -> None:
    editor = make_editor(double)
    double.trouble = lambda fields, attempt: image_reply(encode(Image.new("RGB", (20, 10), "red"), kind))
    assert editor.edit(make_request()).image.size == (20, 10)


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA")])
def test_transparency_of_an_edit_is_kept(double: ImagesDouble, kind: str, mode: str) -> None:
    editor = make_editor(double)
    clear = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    clear.paste((90, 90, 90, 255), (0, 0, 10, 10))
    double.trouble = lambda fields, attempt: image_reply(encode(clear.convert(mode), kind))
    image = editor.edit(make_request()).image
    assert (image.mode, image.getchannel("A").getextrema()) == ("RGBA", (0, 255))
    assert image.getpixel((15, 5))[3] == 0


@pytest.mark.parametrize(
    ("dialect", "refusal"),
    [
        ("openai", Refusal(400, "Your request was rejected by the safety system.", "moderation_blocked")),
        ("openai", Refusal(400, "rejected", "content_policy_violation")),
        ("vllm-omni", Refusal(400, "The prompt was flagged by the safety checker")),
        ("sglang", Refusal(422, "NSFW content detected")),
    ],
)
def test_a_refusal_of_a_safety_system_is_a_refused_edit(dialect: str, refusal: Refusal) -> None:
    with serving_images(dialect) as double:
        editor = make_editor(double)
        double.trouble = lambda fields, attempt: refusal
        error = fail(editor)
        asked = len(double.edits)
    assert isinstance(error, EditRefused)
    assert str(refusal) in str(error)
    assert asked == 1, "a refusal is not asked for again"


@pytest.mark.parametrize(
    "prompt",
    ["删去 NSFW 标志", 'Remove the "content policy"\nsign', "Write MODERATION on the " + "long " * 80 + "wall"],
)
def test_a_complaint_that_quotes_the_prompt_is_no_refusal(double: ImagesDouble, prompt: str) -> None:
    complaint = {"type": "enum", "loc": ["body", "size"], "msg": "Input should be smaller", "input": prompt}
    negative = {"type": "x", "loc": ["body"], "msg": "negative prompt 'nsfw, blurry' is too long", "input": None}
    editor = make_editor(double, negative_prompt="nsfw, blurry")
    for status, said in (
        (422, [complaint, negative]),
        (422, {"errors": [complaint]}),
        (422, {"ascii": prompt}),
        (400, f"cannot read {prompt!r}"),
        (400, f"cannot read {prompt}"),
        (400, [prompt]),
        (400, f"prompt {prompt[:18]}... has 5000 characters, and the limit is 1024"),
    ):
        double.trouble = lambda fields, attempt: Refusal(status, said)  # noqa: B023
        assert type(fail(editor, make_request(prompt))) is EditFailed
    double.trouble = lambda fields, attempt: Refusal(422, f"{prompt}: blocked by the safety checker")
    if len(prompt) < 200:
        assert type(fail(editor, make_request(prompt))) is EditRefused


def test_another_refusal_fails_its_edit_alone(double: ImagesDouble) -> None:
    editor = make_editor(double)
    double.trouble = lambda fields, attempt: Refusal(400, "prompt too long") if fields["prompt"] == "长" else None
    error = fail(editor, make_request("长"))
    assert (type(error), error.kind) == (EditFailed, "model")
    assert editor.edit(make_request()).image.size == (64, 32)


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_what_would_refuse_every_edit_ends_the_lane(double: ImagesDouble, status: int) -> None:
    editor = make_editor(double)
    double.trouble = lambda fields, attempt: Refusal(status, "no")
    with pytest.raises(UserError, match=f"refuses to answer .HTTP {status}: no"):
        editor.edit(make_request())


def test_an_account_without_money_ends_the_lane_at_once() -> None:
    with serving_images("openai") as double:
        editor = make_editor(double, attempts=5)
        double.trouble = lambda fields, attempt: Refusal(429, "You exceeded your quota", "insufficient_quota")
        with pytest.raises(UserError, match=r"exceeded your quota.*Top up the account"):
            editor.edit(make_request())
        assert len(double.edits) == 1


def test_a_redirect_is_not_followed_and_ends_the_lane(double: ImagesDouble) -> None:
    editor = make_editor(double)
    double.trouble = lambda fields, attempt: "redirect"
    with pytest.raises(UserError, match=r"sends requests elsewhere.*not followed"):
        editor.edit(make_request())
    assert double.elsewhere == 0


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_server_is_asked_again(double: ImagesDouble, status: int) -> None:
    editor, count = make_editor(double, attempts=3), Count()
    editor.edit(make_request())
    double.trouble = lambda fields, attempt: Refusal(status, "busy") if attempt < 4 else None
    double.attempts.clear()
    error = fail(editor, make_request(count=count))
    assert (error.kind, count.requests, count.images) == ("transport", 3, 0)
    assert editor.edit(make_request(count=count)).image.size == (64, 32)
    assert (count.requests, count.images) == (4, 1)


def test_a_slow_answer_ends_at_its_deadline(double: ImagesDouble) -> None:
    editor = make_editor(double, timeout=2, attempts=1)
    editor.edit(make_request())
    double.trouble = lambda fields, attempt: "hang"
    assert fail(editor).kind == "timeout"


def test_a_server_that_is_gone_ends_the_lane() -> None:
    with serving_images() as double:
        editor = make_editor(double)
        editor.edit(make_request())
    with pytest.raises(NoAnswer, match="does not answer"):
        editor.edit(make_request())


def test_a_server_of_sglang_whose_model_has_ended_ends_the_lane() -> None:
    with serving_images("sglang") as double:
        editor = make_editor(double)
        double.trouble = lambda fields, attempt: Refusal(503, "Scheduler worker exited; restart the server.")
        with pytest.raises(UserError, match=r"makes no more edits .*exited; restart the server.*Start the server"):
            editor.edit(make_request())


def test_a_model_that_is_not_served_is_named(double: ImagesDouble) -> None:
    with pytest.raises(UserError, match="does not serve this model"):
        built(ServedEditor, model="编辑/other", params={"dialect": "vllm-omni", "base_url": double.url})


# --- the test before the first edit


def test_the_server_is_tried_with_as_few_requests_as_needed(double: ImagesDouble) -> None:
    count = Count()
    editor = make_editor(double, count)
    assert (count.requests, count.images) == (3, 3), "a made-up field that is ignored also shows that seeds repeat"
    with ThreadPoolExecutor(4) as threads:
        edits = list(threads.map(editor.edit, [make_request(f"第{n}次", count) for n in range(4)]))
    assert len(double.edits) == 4
    assert (count.requests, count.images) == (7, 7)
    assert {(edit.seed_used, edit.fields_ignored) for edit in edits} == {(True, True)}


def test_a_made_up_field_may_be_refused(double: ImagesDouble) -> None:
    double.refuses_unknown = True
    edit = make_editor(double).edit(make_request())
    assert (edit.seed_used, edit.fields_ignored) == (True, False)
    assert len(double.fields) - len(double.edits) == 4


def test_openai_is_tried_without_a_paid_edit() -> None:
    with serving_images("openai") as double:
        count = Count()
        edit = make_editor(double, count).edit(make_request())
    assert (edit.seed_used, edit.fields_ignored) == (False, False)
    assert (count.requests, count.images) == (1, 0)


@pytest.mark.parametrize(
    ("ignored", "said"), [("uses_seed", "does not change the image for another seed"), ("repeats", "does not repeat")]
)
def test_a_seed_without_effect_ends_the_lane_unless_it_is_accepted(
    double: ImagesDouble, ignored: str, said: str
) -> None:
    setattr(double, ignored, False)
    with pytest.raises(UserError, match=f"{said}.*`require_seed: false`"):
        make_editor(double)
    assert len(double.fields) <= 3
    assert make_editor(double, require_seed=False).edit(make_request()).seed_used is False


def test_another_size_than_asked_for_ends_the_lane(double: ImagesDouble) -> None:
    double.keeps_size = False
    with pytest.raises(UserError, match=r"asked for an image of 64x32 pixels and answered with 80x32.*`size: auto`"):
        make_editor(double)
    assert make_editor(double, size="auto").edit(make_request()).image.size == (96, 60)


def test_a_server_that_rejects_a_plain_edit_ends_the_lane(double: ImagesDouble) -> None:
    double.trouble = lambda fields, attempt: Refusal(400, "Field required: mask")
    with pytest.raises(UserError, match=r"rejects a test edit of a plain picture.*Field required: mask"):
        make_editor(double)


@pytest.mark.parametrize("trouble", [Refusal(503, "loading"), b"<html>busy</html>"])
def test_a_server_that_finishes_no_test_ends_the_lane(double: ImagesDouble, trouble: Any) -> None:
    double.trouble = lambda fields, attempt: trouble
    with pytest.raises(UserError, match=r"does not finish a test edit.*asked 2 times.*when it is less busy"):
        make_editor(double)


def test_a_budget_may_end_during_the_test(double: ImagesDouble) -> None:
    with pytest.raises(UserError, match="spent"):
        make_editor(double, Count(most=2))
    assert len(double.fields) == 2


def test_a_stop_ends_an_edit_between_two_attempts(double: ImagesDouble) -> None:
    editor = make_editor(double)
    editor.edit(make_request())

    def stop() -> None:
        raise Stopped("told to")

    with pytest.raises(Stopped):
        editor.edit(make_request(on_request=stop))
    assert len(double.edits) == 1


# --- who the server says it is


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_server_says_of_its_model_is_the_same_each_time(dialect: str) -> None:
    with serving_images(dialect) as double:
        words = [make_editor(double).words for _ in range(2)]
        double.root = "/models/another"
        other = make_editor(double).words
    assert words[0] == words[1]
    assert json.dumps(words[0]).isascii()
    assert (words[0] == {}) is (dialect == "openai")
    assert (other == words[0]) is (dialect == "openai")
    assert ("model_path" in words[0]) is (dialect == "sglang")


def test_a_server_of_sglang_need_not_name_its_checkpoint() -> None:
    with serving_images("sglang") as double:
        double.root = None
        assert make_editor(double).words["pipeline_class"] == "QwenImageEditPlusPipeline"
        assert "model_path" not in make_editor(double).words
