"""Write what editors and readers know of a config from its models: the JSON schema, the tables of keys and of params.

    python scripts/document_config.py --schema workflow/schemas/config.schema.json --keys config/README.md \\
        --params config/models.md

Of a page, only the lines between its markers are written. A test fails if a file and the models disagree.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from editlane.cli.flags import StepParser, output_file
from editlane.cli.step import run_step
from editlane.core.errors import UserError
from editlane.core.json_schema import describe_values, iterate_keys
from editlane.core.params import SPEED, KeyedBy
from editlane.images.files import write_atomically
from editlane.models.registry import ADAPTERS, DEFAULT_ENGINE, find_adapter
from editlane.preflight.run_config import RunConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def whole_schema() -> dict[str, Any]:
    """Return the schema of a config, in which `adapter` and `engine` decide which params there are."""
    schema: dict[str, Any] = {"$schema": DIALECT} | RunConfig.model_json_schema()
    for kind, known in ADAPTERS.items():
        entry = schema["$defs"][f"{kind.title()}Config"]
        entry["properties"]["adapter"]["enum"] = sorted({name.partition("/")[0] for name in known})
        entry["allOf"] = [_params_schema(kind, name, schema["$defs"]) for name in known]
    return schema


def _params_schema(kind: str, name: str, defs: dict[str, Any]) -> dict[str, Any]:
    params = find_adapter(kind, name).PARAMS.model_json_schema()
    defs |= params.pop("$defs", {})
    adapter, _, engine = name.partition("/")
    condition: dict[str, Any] = {"properties": {"adapter": {"const": adapter}}}
    if kind == "judge":
        condition["properties"]["engine"] = {"const": engine or DEFAULT_ENGINE}
        condition["required"] = ["engine"] if engine else []
    return {"if": condition, "then": {"properties": {"params": params}}}


def table(schema: dict[str, Any], notes: dict[str, str]) -> Iterator[str]:
    """Yield the lines of a table with a row for each key; `notes` are added to what keys mean."""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, entry, required in iterate_keys(schema):
        value = _values(entry)
        meaning = " ".join(f"{entry.get('description', '')} {notes.get(key, '')}".split())
        default = "required" if required else _default(entry.get("default"))
        yield f"| `{key}` | {value} | {default} | {meaning} |".replace("|  |", "| |")


def _values(entry: dict[str, Any]) -> str:
    if entry.get("type") == "object":
        return "a mapping"
    names = entry.get("enum", [])
    return f"`{names[0]}`, `{names[1]}` or {len(names) - 2} more" if len(names) > 10 else describe_values(entry)


def _default(value: Any) -> str:
    return "" if value in (None, []) or isinstance(value, dict) else f"`{json.dumps(value, ensure_ascii=False)}`"


def tables_of_params() -> Iterator[str]:
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
        notes = {key: _note(one.metadata) for key, one in params.model_fields.items()}
        yield from table(params.model_json_schema(), notes)


def _note(marks: list[Any]) -> str:
    if SPEED in marks:
        return "Not part of the journal key."
    return "The journal key holds the file's content." * any(isinstance(mark, KeyedBy) for mark in marks)


def page_with(path: Path, name: str, lines: Iterator[str]) -> bytes:
    """Return the page with these lines between its markers. Raises UserError if it lacks them."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = path.read_bytes().decode(errors="surrogateescape")
    if page.count(begin) != 1 or page.count(end) != 1:
        raise UserError(f"{path} needs the lines `{begin}` and `{end}`, each once.")
    block = re.compile(f"{begin}.*{end}", re.DOTALL)
    text = "\n".join([begin, "\n".join(lines).strip(), end])
    return block.sub(lambda _: text, page).encode(errors="surrogateescape")


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--schema", type=output_file, required=True)
    parser.add_argument("--keys", type=Path, required=True, help="the page with the table of keys")
    parser.add_argument("--params", type=Path, required=True, help="the page with the tables of params")
    args = parser.parse_args()
    written = {
        args.keys: page_with(args.keys, "keys", table(RunConfig.model_json_schema(), {})),
        args.params: page_with(args.params, "params", tables_of_params()),
        args.schema: f"{json.dumps(whole_schema(), indent=2, ensure_ascii=False)}\n".encode(),
    }
    for path, content in written.items():
        write_atomically(path, content)


if __name__ == "__main__":
    run_step(main)
