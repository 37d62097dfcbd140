"""Ask a judge which of two edits is better, and turn its answer into the columns of a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from editlane.core.errors import UserError
from editlane.core.strict_model import read_model
from editlane.core.types import PAIR_ANSWERS, SCALE, Item, Judge, Readout, Row, State
from editlane.protocols.asking import Batch, Questions, ask_for
from editlane.protocols.load import is_pairwise, make_protocol, read_protocol_file
from editlane.protocols.pairwise_file import PairwiseFile
from editlane.protocols.protocol import Combination, Criterion, ReadoutAnswer, ScoringProtocol
from editlane.protocols.scoring import build_prompts, compute_entropy, is_finite

BETTER = "better"
"""The name of a comparison's only question."""

_WIN, _LOSS, _DRAW = SCALE[1], SCALE[0], sum(SCALE) / 2
MODES = dict(zip(PAIR_ANSWERS, ("A", "B", "tie", "both_bad"), strict=True))
"""Answer -> its value in the column `mode`."""


@dataclass(frozen=True, slots=True)
class PairwiseProtocol:
    """Checked protocol that compares two edits."""

    prompt: ScoringProtocol
    """Its texts, images and legal answers, the latter in the order of PAIR_ANSWERS."""

    @property
    def answer(self) -> ReadoutAnswer:
        """Its legal answers, and the probability that they need."""
        assert isinstance(self.prompt.answer, ReadoutAnswer)
        return self.prompt.answer


def load_pairwise(path: Path) -> PairwiseProtocol:
    """Read and check a protocol file that compares two edits. Raises UserError like `load_protocol`."""
    data, content = read_protocol_file(path)
    if isinstance(data, dict) and not is_pairwise(data):
        raise UserError(
            f"The protocol file {path} scores one edit, but the arena's `protocol:` compares two (`kind: pairwise`). "
            "Name it as the `protocol:` of a judge, and here resources/protocols/pairwise.yaml or a copy of it."
        )
    try:
        return PairwiseProtocol(_make_prompt(read_model(PairwiseFile, data, noun="key"), data, content))
    except UserError as error:
        raise UserError(f"The protocol file {path}: {error}") from error


def _make_prompt(file: PairwiseFile, data: Any, content: bytes) -> ScoringProtocol:
    answer = ReadoutAnswer(answers=file.answer.texts, values=(_WIN, _LOSS, _DRAW, _DRAW), min_mass=file.answer.min_mass)
    criteria = (Criterion(name=BETTER, question=file.question, optional=False),)
    score = Combination(how="min", parts=(BETTER,))
    return make_protocol(file, data, content, criteria=criteria, answer=answer, score=score)


def build_comparison(
    protocol: PairwiseProtocol,
    item: Item,
    source: Image,
    edit_a: Image,
    edit_b: Image,
    references: Sequence[Image] = (),
) -> Questions:
    """Build the question about two edits, in the order in which they are shown. `references` follow the source."""
    shown = {"source": source, "edit_a": edit_a, "edit_b": edit_b}
    return build_prompts(protocol.prompt, item, shown, [BETTER], references)


def compare(protocol: PairwiseProtocol, judge: Judge, batch: Batch) -> list[Row]:
    """Return the answer columns of every comparison of the batch, in order; failures as in `asking.ask`."""

    def answer(asked: list[Questions], prepared: Any, _: Sequence[int]) -> list[Row]:
        answers = zip(asked, judge.read_out(prepared, protocol.prompt.answers), strict=True)
        return [read_comparison(protocol, dict(zip(entry, readouts, strict=True))) for entry, readouts in answers]

    return ask_for(answer, judge, batch, [0] * len(batch.asked))


def read_comparison(protocol: PairwiseProtocol, readouts: Mapping[str, Readout]) -> Row:
    """Return the columns of one answer: `p_` of each answer, `mode`, `entropy` and `mass`.

    `state` is `judge_unreadable` (error_kind `mass`) if the legal answers have too little probability, and
    `judge_failed` (`nonfinite`) if a number is not finite. The probabilities are null then; the mass stays.
    """
    readout = readouts[BETTER]
    if not is_finite(readout):
        return _make_unscored(State.JUDGE_FAILED, "nonfinite", "the judge's probabilities are not finite")
    columns: Row = {"mass": round(readout.mass, 6), "entropy": round(compute_entropy(readout), 4)}
    columns["mode"] = _find_mode(readout.probabilities)
    if protocol.answer.is_silent(readout):
        error = protocol.answer.explain_silence(f"{readout.mass:.3g}")
        return columns | _make_unscored(State.JUDGE_UNREADABLE, "mass", error)
    columns |= {"state": str(State.SCORED), "error_kind": None, "error": None}
    return columns | {f"p_{name}": value for name, value in zip(PAIR_ANSWERS, readout.probabilities, strict=True)}


def _find_mode(probabilities: Sequence[float]) -> str:
    pairs = zip(probabilities, PAIR_ANSWERS, strict=True)
    return MODES[max(pairs, key=lambda pair: pair[0])[1]]


def _make_unscored(state: State, kind: str, error: str) -> Row:
    return {"state": str(state), "error_kind": kind, "error": error}
