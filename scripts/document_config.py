"""Write the table of keys in config/README.md from the config's schema. The rest of the page stays as it is.

    python scripts/document_config.py --schema workflow/schemas/config.schema.yaml --out config/README.md

A test fails if the table and the schema disagree.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from editlane.cli.flags import StepParser, output_file
from editlane.cli.step import run_step
from editlane.core.errors import UserError
from editlane.images.files import write_atomically

BLOCK = re.compile(r"(<!-- keys: begin -->\n).*?(<!-- keys: end -->)", re.DOTALL)
"""The part of the page that is written here."""


def rows(schema: dict[str, Any], prefix: str = "") -> list[str]:
    """One table row per setting, parents first."""
    found = []
    for name, entry in schema.get("properties", {}).items():
        key = f"{prefix}{name}"
        default = "required" if name in schema.get("required", []) else _value(entry.get("default"))
        found.append(f"| `{key}` | {_type(entry)} | {default} | {' '.join(entry['description'].split())} |")
        found += rows(entry, f"{key}.")
        if isinstance(entry.get("additionalProperties"), dict):
            found += rows(entry["additionalProperties"], f"{key}.{{name}}.")
    return found


def _type(entry: dict[str, Any]) -> str:
    if "enum" in entry:
        return " or ".join(f"`{value}`" for value in entry["enum"])
    kinds = entry["type"] if isinstance(entry["type"], list) else [entry["type"]]
    return " or ".join("list of " + entry["items"]["type"] if kind == "array" else kind for kind in kinds)


def _value(default: Any) -> str:
    return "" if default in (None, {}) else f"`{json.dumps(default, ensure_ascii=False)}`"


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--schema", type=Path, required=True)
    parser.add_argument("--out", type=output_file, required=True)
    args = parser.parse_args()
    try:
        schema = yaml.safe_load(args.schema.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{args.schema} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(schema, dict) or "properties" not in schema:
        raise UserError(f"{args.schema} is not the schema of a configuration; it has no `properties`.")
    page = args.out.read_text(encoding="utf-8", errors="surrogateescape")
    if len(BLOCK.findall(page)) != 1:
        raise UserError(f"{args.out} needs the lines `<!-- keys: begin -->` and `<!-- keys: end -->`, each once.")
    table = "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows(schema)])
    write_atomically(
        args.out, BLOCK.sub(lambda found: f"{found[1]}{table}\n{found[2]}", page).encode(errors="surrogateescape")
    )


if __name__ == "__main__":
    run_step(main)
