"""Step caches of diffusers: a step whose result is foreseeable is not computed. They change pixels.

`cache` is {kind: ...} with the settings that diffusers has for it; which, the table below says. Left out are SeaCache,
which does nothing on Qwen pipelines, and PAB and FasterCache, which fail where the two prompts of guidance differ in
length.
"""

import inspect
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Any

from editlane.core.errors import UnknownName, UserError
from editlane.core.params import check_choice, check_integer, check_number

log = logging.getLogger(__name__)

Check = Callable[[str, Any], None]


def _at_least(low: int) -> Check:
    return lambda name, value: check_integer(name, value, low)


def _between(low: float, high: float | None) -> Check:
    return lambda name, value: check_number(name, value, low, high)


def _truth(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise UserError(f"{name} is {value!r}; use true or false.")


def _numbers(name: str, value: Any) -> None:
    if not isinstance(value, list) or not value:
        raise UserError(f"{name} is {value!r}; use the list of numbers that a run with calibrate: true logged.")
    for number in value:
        check_number(name, number, 0)


KINDS: dict[str, dict[str, Check]] = {
    "first_block": {"threshold": _between(0, None)},
    "taylor_seer": {
        "cache_interval": _at_least(1),
        "disable_cache_before_step": _at_least(1),
        "disable_cache_after_step": _at_least(1),
        "max_order": _at_least(0),
        "use_lite_mode": _truth,
    },
    "mag": {
        "threshold": _between(0, None),
        "max_skip_steps": _at_least(1),
        "retention_ratio": _between(0, 1),
        "mag_ratios": _numbers,
        "calibrate": _truth,
    },
}
"""Kind -> diffusers' names of its settings, and what they may be. What is not set is left to diffusers."""

CONFIGS = {
    "first_block": "FirstBlockCacheConfig",
    "taylor_seer": "TaylorSeerCacheConfig",
    "mag": "MagCacheConfig",
}


def check_cache(cache: Any, *, steps: int | None, compiled: bool) -> None:
    """Raises UserError for a `cache` that is none of `KINDS`, or does not go with the other settings."""
    if not isinstance(cache, Mapping) or "kind" not in cache:
        raise UserError(f"cache is {cache!r}; use {{kind: ...}} with one of {', '.join(KINDS)}.")
    kind = cache["kind"]
    check_choice("cache: kind", kind, KINDS)
    for name, value in cache.items():
        if name != "kind" and name not in KINDS[kind]:
            raise UnknownName(f"setting of the cache {kind}", name, KINDS[kind])
        if name != "kind":
            KINDS[kind][name](f"cache: {name}", value)
    if kind == "mag":
        if steps is None:
            raise UserError("cache: mag counts the steps of an edit. Set num_inference_steps.")
        if bool(cache.get("calibrate")) == ("mag_ratios" in cache):
            raise UserError(
                "cache: mag needs the ratios of this checkpoint and number of steps. Run a few items once with "
                "{kind: mag, calibrate: true}, which skips nothing and writes them into the lane's log; then give "
                "{kind: mag, mag_ratios: [...]}."
            )
    if kind == "taylor_seer" and compiled and not cache.get("use_lite_mode"):
        raise UserError(
            "cache: taylor_seer works inside of the transformer's blocks, which compile: true takes as one piece. Add "
            "use_lite_mode: true, which skips whole blocks, or leave compile out."
        )


class StepCache:
    """The cache of the model that runs once a step in `pipe`; refused where the pipeline does not tell it which prompt
    a pass is for. Use it as the context of each call: no image sees what another left behind.
    """

    def __init__(self, pipe: Any, model: Any, cache: Mapping[str, Any], steps: int | None) -> None:
        import diffusers

        if not hasattr(model, "enable_cache") or ".cache_context(" not in inspect.getsource(type(pipe).__call__):
            raise UserError(f"cache: diffusers has no step cache for {type(pipe).__name__}. Remove it.")
        self.model, self.kind, self.calibrates = model, cache["kind"], bool(cache.get("calibrate"))
        settings = {name: value for name, value in cache.items() if name != "kind"}
        if self.kind == "mag":
            settings["num_inference_steps"] = steps
        self.calls = self.computed = 0
        self.listening = ExitStack()
        before = {id(hook) for hook in _hooks(model)}
        model.enable_cache(getattr(diffusers, CONFIGS[self.kind])(**settings))
        for hook in _hooks(model):
            if id(hook) not in before:
                self._count(hook.fn_ref)

    def __enter__(self) -> None:
        self.calls = self.computed = 0
        if self.calibrates:
            self.listening.enter_context(_logged_prints())

    def __exit__(self, *error: object) -> None:
        self.listening.close()
        self.model._reset_stateful_cache()  # diffusers does so only after a call that succeeded
        if self.calls and error == (None, None, None):
            self._tell()

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

    def _tell(self) -> None:
        skipped = self.calls - self.computed
        text = f"cache {self.kind}: skipped {skipped} of {self.calls} block calls ({skipped / self.calls:.0%})"
        if skipped == 0 and not self.calibrates:
            log.warning("%s: it saves nothing here", text)
        elif skipped > 0.9 * self.calls:
            log.warning("%s: little is left of the model; use a lower threshold", text)
        else:
            log.info("%s", text)


@contextmanager
def _logged_prints() -> Iterator[None]:
    """What diffusers prints would wait in a buffer, which a lane that is killed loses."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        for line in filter(None, printed.getvalue().splitlines()):
            log.info("%s", line)


def _hooks(model: Any) -> list[Any]:
    registries = (getattr(module, "_diffusers_hook", None) for module in model.modules())
    return [hook for registry in registries if registry is not None for hook in registry.hooks.values()]
