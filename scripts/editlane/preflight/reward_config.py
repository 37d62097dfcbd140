"""Read a reward server's config, and check it against the files of this machine."""

from pathlib import Path

from editlane.core.checkout import find_file
from editlane.core.errors import UnknownName, UserError
from editlane.core.strict_model import read_model
from editlane.core.yaml_files import read_yaml
from editlane.datasets.parsing import ENGLISH_CATEGORIES
from editlane.models.registry import check_params
from editlane.preflight.config import check_adapter
from editlane.preflight.config_values import check_values
from editlane.protocols.load import load_protocol
from editlane.protocols.protocol import ScoringProtocol
from editlane.server.config import RewardConfig
from editlane.server.online_judge import list_categories, normalise_category
from editlane.server.score_routes import REWARD
from editlane.server.service import PANEL

TAKEN = {PANEL: "that asks all of them", REWARD: "UniRL calls the first one so"}
"""Names that requests use for something else."""

_HELP = "config/rewards.md describes every key."


def check_default_category(config: RewardConfig, name: str, protocol: ScoringProtocol) -> None:
    """Raise UserError if items without a category would be judged by the general rubric, or not at all."""
    known = list_categories(protocol, config)
    if config.category is None or known is None:
        return
    if normalise_category(config.category, protocol, config) not in known:
        near = UnknownName("category", config.category, [*known, *ENGLISH_CATEGORIES])
        raise UserError(
            f"config: category: {near} The judge {name} has no rubric for it. To have it judged by a general rubric, "
            "list it under `categories:`, too."
        )


def read_reward_config(path: Path) -> RewardConfig:
    """Read and check a config file. Raises UserError."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings. {_HELP}")
    check_values(content)
    try:
        config = read_model(RewardConfig, content, noun="key")
    except UserError as error:
        raise UserError(f"config: {error} {_HELP}") from error
    for name, judge in config.judges.items():
        try:
            settings = judge.resolve()
            protocol = load_protocol(find_file(judge.protocol))
            protocol.select_criteria(check_params("judge", settings["adapter"], judge.params).optional_criteria)
        except UserError as error:
            raise UserError(f"config: judges.{name}: {error}") from error
        check_adapter("judge", name, settings)
        check_default_category(config, name, protocol)
    if config.workers == 0 and not config.backends:
        raise UserError(f"config: `workers: 0` needs `backends:`, which do the work then. {_HELP}")
    for name, why in TAKEN.items():
        if name in config.judges:
            raise UserError(f"config: no judge can be called {name!r}: {why}. {_HELP}")
    return config
