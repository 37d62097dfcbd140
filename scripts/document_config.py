"""Write the JSON schema of a config and the tables of its keys and params, from the config's models.

    python scripts/document_config.py --schema workflow/schemas/config.schema.json --keys config/README.md \\
        --params config/models.md --reward-schema workflow/schemas/reward.schema.json --rewards config/rewards.md \\
        --fleet-schema workflow/schemas/fleet.schema.json --fleets config/fleet.md \\
        --robots-schema workflow/schemas/robots.schema.json --robots config/robots.md

Only the lines between the markers of a page are replaced. A test fails if a file differs from the models.
"""

import json
from pathlib import Path
from typing import Any

from editlane.cli.flags import StepParser, output_file
from editlane.cli.step import run_step
from editlane.fleet.config import FleetConfig
from editlane.images.files import write_atomically
from editlane.preflight.config_docs import fill_page, make_params_tables, make_reward_table, make_schema, make_table
from editlane.preflight.run_config import RunConfig
from editlane.rollouts.config import RolloutsConfig
from editlane.server.config import RewardConfig


def encode(schema: dict[str, Any]) -> bytes:
    """Return the content of a schema's file."""
    return f"{json.dumps(schema, indent=2, ensure_ascii=False)}\n".encode()


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--schema", type=output_file, required=True, help="the JSON schema to write")
    parser.add_argument("--keys", type=Path, required=True, help="the page with the table of keys")
    parser.add_argument("--params", type=Path, required=True, help="the page with the tables of params")
    parser.add_argument("--reward-schema", type=output_file, required=True, help="the same of a reward server's config")
    parser.add_argument("--rewards", type=Path, required=True, help="the page with the table of its keys")
    parser.add_argument("--fleet-schema", type=output_file, required=True, help="the same of a fleet's config")
    parser.add_argument("--fleets", type=Path, required=True, help="the page with the table of its keys")
    parser.add_argument("--robots-schema", type=output_file, required=True, help="the same of robot roll-outs")
    parser.add_argument("--robots", type=Path, required=True, help="the page with the table of its keys")
    args = parser.parse_args()
    written = {
        args.keys: fill_page(args.keys, "keys", make_table(RunConfig.model_json_schema(), {})),
        args.params: fill_page(args.params, "params", make_params_tables()),
        args.rewards: fill_page(args.rewards, "rewards", make_reward_table()),
        args.schema: encode(make_schema(RunConfig)),
        args.reward_schema: encode(make_schema(RewardConfig)),
        args.fleets: fill_page(args.fleets, "fleets", make_table(FleetConfig.model_json_schema(), {})),
        args.fleet_schema: encode(make_schema(FleetConfig)),
        args.robots: fill_page(args.robots, "robots", make_table(RolloutsConfig.model_json_schema(), {})),
        args.robots_schema: encode(make_schema(RolloutsConfig)),
    }
    for path, content in written.items():
        write_atomically(path, content)


if __name__ == "__main__":
    run_step(main)
