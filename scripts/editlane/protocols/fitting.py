"""Check that the params of a judge fit what its protocol asks."""

from editlane.core.errors import UserError
from editlane.core.params import JudgeParams
from editlane.protocols.json_replies import find_numbers
from editlane.protocols.protocol import ScoringProtocol


def check_fit(protocol: ScoringProtocol, params: JudgeParams) -> None:
    """Raise UserError if the params ask for what this protocol does not have."""
    if params.replies > 1 and protocol.answers:
        raise UserError(
            f"params: replies is {params.replies}, but the protocol {protocol.name!r} reads probabilities, of which "
            "one answer shows all. Remove `replies`."
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
