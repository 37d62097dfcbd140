"""Say how the pairs of an arena were chosen, by what the table of pairs was made from."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from editlane.report.texts import Texts


class Method(TypedDict):
    """How the pairs that a judge compared were chosen."""

    kind: Literal["all", "budget", "active"]
    """`all`: every pair of editors on every item; `budget`: some, spread evenly; `active`: in rounds, about editors
    that the earlier answers do not separate."""
    rounds: int
    pairs: int
    """Pairs of edits that were to be compared; with `active`, at most."""


def find_method(made: Mapping[str, Any], judge: str) -> Method | None:
    """Find the method of one judge. `made`: the provenance of the pairs table. None if the table does not tell."""
    plan = (made.get("plans") or {}).get(judge)
    if not plan:
        return None
    rounds, pairs = int(plan["rounds"]), int(plan["pairs"])
    kind: Literal["all", "budget"] = "budget" if pairs < int(plan["possible"]) else "all"
    return {"kind": "active" if rounds > 1 else kind, "rounds": rounds, "pairs": pairs}


def explain_method(found: Mapping[str, Any], t: Texts) -> list[str]:
    """Return a sentence about the method of a judge's answers; none about people, and if it is not known."""
    method: Method | None = found.get("method")
    if not method:
        return []
    count = method["rounds"] if method["kind"] == "active" else method["pairs"]
    return [t(f"arena.method.{method['kind']}", n=count, pairs=method["pairs"])]
