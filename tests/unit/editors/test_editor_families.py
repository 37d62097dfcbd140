"""The editing pipelines of the installed diffusers: a tiny checkpoint of each family edits and is judged."""

import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from adapters import built
from PIL import Image
from preflight_project import fake_config, write_project

from editlane.core.errors import EditFailed, UserError
from editlane.core.types import Edit, EditRequest, Item
from editlane.editors.diffusers_pipeline import DiffusersEditor, check_arguments, check_pipeline
from editlane.editors.families import FAMILIES, find_family, fit_area
from editlane.editors.signatures import Signature, read_signature, scan_pipelines
from editlane.images.files import save_png
from editlane.images.recorded import open_recorded
from editlane.images.unchanged import is_unchanged
from editlane.judges.fake import FakeJudge
from editlane.models.checkpoints import check_checkpoint, read_components
from editlane.models.registry import EDITORS
from editlane.preflight.config import check_config
from editlane.preflight.editor_list import OTHERS, list_editors
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
    "dreamlite-mobile": {},
    "flux-kontext": {"max_area": 128 * 128, "_auto_resize": False},
    "flux2-klein": {},
    "flux2-klein-kv": {},
    "flux3": {},
    "instruct-pix2pix": {},
    "instruct-pix2pix-xl": {},
    "joyimage-edit": {},
    "joyimage-edit-plus": {},
    "kandinsky5-i2i": {},
    "longcat-image-edit": {},
    "qwen-image-2.1": {"output_resolution": 192},
    "qwen-image-edit-plus": {"true_cfg_scale": 1},
    "z-image-omni": {},
}
SEVERAL = (
    "bria-fibo-edit",
    "flux2-klein",
    "flux2-klein-kv",
    "flux3",
    "joyimage-edit-plus",
    "qwen-image-2.1",
    "qwen-image-edit-plus",
    "z-image-omni",
)
FEW_SIZES = ("bria-fibo-edit", "joyimage-edit", "joyimage-edit-plus", "kandinsky5-i2i")
"""Families that choose among a few sizes."""

