"""`report.html`: one file that needs nothing else, opens anywhere and asks no server for anything."""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from editlane.report.charts import draw_panels
from editlane.report.gallery import Picture, find_failures, make_cards, picture_paths
from editlane.report.load import Report
from editlane.report.notices import Notice
from editlane.report.summary import (
    criterion_tables,
    error_table,
    facts,
    provenance_tables,
    score_tables,
    state_table,
    words,
)
from editlane.report.thumbnails import Thumbnails, make_thumbnails
from editlane.types import State

HERE = Path(__file__).parent


def to_html(report: Report, notices: Sequence[Notice], run_dir: Path, out_dir: Path, min_coverage: float = 0.0) -> str:
    """The page. Pictures come from `run_dir`; they link to the full images where the page lies within that folder."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"words": words, "lang": lang}
    cards = make_cards(report, run_dir)
    thumbnails = make_thumbnails(picture_paths(cards, run_dir))
    script = (HERE / "script.js").read_text(encoding="utf-8")
    return environment.get_template("template.html").render(
        report=report,
        notices=notices,
        facts=facts(report),
        score_tables=score_tables(report, min_coverage),
        criterion_tables=criterion_tables(report),
        state_table=state_table(report),
        error_table=error_table(report),
        provenance_tables=provenance_tables(report),
        panels=draw_panels(report),
        cards=cards,
        failures=find_failures(report),
        states=[*map(str, State), *(["missing"] if report.numbers["missing"] else []), "unchanged"],
        side=thumbnails.side,
        picture=picture_writer(thumbnails, full_size_prefix(run_dir, out_dir)),
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def full_size_prefix(run_dir: Path, out_dir: Path) -> str | None:
    """The way from the page to the run's folder; None where the page lies elsewhere."""
    if not out_dir.resolve().is_relative_to(run_dir.resolve()):
        return None
    return Path(os.path.relpath(run_dir.resolve(), out_dir.resolve())).as_posix()


def picture_writer(thumbnails: Thumbnails, prefix: str | None) -> Callable[[Picture], Markup]:
    """A function from a picture to its HTML. The data of a picture stands in the page once; later ones refer to it."""
    ids: dict[str, str] = {}

    def write(picture: Picture) -> Markup:
        uri = thumbnails.uris.get(picture.key or "")
        if uri is None or picture.key is None:
            return Markup('<div class="none">{}</div>').format(picture.why_not)
        first = picture.key not in ids
        name = ids.setdefault(picture.key, f"p{len(ids)}")
        data = Markup('id="{}" src="{}"').format(name, uri) if first else Markup('data-same="{}"').format(name)
        full = Markup(' data-full="{}/{}"').format(prefix, quote(picture.path or "")) if prefix else ""
        return Markup(
            '<button type="button" class="zoom"{full}><img {data} alt="{alt}" loading="lazy" decoding="async"></button>'
        ).format(full=full, data=data, alt=picture.alt)

    return write


def lang(text: str) -> Markup:
    """The `lang` attribute of a text in another script than the page's, so that Chinese gets Chinese glyphs."""
    return Markup(' lang="zh"') if re.search("[\u3400-\u9fff]", text) else Markup("")
