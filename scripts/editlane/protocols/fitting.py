"""Check that a judge fits what its protocol asks."""

from typing import Any

from editlane.core.errors import UserError
from editlane.core.params import JudgeParams
from editlane.protocols.json_replies import find_numbers
from editlane.protocols.protocol import GeneratedAnswer, ScalarAnswer, ScoringProtocol


def fit_protocol(protocol: ScoringProtocol, params: JudgeParams, adapter: Any) -> ScoringProtocol:
    """Return the protocol as this judge is asked.

    Raises UserError if the params, or the class of the adapter, do not have what the protocol asks for.
    """
    _check(protocol, params, adapter)
    return protocol.with_replies(params.replies)


def _check(protocol: ScoringProtocol, params: JudgeParams, adapter: Any) -> None:
    rates, scalar = hasattr(adapter, "rate"), isinstance(protocol.answer, ScalarAnswer)
    if scalar and not rates:
        raise UserError(
            f"the protocol {protocol.name!r} needs the number of a reward head (`kind: scalar`), which this adapter "
            "does not give. Use `adapter: reward-head`, or another protocol, such as resources/protocols/rubric.yaml."
        )
    if rates and not scalar:
        raise UserError(
            f"the adapter reward-head gives a number and no words, but the protocol {protocol.name!r} has other "
            "answers. Use a protocol with `kind: scalar`, such as resources/protocols/scalar.yaml."
        )
    if params.replies > 1 and not isinstance(protocol.answer, GeneratedAnswer):
        raise UserError(
            f"params: replies is {params.replies}, but the protocol {protocol.name!r} generates no replies: one answer "
            "shows all. Remove `replies`."
        )
    if params.replies > 1 and not params.samples:
        raise UserError(
            f"params: replies is {params.replies}, but at temperature 0 all replies of this judge are the same. Set "
            "`temperature`, such as 0.7, or remove `replies`."
        )
    if getattr(params, "structured_output", False) and not _may_be_json(protocol):
        raise UserError(
            f"params: structured_output is true, but the protocol {protocol.name!r} does not read JSON with the keys "
            "`reasoning` and `score`. Use one that does, such as resources/protocols/viescore.yaml, or remove "
            "`structured_output`."
        )


def _may_be_json(protocol: ScoringProtocol) -> bool:
    questions = protocol.group_questions([one.name for one in protocol.criteria])
    return all(find_numbers(protocol, name) for name in questions)
