"""Write the comparison of runs: comparison.html, comparison.md and comparison.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from editlane.images.files import write_atomically
from editlane.report.markdown import format_table, format_text
from editlane.report.notices import Notice
from editlane.report.page.html import HERE, hash_script, make_environment
from editlane.report.runs.chart import draw_differences
from editlane.report.runs.load import FinishedRun
from editlane.report.runs.run_tables import make_parts
from editlane.report.runs.words import find_run_notices, list_run_facts, say_differences
from editlane.report.statements import SHOWN
from editlane.report.texts import Texts, load_texts

MANY = 12
"""More charts than this are folded."""


def write_comparison(
    runs: Sequence[FinishedRun], numbers: Mapping[str, Any], *, out_dir: Path, language: str = "en"
) -> None:
    """Write the three files. The same runs give the same bytes; only the JSON does not depend on the language."""
    t = load_texts(language)
    notices = find_run_notices(runs, numbers, t)
    texts = {
        "comparison.json": json.dumps(numbers, ensure_ascii=False, allow_nan=False, indent=2) + "\n",
        "comparison.md": _to_markdown(numbers, notices, t),
        "comparison.html": _to_html(numbers, notices, t),
    }
    for name, text in texts.items():
        write_atomically(out_dir / name, text.encode())


def _make_heading(numbers: Mapping[str, Any], t: Texts) -> str:
    others = t.join(one["run"] for one in numbers["comparisons"])
    return t("runs.heading", run=others, reference=numbers["reference"])


def _to_html(numbers: Mapping[str, Any], notices: Sequence[Notice], t: Texts) -> str:
    """Render one page that opens offline and asks no server."""
    script = (HERE / "script.js").read_text(encoding="utf-8")
    return (
        make_environment(t)
        .get_template("runs.html")
        .render(
            numbers=numbers,
            heading=_make_heading(numbers, t),
            facts=list_run_facts(numbers, t),
            notices=notices,
            parts=make_parts(numbers, t),
            said=say_differences(numbers, t),
            panels=draw_differences(numbers, t),
            many=MANY,
            shown=SHOWN,
            style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
            script=Markup(script),
            script_hash=hash_script(script),
        )
    )


def _to_markdown(numbers: Mapping[str, Any], notices: Sequence[Notice], t: Texts) -> str:
    title = f"# {t('runs.kicker')}: {format_text(_make_heading(numbers, t))}"
    head = [
        f"- {one.label}: **{format_text(one.name)}** {format_text(one.detail)}" for one in list_run_facts(numbers, t)
    ]
    quotes = [
        "\n".join([f"> **{format_text(one.title)}**", *(f"> - {format_text(line)}" for line in one.lines)])
        for one in notices
    ]
    blocks = [title, "\n".join(head), *quotes]
    for part in make_parts(numbers, t):
        said = _say(numbers, t) if part.name == "said" else []
        none = [part.none] if part.none and not said else []
        blocks += [f"## {part.title}", format_text(part.hint), *said, *none, *map(format_table, part.tables)]
    return "\n\n".join(blocks) + "\n"


def _say(numbers: Mapping[str, Any], t: Texts) -> list[str]:
    blocks = []
    for said in say_differences(numbers, t):
        title = t("runs.differences.table", run=said.run, reference=numbers["reference"], judge=said.judge)
        lines = [f"- {format_text(str(one))}" for one in (*said.overall, *said.categories)]
        blocks += [f"### {format_text(title)}", format_text(said.verdict) if said.verdict else "\n".join(lines)]
    return blocks
