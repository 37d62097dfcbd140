"""Read a fleet's config, and check it against the files of this machine."""

from pathlib import Path

from editlane.core.errors import UserError
from editlane.core.strict_model import read_model
from editlane.core.yaml_files import read_yaml
from editlane.fleet.config import FleetConfig
from editlane.preflight.config_values import check_values

_HELP = "config/fleet.md describes every key."


def read_fleet_config(path: Path) -> FleetConfig:
    """Read and check a config file. Raises UserError."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings. {_HELP}")
    check_values(content)
    try:
        return read_model(FleetConfig, content, noun="key")
    except UserError as error:
        raise UserError(f"{path}: {error} {_HELP}") from error