MODULAR = {name for name in FAMILIES if name.endswith("ModularPipeline")}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make tiny models slow where other work runs on the same cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
        patch.setattr(qwen, "calculate_dimensions", lambda area, ratio: plus(area // 36, ratio))
        patch.setitem(joyimage.BUCKETS, 1024, [(h // 4, w // 4) for h, w in joyimage.BUCKETS[1024]])
        patch.setitem(bria.PREFERRED_RESOLUTION, 1024 * 1024, bria.PREFERRED_RESOLUTION[256 * 256])
        patch.setattr(
            families,
            "fit_area",
            lambda width, height, *, area, multiple: fit_area(
                width, height, area=area if area < 256 * 256 else area // 36, multiple=multiple
            ),
        )
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


def is_same_shape(source: Image.Image, edited: Image.Image, *, multiple: int) -> bool:
    """Return whether the ratio of `edited` is that of `source`, but for rounding both sides to a multiple."""
    ratio = source.width / source.height
    widest = (edited.width + multiple / 2) / (edited.height - multiple / 2)
    narrowest = (edited.width - multiple / 2) / (edited.height + multiple / 2)
    return edited.width != edited.height and narrowest <= ratio <= widest


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.runs if kind == "chronoedit" else ()) for kind in KINDS]
)
def test_each_family_edits_and_is_judged(
    kind: str, tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = build(kind, tiny_model, monkeypatch)
    source = photo(192, 128)
    steps: list[tuple[int, int]] = []
    first = editor.edit(request(source, steps=steps))
    assert steps == [(1, 2), (2, 2)]
    assert first.requested_size in (None, first.image.size)
    for shown, edit in ((source, first), *edit_other_shapes(editor)):
        assert is_same_shape(shown, edit.image, multiple=64 if kind in FEW_SIZES else 32)
    pixels = first.image.tobytes()
    assert editor.edit(request(source)).image.tobytes() == pixels, "the same seed, the same edit"
    assert editor.edit(request(source, seed=4)).image.tobytes() != pixels
    assert editor.edit(request(source, "Add a dog to the left!")).image.tobytes() != pixels
    sha256 = save_png(first.image, tmp_path / "e.png")
    row = judge(source, open_recorded(tmp_path, "e.png", sha256))
    assert row["state"] == "scored"
    assert is_unchanged(source, first.image) is False


def edit_other_shapes(editor: DiffusersEditor) -> list[tuple[Image.Image, Edit]]:
    portrait = photo(128, 192)
    return [(portrait, editor.edit(request(portrait)))]


@pytest.mark.runs
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


@pytest.mark.runs
@pytest.mark.parametrize("kind", KINDS)
def test_each_family_edits_in_bfloat16(kind: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default on a GPU."""
    editor = build(kind, tiny_model, monkeypatch, dtype="bfloat16")
    assert editor.edit(request(photo(64, 64))).image.width > 0


def test_components_have_another_dtype_where_the_documentation_has_it_so() -> None:
    from editlane.editors.pipelines import _pick_dtypes

    mixed = _pick_dtypes(None, "cuda", FAMILIES["ChronoEditPipeline"].dtypes)
    assert mixed == {"default": torch.bfloat16, "vae": torch.float32, "image_encoder": torch.float32}
    assert _pick_dtypes("float16", "cuda", {"vae": "float32"}) == torch.float16
    assert _pick_dtypes(None, "cuda", {}) == torch.bfloat16


# Sizes


@pytest.mark.parametrize(
    ("source", "asked"), [((3000, 2000), (1248, 832)), ((2000, 3000), (832, 1248)), ((30, 20), (1248, 832)),
                          ((900, 900), (1024, 1024)), ((20000, 20), (32384, 32))],
)  # fmt: skip
def test_an_area_keeps_the_ratio_of_the_source(source: tuple[int, int], asked: tuple[int, int]) -> None:
    assert fit_area(*source, area=1024 * 1024, multiple=32) == asked


def test_references_do_not_change_what_a_pipeline_would_choose_for_the_source_alone() -> None:
    """Qwen-Image-Edit-Plus and Qwen-Image 2.1 would follow the last of several images."""
    from diffusers.pipelines.qwenimage21.pipeline_qwenimage21 import calculate_dimensions

    for width, height in ((3000, 2000), (640, 480), (100, 333), (7, 5)):
        asked = fit_area(width, height, area=1024 * 1024, multiple=32)
        assert asked == calculate_dimensions(1024 * 1024, width / height)[:2]


def test_a_size_that_the_user_asked_for_comes_before_the_rule_of_the_family(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = build("instruct-pix2pix-xl", tiny_model, monkeypatch, width=64, height=96)
    edit = editor.edit(request(photo(90, 60)))
    assert edit.requested_size == edit.image.size == (64, 96)


# Transparency


def test_a_transparent_edit_is_kept_as_it_is_and_judged_over_white(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = build("qwen-image-2.1", tiny_model, monkeypatch).edit(request(photo(96, 64)))
    assert edit.image.mode == "RGBA"
    sha256 = save_png(edit.image, tmp_path / "e.png")
    with Image.open(tmp_path / "e.png") as kept:
        assert (kept.mode, kept.tobytes()) == ("RGBA", edit.image.tobytes())
    shown = open_recorded(tmp_path, "e.png", sha256)
    white = Image.new("RGBA", edit.image.size, "white")
    assert shown.mode == "RGB"
    assert shown.tobytes() == Image.alpha_composite(white, edit.image).convert("RGB").tobytes()


def test_a_source_with_holes_is_no_change_over_white() -> None:
    source = photo(96, 64)
    source.paste("white", (0, 0, 96, 20))
    cut = source.convert("RGBA")
    cut.paste((9, 9, 9, 0), (0, 0, 96, 20))
    assert is_unchanged(source, cut) is True


# What cannot edit


@pytest.mark.runs
def test_the_text_of_diffusers_tells_what_its_classes_tell() -> None:
    scanned = scan_pipelines()
    for name in sorted(FAMILIES.keys() - MODULAR):
        found = read_signature(getattr(diffusers, name))
        assert scanned[name].names == found.names, name
        assert scanned[name].find_obstacle() == found.find_obstacle(), name
    assert scanned["FluxKontextPipeline"].defaults["true_cfg_scale"] == 1.0


@pytest.fixture(scope="module")
def scanned() -> dict[str, Signature]:
    return scan_pipelines()


@pytest.fixture
def scanned_once(scanned: dict[str, Signature], monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of editors reads the code of diffusers, which takes seconds, once for all tests."""
    monkeypatch.setattr("editlane.preflight.editor_list.scan_pipelines", lambda: scanned)


def read_listed(width: int | None) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The lines of the list of editors, and those that can be pasted into a config."""
    lines = list(list_editors(width))
    begin = lines.index("editors:")
    return lines, yaml.safe_load("\n".join(lines[begin : lines.index("", begin)]))["editors"]


@pytest.mark.usefixtures("scanned_once")
def test_editors_are_listed_as_lines_of_a_config(
    scanned: dict[str, Signature], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, editors = read_listed(100)
    classes = [line.split()[1].rstrip(";") for line in lines if line.startswith("    # ") and "Pipeline" in line]
    wanted = {name for name, family in FAMILIES.items() if not family.refused}
    assert set(classes) == wanted, "each editor that signatures find is described"
    assert editors["flux.1-kontext-dev"] == {
        "adapter": "diffusers",
        "model": "black-forest-labs/FLUX.1-Kontext-dev",
        "params": {"num_inference_steps": 28, "guidance_scale": 3.5},
    }
    assert editors["qwen-image-edit-2509"]["params"]["negative_prompt"] == " "
    assert editors["z-image-omni"]["model"] == "ORG/NAME"
    text = "\n".join(lines)
    assert "FluxKontextPipeline; one image; takes true_cfg_scale and negative_prompt, too" in text
    assert "JoyImageEditPlusPipeline; several images" in text
    assert "needs the package ftfy" in text
    assert lines[-1].startswith("Other adapters: ")
    assert {name.partition("/")[0] for name in EDITORS} == {"diffusers", *OTHERS}
    assert all(name in lines[-1] for name in OTHERS)
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    check_config(fake_config(editors=editors))
    for name, settings in zip(classes, editors.values(), strict=True):
        if name not in MODULAR:
            check_arguments(scanned[name], settings["params"])


@pytest.mark.usefixtures("scanned_once")
@pytest.mark.parametrize("width", [80, 100, 140, None])
def test_the_list_of_editors_fits_its_terminal(width: int | None) -> None:
    lines, editors = read_listed(width)
    assert max(map(len, lines)) <= min(width or 100, 100)
    assert editors == read_listed(100)[1]


def test_checkpoints_of_the_list_are_those_of_diffusers_own_examples() -> None:
    folder = Path(str(find_spec("diffusers").origin)).parent  # type: ignore[union-attr]
    code = {file: file.read_text(encoding="utf-8") for file in folder.glob("pipelines/**/*.py")}
    for name, family in FAMILIES.items():
        if family.checkpoint:
            assert any(f"class {name}(" in text and f'"{family.checkpoint}"' in text for text in code.values()), name


@pytest.mark.usefixtures("scanned_once")
def test_what_only_looks_like_an_editor_is_listed_with_the_reason() -> None:
    lines = list(list_editors(100))
    text = "\n".join(lines)
    for reason, name in (
        ("edits a video", "LucyEditPipeline"),
        ("makes a video", "LTXImageToVideoPipeline"),
        ("needs a mask", "FluxFillPipeline"),
        ("needs a control image", "StableDiffusionXLControlNetPipeline"),
        ("splits a picture into layers", "QwenImageLayeredPipeline"),
    ):
        part = text[text.index(f"\n- {reason}:\n") + len(reason) + 5 :]
        assert name in part.split(":")[0], name
    assert "FluxImg2ImgPipeline" in text[: text.index("These look like editors")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("FluxFillPipeline", "needs a mask"),
        ("WanImageToVideoPipeline", "makes a video"),
        ("StableDiffusionUpscalePipeline", "makes a picture larger"),
        ("VisualClozePipeline", "needs pictures that show the task by example"),
        ("FluxPipeline", "does not accept an image with a prompt"),
    ],
)
def test_what_cannot_edit_is_refused_with_the_reason(name: str, reason: str) -> None:
    signature = read_signature(getattr(diffusers, name))
    with pytest.raises(UserError, match=f"{name} {reason}.*Choose another checkpoint"):
        check_pipeline(signature, find_family(signature))


def test_a_pipeline_whose_package_is_missing_is_refused_before_its_items_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("editlane.editors.diffusers_pipeline.find_spec", lambda name: None)
    signature = read_signature(diffusers.ChronoEditPipeline)
    with pytest.raises(UserError, match=r"ChronoEditPipeline needs the package 'ftfy'.*pip install ftfy"):
        check_pipeline(signature, find_family(signature))


@pytest.mark.parametrize("asked", [{}, {"true_cfg_scale": 2.5}])
def test_guidance_that_a_pipeline_would_silently_leave_out_is_refused(asked: dict[str, Any]) -> None:
    signature = Signature("Some", {"prompt": None, "true_cfg_scale": 4.0, "negative_prompt": None})
    with pytest.raises(UserError, match=r"true_cfg_scale is \S+ without a negative_prompt.*Some would silently"):
        check_arguments(signature, asked)
    check_arguments(signature, {"true_cfg_scale": 1})
    check_arguments(signature, asked | {"negative_prompt": " "})


def test_bria_gets_the_json_that_it_demands(tiny_model: TinyModel) -> None:
    prompt = FAMILIES["BriaFiboEditPipeline"].prompt('把"停"字\n擦掉', 1)
    assert json.loads(prompt) == {"edit_instruction": '把"停"字\n擦掉'}
    assert "停" in prompt


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("dreamlite", {"cache": {"kind": "first_block"}}, "diffusers has no step cache for DreamLitePipeline"),
        (
            "longcat-image-edit",
            {"cache": {"kind": "first_block"}},
            "first_block does not work with LongCatIma",
        ),
        (
            "qwen-image-2.1",
            {"cache": {"kind": "first_block"}},
            "first_block does not work with QwenImage21Transformer2D",
        ),
        ("instruct-pix2pix-xl", {"attention_backend": "native"}, "has no effect on UNet2DConditionModel"),
    ],
)
def test_what_makes_another_family_faster_is_refused_with_a_reason(
    kind: str, params: dict[str, Any], message: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=message):
        build(kind, tiny_model, monkeypatch, **params)


# Modular pipelines


def copy_flux3(tiny_model: TinyModel, folder: Path, **changed: Any) -> Path:
    """Copy the tiny FLUX.3 with other entries in its index."""
    shutil.copytree(tiny_model("flux3"), folder)
    path = folder / "modular_model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changed), encoding="utf-8")
    return folder


def test_a_modular_checkpoint_is_complete_without_its_prompt_upsampler(tiny_model: TinyModel) -> None:
    check_checkpoint(str(tiny_model("flux3")))
    parts = {folder.name: name for folder, name in read_components(tiny_model("flux3"))}
    assert parts["text_encoder"] == "Qwen3VLForConditionalGeneration"
    assert parts.keys() == {"scheduler", "text_encoder", "tokenizer", "transformer", "vae"}


def test_nothing_is_taken_from_other_repositories(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = copy_flux3(tiny_model, tmp_path / "a")
    shutil.rmtree(folder / "vae")
    with pytest.raises(UserError, match=r"is incomplete: its component vae/ is missing"):
        built(DiffusersEditor, model=str(folder), params={})
    spec = {
        "pretrained_model_name_or_path": "acme/other",
        "subfolder": "vae",
        "type_hint": ["diffusers", "AutoencoderKL"],
    }
    folder = copy_flux3(tiny_model, tmp_path / "b", vae=["diffusers", "AutoencoderKL", spec])
    (folder / "vae/diffusion_pytorch_model.safetensors").rename(folder / "vae/other.bin")
    with pytest.raises(UserError, match=r"vae.*"):
        built(DiffusersEditor, model=str(folder), params={})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"_blocks_class_name": "MyBlocks"}, r"needs the blocks 'MyBlocks'.*Code of a checkpoint never runs here"),
        ({"_class_name": "MyModularPipeline"}, r"needs the pipeline class 'MyModularPipeline', which diffusers"),
        (
            {
                "transformer": [
                    "subprocess",
                    "Popen",
                    {"subfolder": "transformer", "type_hint": ["subprocess", "Popen"]},
                ]
            },
            r"The component transformer of the checkpoint is of 'subprocess'; only classes of diffusers and tr",
        ),
        (
            {"transformer": ["diffusers", "X", {"type_hint": ["my_package", "X"]}]},
            r"is of 'my_package'",
        ),
        ({"transformer": [None, {"type_hint": "my_package"}, None]}, r"is of 'my_package'"),
    ],
)
def test_code_of_a_modular_checkpoint_never_runs(
    changed: dict[str, Any], message: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        built(DiffusersEditor, model=str(copy_flux3(tiny_model, tmp_path / "a", **changed)), params={})


def test_a_harmless_index_hides_no_other(tiny_model: TinyModel, tmp_path: Path) -> None:
    spec = {"subfolder": "transformer", "type_hint": ["subprocess", "Popen"]}
    folder = copy_flux3(tiny_model, tmp_path / "a", transformer=["subprocess", "Popen", spec])
    harmless = tiny_model("flux3") / "modular_model_index.json"
    shutil.copy(harmless, folder / "model_index.json")
    with pytest.raises(UserError, match=r"has both model_index\.json, which names a modular pipeline"):
        built(DiffusersEditor, model=str(folder), params={})


def test_a_modular_class_in_an_ordinary_index_brings_no_other_library(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = copy_flux3(tiny_model, tmp_path / "a", transformer=["subprocess", "Popen"])
    (folder / "modular_model_index.json").rename(folder / "model_index.json")
    with pytest.raises(UserError, match="The component transformer of the checkpoint is of 'subprocess'"):
        built(DiffusersEditor, model=str(folder), params={})


def test_optimizations_are_refused_for_modular_pipelines(tiny_model: TinyModel) -> None:
    with pytest.raises(UserError, match="compile does not work with modular pipelines"):
        built(DiffusersEditor, model=str(tiny_model("flux3")), params={"compile": True})
    with pytest.raises(UserError, match="Unknown parameter of Flux3ModularPipeline 'num_inference_step'"):
        built(DiffusersEditor, model=str(tiny_model("flux3")), params={"num_inference_step": 2})


def test_the_list_of_editors_loads_no_model_library() -> None:
    scripts = Path(list_editors.__code__.co_filename).parents[2]
    code = (
        "import sys; from editlane.preflight.editor_list import list_editors; list(list_editors(None)); "
        "print(*{'torch', 'transformers', 'diffusers'} & set(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(scripts)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
