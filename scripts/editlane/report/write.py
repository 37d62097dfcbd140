"""The three files of a report, each written whole or not at all."""

import json
from collections.abc import Sequence
from pathlib import Path

from editlane.images import write_atomically
from editlane.report.html import to_html
from editlane.report.load import Report
from editlane.report.markdown import to_markdown
from editlane.report.notices import Notice


def write_report(
    report: Report, notices: Sequence[Notice], *, run_dir: Path, out_dir: Path, min_coverage: float = 0.0
) -> None:
    """Write report.json, report.md and report.html. The same tables and pictures give the same bytes."""
    texts = {
        "report.json": json.dumps(report.numbers, ensure_ascii=False, allow_nan=False, indent=2) + "\n",
        "report.md": to_markdown(report, notices, min_coverage),
        "report.html": to_html(report, notices, run_dir, out_dir, min_coverage),
    }
    for name, text in texts.items():
        write_atomically(out_dir / name, text.encode())
