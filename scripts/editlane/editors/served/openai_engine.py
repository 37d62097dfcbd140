"""Edit with a model behind a server that has OpenAI's `/images/edits`: vLLM-Omni, SGLang, or OpenAI itself.

This process holds no device, and may ask for several edits at once. The server's pixels depend on its version and its
GPU, which keys do not hold; what it says of its model is compared between all processes of a run.
"""

from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from editlane.core.errors import EditFailed, UserError
from editlane.core.types import Edit, EditRequest, RunsOn
from editlane.editors.families import MEGAPIXEL, fit_area
from editlane.editors.served.images_api import ImageEdits, make_test_image
from editlane.editors.served.params import ASPECT, AUTO, ServedParams
from editlane.editors.served.probe import SIZE, Probed, probe
from editlane.endpoint.places import connect, name_version
from editlane.endpoint.served_models import ServedModel, find_words

_TEST_PROMPT = "Turn the picture into a watercolour painting of a lake."


class ServedEditor:
    """A model of a server."""

    VERSION = "1"
    """Bump when the same item would be asked for in another way."""
    RUNS_ON = RunsOn.SERVER
    PARAMS = ServedParams

    def __init__(self, *, model: str | None, revision: str | None, params: ServedParams) -> None:
        if not model:
            raise UserError("the editor served on openai needs a `model`: the name under which the server has it.")
        self.params = params
        self.edits = ImageEdits(connection=connect(params, model, EditFailed))
        models = self.edits.check_served()
        self.words = {} if params.dialect == "openai" else find_words(models)
        """What the server says of its model; of OpenAI's, only the name means anything."""
        if params.dialect == "sglang":
            self.words |= self.edits.ask_checkpoint()
        self._probed: Probed | None = None

    @classmethod
    def check_served(cls, model: str, params: ServedParams, timeout: float) -> list[ServedModel]:
        """Make a single attempt to list the models of the server; see `served_models.check_served`.

        Raises FleetDown if its fleet does not run.
        """
        return ImageEdits(connection=connect(params, model, EditFailed)).with_one_attempt(timeout).check_served()

    @classmethod
    def name_version(cls, model: str, params: Mapping[str, Any]) -> str:
        """Return the name that stands for the model's weights in keys."""
        return name_version(model, params)

    def try_server(self, on_request: Callable[[], None], on_image: Callable[[], None]) -> None:
        """Find out what the server ignores, with a few test edits. The hooks are those of an EditRequest.

        Raises UserError if it is something that edits need, or if the server does not answer.
        """
        size = self.params.chosen_size
        asked = None if size == AUTO else SIZE if size == ASPECT else size
        sides = tuple(map(int, asked.split("x"))) if asked else None
        fields = self._make_fields(_TEST_PROMPT, (sides[0], sides[1]) if sides else None)

        def ask(further: dict[str, Any]) -> Image.Image:
            return self.edits.ask(fields | further, [make_test_image()], on_request, on_image)

        self._probed = probe(
            ask, str(self.edits), takes_seed=self._takes_seed, size=asked, require_seed=self.params.require_seed
        )

    def edit(self, request: EditRequest) -> Edit:
        """Ask for one edit. Thread-safe.

        Raises EditRefused, EditFailed, and UserError for what would fail all edits.
        """
        size = self._choose_size(request.source)
        fields = self._make_fields(request.item.instruction, size)
        if self._takes_seed:
            fields["seed"] = request.seed
        images = [request.source, *request.references]
        return Edit(
            image=self.edits.ask(fields, images, request.on_request, request.on_image),
            requested_size=size,
            seed_used=self._probed.seed_used if self._probed else None,
            fields_ignored=self._probed.fields_ignored if self._probed else None,
        )

    @property
    def _takes_seed(self) -> bool:
        return self.params.dialect != "openai"

    def _make_fields(self, prompt: str, size: tuple[int, int] | None) -> dict[str, Any]:
        fields = {"prompt": prompt, "n": 1, **self.params.make_fields(), "output_format": "png"}
        if self._takes_seed:
            fields["response_format"] = "b64_json"
        if size is not None:
            fields["size"] = f"{size[0]}x{size[1]}"
        elif self.params.dialect != "sglang":  # whose default is what others call auto
            fields["size"] = AUTO
        return fields

    def _choose_size(self, source: Image.Image) -> tuple[int, int] | None:
        """Return the (width, height) to ask for; None if the server chooses."""
        wanted = self.params.chosen_size
        if wanted == AUTO:
            return None
        if wanted == ASPECT:
            return fit_area(*source.size, area=MEGAPIXEL, multiple=32)
        width, _, height = wanted.partition("x")
        return int(width), int(height)
