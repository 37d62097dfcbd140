"""What the code of diffusers' editing pipelines says beyond their signatures: sizes, several images, prompts.

A pipeline that is not listed here gets the source alone, and its own default size. All facts are from the code and the
documentation of diffusers 0.42.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL.Image import Image

from editlane.editors.signatures import Signature

MEGAPIXEL = 1024 * 1024
WAN_AREA = 720 * 1280

SizeRule = Callable[[Any, Image, Mapping[str, Any]], tuple[int, int]]
"""(pipeline, source, the user's arguments) -> (width, height) to ask for."""

Prompt = Callable[[str, int], str]
"""(instruction, number of images) -> the prompt that the pipeline expects."""


def fit_area(width: int, height: int, *, area: int, multiple: int) -> tuple[int, int]:
    """Return the size of about `area` pixels in the same aspect ratio, each side rounded to a `multiple`."""
    side = math.sqrt(area * width / height)
    return _round_to(side, multiple), _round_to(side * height / width, multiple)


def _round_to(side: float, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)


def area_of(area: int, multiple: int) -> SizeRule:
    """Return the rule that asks for `fit_area` of the source."""
    return lambda pipe, source, asked: fit_area(source.width, source.height, area=area, multiple=multiple)


def resolution(pipe: Any, source: Image, asked: Mapping[str, Any]) -> tuple[int, int]:
    """Ask for the square of the user's `output_resolution` in the source's aspect ratio, as Qwen-Image 2.1 does."""
    side = asked.get("output_resolution", 1024)
    return fit_area(source.width, source.height, area=side * side, multiple=32)


def trained_area(pipe: Any, source: Image, asked: Mapping[str, Any]) -> tuple[int, int]:
    """Ask for the area of the square that diffusers would make, which is the size of the training, in the source's
    aspect ratio."""
    side = pipe.default_sample_size * pipe.vae_scale_factor
    return fit_area(source.width, source.height, area=side * side, multiple=32)


def bucket(pipe: Any, source: Image, asked: Mapping[str, Any]) -> tuple[int, int]:
    """Ask for the size that the pipeline's image processor chooses for the source."""
    height, width = pipe.image_processor.get_default_height_width(source)
    return width, height


def capped(pipe: Any, source: Image, asked: Mapping[str, Any]) -> tuple[int, int]:
    """Ask for the source's own size, at most a megapixel, in multiples of 16."""
    scale = min(1.0, math.sqrt(MEGAPIXEL / (source.width * source.height)))
    width, height = (max(16, int(side * scale) // 16 * 16) for side in source.size)
    return width, height


def instruction_only(instruction: str, images: int) -> str:
    """Leave the instruction as it is."""
    return instruction


def with_placeholders(instruction: str, images: int) -> str:
    """Put OmniGen's placeholder of each image before the instruction. Without it the model ignores the image."""
    marks = " ".join(f"<img><|image_{number}|></img>" for number in range(1, images + 1))
    return f"{marks} {instruction}"


def as_edit_json(instruction: str, images: int) -> str:
    """Wrap the instruction in the JSON object that Bria FIBO Edit demands. Its page has another model fill in more."""
    return json.dumps({"edit_instruction": instruction}, ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One pipeline class."""

    size_text: str = "the pipeline's default"
    """What decides the size of an edit, for the list of editors."""
    checkpoint: str | None = None
    """A hub id that diffusers' own example of the pipeline loads, for the list of editors."""
    size: SizeRule | None = None
    """The size to ask for; None leaves it to the pipeline."""
    size_with_references: SizeRule | None = None
    """The same for items with several images, where the pipeline would follow another image than the source."""
    several: bool = False
    """True if one item may have several images; elsewhere a list would be several items."""
    as_list: bool = False
    """True if `image` takes no single image."""
    prompt: Prompt = instruction_only
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that the documentation gives for edits; the user's come before them."""
    last_frame: bool = False
    """True if the pipeline makes frames, of which the last is the edit."""
    package: str | None = None
    """A package that the pipeline uses without asking whether it is there."""
    dtypes: Mapping[str, str] = field(default_factory=dict)
    """Components that have a dtype of their own; a `dtype` of the user comes before it."""
    refused: str | None = None
    """Why it is no editor although its signature looks like one, as the end of a sentence."""


_QWEN_SIZE = "1 megapixel in the source's ratio, multiples of 32"
_INVERTS = "inverts the source in a call of its own and edits in another"
_BY_EXAMPLE = "needs pictures that show the task by example"
_FLUX2 = Family(
    size_text="the source's own, at most 1 megapixel, cropped to multiples of 16; sides of 64 pixels or more",
    several=True,
)
_FLUX3 = Family(
    size_text="the source's own, at most 4 megapixels; with several images at most 1, cropped to multiples of 16",
    several=True,
)

FAMILIES: Mapping[str, Family] = {
    "BriaFibo2Pipeline": Family(
        checkpoint="briaai/Fibo-2.0-dev", size_text="about 1 megapixel, the trained size nearest in ratio", several=True
    ),
    "BriaFiboEditPipeline": Family(
        checkpoint="briaai/Fibo-Edit-1.5-base",
        size_text="about 1 megapixel, the nearest in ratio of 12 sizes",
        several=True,
        prompt=as_edit_json,
    ),
    "ChronoEditPipeline": Family(
        checkpoint="nvidia/ChronoEdit-14B-Diffusers",
        size_text="720 x 1280 pixels in the source's ratio, multiples of 16; the last of 5 frames",
        size=area_of(WAN_AREA, 16),
        extra={"num_frames": 5},
        last_frame=True,
        package="ftfy",
        dtypes={"vae": "float32", "image_encoder": "float32"},  # as its page loads them
    ),
    "DiffusionGemmaPipeline": Family(refused="answers with text"),
    "DreamLiteMobilePipeline": Family(
        checkpoint="carlofkl/DreamLite-mobile", size_text=_QWEN_SIZE, size=area_of(MEGAPIXEL, 32)
    ),
    "DreamLitePipeline": Family(
        checkpoint="carlofkl/DreamLite-base", size_text=_QWEN_SIZE, size=area_of(MEGAPIXEL, 32)
    ),
    "Flux2KleinKVPipeline": replace(_FLUX2, checkpoint="black-forest-labs/FLUX.2-klein-9b-kv"),
    "Flux2KleinPipeline": replace(_FLUX2, checkpoint="black-forest-labs/FLUX.2-klein-base-9B"),
    "Flux2Pipeline": replace(_FLUX2, checkpoint="black-forest-labs/FLUX.2-dev"),
    "Flux3DistilledModularPipeline": _FLUX3,
    "Flux3ModularPipeline": _FLUX3,
    "FluxKontextPipeline": Family(
        checkpoint="black-forest-labs/FLUX.1-Kontext-dev",
        size_text="`max_area` (1 megapixel) in the source's ratio, multiples of 16",
    ),
    "FluxPriorReduxPipeline": Family(refused="makes embeddings for another pipeline"),
    "GlmImagePipeline": Family(
        checkpoint="zai-org/GLM-Image", size_text=_QWEN_SIZE, size=area_of(MEGAPIXEL, 32), several=True, as_list=True
    ),
    "JoyImageEditPipeline": Family(
        checkpoint="jdopensource/JoyAI-Image-Edit-Diffusers",
        size_text="about 1 megapixel, the nearest in ratio of 49 sizes; centre crop",
    ),
    "JoyImageEditPlusPipeline": Family(
        checkpoint="jdopensource/JoyAI-Image-Edit-Plus-Diffusers",
        size_text="about 1 megapixel, the nearest in ratio of 49 sizes; centre crop",
        size_with_references=bucket,
        several=True,
    ),
    "Kandinsky5I2IPipeline": Family(
        checkpoint="kandinskylab/Kandinsky-5.0-I2I-Lite-sft-Diffusers",
        size_text="the nearest in ratio of 7 sizes, to which the source is stretched",
    ),
    "LEditsPPPipelineStableDiffusion": Family(refused=_INVERTS),
    "LEditsPPPipelineStableDiffusionXL": Family(refused=_INVERTS),
    "LongCatImageEditPipeline": Family(
        checkpoint="meituan-longcat/LongCat-Image-Edit", size_text="1 megapixel in the source's ratio, multiples of 16"
    ),
    "LucyEditPipeline": Family(refused="edits a video"),
    "OmniGenPipeline": Family(
        checkpoint="Shitao/OmniGen-v1-diffusers",
        size_text="the source's own, within `max_input_image_size` (1024), multiples of 16",
        several=True,
        prompt=with_placeholders,
        package="torchvision",
    ),
    "QwenImage21Pipeline": Family(
        checkpoint="Qwen/Qwen-Image-2.1",
        size_text="`output_resolution` (1024) squared in the source's ratio, multiples of 32; RGBA",
        size_with_references=resolution,
        several=True,
    ),
    "QwenImageEditPipeline": Family(checkpoint="Qwen/Qwen-Image-Edit", size_text=_QWEN_SIZE),
    "QwenImageEditPlusPipeline": Family(
        checkpoint="Qwen/Qwen-Image-Edit-2509",
        size_text=_QWEN_SIZE,
        size_with_references=area_of(MEGAPIXEL, 32),
        several=True,
    ),
    "QwenImageLayeredPipeline": Family(refused="splits a picture into layers"),
    "StableCascadeCombinedPipeline": Family(refused="makes another picture like the source, and does not edit it"),
    "StableCascadePriorPipeline": Family(refused="makes embeddings for another pipeline"),
    "StableDiffusionDiffEditPipeline": Family(refused=_INVERTS),
    "StableDiffusionInstructPix2PixPipeline": Family(
        checkpoint="timbrooks/instruct-pix2pix", size_text="the source's own, multiples of 8"
    ),
    "StableDiffusionPix2PixZeroPipeline": Family(refused=_INVERTS),
    "StableDiffusionXLInstructPix2PixPipeline": Family(
        checkpoint="diffusers/sdxl-instructpix2pix-768",
        size_text="the area of the training in the source's ratio, multiples of 32",
        size=trained_area,
    ),
    "StableUnCLIPImg2ImgPipeline": Family(refused="makes another picture like the source, and does not edit it"),
    "UniDiffuserPipeline": Family(refused="makes a picture or a text, and does not edit"),
    "VersatileDiffusionDualGuidedPipeline": Family(refused="makes another picture like the source"),
    "VisualClozeGenerationPipeline": Family(refused=_BY_EXAMPLE),
    "VisualClozePipeline": Family(refused=_BY_EXAMPLE),
    "WanImageToVideoPipeline": Family(
        refused="makes a video; a copy of ChronoEdit must name ChronoEditPipeline and ChronoEditTransformer3DModel in "
        "its model_index.json"
    ),
    "ZImageOmniPipeline": Family(
        size_text="the source's own, at most 1 megapixel, cropped to multiples of 16; sides of 64 pixels or more",
        size_with_references=capped,
        several=True,
        dtypes={"vae": "bfloat16"},  # the pipeline gives it nothing else
    ),
}
"""By the class that `model_index.json` names."""


def find_family(signature: Signature) -> Family:
    """Return what is known of a pipeline."""
    unknown = Family(prompt=with_placeholders) if signature.image == "input_images" else Family()
    return FAMILIES.get(signature.pipeline, unknown)


def find_reason(signature: Signature, family: Family) -> str | None:
    """Return why a pipeline cannot edit, as the end of a sentence; None if it can."""
    return family.refused or (None if family.last_frame else signature.find_obstacle())


def place_images(family: Family, argument: str, images: Sequence[Image]) -> Any:
    """Return the value of the argument that takes the images: one image, or a list."""
    if argument == "image" and not family.as_list and len(images) == 1:
        return images[0]
    return list(images)
