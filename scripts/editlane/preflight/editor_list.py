"""List the editing pipelines of the installed diffusers as lines of a config, and what only looks like an editor."""

import re
from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Any

from editlane.core.text_width import pluralize
from editlane.editors.families import FAMILIES, Family, find_family, find_reason
from editlane.editors.signatures import Signature, scan_pipelines

WIDEST = 100
"""Columns of a line where the terminal has more, or where there is none."""

OTHERS = {
    "qwen-image-edit": "",
    "served": "a server",
    "given": "made elsewhere",
    "fake": "",
}
"""The other adapters, and what they are for."""

NO_EFFECT = {"true_cfg_scale": 1.0}
"""Arguments whose default switches something off."""


_KEPT = "\N{NO-BREAK SPACE}"
"""A space at which no line is broken."""


def list_editors(width: int | None) -> Iterator[str]:
    """Yield the lines to print, at most WIDEST or `width` columns wide. Raises UserError without diffusers."""
    columns = min(width or WIDEST, WIDEST)
    scanned = [(one, find_family(one)) for one in scan_pipelines().values()]
    found = [(one, family) for one, family in scanned if family.refused or (one.image and "prompt" in one.defaults)]
    usable = [(one, family) for one, family in found if find_reason(one, family) is None]
    editors = [(one, family) for one, family in usable if not one.describes]
    yield from _wrap(
        f"{pluralize(len(editors), 'pipeline')} of the installed diffusers can edit. Copy one into `editors:` of your "
        "config; `model` is a hub id or the folder of a checkpoint, and `params` are the pipeline's own defaults.",
        columns,
    )
    yield from ("", "editors:")
    for one, family in editors:
        yield from _list_block(one, family, columns)
    for name in (name for name in FAMILIES if name.endswith("ModularPipeline")):
        yield from _list_block(Signature(name, {}), FAMILIES[name], columns)
    yield from ("", "These run, too, but their prompt describes the whole result and not a change:")
    yield from _join([one.pipeline for one, _ in usable if one.describes], columns)
    yield from ("", "These look like editors, and cannot edit an item:")
    yield from _list_refused(found, columns)
    yield ""
    others = (f"{name} ({what})" if what else name for name, what in OTHERS.items())
    yield from _wrap(f"Other adapters: {', '.join(others)}: config/models.md", columns)


def _list_block(signature: Signature, family: Family, columns: int) -> Iterator[str]:
    """Yield the lines of one editor: YAML to stand below `editors:`, with what is to be known as comments."""
    checkpoint = family.checkpoint or "ORG/NAME"
    params = dict(_choose_params(signature))
    further = [name for name in signature.guidance if name not in params]
    is_modular = signature.pipeline.endswith("ModularPipeline")
    about = [
        signature.pipeline,
        "several images" if family.several else "one image",
        *([f"takes {' and '.join(further)}, too"] if further else []),
        *([f"needs the package {family.package}"] if family.package else []),
        *(["a checkpoint with modular_model_index.json"] if is_modular else []),
    ]
    yield f"  {_make_name(signature.pipeline, family.checkpoint)}:"
    yield from _wrap("; ".join(about), columns, "    # ")
    yield from _wrap(f"size: {family.size_text}", columns, "    # ")
    yield "    adapter: diffusers"
    yield f"    model: {checkpoint}"
    if params:
        listed = ", ".join(f"{name}:{_KEPT}{_format(value)}" for name, value in params.items())
        yield from _wrap(f"params: {{{listed}}}", columns, "    ", "      ")


def _choose_params(signature: Signature) -> Iterator[tuple[str, Any]]:
    """Yield the steps and the guidance that are numbers, and the negative prompt if guidance has no effect without."""
    for name in ("num_inference_steps", *signature.guidance):
        value = signature.defaults.get(name)
        if isinstance(value, int | float) and NO_EFFECT.get(name) != value:
            yield name, value
            if name == "true_cfg_scale":
                yield "negative_prompt", " "


def _make_name(pipeline: str, checkpoint: str | None) -> str:
    """Return a name for the editor: that of its checkpoint, or else of its class, as `z-image-omni`."""
    if checkpoint is not None:
        return checkpoint.rpartition("/")[2].lower()
    words = re.findall(r"[A-Z]+[0-9]*(?![a-z])|[A-Z][a-z]*[0-9]*", pipeline.removesuffix("Pipeline"))
    return "-".join(words).lower()


def _format(value: Any) -> str:
    return f'"{value}"'.replace(" ", _KEPT) if isinstance(value, str) else str(value)


def _list_refused(found: Sequence[tuple[Signature, Family]], columns: int) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for one, family in found:
        if reason := find_reason(one, family):
            reasons.setdefault(reason, []).append(one.pipeline)
    for reason in sorted(reasons):
        yield from _wrap(f"- {reason}:", columns, "", "  ")
        yield from _join(reasons[reason], columns)


def _join(names: Sequence[str], columns: int) -> Iterator[str]:
    yield from _wrap(", ".join(names), columns, "  ")


def _wrap(text: str, columns: int, indent: str = "", hanging: str | None = None) -> Iterator[str]:
    subsequent = indent if hanging is None else hanging
    wrapped = fill(
        text,
        width=columns,
        initial_indent=indent,
        subsequent_indent=subsequent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield from wrapped.replace(_KEPT, " ").splitlines()
