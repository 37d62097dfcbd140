"""Step caches of diffusers: they skip steps whose result is predictable. They change pixels.

`cache` is {kind: ...} with diffusers' own settings, one class per kind. SeaCache is missing because it does nothing on
Qwen pipelines. PAB and FasterCache are missing because they fail if the two prompts of guidance differ in length.
"""

import inspect
import io
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Annotated, Any, Literal

from pydantic import Field

from editlane.core.errors import UserError, one_line
from editlane.core.strict_model import LEFT_OUT, StrictModel

log = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=1)]
Threshold = Annotated[float, Field(ge=0)]


class FirstBlockCache(StrictModel):
    """Skips a step's blocks if the first of them changed little."""

    kind: Literal["first_block"]
    threshold: Threshold = LEFT_OUT


class TaylorSeerCache(StrictModel):
    """Extrapolates the outputs of blocks from the steps before."""

    kind: Literal["taylor_seer"]
    cache_interval: Count = LEFT_OUT
    disable_cache_before_step: Count = LEFT_OUT
    disable_cache_after_step: Count = LEFT_OUT
    max_order: Annotated[int, Field(ge=0)] = LEFT_OUT
    use_lite_mode: bool = LEFT_OUT


class MagCache(StrictModel):
    """Skips steps by ratios that were measured with this checkpoint."""

    kind: Literal["mag"]
    threshold: Threshold = LEFT_OUT
    max_skip_steps: Count = LEFT_OUT
    retention_ratio: Annotated[float, Field(ge=0, le=1)] = LEFT_OUT
    mag_ratios: Annotated[list[Threshold], Field(min_length=1)] = LEFT_OUT
    """List of numbers that a run with `calibrate: true` logged."""
    calibrate: bool = LEFT_OUT


Cache = Annotated[FirstBlockCache | TaylorSeerCache | MagCache, Field(discriminator="kind")]
"""The settings have diffusers' names. diffusers' default applies if one is left out."""

CONFIGS = {
    "first_block": "FirstBlockCacheConfig",
    "taylor_seer": "TaylorSeerCacheConfig",
    "mag": "MagCacheConfig",
}


def check_cache(cache: Cache, *, steps: int | None, compiled: bool) -> None:
    """Raise ValueError if `cache` conflicts with the other settings."""
    if isinstance(cache, MagCache):
        if steps is None:
            raise ValueError("cache: mag counts the steps of an edit. Set num_inference_steps.")
        if bool(cache.calibrate) == (cache.mag_ratios is not None):
            raise ValueError(
                "cache: mag needs the ratios of this checkpoint and number of steps. Run a few items once with "
                "{kind: mag, calibrate: true}, which skips nothing and writes them into the lane's log; then give "
                "{kind: mag, mag_ratios: [...]}."
            )
    if isinstance(cache, TaylorSeerCache) and compiled and not cache.use_lite_mode:
        raise ValueError(
            "cache: taylor_seer changes the inside of the transformer blocks, which compile: true compiles whole. Add "
            "use_lite_mode: true, which skips whole blocks, or leave compile out."
        )


class StepCache:
    """Cache of the model that runs once per step in `pipe`. Enter it around each call, so that no image uses
    another one's cached values.

    A pipeline that does not separate the prompts of guidance for the cache is rejected.
    """

    def __init__(self, pipe: Any, model: Any, cache: Cache, steps: int | None) -> None:
        import diffusers

        if not hasattr(model, "enable_cache") or ".cache_context(" not in inspect.getsource(type(pipe).__call__):
            raise UserError(f"cache: diffusers has no step cache for {type(pipe).__name__}. Remove it.")
        self.model, self.kind = model, cache.kind
        self.calibrates = isinstance(cache, MagCache) and bool(cache.calibrate)
        settings = cache.model_dump(exclude={"kind"}, exclude_none=True)
        if self.kind == "mag":
            settings["num_inference_steps"] = steps
        self.calls = self.computed = 0
        self.listening = ExitStack()
        before = {id(hook) for hook in _list_hooks(model)}
        try:
            model.enable_cache(getattr(diffusers, CONFIGS[self.kind])(**settings))
        except ValueError as error:  # its blocks are not registered, as those of LongCat-Image-Edit
            reason = f"cache: {self.kind} does not work with {type(model).__name__}: {one_line(error)}. Remove it."
            raise UserError(reason) from error
        for hook in _list_hooks(model):
            if id(hook) not in before:
                self._count(hook.fn_ref)

    def __enter__(self) -> None:
        self.calls = self.computed = 0
        if self.calibrates:
            self.listening.enter_context(_log_prints())

    def __exit__(self, *error: object) -> None:
        self.listening.close()
        self.model._reset_stateful_cache()  # diffusers does so only after a call that succeeded
        if self.calls and error == (None, None, None):
            self._log_savings()

    def _count(self, function: Any) -> None:
        """Count a hooked module's calls, and those that reach the module itself."""
        arrive, compute = function.pre_forward, function.original_forward

        def arriving(module: Any, *args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return arrive(module, *args, **kwargs)

        def computing(*args: Any, **kwargs: Any) -> Any:
            self.computed += 1
            return compute(*args, **kwargs)

        function.pre_forward, function.original_forward = arriving, computing

    def _log_savings(self) -> None:
        skipped = self.calls - self.computed
        text = f"cache {self.kind}: skipped {skipped} of {self.calls} block calls ({skipped / self.calls:.0%})"
        if skipped == 0 and not self.calibrates:
            log.warning("%s: it saves nothing here", text)
        elif skipped > 0.9 * self.calls:
            log.warning("%s: nearly everything is skipped; use a lower threshold", text)
        else:
            log.info("%s", text)


@contextmanager
def _log_prints() -> Iterator[None]:
    """Log what diffusers prints. Otherwise it would wait in a buffer and be lost if the lane is killed."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        for line in filter(None, printed.getvalue().splitlines()):
            log.info("%s", line)


def _list_hooks(model: Any) -> list[Any]:
    registries = (getattr(module, "_diffusers_hook", None) for module in model.modules())
    return [hook for registry in registries if registry is not None for hook in registry.hooks.values()]
