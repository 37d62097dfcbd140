"""Share between judges of several families what has to do with chats: params, messages, errors of a checkpoint."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from editlane.core.errors import UserError
from editlane.core.params import JudgeParams
from editlane.core.types import Question
from editlane.models import checkpoints


class ChatJudgeParams(JudgeParams):
    """Settings that all engines have."""

    max_image_side: Annotated[int, Field(ge=32)] = 1024
    """Pixels; larger images are shrunk to this before the judge sees them."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Sampling temperature of generated replies; 0 takes the likeliest token each time. Read-outs do not sample."""

    @property
    def samples(self) -> bool:
        """True if the same question may get another reply."""
        return self.temperature > 0


def make_messages(question: Question, escape: Callable[[str], str]) -> list[dict[str, Any]]:
    """Build the chat messages of a question, with placeholders for images. `escape` is applied to each text."""
    parts = [
        {"type": "text", "text": escape(part)} if isinstance(part, str) else {"type": "image"}
        for part in question.parts
    ]
    user = {"role": "user", "content": parts}
    if not question.system:
        return [user]
    return [{"role": "system", "content": [{"type": "text", "text": escape(question.system)}]}, user]


def check_image_processor(folder: Path) -> None:
    """Raise UserError if a checkpoint folder has no settings of an image processor, without which nothing is seen."""
    own, shared = folder / "preprocessor_config.json", folder / "processor_config.json"
    if not own.is_file() and not (shared.is_file() and "image_processor" in checkpoints.read_json(shared)):
        raise UserError(
            f"The judge's model {folder} has no image processor ({own.name}, or `image_processor` in {shared.name}), "
            "so it cannot see an edit. Use a chat VLM, or copy the file from the model's page."
        )


def set_padding(tokenizer: Any) -> None:
    """Let the token that ends a text also pad one, if a tokenizer has none for that. Models see no padding."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token


@contextmanager
def convert_load_errors(model: str, revision: str | None) -> Iterator[None]:
    """Turn errors of a checkpoint into UserError. The registry reports a missing package, so that error passes
    through."""
    try:
        yield
    except ModuleNotFoundError:
        raise
    except (OSError, ValueError, ImportError) as error:  # ImportError: attention code that is not installed
        # transformers also raises ValueError for files that it could not fetch
        fetched = isinstance(error, ImportError) or not checkpoints.is_hub_id(model)
        raise make_load_error(model, revision, error, fetched=fetched) from error


def make_load_error(model: str, revision: str | None, error: Exception, *, fetched: bool) -> UserError:
    """Make the error for a judge's model that a library did not load. `fetched`: its files are on this machine."""
    reason = " ".join(str(error).split())
    if "trust_remote_code" in reason:
        return UserError(f"The judge's model {model} needs code of its own, which Editlane never runs.")
    if not fetched:
        return checkpoints.make_hub_error(model, revision, reason)
    return UserError(f"The judge's model {model} cannot be loaded: {reason}")
