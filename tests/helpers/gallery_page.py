"""Write a run of five items, two editors and two judges, and a page with only its gallery."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from editlane.report.load import Report
from editlane.report.page import gallery as module
from editlane.report.page.gallery import Gallery
from editlane.report.page.html import make_language_marker
from editlane.report.texts import load_texts

ITEMS = [
    ("树-1", "物理", "把天空换成日落", "zh", "sky"),
    ("tree 2", "物理", "Turn day into night", "en", "sky"),
    ("cat%3", "环境", "给猫戴上帽子", "zh", "cat"),
    ("broken-4", "环境", "Remove the car", "en", "broken"),
    ("bold-5", "指代", "</script><script>window.evil = 1</script> & <b>bold</b>", "en", "cat"),
]
"""item_id, category, instruction, language, source. Two pairs of items share a source; one source is no image."""

SCORES: dict[tuple[str, str], list[float | str]] = {
    ("a", "j"): [8.0, 6.0, 9.0, "source_unreadable", 3.0],
    ("a", "k"): [7.0, "judge_unreadable", 8.0, "source_unreadable", 2.5],
    ("b", "j"): [5.0, 1.0, "edit_failed", "source_unreadable", "edit_refused"],
    ("b", "k"): [1.0, 0.0, "edit_failed", "source_unreadable", "edit_refused"],
}
"""Score of each item, or the state of a row without a score."""

HERE = Path(module.__file__).parent

PAGE = """<!doctype html>
<html lang="{{ t.language }}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data: {{ gallery.origins | safe }};
 style-src 'unsafe-inline'; script-src 'sha256-{{ hash }}' {{ gallery.origins | safe }}">
<title>gallery</title><style>{{ style }}</style></head>
<body><main><p><a id="link" href="#item-{{ "树-1" | urlencode }}">a failure</a></p>
{% include "pictures.html" %}{% include "gallery.html" %}</main>
<script>{{ script }}</script></body></html>"""


def write_image(path: Path, colour: str, size: tuple[int, int] = (48, 32)) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, "PNG")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_report(
    run: Path,
    scores: dict[tuple[str, str], list[Any]] = SCORES,
    items: list[tuple[str, str, str, str, str]] = ITEMS,
) -> Report:
    """Write pictures to `run` and return a report. If a list of `scores` is short, rows are missing."""
    hashes = {name: write_image(run / f"sources/{name}.png", colour) for name, colour in SOURCES.items()}
    (run / "sources/broken.png").write_bytes(b"no image")
    frame = pd.DataFrame(items, columns=["item_id", "category", "instruction", "language", "source"])
    there = frame["source"] != "broken"
    frame = frame.assign(
        source_path="sources/" + frame["source"] + ".png",
        source_sha256=frame["source"].map(hashes | {"broken": "0" * 64}),
        width=np.where(there, 48, np.nan),
        height=np.where(there, 32, np.nan),
        difficulty=None,
        tags=[["光照"]] * len(frame),
        sample_of=None,
        references=None,
        turns=None,
        after=None,
    )
    rows = [
        score_row(run, place, *frame.loc[place, ["item_id", "category"]], editor, judge, result)
        for (editor, judge), results in scores.items()
        for place, result in enumerate(results)
    ]
    numeric = dict.fromkeys(("score", "score_category", "entropy"), float)
    judges = list(dict.fromkeys(judge for _, judge in scores))
    return Report(
        numbers={"acceptance": {judge: {"verdict": "not_tested"} for judge in judges}, "provenance": {}},
        items=frame,
        scores=pd.DataFrame(rows).astype(numeric | {"unchanged": "boolean"}),
        editors=list(dict.fromkeys(editor for editor, _ in scores)),
        judges=judges,
        categories=list(dict.fromkeys(frame["category"])),
        criteria=["category"],
        baseline=None,
    )


SOURCES = {"sky": "skyblue", "cat": "orange"}
"""Name and colour."""


def score_row(
    run: Path, place: int, item_id: str, category: str, editor: str, judge: str, result: Any
) -> dict[str, Any]:
    scored = not isinstance(result, str)
    edited = scored or result.startswith("judge")
    path = f"{editor}/images/{category}/{item_id}.png"
    colour = f"rgb({place * 40}, {len(editor)}, {ord(editor[0])})"
    return {
        "item_id": item_id,
        "item": place,
        "editor": editor,
        "judge": judge,
        "state": "scored" if scored else result,
        "error_kind": None if scored else "oom",
        "error": None if scored else f"because of {result} 内存不足",
        "score": result if scored else None,
        "score_category": result + 1 if scored else None,
        "entropy": round(result / 10, 2) if scored else None,
        "reply": f"{judge} says 影子不对 in {item_id}" if edited else None,
        "edited_path": path if edited else None,
        "edited_sha256": write_image(run / path, colour) if edited else None,
        "unchanged": (editor, place) == ("b", 1) if edited else None,
    }


def write_page(report: Report, gallery: Gallery, out: Path, language: str = "en") -> Path:
    """Write a page with only the gallery, and the files beside it."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    t = load_texts(language)
    environment.filters["lang"] = make_language_marker(language)
    environment.globals["t"] = t
    script = "".join((HERE / name).read_text(encoding="utf-8") for name in ("cards.js", "pictures.js", "gallery.js"))
    html = environment.from_string(PAGE).render(
        report=report,
        gallery=gallery,
        style=Markup("".join((HERE / name).read_text(encoding="utf-8") for name in ("style.css", "gallery.css"))),
        script=Markup(script),
        hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )
    for path, data in ({"report.html": html.encode()} | gallery.files).items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(data)
    return out / "report.html"
