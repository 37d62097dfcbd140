"""Is a prompt told of that no text encoder of a pipeline gets whole?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adapters import built
from test_editors import GUIDANCE, KONTEXT_64, TWO_STEPS, one_thread, request
from test_optimizations import small_reference

from editlane.editors.diffusers_pipeline import DiffusersEditor
from editlane.editors.qwen_image_edit import QwenImageEditor

pytest.importorskip("torch")
pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings(
    # diffusers' EulerAncestralDiscreteScheduler, numpy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

assert one_thread and small_reference  # for this module, too

KLEIN_64 = TWO_STEPS | {"height": 64, "width": 64}
FITS: list[Any] = [
    pytest.param(DiffusersEditor, "instruct-pix2pix", TWO_STEPS, 75, id="instruct-pix2pix: CLIP's 77, two are its own"),
    pytest.param(DiffusersEditor, "flux-kontext", KONTEXT_64, 510, id="flux-kontext: T5's 512, two are its own"),
    pytest.param(
        DiffusersEditor, "flux-kontext", KONTEXT_64 | {"max_sequence_length": 99}, 97, id="flux-kontext: as asked"
    ),
]
"""The tokenizers of tiny models make a token of each letter."""


@pytest.mark.parametrize(("editor", "kind", "params", "most"), FITS)
def test_the_first_prompt_that_is_cut_is_one_token_too_long(
    editor: Any, kind: str, params: dict[str, Any], most: int, tiny_model: Callable[[str], Path]
) -> None:
    loaded = built(editor, model=str(tiny_model(kind)), params=params)
    cut = [loaded.edit(request("a" * length)).prompt_truncated for length in (most, most + 1, 3)]
    assert cut == [False, True, False]


def test_a_chat_template_takes_part_of_the_room(tiny_model: Callable[[str], Path]) -> None:
    loaded = built(DiffusersEditor, model=str(tiny_model("flux2-klein")), params=KLEIN_64)
    assert loaded.edit(request("a" * 300)).prompt_truncated is False
    assert loaded.edit(request("a" * 511)).prompt_truncated is True


def test_qwen_image_edit_cuts_nothing_whatever_its_limit(tiny_model: Callable[[str], Path]) -> None:
    """diffusers checks `max_sequence_length` there, and then does not use it."""
    params = GUIDANCE | {"max_sequence_length": 16}
    loaded = built(QwenImageEditor, model=str(tiny_model("qwen-image-edit-plus")), params=params)
    assert loaded.edit(request("a" * 1500)).prompt_truncated is False


def test_the_negative_prompt_is_not_meant(tiny_model: Callable[[str], Path]) -> None:
    params = TWO_STEPS | {"negative_prompt": "b" * 200}
    loaded = built(DiffusersEditor, model=str(tiny_model("instruct-pix2pix")), params=params)
    assert loaded.edit(request("short")).prompt_truncated is False
