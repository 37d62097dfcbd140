"""The nouns of Editlane, each named once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from PIL.Image import Image

if TYPE_CHECKING:  # steps without adapters need no pydantic
    from editlane.core.params import JudgeParams, Params

Row = dict[str, Any]
"""A row of a table: column name to value."""


class State(StrEnum):
    """The way an item ended. A number exists only for `scored`."""

    SCORED = "scored"
    SOURCE_UNREADABLE = "source_unreadable"
    EDIT_FAILED = "edit_failed"
    EDIT_REFUSED = "edit_refused"
    JUDGE_UNREADABLE = "judge_unreadable"
    JUDGE_FAILED = "judge_failed"


ON_SERVER = "server"
"""The `edit_device` of an edit that a server made: its seconds are also those of the server's other work."""

EDITED = "edited"
"""The state of an edit that waits for its judge; it never reaches `scores.parquet`."""


class Control(StrEnum):
    """An extra question to a judge whose answer can be checked; `controls.parquet` has a row for each.

    Those of ACCEPTANCE tell whether the judge can be believed: each should score lower than a real edit.
    """

    SOURCE_AS_EDIT = "source_as_edit"
    """The source, shown as its own edit."""
    OTHER_INSTRUCTION = "other_instruction"
    """The edit, under the instruction of another item of its category."""
    BLANK_EDIT = "blank_edit"
    """A blank image, shown as the edit."""
    SWAPPED = "swapped"
    """Source and edit in each other's place."""
    HALF_BLENDED = "half_blended"
    """The edit, half blended with its source."""
    BLURRED = "blurred"
    """The edit, blurred."""
    REPEAT = "repeat"
    """The same question again: the judge's noise."""
    CANARY = "canary"
    """A frozen pair that every run has judged: the judge's drift."""


WRONG = (Control.SOURCE_AS_EDIT, Control.OTHER_INSTRUCTION, Control.BLANK_EDIT, Control.SWAPPED)
"""Controls that show no edit, or a wrong one."""

DEGRADED = (Control.HALF_BLENDED, Control.BLURRED)
"""Controls that show a worse copy of an edit, and are compared with it in pairs."""

ACCEPTANCE = (*WRONG, *DEGRADED)
"""The controls that decide whether a judge is accepted."""

SAME_FOR_ALL = (Control.SOURCE_AS_EDIT, Control.BLANK_EDIT)
"""Controls whose question about an item is the same for every editor. It is asked, and counts, once."""


class PairControl(StrEnum):
    """A question about two pictures whose answer can be checked; `pairs.parquet` has rows for each."""

    SOURCE = "source"
    """An edit beside its own source."""
    BLANK = "blank"
    """An edit beside a blank image."""
    ITSELF = "itself"
    """An edit beside itself: what the judge says of the first and the second place alone."""
    OTHER_ITEM = "other_item"
    """An edit beside the same editor's edit of another item of the category."""


PAIR_ANSWERS = ("a", "b", "tie", "both_bad")
"""The answers to a question about two edits, in the order of the columns: p_a, p_b, p_tie, p_both_bad."""

SCALE = (0.0, 10.0)
"""Lowest and highest score an item can get."""


MOST_TURNS = 16
"""Turns that a record may have."""

MOST_IMAGES = 16
"""Images that an item may have: its source, and further ones that the instruction may refer to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A further image of an item. Its path is relative to the run's folder."""

    path: str
    sha256: str
    width: int | None
    """Pixels, as displayed; null where the header cannot be read."""
    height: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A source image, an instruction and a category. Paths are relative to the run's folder."""

    item_id: str
    """NFC, unique in the run, safe as a file name."""
    category: str
    instruction: str
    language: str
    """The language of `instruction`. It differs from the dataset's setting if that language was missing."""
    source_path: str
    source_sha256: str
    width: int | None
    """Pixels, as displayed (after EXIF rotation); null where the header cannot be read."""
    height: int | None
    cost: float
    """Estimated work relative to other items; lanes are balanced by it."""
    description: str | None = None
    rationale: str | None = None
    tags: tuple[str, ...] = ()
    difficulty: str | None = None
    given_path: str | None = None
    """The edit that came with the dataset (`format: pairs` or `edited_dir`); in a lane of an editor with a folder of
    its own, the one from there. None if its file is missing."""
    given_sha256: str | None = None
    sample_of: str | None = None
    """The item that this one repeats with another seed (`samples`); None for the item itself."""
    references: tuple[Reference, ...] = ()
    """Further images that the editor is given after the source, in the dataset's order. An edit is compared with the
    source only."""
    turns: tuple[str, ...] = ()
    """The instructions of a later turn and of all turns before it: each edits the result of the one before.
    `instruction` then tells all of them, for judges and people. Empty for a first turn, and for any other item."""
    after: str | None = None
    """The item of the turn before, in the same lane, whose edit is edited; None without one."""

    @property
    def turn(self) -> int:
        """The number of an item's turn, counted from 1; 1 for an item that is no turn."""
        return len(self.turns) if self.after is not None else 1


