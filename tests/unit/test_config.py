"""A wrong config stops in the first second: what, where, what to do."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from editlane.config import check_config
from editlane.errors import UserError

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


WRONG = [
    ("lane", 2, r"at the top level: Unknown key 'lane'. Did you mean 'lanes'\?"),
    ("lanes", 0, r"at lanes: 0 is less than the minimum of 1"),
    ("lanes", "two", r"at lanes: 'two' is not of type 'integer'"),
    ("lanes", True, r"at lanes: True is not of type 'integer'"),
    ("seed", -1, r"at seed"),
    ("run", "../elsewhere", r"at run"),
    ("run", "", r"at run"),
    ("run", ..., r"'run' is a required property"),
    ("dataset/path", "no/such/file.jsonl", r"dataset.path is no/such/file.jsonl, which is not a file"),
    ("dataset/format", "csv", r"at dataset.format: 'csv' is not one of"),
    ("dataset/language", "de", r"at dataset.language"),
    ("dataset/categories", [], r"at dataset.categories"),
    ("dataset/categories", ["物理", "物理"], r"non-unique|twice"),
    ("dataset/categories", ["café", "cafe\u0301"], r"names a category twice"),
    ("dataset/categories", ["-x"], r"'-x' cannot name a folder"),
    ("dataset/categories", ["a/b"], r"'a/b' cannot name a folder"),
    ("dataset/categories", ["物理", "天气"], r"no rubric for 天气"),
    ("dataset/categories", "物理", r"at dataset.categories"),
    ("editors", {}, r"at editors"),
    ("editors", ..., r"`editors` is missing"),
    ("editors/tiny-qwen/adapter", "qwen-image-edti", r"editors.tiny-qwen: .*Did you mean 'qwen-image-edit'"),
    ("editors/tiny-qwen/adapter", ..., r"'adapter' is a required property"),
    ("editors/tiny-qwen/modell", "x", r"editors.tiny-qwen: Unknown key 'modell'. Did you mean 'model'\?"),
    ("editors/tiny-qwen/model", None, r"editors.tiny-qwen: adapter 'qwen-image-edit' needs a `model`"),
    ("editors/tiny-qwen/model", "models/not-here/at-all", r"editors.tiny-qwen: .*models/not-here/at-all"),
    ("editors/tiny-qwen/env", "envs/none.yaml", r"editors.tiny-qwen.env is envs/none.yaml"),
    ("editors/tiny-qwen/params", {"num_inference_step": 2}, r"editors.tiny-qwen: .*num_inference_steps"),
    ("editors/tiny-qwen/params", {"num_inference_steps": "2"}, r"editors.tiny-qwen: .*num_inference_steps"),
    ("editors/tiny-qwen/model", "resources/models/tiny-qwen", r"Unknown model .*tiny-qwen-image-edit"),
    ("editors", {2511: {"adapter": "fake"}}, r"2511 is not of type 'string'"),
    ("editors/sources", {"adapter": "fake"}, r"cannot be called 'sources'"),
    ("editors/scores.parquet", {"adapter": "fake"}, r"cannot be called 'scores.parquet'"),
    ("editors/g", {"adapter": "given"}, r"'given', which needs .*pairs"),
    ("editors/f", {"adapter": "fake", "model": "x/y"}, r"editors.f: adapter 'fake' has no model"),
    ("editors/a b", {"adapter": "fake"}, r"'a b' cannot be a name; use letters"),
    ("judges", {}, r"at judges"),
    ("judges", ..., r"'judges' is a required property"),
    ("judges/tiny-qwen3-vl/adapter", "qwen3", r"judges.tiny-qwen3-vl: .*qwen3-vl"),
    ("judges/tiny-qwen3-vl/protocol", "none.yaml", r"none.yaml"),
    ("judges/tiny-qwen3-vl/env", "none.yaml", r"judges.tiny-qwen3-vl.env is none.yaml"),
    ("judges/tiny-qwen3-vl/params", {"batch_size": 0}, r"judges.tiny-qwen3-vl: .*batch_size is 0"),
    ("judges/tiny-qwen3-vl/params", {"optional_criteria": ["preservatoin"]}, r"preservation"),
    ("report/baseline", "nobody", r"report.baseline is 'nobody'"),
    ("report/min_coverage", 2, r"at report.min_coverage"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=[f"{path}={value}" for path, value, _ in WRONG])
def test_a_wrong_value_is_named_in_one_paragraph(path: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        check_config(changed(path, value), SCHEMA)
    assert "\n" not in str(error.value)


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


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(UserError, match=r"at controls\.share: (nan|inf) is not a finite number"):
        check_config(changed("controls", {"share": value}), SCHEMA)
