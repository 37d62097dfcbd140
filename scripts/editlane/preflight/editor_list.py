"""List the editing pipelines of the installed diffusers, and those that only look like one, with the reason."""

from collections.abc import Iterator, Sequence
from textwrap import fill

from editlane.core.text_width import measure_width, pluralize
from editlane.editors.families import FAMILIES, Family, find_family, find_reason
from editlane.editors.signatures import Signature, scan_pipelines

COLUMNS = ("pipeline", "image", "several", "guidance", "size of an edit")


def list_editors(width: int | None) -> Iterator[str]:
    """Yield the lines to print, wrapped to `width` columns if it is given. Raises UserError without diffusers."""
    scanned = [(one, find_family(one)) for one in scan_pipelines().values()]
    found = [(one, family) for one, family in scanned if family.refused or (one.image and "prompt" in one.defaults)]
    usable = [(one, family) for one, family in found if find_reason(one, family) is None]
    editors = [(one, family) for one, family in usable if not one.describes]
    yield f"{pluralize(len(editors), 'pipeline')} of the installed diffusers can edit with `adapter: diffusers`:"
    yield from _align([COLUMNS, *(_make_row(one, family) for one, family in editors)])
    yield ""
    yield "Checkpoints with a modular_model_index.json run through the blocks of diffusers. Tried:"
    yield from _wrap([name for name in FAMILIES if name.endswith("ModularPipeline")], width)
    yield ""
    yield "These run, too, but their prompt describes the whole result and not a change:"
    yield from _wrap([one.pipeline for one, _ in usable if one.describes], width)
    yield ""
    yield "These look like editors, and cannot edit an item:"
    reasons: dict[str, list[str]] = {}
    for one, family in found:
        if reason := find_reason(one, family):
            reasons.setdefault(reason, []).append(one.pipeline)
    for reason in sorted(reasons):
        yield f"{reason}:"
        yield from _wrap(reasons[reason], width)


def _make_row(signature: Signature, family: Family) -> tuple[str, ...]:
    image = signature.image or ""
    how = "list" if family.as_list or image == "images" else {"input_images": "placeholder"}.get(image, image)
    size = family.size_text + (f"; needs {family.package}" if family.package else "")
    return signature.pipeline, how, "yes" if family.several else "no", " ".join(signature.guidance) or "none", size


def _align(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(measure_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(f"{cell:<{cells}}" for cell, cells in zip(row, widths, strict=True)).rstrip()


def _wrap(names: Sequence[str], width: int | None) -> Iterator[str]:
    yield fill(", ".join(names), width=width or 110, initial_indent="  ", subsequent_indent="  ")
