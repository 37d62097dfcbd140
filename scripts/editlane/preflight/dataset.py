"""Check the dataset and the prompts."""

from collections.abc import Iterator
from pathlib import Path

from editlane.core.checkout import find_file
from editlane.core.findings import Finding, join_names
from editlane.core.text_width import agree, pluralize
from editlane.preflight.context import RunContext
from editlane.preflight.dataset_scan import Scan, find_edits_folders
from editlane.protocols.load import load_protocol
from editlane.protocols.pairwise import load_pairwise
from editlane.protocols.protocol import ScoringProtocol

DEMO = Path("resources/demo")
"""Folder of the demo dataset, whose photos the workflow extracts from a package."""


def check_dataset(context: RunContext) -> Iterator[Finding]:
    """Check that every record can be read, every category has items, and the images can be decoded."""
    dataset = context.config["dataset"]
    path = Path(dataset["path"])
    if path.is_relative_to(DEMO) and not (path.exists() and (DEMO / "photos").is_dir()):
        yield Finding("pass", "dataset", f"{path}; the workflow will extract its photos")
        return
    scan = context.scan
    if scan.error:
        yield Finding("fail", "dataset", scan.error)
        return
    yield _report_records(path, scan, dataset["categories"])
    if scan.fallback:
        total, language = scan.items.total(), dataset["language"]
        have = agree(scan.fallback, "has")
        text = (
            f"{scan.fallback:,} of {pluralize(total, 'item')} {have} no instruction in {language!r}, only in the other"
        )
        yield Finding("warn", "dataset", text, f"Add `instruction_{language}`, or set `dataset: language:`.")
    yield _report_images(scan)


def check_edits(context: RunContext) -> Iterator[Finding]:
    """Check that the items and the files of each folder of edits belong to each other."""
    of_dataset = context.config["dataset"]["edited_dir"]
    folders: dict[str | None, str] = {None: of_dataset} if of_dataset else {}
    folders |= {name: f"{folder} of {name}" for name, folder in find_edits_folders(context.config).items()}
    if not folders or context.scan.error:
        return
    for editor, folder in folders.items():
        if not context.scan.complete:
            text = "not checked, because the dataset was not read to its end"
            yield Finding("pass", "edits", f"{folder}: {text}; the log of prepare_items will tell")
        elif gaps := context.scan.gaps[editor]:
            remedy = "Items without an edit end as `edit_failed` (missing). Compare the names with config/datasets.md."
            yield Finding("warn", "edits", f"{folder}: {'; '.join(gaps)}", remedy)
        else:
            yield Finding("pass", "edits", f"{folder}: every item has its edit, every file its item")


def _report_records(path: Path, scan: Scan, categories: list[str]) -> Finding:
    each = ", ".join(f"{name} {scan.items[name]:,}" for name in categories)
    text = f"{path}: {pluralize(scan.items.total(), 'item')} ({each})"
    if over := scan.skipped.over_limit:
        text += f"; `limit` leaves out {pluralize(over, 'more record')}"
    if skipped := scan.skipped.categories:
        others = join_names([f"{name} {count:,}" for name, count in skipped.items()])
        text += f"; skipped because of their category: {others}"
    if not scan.complete:
        text += " so far; the check stopped after some seconds, before the end of the dataset"
    empty = [name for name in categories if not scan.items[name]]
    if empty and scan.complete:
        remedy = "Check the spelling, or remove them from `dataset: categories:`."
        return Finding("warn", "dataset", f"{text}: no item in {join_names(empty)}", remedy)
    return Finding("pass", "dataset", text)


def _report_images(scan: Scan) -> Finding:
    text = f"{scan.headers:,} headers of {scan.images:,} read, {pluralize(scan.decoded, 'image')} decoded whole"
    if not scan.unreadable:
        return Finding("pass", "images", text)
    bad = f"{text}; {len(scan.unreadable):,} cannot be decoded: {join_names(scan.unreadable)}"
    if len(scan.unreadable) == scan.decoded:
        return Finding("fail", "images", bad, "Open one of them; `config/datasets.md` lists the formats that are read.")
    return Finding("warn", "images", bad, "Replace the files; else these items end as `source_unreadable`.")


def check_prompts(context: RunContext) -> Iterator[Finding]:
    """Check that every judge has a prompt for every category."""
    categories = context.config["dataset"]["categories"]
    for part in context.parts:
        if part.kind == "judge":
            path = find_file(part.settings["protocol"])
            protocol = load_protocol(path)
            protocol.check_categories(categories)
            criteria = protocol.select_criteria(part.settings["params"].get("optional_criteria", ()))
            text = f"{part}: {path} version {protocol.version}, asks {', '.join(criteria)}; "
            text += _describe_rubrics(protocol, categories)
            yield Finding("pass", "prompts", text)
    if arena := context.config["arena"]:
        path = find_file(arena["protocol"])
        prompt = load_pairwise(path).prompt
        text = f"arena: {path} version {prompt.version}, asked of {', '.join(arena['judges'])}; "
        yield Finding("pass", "prompts", text + _describe_rubrics(prompt, categories))


def _describe_rubrics(protocol: ScoringProtocol, categories: list[str]) -> str:
    if not protocol.rubrics:
        return "the same for all categories"
    general = protocol.list_generally_judged(categories)
    own = [name for name in categories if name not in general]
    parts = {"rubrics for": own, "the general rubric for": general}
    return ", ".join(f"{what} {', '.join(names)}" for what, names in parts.items() if names)
