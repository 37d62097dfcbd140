"""Tell servers of open models, which take more fields than OpenAI's, by what their lists of models say (`owned_by`)."""

from editlane.endpoint.served_models import find_words
from editlane.judges.endpoint.completions import Completions, Options

OPEN = ("vllm", "sglang")
"""They take the fields of PLAIN, and pass `chat_template_kwargs` on to the chat template. Hosted models may reject
both."""

PLAIN: Options = {
    "top_p": 1,
    "top_k": -1,
    "min_p": 0,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}
"""Fields of a generated reply to which nothing but the temperature is done. vLLM and SGLang take those that a request
lacks from the checkpoint's generation_config.json. A read-out needs none: vLLM reports log-probabilities before
penalties, and SGLang's penalties are of tokens that were generated, of which the first has none before it."""


def is_open(completions: Completions) -> bool:
    """Return whether the server of a model is one of OPEN; False if its list does not say.

    Raises what `Completions.check_served` raises.
    """
    return find_words(completions.check_served()).get("owned_by") in OPEN
