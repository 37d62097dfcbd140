"""Map names to adapters. This module loads no model library; an adapter's module is imported on demand."""

import importlib
from collections.abc import Mapping
from typing import Any

from editlane.core.errors import UnknownName, UserError
from editlane.core.params import read_params
from editlane.core.types import RunsOn
from editlane.models.page_cache import read_ahead
from editlane.models.weight_files import find_weights

EDITORS = {
    "diffusers": "editlane.editors.diffusers_pipeline:DiffusersEditor",
    "fake": "editlane.editors.fake:FakeEditor",
    "given": "editlane.editors.given:GivenEditor",
    "qwen-image-edit": "editlane.editors.qwen_image_edit:QwenImageEditor",
    "served/openai": "editlane.editors.served.openai_engine:ServedEditor",
}
"""The engine follows the slash, for an editor that has one."""

JUDGES = {
    "fake": "editlane.judges.fake:FakeJudge",
    "qwen3-vl": "editlane.judges.qwen3_vl.transformers_engine:Qwen3VLJudge",
    "qwen3-vl/openai": "editlane.judges.qwen3_vl.openai_engine:EndpointJudge",
    "qwen3-vl/vllm": "editlane.judges.qwen3_vl.vllm_engine:VllmJudge",
    "reward-head": "editlane.judges.reward_head.judge:RewardHeadJudge",
    "vlm": "editlane.judges.vlm.transformers_engine:VlmJudge",
    "vlm/openai": "editlane.judges.vlm.openai_engine:VlmEndpointJudge",
    "vlm/vllm": "editlane.judges.vlm.vllm_engine:VlmVllmJudge",
}
"""The engine follows the slash."""

ADAPTERS = {"editor": EDITORS, "judge": JUDGES}
"""Adapters by kind and name."""

DEFAULT_ENGINE = "transformers"


def judge_on_engine(adapter: str, engine: str) -> str:
    """Return the name in JUDGES of the judge `adapter` on `engine`. An adapter without engines has only the default.

    Raises UnknownName for another adapter, UserError for an engine that this one does not have.
    """
    adapters = {name.partition("/")[0] for name in JUDGES}
    if adapter not in adapters:
        raise UnknownName("judge", adapter, adapters)
    name = adapter if engine == DEFAULT_ENGINE else f"{adapter}/{engine}"
    if name not in JUDGES:
        engines = [DEFAULT_ENGINE, *(name.partition("/")[2] for name in JUDGES if name.startswith(f"{adapter}/"))]
        others = f"use {' or '.join(engines)}" if len(engines) > 1 else "leave `engine` out"
        raise UserError(f"adapter {adapter!r} does not run on the engine {engine!r}; {others}.")
    return name


def editor_on_engine(adapter: str, engine: str | None) -> str:
    """Return the name in EDITORS of the editor `adapter` on `engine`. Only one with several engines needs `engine`.

    Raises UnknownName for another adapter, UserError for an engine that this one does not have, or needs.
    """
    adapters = {name.partition("/")[0] for name in EDITORS}
    if adapter not in adapters:
        raise UnknownName("editor", adapter, adapters)
    engines = sorted(name.partition("/")[2] for name in EDITORS if name.partition("/")[0] == adapter)
    if engine in engines:
        return f"{adapter}/{engine}"
    if engine is None and len(engines) == 1:
        return f"{adapter}/{engines[0]}" if engines[0] else adapter
    if engines == [""]:
        raise UserError(f"adapter {adapter!r} has no engines; leave `engine` out.")
    raise UserError(f"adapter {adapter!r} does not run on the engine {engine!r}; use {' or '.join(engines)}.")


def find_adapter(kind: str, name: str) -> Any:
    """Return the class of an adapter; `kind` is editor or judge. Its module must not import a model library.

    Raises UnknownName.
    """
    known = ADAPTERS[kind]
    if name not in known:
        raise UnknownName(kind, name, known)
    module, _, attribute = known[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def name_code_version(adapter: Any, *, generates: bool) -> str:
    """Return the version of an adapter's code in keys. `generates`: of a judge whose replies are generated.

    Such a judge may have a version of its replies besides. Scores that it reads from probabilities then keep their keys
    when only its replies change.
    """
    own: str = adapter.VERSION
    replies = getattr(adapter, "REPLIES_VERSION", None) if generates else None
    return own if replies is None else f"{own}.{replies}"


def check_params(kind: str, name: str, given: Mapping[str, Any]) -> Any:
    """Return the checked params of the adapter `name`. Raises UserError."""
    family, _, engine = name.partition("/")
    owner = f"the {kind} {family} on {engine}" if engine else f"the {kind} {family}"
    return read_params(find_adapter(kind, name).PARAMS, owner, given)


def build(kind: str, *, adapter: str, model: str | None, revision: str | None, params: Mapping[str, Any]) -> Any:
    """Load a model through its adapter. Raises UserError for wrong params, or if this Python lacks a package."""
    found = find_adapter(kind, adapter)
    checked = check_params(kind, adapter, params)
    if found.RUNS_ON == RunsOn.DEVICE:  # the files load into the page cache while the libraries are imported
        read_ahead(lambda: find_weights(model or "", revision))
    try:
        return found(model=model, revision=revision, params=checked)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{kind} {adapter!r} needs the package {error.name!r}, which this Python does not have. "
            f"Run with --sdm conda (the {kind}'s `env:` installs it), or: pip install {error.name}"
        ) from error
