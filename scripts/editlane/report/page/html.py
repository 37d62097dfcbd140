"""Render `report.html`, one page that opens offline and makes no requests to a server."""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from editlane.core.printable import escape_lines
from editlane.report.answer import make_answer
from editlane.report.failures import find_failures
from editlane.report.load import Report
from editlane.report.notices import Notice
from editlane.report.page.charts import draw_panels
from editlane.report.page.figures import make_figures
from editlane.report.page.gallery import Gallery
from editlane.report.provenance import list_protocol_texts
from editlane.report.sections import make_sections
from editlane.report.statements import SHOWN, make_statements
from editlane.report.summary import list_facts
from editlane.report.texts import Texts
from editlane.report.time_breakdown import summarise_time
from editlane.report.trust import list_shown

HERE = Path(__file__).parent
STYLES = ("style.css", "tables.css", "gallery.css")
SCRIPTS = ("script.js", "tables.js", "cards.js", "pictures.js", "gallery.js")

CODE = re.compile("`([a-z][a-z0-9_.-]*|--[a-z-]+)`")
"""A key of the config or a flag, as the report's own words mark it."""


def to_html(report: Report, notices: Sequence[Notice], gallery: Gallery, t: Texts, *, min_coverage: float = 0.0) -> str:
    """Render the page with its gallery."""
    environment = make_environment(t)
    failures, failed = find_failures(report, t)
    scripts = [(HERE / name).read_text(encoding="utf-8") for name in SCRIPTS]
    figures = make_figures(report, t)
    sections = [replace(one, figures=figures.get(one.name, ())) for one in make_sections(report, t, min_coverage)]
    return environment.get_template("template.html").render(
        report=report,
        notices=notices,
        answer=make_answer(report, t),
        facts=list_facts(report, t),
        sections=sections,
        said=make_statements(report, t),
        shown=SHOWN,
        panels=draw_panels(replace(report, judges=list_shown(report)), t),
        spent=summarise_time(report, t),
        failures=failures,
        failed=failed,
        protocols=list_protocol_texts(report, t),
        gallery=gallery,
        styles=[Markup((HERE / name).read_text(encoding="utf-8")) for name in STYLES],
        scripts=list(map(Markup, scripts)),
        script_hashes=list(map(hash_script, scripts)),
    )


def make_environment(t: Texts) -> Environment:
    """Make what renders the templates of this folder. All texts are escaped but our own Markup."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: escape_lines(value) if type(value) is str else value,  # not our own Markup
    )
    environment.filters["escape_lines"] = escape_lines
    environment.filters["code"] = mark_code
    environment.filters["lang"] = make_language_marker(t.language)
    environment.globals["t"] = t
    return environment


def mark_code(text: str) -> Markup:
    """Escape a text, and mark its keys of the config, which stand in backticks, as code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(escape_lines(text)))))


def hash_script(script: str) -> str:
    """Return the source expression by which a Content-Security-Policy allows only this script."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") + "'"


def make_language_marker(language: str) -> Callable[[str], Markup]:
    """Make a function that returns the `lang` attribute of a text on a page in `language`, for Chinese glyphs."""

    def mark(text: str) -> Markup:
        foreign = language != "zh" and re.search("[\u3400-\u9fff]", text)
        return Markup(' lang="zh"') if foreign else Markup("")

    return mark
