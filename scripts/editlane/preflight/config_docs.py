"""Derive the JSON schema and the tables of keys and params from the models of a config."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from editlane.core.errors import UserError
from editlane.core.json_schema import describe_values, iterate_keys
from editlane.core.params import EDITS_FOLDER, SPEED, KeyedBy
from editlane.core.strict_model import StrictModel
from editlane.models.registry import ADAPTERS, DEFAULT_ENGINE, find_adapter
from editlane.server.config import RewardConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def make_schema(config: type[StrictModel]) -> dict[str, Any]:
    """Return the schema of a config, in which `adapter` and `engine` decide which params there are."""
    schema: dict[str, Any] = {"$schema": DIALECT} | config.model_json_schema()
    for kind, known in ADAPTERS.items():
        entry = schema.get("$defs", {}).get(f"{kind.title()}Config")
        if entry is None:
            continue
        entry["properties"]["adapter"]["enum"] = sorted({name.partition("/")[0] for name in known})
        entry["allOf"] = [_make_params_schema(kind, name, schema["$defs"]) for name in known]
    return schema


def _make_params_schema(kind: str, name: str, defs: dict[str, Any]) -> dict[str, Any]:
    params = find_adapter(kind, name).PARAMS.model_json_schema()
    defs |= params.pop("$defs", {})
    adapter, _, engine = name.partition("/")
    condition: dict[str, Any] = {"properties": {"adapter": {"const": adapter}}}
    if kind == "judge":
        condition["properties"]["engine"] = {"const": engine or DEFAULT_ENGINE}
        condition["required"] = ["engine"] if engine else []
    return {"if": condition, "then": {"properties": {"params": params}}}


def make_table(schema: dict[str, Any], notes: dict[str, str]) -> Iterator[str]:
    """Yield the lines of a table with a row for each key; `notes` are added to what keys mean."""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, entry, required in iterate_keys(schema):
        value = _format_values(entry)
        meaning = " ".join(f"{entry.get('description', '')} {notes.get(key, '')}".split())
        default = "required" if required else _format_default(entry.get("default"))
        yield f"| `{key}` | {value} | {default} | {meaning} |".replace("|  |", "| |")


def make_reward_table() -> Iterator[str]:
    """Yield the lines of the table of a reward server's keys, without those of a judge, which are a run's."""
    for line in make_table(RewardConfig.model_json_schema(), {}):
        if not line.startswith("| `judges.{name}"):
            yield line


def _format_values(entry: dict[str, Any]) -> str:
    if entry.get("type") == "object":
        return "a mapping"
    names = entry.get("enum", [])
    return f"`{names[0]}`, `{names[1]}` or {len(names) - 2} more" if len(names) > 10 else describe_values(entry)


def _format_default(value: Any) -> str:
    return "" if value in (None, []) or isinstance(value, dict) else f"`{json.dumps(value, ensure_ascii=False)}`"


def make_params_tables() -> Iterator[str]:
    """Yield the lines of a section for each adapter."""
    for kind, name in [(kind, name) for kind, known in ADAPTERS.items() for name in known]:
        params = find_adapter(kind, name).PARAMS
        adapter, _, engine = name.partition("/")
        yield f"\n### The {kind} `{adapter}`{f' with `engine: {engine}`' * bool(engine)}\n"
        if not params.model_fields:
            yield "It has no params."
            continue
        if params.model_config["extra"] == "allow":
            yield "It takes the keyword arguments of the pipeline's call, and:\n"
        notes = {key: _make_note(one.metadata) for key, one in params.model_fields.items()}
        yield from make_table(params.model_json_schema(), notes)


def _make_note(marks: list[Any]) -> str:
    if SPEED in marks:
        return "Not part of the journal key."
    if EDITS_FOLDER in marks:
        return "The journal key of an item holds its edit's content."
    return "The journal key holds the file's content." * any(isinstance(mark, KeyedBy) for mark in marks)


def fill_page(path: Path, name: str, lines: Iterator[str]) -> bytes:
    """Return the page with these lines between its markers. Raises UserError if a marker is missing."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = path.read_bytes().decode(errors="surrogateescape")
    if page.count(begin) != 1 or page.count(end) != 1:
        raise UserError(f"{path} needs the lines `{begin}` and `{end}`, each once.")
    block = re.compile(f"{begin}.*{end}", re.DOTALL)
    text = "\n".join([begin, "\n".join(lines).strip(), end])
    return block.sub(lambda _: text, page).encode(errors="surrogateescape")
