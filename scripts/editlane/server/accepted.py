"""What the report of a run says of a judge: where it is accepted."""

import json
import logging
from pathlib import Path
from typing import Any

from editlane.core.errors import UserError
from editlane.core.paths import RunEntry

log = logging.getLogger(__name__)


def read_acceptance(run: Path, key: str, protocol_sha256: str) -> dict[str, Any] | None:
    """Return the verdict on the judge with this key and protocol, overall, by category and by editor.

    None if the run had no such judge. Raises UserError if it has no report.
    """
    path = run / RunEntry.REPORT / "report.json"
    wanted = (key, protocol_sha256)
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        judges = report["provenance"]["judges"].items()
        names = [name for name, judge in judges if (judge["key"], judge["protocol"]["sha256"]) == wanted]
        found = report["acceptance"][names[0]] if names else None
    except OSError as error:
        raise UserError(f"config: accepted_by: cannot read {path} ({error.strerror}). Name a finished run.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"config: accepted_by: {path} is no report of this version. Make it again.") from error
    if found is None:
        log.warning("the run %s has no judge with this key: %s", run, key)
        return None
    verdicts = {part: {name: one["verdict"] for name, one in found[part].items()} for part in ("categories", "editors")}
    return {"run": run.name, "verdict": found["verdict"]} | verdicts
