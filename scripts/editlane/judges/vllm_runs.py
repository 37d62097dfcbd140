"""Run vLLM in this process, on its leased device: settings, start, and the requests of a batch."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from PIL.Image import Image
from pydantic import Field

from editlane.core.cut_replies import CutReply
from editlane.core.errors import JudgeFailed, PassingError
from editlane.core.params import SPEED, AllowPickle, Dtype
from editlane.judges.chat import ChatJudgeParams, make_load_error
from editlane.models.checkpoints import is_hub_id
from editlane.models.devices import convert_model_errors, pick_device, pick_dtype

MOST_IMAGES = 8
"""Maximum images per question."""

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a second process would hold the device after this one is killed
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_HOST_IP": "127.0.0.1",  # torch's rendezvous has a single process
}
"""Settings that vLLM reads at import."""

TOO_LITTLE_MEMORY = re.compile("gpu.memory.utilization", re.IGNORECASE)
"""In each of vLLM's errors (0.32) about memory that is not free: at the start, for any block, for one request."""


class VllmParams(ChatJudgeParams):
    """Settings of this judge."""

    batch_size: Annotated[int, Field(ge=1), SPEED] = 16
    """Edits given to the engine at once; it decides how many go through the model together. Host memory holds two
    batches, with an image once per question that shows it: 12.6 MB at 1024 x 1024 in bfloat16."""
    max_model_len: Annotated[int, Field(ge=16), SPEED] = 16384
    """Maximum tokens of a prompt with its images and its reply; a longer one fails. The engine needs room for one."""
    gpu_memory_utilization: Annotated[float, Field(ge=0.01, le=1), SPEED] = 0.9
    """Share of the GPU's memory for weights, keys and values."""
    enforce_eager: bool = False
    """Skip compilation and graph capture at the start."""
    dtype: Dtype | None = None
    """Number format of weights and activations; null is bfloat16 on a GPU and float32 on the CPU."""
    allow_pickle: AllowPickle = False


def make_engine(model: str, revision: str | None, params: VllmParams, sizes: Mapping[str, Any]) -> Any:
    """Start the engine. `sizes`: keyword arguments of the model's processor that change how it resizes images.

    Raises UserError for a checkpoint or settings that vLLM does not take, and PassingError for weights that cannot be
    fetched and for a GPU without enough free memory.
    """
    from vllm import EngineArgs, LLMEngine

    side = params.max_image_side
    images = {"count": MOST_IMAGES, "width": side, "height": side}
    with _convert_start_errors(model, revision):
        arguments = EngineArgs(
            model=model,
            revision=revision,
            tokenizer_revision=revision,
            dtype=str(pick_dtype(params.dtype, pick_device())).removeprefix("torch."),
            max_model_len=params.max_model_len,
            gpu_memory_utilization=params.gpu_memory_utilization,
            enforce_eager=params.enforce_eager,
            load_format="auto" if params.allow_pickle else "safetensors",
            trust_remote_code=False,
            enable_prefix_caching=True,
            limit_mm_per_prompt={"image": images, "video": 0},
            mm_processor_cache_gb=0,  # its two halves get out of step if a prepared prompt is never asked
            mm_processor_kwargs=dict(sizes) or None,
            disable_log_stats=True,
        )
        return LLMEngine.from_engine_args(arguments)


@contextmanager
def _convert_start_errors(model: str, revision: str | None) -> Iterator[None]:
    """Turn errors of the engine's start into UserError, except a missing package, which the registry reports."""
    try:
        yield
    except ModuleNotFoundError:
        raise
    except (OSError, ValueError, ImportError) as error:
        if TOO_LITTLE_MEMORY.search(str(error)):
            raise PassingError(  # the other process may end, or the next try get another GPU
                f"The judge's model {model} finds too little free memory on its GPU: {' '.join(str(error).split())} "
                "If another process uses this GPU, wait until it ends."
            ) from error
        fetched = not (is_hub_id(model) and isinstance(error, OSError))
        raise make_load_error(model, revision, error, fetched=fetched) from error


def render_prompt(engine: Any, tokens: Sequence[int], images: Sequence[Image]) -> Any:
    """Convert a prompt to the engine's inputs. Its processor puts the tokens of an image in place of a placeholder.

    Raises JudgeFailed for more than MOST_IMAGES.
    """
    if len(images) > MOST_IMAGES:
        error = f"the question shows {len(images)} images, and this engine takes {MOST_IMAGES} at most"
        raise JudgeFailed(error, kind="images")
    prompt = {"prompt_token_ids": list(tokens), "multi_modal_data": {"image": list(images)} if images else {}}
    (rendered,) = engine.renderer.render_cmpl([prompt])
    return rendered


def run_batch(
    engine: Any, batch: Sequence[Sequence[Any]], sampling: Sequence[Sequence[Any]], names: Iterator[str]
) -> list[list[Any]]:
    """Run rendered prompts, and return the engine's one output for each.

    `names`: of requests, each used once. Raises JudgeFailed for a prompt that the engine rejects. An error within the
    engine passes through, because it cannot continue after that.
    """
    own = [[next(names) for _ in questions] for questions in batch]
    added: list[str] = []
    with convert_model_errors(JudgeFailed):
        try:
            for questions, asked, settings in zip(batch, own, sampling, strict=True):
                for rendered, name, chosen in zip(questions, asked, settings, strict=True):
                    added.append(engine.add_request(name, rendered, chosen))
        except Exception:
            engine.abort_request(added, internal=True)  # the next batch finds an empty engine
            raise
    found: dict[str, Any] = {}
    while engine.has_unfinished_requests():
        found |= {done.request_id: done.outputs[0] for done in engine.step() if done.finished}
    return [[found[name] for name in asked] for asked in own]


def make_reply(output: Any, text: str) -> str:
    """Return the text of a generated reply, as a `CutReply` if it ended at the limit of tokens."""
    return CutReply(text) if output.finish_reason == "length" else text