def do_nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRequest:
    """The input of an editor for one item."""

    item: Item
    source: Image
    """RGB, upright."""
    given: Path | None
    """The file of the edit that was made elsewhere; None if there is none."""
    seed: int
    on_step: Callable[[int, int], None]
    """Call as on_step(step, steps) after each denoising step, counted from 1."""
    tiled_vae: bool = False
    """True on the second attempt, after running out of memory: decode the image in tiles."""
    references: tuple[Image, ...] = ()
    """The item's further images in its order, RGB and upright: what the instruction may refer to besides the source."""
    on_request: Callable[[], None] = do_nothing
    """An editor on a server calls it before each request: it waits until one may be sent, and counts it. Raises
    UserError if no more may be sent, Stopped if the lane is to stop."""
    on_image: Callable[[], None] = do_nothing
    """The same after each answer with an image: it may have to be paid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """The result of an editor for one item."""

    image: Image
    requested_size: tuple[int, int] | None = None
    """(width, height) asked of the model; None if the model chose."""
    prompt_truncated: bool | None = None
    """True if no text encoder got the whole instruction; None if that is unknown, or if there is none."""
    seed_used: bool | None = None
    """Of an editor on a server: whether the seed decides the image. None for another editor."""
    fields_ignored: bool | None = None
    """Of an editor on a server: whether it takes fields that it does not know. None for another editor."""


class RunsOn(StrEnum):
    """Where the model of an adapter runs."""

    NOTHING = "nothing"
    """There is no model."""
    DEVICE = "device"
    """The adapter loads a checkpoint onto the device of its process."""
    SERVER = "server"
    """The adapter asks a server: it holds no device, and `model` is the name that the server knows. Its class has
    `name_version(model, params)`, which returns the name that keys hold. An editor's params have `concurrency`,
    `max_requests` and `requests_per_minute`. It has `words`, what the server says of its model, and
    `try_server(on_request, on_image)`, which is called before its first edit and ends the lane by a UserError."""


class Editor(Protocol):
    """An image-editing model on one device. Built by its adapter, `Adapter(model=, revision=, params=)`."""

    VERSION: str
    """Version of the adapter's code. Bump it when the same input would give another result."""
    RUNS_ON: RunsOn
    PARAMS: "type[Params]"
    """The class of its `params`. It says which of them are part of the journal key."""

    def edit(self, request: EditRequest) -> Edit:
        """Carry out one instruction. Raises ItemError for this item only."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NumbersAsked:
    """What a generated reply has to hold, if it may be JSON with the keys `reasoning` and `score`."""

    count: int
    """Numbers in `score`; one is no list."""
    low: float
    high: float
    """Range of each number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to a judge: a system text, then texts and RGB images in reading order."""

    system: str
    parts: tuple[str | Image, ...]
    numbers: NumbersAsked | None = field(default=None, compare=False)
    """For judges that can force the form of a reply; None if another form is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """The judge's distribution over the legal answers, from one forward pass."""

    probabilities: tuple[float, ...]
    """One per legal answer, in their order; sums to 1."""
    mass: float
    """Share of the full next-token distribution that lies on legal answers, 0..1."""


class Judge(Protocol):
    """A vision-language model on one device. Built by its adapter like an editor."""

    VERSION: str
    """A `REPLIES_VERSION` may stand beside it; see `name_code_version` in models/registry.py."""
    RUNS_ON: RunsOn
    PARAMS: "type[JudgeParams]"

    @property
    def max_batch_cost(self) -> int:
        """Maximum total cost of the edits of one batch, at least 1."""
        ...

    def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """Return the cost of an edit in a batch, at least 1: tokens, or 1 for a judge that counts edits.

        `sizes`: (width, height) in pixels of all images in the questions about it. `text`: their own text.
        """
        ...

    def prepare(self, asked: Sequence[Sequence[Question]]) -> Any:
        """Prepare a batch on the CPU; may run while the device works on another batch.

        Each entry holds all questions about one edit, so that their shared parts are computed once. Raises ItemError
        for the whole batch.
        """
        ...

    def read_out(self, batch: Any, answers: Sequence[str]) -> list[list[Readout]]:
        """Return a distribution over `answers` per question, in the order asked, without decoding."""
        ...

    def generate(self, batch: Any, max_new_tokens: int, seeds: Sequence[Sequence[int]]) -> list[list[str]]:
        """Return one reply per question; one that ended at the limit of tokens is a `CutReply`.

        `seeds`: one integer of 0 or more per question; it alone decides the randomness of the reply.
        """
        ...


@runtime_checkable
class CountedJudge(Protocol):
    """A judge on a server that sends no more requests than its params allow."""

    params: Any
    """They have `max_requests` and `requests_per_minute`, each None for no limit."""
    on_request: Callable[[], None]
    """The judge calls it before each attempt, its lane sets it; see EditRequest. What it raises ends the request."""


class RatingJudge(Judge, Protocol):
    """A judge with a reward head: its answer to a question is a number of any size."""

    def rate(self, batch: Any) -> list[list[float]]:
        """Return one number per question, in the order asked."""
        ...
