"""Define the keys of a protocol file that compares two edits. It contains data and no code.

kind: pairwise
name, version, description, system, rubrics, general_rubric, item: as in a file that scores one edit; see file.py
images:                            # the images to show, each of these once
  - {show: source, label: "Source image:"}
  - {show: edit_a, label: "Edit A:"}
  - {show: edit_b, label: "Edit B:"}
question: text                     # the last thing in the prompt
answer: {a: "A", b: "B", tie: "C", both_bad: "D", min_mass: 0.5}   # the one token that stands for each answer
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from editlane.core.strict_model import LEFT_OUT, StrictModel
from editlane.core.types import PAIR_ANSWERS
from editlane.protocols.file import ItemFile, Text, check_rubrics

PAIRWISE = "pairwise"
"""The `kind` of a file that compares two edits. A file that scores one edit has no `kind`."""

SHOWN = ("source", "edit_a", "edit_b")
"""The images of a comparison."""


class ShownPairFile(StrictModel):
    """Image of a prompt, as `{show: edit_a, label: "Text:"}`."""

    show: Literal["source", "edit_a", "edit_b"]
    label: Text = ""


Token = Annotated[str, Field(min_length=1)]


class PairAnswersFile(StrictModel):
    """The text of each answer, in quotes."""

    a: Token
    b: Token
    tie: Token
    both_bad: Token
    min_mass: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _check_different(self) -> "PairAnswersFile":
        if len(set(self.texts)) < len(self.texts):
            raise ValueError(f"the answers are {', '.join(self.texts)}; use texts that are all different.")
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts, in the order of PAIR_ANSWERS."""
        return tuple(getattr(self, name) for name in PAIR_ANSWERS)


class PairwiseFile(StrictModel):
    """Keys of the file."""

    kind: Literal["pairwise"]
    name: Text
    version: Text
    description: Text
    system: Text = ""
    rubrics: dict[str, Text] = Field(default_factory=dict)
    general_rubric: Text = LEFT_OUT
    images: list[ShownPairFile]
    item: ItemFile = LEFT_OUT
    question: Text
    answer: PairAnswersFile

    @model_validator(mode="after")
    def _check_whole(self) -> "PairwiseFile":
        check_rubrics(self.system, self.rubrics, self.general_rubric)
        if sorted(one.show for one in self.images) != sorted(SHOWN):
            raise ValueError(f"images shows {[one.show for one in self.images]}; show each of {', '.join(SHOWN)} once.")
        return self
