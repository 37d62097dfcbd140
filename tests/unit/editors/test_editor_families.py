"""The editing pipelines of the installed diffusers: a tiny checkpoint of each family edits and is judged."""

import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import built
from PIL import Image

from editlane.core.errors import EditFailed, UserError
from editlane.core.types import Edit, EditRequest, Item
from editlane.editors.diffusers_pipeline import DiffusersEditor, check_arguments, check_pipeline
from editlane.editors.families import FAMILIES, find_family, fit_area
from editlane.editors.signatures import Signature, read_signature, scan_pipelines
from editlane.images.files import save_png
from editlane.images.recorded import open_recorded
from editlane.images.unchanged import is_unchanged
from editlane.judges.fake import FakeJudge
from editlane.preflight.editor_list import list_editors
from editlane.protocols.asking import ask, prepare
from editlane.protocols.load import load_protocol
from editlane.protocols.scoring import build_questions

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning"),
]

TinyModel = Callable[[str], Path]
RUBRIC = load_protocol(Path(__file__).parents[3] / "resources/protocols/rubric.yaml")

KINDS: dict[str, dict[str, Any]] = {
    "bria-fibo-edit": {"guidance_scale": 1},
    "chronoedit": {},
    "dreamlite": {},
    "flux-kontext": {"max_area": 128 * 128, "_auto_resize": False},
    "flux2-klein": {},
    "flux2-klein-kv": {},
    "instruct-pix2pix": {},
    "instruct-pix2pix-xl": {},
    "joyimage-edit": {},
    "joyimage-edit-plus": {},
    "kandinsky5-i2i": {},
    "longcat-image-edit": {},
    "qwen-image-2.1": {"output_resolution": 192},
    "qwen-image-edit-plus": {"true_cfg_scale": 1},
}
SEVERAL = ("bria-fibo-edit", "flux2-klein", "flux2-klein-kv", "joyimage-edit-plus", "qwen-image-2.1", "qwen-image-edit-plus")
RATIO_ERROR = {"kandinsky5-i2i": 0.2, "instruct-pix2pix-xl": 0.2, "joyimage-edit": 0.1, "joyimage-edit-plus": 0.1}
"""How far the ratio of an edit may be from its source's, relatively, where a family has a few sizes only."""


