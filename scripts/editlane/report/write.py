"""Write the files of a report, each of them atomically."""

import json
from collections.abc import Sequence
from pathlib import Path

from editlane.images.files import write_atomically
from editlane.report.conclusion import conclude
from editlane.report.exports.files import FOLDER, make_table_files
from editlane.report.exports.paper import make_paper_tables
from editlane.report.leaderboard import list_ranks
from editlane.report.load import Report, list_models
from editlane.report.markdown import to_markdown
from editlane.report.notices import Notice, list_made_up
from editlane.report.page.gallery import make_gallery
from editlane.report.page.html import to_html
from editlane.report.sections import make_sections
from editlane.report.texts import load_texts


def write_report(
    report: Report,
    notices: Sequence[Notice],
    *,
    run_dir: Path,
    out_dir: Path,
    min_coverage: float = 0.0,
    language: str = "en",
) -> None:
    """Write report.json, report.md, report.html, the files of its gallery and its tables as CSV and LaTeX.

    The same tables and pictures give the same bytes. Only report.json does not depend on the language.
    """
    t = load_texts(language)
    gallery = make_gallery(report, run_dir, out_dir)
    made_up = list_made_up(list_models(report))
    numbers = report.numbers | {"made_up": made_up, "ranks": list_ranks(report), "answer": conclude(report)}
    texts = {
        "report.json": json.dumps(
            numbers,
            ensure_ascii=False,
            allow_nan=False,
            indent=2,
        )
        + "\n",
        "report.md": to_markdown(report, notices, t, min_coverage),
        "report.html": to_html(report, notices, gallery, t, min_coverage=min_coverage),
    }
    papers = make_paper_tables(report, numbers["ranks"], t)
    tables = make_table_files(numbers, make_sections(report, t, min_coverage), papers)
    files = gallery.files | tables | {name: text.encode() for name, text in texts.items()}
    for folder in ("gallery", FOLDER):
        for stale in sorted((out_dir / folder).glob("*")):
            if f"{folder}/{stale.name}" not in files:
                stale.unlink()
    for name, data in files.items():
        write_atomically(out_dir / name, data)
