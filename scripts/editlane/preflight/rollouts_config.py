"""Read the config of robot roll-outs, and check it against this machine."""

from pathlib import Path

from editlane.core.errors import UserError
from editlane.core.strict_model import read_model
from editlane.core.yaml_files import read_yaml
from editlane.preflight.config_values import check_values
from editlane.rollouts.config import RolloutsConfig

_HELP = "config/robots.md describes every key."


def is_of_rollouts(path: Path) -> bool:
    """Return whether a server's config names a simulator, and no judges. Raises UserError."""
    content = read_yaml(path)
    return isinstance(content, dict) and "simulator" in content


def read_rollouts_config(path: Path) -> RolloutsConfig:
    """Read and check a config file. Raises UserError."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings. {_HELP}")
    check_values(content)
    try:
        config = read_model(RolloutsConfig, content, noun="key")
    except UserError as error:
        raise UserError(f"{path}: {error} {_HELP}") from error
    if config.policy.start is None and not config.policy.addresses:
        raise UserError(f"{path}: `policy:` names no server. Give it `start:` or `addresses:`. {_HELP}")
    return config