@pytest.fixture(scope="module", autouse=True)
def small_pictures() -> Iterator[None]:
    """Most families work at a megapixel, which is nearly all of the time of a tiny model."""
    from diffusers.pipelines.bria_fibo import pipeline_bria_fibo_edit as bria
    from diffusers.pipelines.joyimage import image_processor as joyimage
    from diffusers.pipelines.longcat_image import pipeline_longcat_image_edit as longcat
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as qwen

    from editlane.editors import families

    whole, plus = longcat.calculate_dimensions, qwen.calculate_dimensions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(longcat, "calculate_dimensions", lambda area, ratio: whole(area // 36, ratio))
        patch.setattr(qwen, "calculate_dimensions", lambda area, ratio: plus(area // 16, ratio))
        patch.setitem(joyimage.BUCKETS, 1024, [(h // 4, w // 4) for h, w in joyimage.BUCKETS[1024]])
        patch.setitem(bria.PREFERRED_RESOLUTION, 1024 * 1024, bria.PREFERRED_RESOLUTION[256 * 256])
        patch.setattr(families, "fit_area", lambda width, height, *, area, multiple: fit_area(
            width, height, area=area if area < 256 * 256 else area // 36, multiple=multiple))
        patch.setitem(sys.modules, "ftfy", types.SimpleNamespace(fix_text=lambda text: text))
        yield


def build(kind: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, **params: Any) -> DiffusersEditor:
    from diffusers.pipelines.chronoedit import pipeline_chronoedit as chronoedit

    monkeypatch.setattr(chronoedit, "ftfy", sys.modules["ftfy"], raising=False)
    monkeypatch.setattr("editlane.editors.diffusers_pipeline.find_spec", lambda name: name)
    settings = {"num_inference_steps": 2} | KINDS[kind] | params
    editor = built(DiffusersEditor, model=str(tiny_model(kind)), params=settings)
    if kind == "kandinsky5-i2i":
        editor.pipe.resolutions = [(width // 4, height // 4) for width, height in editor.pipe.resolutions]
    return editor


def photo(width: int, height: int, seed: int = 5) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def request(
    source: Image.Image,
    instruction: str = "Make the sky red.",
    *,
    seed: int = 3,
    references: tuple[Image.Image, ...] = (),
    steps: list[tuple[int, int]] | None = None,
) -> EditRequest:
    item = Item(
        item_id="a", category="物理", instruction=instruction, language="en", source_path="s.png", source_sha256="0",
        width=source.width, height=source.height, cost=1.0,
    )  # fmt: skip
    done: list[tuple[int, int]] = [] if steps is None else steps
    return EditRequest(
        item=item,
        source=source,
        given=None,
        seed=seed,
        on_step=lambda step, count: done.append((step, count)),
        references=references,
    )


def judge(source: Image.Image, edited: Image.Image) -> dict[str, Any]:
    """Ask the fake judge about an edit, as a lane does."""
    fake = built(FakeJudge, model=None, params={})
    questions = build_questions(RUBRIC, request(source).item, source, edited, RUBRIC.select_criteria())
    return ask(RUBRIC, fake, prepare(fake, [questions]), [1])[0]


def ratio_of(image: Image.Image) -> float:
    return image.width / image.height


@pytest.mark.parametrize("kind", KINDS)
def test_each_family_edits_and_is_judged(
    kind: str, tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = build(kind, tiny_model, monkeypatch)
    source = photo(192, 128)
    steps: list[tuple[int, int]] = []
    first = editor.edit(request(source, steps=steps))
    assert steps == [(1, 2), (2, 2)]
    assert first.requested_size in (None, first.image.size)
    allowed = RATIO_ERROR.get(kind, 0.07)
    for shown, edit in ((source, first), *_edit_other_shapes(editor)):
        assert ratio_of(edit.image) == pytest.approx(ratio_of(shown), rel=allowed)
    pixels = first.image.tobytes()
    assert editor.edit(request(source)).image.tobytes() == pixels, "the same seed, the same edit"
    assert editor.edit(request(source, seed=4)).image.tobytes() != pixels
    assert editor.edit(request(source, "Add a dog to the left!")).image.tobytes() != pixels
    sha256 = save_png(first.image, tmp_path / "e.png")
    row = judge(source, open_recorded(tmp_path, "e.png", sha256))
    assert row["state"] == "scored"
    assert is_unchanged(source, first.image) is not None or first.image.mode == "RGB"


def _edit_other_shapes(editor: DiffusersEditor) -> list[tuple[Image.Image, Edit]]:
    portrait = photo(128, 192)
    return [(portrait, editor.edit(request(portrait)))]


@pytest.mark.parametrize("kind", KINDS)
def test_a_very_small_source_is_edited_or_fails_alone(
    kind: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = build(kind, tiny_model, monkeypatch)
    try:
        edit = editor.edit(request(photo(12, 8)))
    except EditFailed as error:
        assert error.kind == "model"
        assert "\n" not in str(error)
    else:
        assert min(edit.image.size) >= 8
    assert editor.edit(request(photo(96, 96))).image.width > 0, "the next item is not affected"


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_images_reach_the_model_and_the_size_is_the_sources(
    kind: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = build(kind, tiny_model, monkeypatch)
    source = photo(192, 128)
    alone = editor.edit(request(source)).image
    tall, other = (editor.edit(request(source, references=(photo(80, 160, seed),))).image for seed in (6, 7))
    assert tall.size == alone.size, "the source decides, not the last image"
    assert len({alone.tobytes(), tall.tobytes(), other.tobytes()}) == 3


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - set(SEVERAL)))
def test_a_pipeline_that_takes_one_image_fails_items_with_several(
    kind: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = build(kind, tiny_model, monkeypatch)
    with pytest.raises(EditFailed, match=r"Pipeline takes one image, and this item has 3") as caught:
        editor.edit(request(photo(64, 64), references=(photo(64, 64), photo(64, 64))))
    assert (caught.value.kind, caught.value.state) == ("images", "edit_failed")


@pytest.mark.parametrize("kind", KINDS)
def test_each_family_edits_in_bfloat16(kind: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default on a GPU."""
    editor = build(kind, tiny_model, monkeypatch, dtype="bfloat16")
    assert editor.edit(request(photo(64, 64))).image.width > 0


def test_components_stay_in_float32_where_the_documentation_has_it_so() -> None:
    from editlane.editors.pipelines import _pick_dtypes

    mixed = _pick_dtypes(None, "cuda", FAMILIES["ChronoEditPipeline"].float32)
    assert mixed == {"default": torch.bfloat16, "vae": torch.float32, "image_encoder": torch.float32}
    assert _pick_dtypes("float16", "cuda", ("vae",)) == torch.float16
    assert _pick_dtypes(None, "cuda", ()) == torch.bfloat16
