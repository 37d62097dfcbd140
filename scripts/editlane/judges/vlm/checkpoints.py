"""Refuse a checkpoint before any weight is loaded: incomplete, not reachable, with code of its own, or no chat VLM."""

from editlane.core.errors import UserError
from editlane.judges.chat import convert_load_errors
from editlane.models import checkpoints
from editlane.models.weight_formats import check_formats


def check_architecture(model: str, revision: str | None, *, allow_pickle: bool) -> None:
    """Raise UserError unless transformers has a class for this checkpoint that sees images and writes text."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN

    checkpoints.check_checkpoint(model)
    check_formats(model, allow_pickle=allow_pickle)
    with convert_load_errors(model, revision):
        config = AutoConfig.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
    if config.model_type not in KNOWN:
        raise UserError(
            f"The judge's model {model} has the type {config.model_type!r}, which does not see images and write text "
            "in the installed transformers. Set `model:` to a chat VLM, such as Qwen3.5, InternVL, GLM-4.6V or Gemma 4."
        )
