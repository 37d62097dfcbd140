"""Qwen3-VL behind a server with OpenAI's chat completions and log-probabilities, such as vLLM's.

This process holds no device. How probabilities are read is in endpoint/asker.py.

Images are sent as PNG, shrunk to `max_image_side` and resized to whole blocks of 32 pixels. The processor of a released
Qwen3-VL does the same, so the server's own has nothing left to resize. With the same checkpoint and number format, a
server agrees with the other engines. Rounding and hidden probability are the exceptions.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

from editlane.core.errors import UserError
from editlane.core.types import Question, Readout, RunsOn, do_nothing
from editlane.endpoint.places import name_version
from editlane.endpoint.served_models import ServedModel
from editlane.images.files import PREPARING_THREADS, fit_within
from editlane.judges.endpoint.asker import Asker
from editlane.judges.endpoint.completions import Messages
from editlane.judges.endpoint.connect import make_completions
from editlane.judges.endpoint.messages import prepare_messages
from editlane.judges.endpoint.open_servers import PLAIN, is_open
from editlane.judges.endpoint.params import EndpointParams
from editlane.judges.endpoint.replies import read_parts, read_reply
from editlane.judges.qwen3_vl.chat import make_messages

BLOCK = 32
LEAST_PIXELS = 256 * 256


class EndpointJudge:
    """Model under the name by which a server serves it."""

    VERSION = "1"
    """Bump when the same question would get other probabilities.

    It was not for requests without a seed, nor when the 19th and the 20th reported token were no longer read: an answer
    there counts as hidden, and where hidden answers may hold more than NEGLIGIBLE, the question is asked again.
    """
    REPLIES_VERSION = "1"
    """Bump when the same question would get another reply, but the same probabilities."""
    RUNS_ON = RunsOn.SERVER
    PARAMS = EndpointParams

    def __init__(self, *, model: str, revision: str | None, params: EndpointParams) -> None:
        self.params = params
        if not model:
            raise UserError(
                "the judge qwen3-vl on openai needs a `model`: the name under which the endpoint serves it."
            )
        self.on_request: Callable[[], None] = do_nothing
        self.completions = make_completions(model, params, lambda: self.on_request())
        self._plain = PLAIN if is_open(self.completions) else {}
        self._encoders = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")
        self.asker = Asker(
            self.completions,
            params.concurrency,
            params.answer_constraint,
            lambda question: self.prepare([[question]])[0][0],
        )

    @classmethod
    def check_served(cls, model: str, params: EndpointParams, timeout: float) -> list[ServedModel]:
        """Make a single attempt to list the models of the endpoint; see `served_models.check_served`."""
        return make_completions(model, params).with_one_attempt(timeout).check_served()

    @classmethod
    def name_version(cls, model: str, params: Mapping[str, Any]) -> str:
        """Return the name that stands for the model's weights in keys."""
        return name_version(model, params)

    @property
    def max_batch_cost(self) -> int:
        """Edits per batch; see `EndpointParams.edits_per_batch`."""
        return self.params.edits_per_batch

    def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """Return 1, because the server counts the tokens itself."""
        return 1

    def prepare(self, asked: Sequence[Sequence[Question]]) -> list[list[Messages]]:
        """Build the messages of every question. Encode each image once."""
        return prepare_messages(asked, self._fit, make_messages, self._encoders)

    def _fit(self, image: Image.Image) -> Image.Image:
        return _resize_to_blocks(fit_within(image, self.params.max_image_side))

    def read_out(self, batch: list[list[Messages]], answers: Sequence[str]) -> list[list[Readout]]:
        """Send one request per question, or two if the first shows too little; see `Asker.read_out`."""
        return self.asker.read_out(batch, answers)

    def generate(
        self, batch: list[list[Messages]], max_new_tokens: int, seeds: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        """Generate replies at the params' temperature. Whether the seed decides all chance is up to the server.

        Raises like read_out, and JudgeRefused or NothingSaid for the batch if the reply about one edit is none.
        """
        options = self._plain | {"max_tokens": max_new_tokens, "temperature": self.params.temperature, "top_p": 1}
        draws = self.params.temperature > 0  # else a seed decides nothing; see FIRST_TOKEN

        def write(messages: Messages, seed: int) -> str:
            return read_reply(
                self.completions.ask(messages, options | ({"seed": seed} if draws else {}), read_parts), str
            )

        pairs = zip(batch, seeds, strict=True)
        return self.asker.ask_each([list(zip(edit, own, strict=True)) for edit, own in pairs], write)


def _resize_to_blocks(image: Image.Image) -> Image.Image:
    """Resize an image like the processor of a released Qwen3-VL: round each side to whole blocks, and enlarge a small
    image to LEAST_PIXELS."""
    sides = [round(side / BLOCK) * BLOCK for side in image.size]
    if math.prod(sides) < LEAST_PIXELS:
        factor = math.sqrt(LEAST_PIXELS / math.prod(image.size))
        sides = [math.ceil(side * factor / BLOCK) * BLOCK for side in image.size]
    size = (sides[0], sides[1])
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)
