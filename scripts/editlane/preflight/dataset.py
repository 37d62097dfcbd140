"""The dataset and the prompts."""

from collections.abc import Iterator
from pathlib import Path

from editlane.preflight.context import Setup
from editlane.preflight.dataset_scan import Scan
from editlane.preflight.findings import Finding, listed, plural
from editlane.protocols.scoring import load_protocol

DEMO = Path("resources/demo")
"""The workflow takes this dataset's photos out of a package."""


def check_dataset(setup: Setup) -> Iterator[Finding]:
    """Every record can be read, every category has items, and the images can be decoded."""
    dataset = setup.config["dataset"]
    path = Path(dataset["path"])
    if path.is_relative_to(DEMO) and not (DEMO / "photos").is_dir():
        yield Finding("pass", "dataset", f"{path}; its photos are put there by the workflow")
        return
    scan = setup.scan
    if scan.mistake:
        yield Finding("fail", "dataset", scan.mistake)
        return
    yield _records(path, scan, dataset["categories"])
    if scan.fallback:
        total, language = scan.items.total(), dataset["language"]
        text = (
            f"{scan.fallback:,} of {plural(total, 'item')} have their instruction in another language than {language!r}"
        )
        yield Finding(
            "warn",
            "dataset",
            text,
            f"Add `instruction_{language}`, or set `dataset: language:`.",
        )
    yield _images(scan)


def _records(path: Path, scan: Scan, categories: list[str]) -> Finding:
    each = ", ".join(f"{name} {scan.items[name]:,}" for name in categories)
    text = f"{path}: {plural(scan.items.total(), 'item')} ({each})"
    if left_out := scan.left_out.categories:
        others = listed([f"{name} {count:,}" for name, count in left_out.items()])
        text += f"; left out with their categories: {others}"
    if not scan.complete:
        text = f"{text} in the first seconds; it goes on, and the rest was not read"
    empty = [name for name in categories if not scan.items[name]]
    if empty and scan.complete:
        remedy = "Check the spelling, or leave them out of `dataset: categories:`."
        return Finding("warn", "dataset", f"{text}: no item in {listed(empty)}", remedy)
    return Finding("pass", "dataset", text)


def _images(scan: Scan) -> Finding:
    text = f"{scan.headers:,} headers of {scan.items.total():,} read, {plural(scan.decoded, 'image')} decoded whole"
    if not scan.unreadable:
        return Finding("pass", "images", text)
    bad = f"{text}; {len(scan.unreadable):,} cannot be decoded: {listed(scan.unreadable)}"
    if len(scan.unreadable) == scan.decoded:
        return Finding("fail", "images", bad, "Look at one of them; `config/datasets.md` lists what is read.")
    return Finding("warn", "images", bad, "These items will end as `source_unreadable`; replace the files.")


def check_prompts(setup: Setup) -> Iterator[Finding]:
    """Every judge has a prompt for every category. Records without an instruction are a mistake of the dataset."""
    categories = setup.config["dataset"]["categories"]
    for part in setup.parts:
        if part.kind == "judge":
            path = Path(part.settings["protocol"])
            protocol = load_protocol(path)
            protocol.check_categories(categories)
            criteria = protocol.select_criteria(part.settings["params"].get("optional_criteria", ()))
            rubrics = f"rubrics for {', '.join(categories)}" if protocol.rubrics else "the same for all categories"
            text = f"{part}: {path} version {protocol.version}, asks {', '.join(criteria)}; {rubrics}"
            yield Finding("pass", "prompts", text)
