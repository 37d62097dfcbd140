"""A good config, with its defaults filled in; wrong ones are in test_wrong_config.py."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from editlane.core.json_schema import iterate_keys
from editlane.preflight.config import check_config
from editlane.preflight.run_config import RunConfig

DEMO = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _demo_dataset_exists() -> None:
    assert Path("resources/demo/items.jsonl").is_file()


def changed(path: str, value: Any) -> dict[str, Any]:
    """The demo's config with one value changed; `...` takes the key away."""
    config = copy.deepcopy(DEMO)
    *parents, last = path.split("/")
    place = config
    for name in parents:
        place = place.setdefault(name, {})
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return config


def test_defaults_are_filled_in() -> None:
    config = check_config(changed("lanes", ...))
    assert config["lanes"] == 1
    assert config["editors"]["tiny-qwen"]["env"] == "envs/edit.yaml"
    assert config["editors"]["tiny-qwen"]["revision"] is None
    assert config["report"] == {"baseline": None, "min_coverage": 0.0, "language": "en"}
    assert config["controls"] == {"share": 0.1, "least": 150, "repeats": 0.1, "canary": False}
    assert config["preservation"] is True


def test_the_config_is_not_changed_in_place() -> None:
    config = copy.deepcopy(DEMO)
    check_config(config)
    assert config == DEMO


def test_pairs_need_no_editor() -> None:
    config = changed("editors", ...)
    config["dataset"]["format"] = "pairs"
    assert check_config(config)["editors"] == {
        "given": {
            "adapter": "given",
            "engine": None,
            "model": None,
            "revision": None,
            "env": "envs/edit.yaml",
            "params": {},
        }
    }


def test_category_names_become_nfc(tmp_path: Path) -> None:
    protocol = yaml.safe_load(Path("resources/protocols/legacy.yaml").read_text(encoding="utf-8"))
    protocol["rubrics"] = dict.fromkeys(["cafe\u0301"], "look at the coffee")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(protocol, allow_unicode=True), encoding="utf-8")
    config = changed("dataset/categories", ["cafe\u0301"])
    for judge in config["judges"].values():
        judge |= {"protocol": str(tmp_path / "own.yaml"), "params": {}}
    assert check_config(config)["dataset"]["categories"] == ["caf\u00e9"]


def test_every_key_is_described() -> None:
    keys = {key: entry.get("description") for key, entry, _ in iterate_keys(RunConfig.model_json_schema())}
    assert keys["judges.{name}.engine"].startswith("Engine that runs the judge's model.")
    assert [key for key, description in keys.items() if not description] == []


def test_numbers_stay_as_they_were_written() -> None:
    config = check_config(changed("controls/share", 1))
    assert repr(config["controls"]["share"]) == "1"
    assert repr(config["lane_timeout"]) == "1800"
