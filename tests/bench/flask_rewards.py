"""The plain way to serve rewards, for comparison: Flask, and the judge in the handler. Started by bench_server.py."""

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / "helpers"), str(Path(__file__).parents[2] / "scripts")]

import flask  # noqa: E402 (found through the line above)
from rewards import judge_offline  # noqa: E402

PARAMS = json.loads(os.environ["JUDGE_PARAMS"])

app = flask.Flask(__name__)


@app.get("/health")
def health() -> str:
    return "ok"


@app.post("/v1/score")
def score() -> dict[str, Any]:
    """Decode, judge and answer, all within the handler."""
    items = json.loads(flask.request.get_data())["items"]
    decoded = [
        item | {name: base64.b64decode(item[name], validate=True) for name in ("source", "edited")} for item in items
    ]
    rows = judge_offline(decoded, **PARAMS)
    scored = sum(row["score"] is not None for row in rows)
    answers = [{"id": item["id"], "score": row["score"]} for item, row in zip(items, rows, strict=True)]
    return {"items": answers, "n_ok": scored, "n_error": len(rows) - scored}
