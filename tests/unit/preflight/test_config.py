"""A good config, with its defaults filled in; wrong ones are in test_wrong_config.py."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from editlane.preflight.config import check_config

SCHEMA = Path("workflow/schemas/config.schema.yaml")
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
    config = check_config(changed("lanes", ...), SCHEMA)
    assert config["lanes"] == 1
    assert config["editors"]["tiny-qwen"]["env"] == "envs/edit.yaml"
    assert config["editors"]["tiny-qwen"]["revision"] is None
    assert config["report"] == {"baseline": None, "min_coverage": 0.0, "language": "en"}
    assert config["controls"] == {"share": 0.6, "repeats": 0.1, "canary": False}
    assert config["preservation"] is True


def test_the_config_is_not_changed_in_place() -> None:
    config = copy.deepcopy(DEMO)
    check_config(config, SCHEMA)
    assert config == DEMO


def test_pairs_need_no_editor() -> None:
    config = changed("editors", ...)
    config["dataset"]["format"] = "pairs"
    assert check_config(config, SCHEMA)["editors"] == {
        "given": {"adapter": "given", "model": None, "revision": None, "env": "envs/edit.yaml", "params": {}}
    }


def test_category_names_become_nfc(tmp_path: Path) -> None:
    protocol = yaml.safe_load(Path("resources/protocols/legacy.yaml").read_text(encoding="utf-8"))
    protocol["rubrics"] = dict.fromkeys(["cafe\u0301"], "look at the coffee")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(protocol, allow_unicode=True), encoding="utf-8")
    config = changed("dataset/categories", ["cafe\u0301"])
    config["judges"]["tiny-qwen3-vl"] |= {"protocol": str(tmp_path / "own.yaml"), "params": {}}
    assert check_config(config, SCHEMA)["dataset"]["categories"] == ["caf\u00e9"]


def test_every_setting_of_the_schema_is_described() -> None:
    def undescribed(schema: dict[str, Any], where: str) -> list[str]:
        found = []
        for name, entry in schema.get("properties", {}).items():
            if "description" not in entry:
                found.append(f"{where}{name}")
            found += undescribed(entry, f"{where}{name}.")
            if isinstance(entry.get("additionalProperties"), dict):
                found += undescribed(entry["additionalProperties"], f"{where}{name}.*.")
        return found

    assert undescribed(yaml.safe_load(SCHEMA.read_text(encoding="utf-8")), "") == []
