"""Every key of the config with a wrong value: one paragraph that says what, where and what to do."""

import copy
import datetime
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from editlane.core.errors import UserError
from editlane.preflight.config import RESERVED, check_config, check_keys_once

SCHEMA = Path("workflow/schemas/config.schema.yaml")
DEMO = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))
NAMES = {"editors": "tiny-qwen", "judges": "tiny-qwen3-vl"}
"""What stands for {name}."""

MISSING: Any = ...
NAN, INFINITE = float("nan"), float("inf")

FAKE = {"adapter": "fake"}
EDITOR, JUDGE = r"editors\.tiny-qwen", r"judges\.tiny-qwen3-vl"

WRONG: dict[str, list[tuple[Any, str]]] = {
    "": [
        ({}, r"at the top level: 'run' is a required property"),
        (DEMO | {"lane": 2}, r"at the top level: Unknown key 'lane'. Did you mean 'lanes'\?"),
        (DEMO | {2: 2}, r"at the top level: Unknown key '2'"),
    ],
    "run": [
        (MISSING, r"'run' is a required property"),
        (None, r"at run: None is not of type 'string'"),
        (20260101, r"at run: 20260101 is not of type 'string'"),
        (datetime.date(2026, 1, 1), r"at run: YAML reads 2026-01-01 as a date; put it in quotes"),
        ("", r"at run: '' cannot be a name; use letters"),
        ("../elsewhere", r"at run: '../elsewhere' cannot be a name"),
        ("a/b", r"at run: 'a/b' cannot be a name"),
        (".hidden", r"at run: '.hidden' cannot be a name"),
        ("名" * 81, r"at run: .* is too long"),
    ],
    "dataset": [
        (MISSING, r"'dataset' is a required property"),
        ("items.jsonl", r"at dataset: 'items.jsonl' is not of type 'object'"),
        ({"path": "x"}, r"at dataset: 'categories' is a required property"),
        (DEMO["dataset"] | {"pfad": "x"}, r"at dataset: Unknown key 'pfad'. Available: categories, .*path"),
    ],
    "dataset.path": [
        (MISSING, r"at dataset: 'path' is a required property"),
        (["items.jsonl"], r"at dataset.path: .* is not of type 'string'"),
        ("", r"at dataset.path: ''"),
        ("no/such/file.jsonl", r"dataset.path is no/such/file.jsonl, which is not a file. Paths are relative to"),
        ("resources/demo", r"dataset.path is resources/demo, which is not a file"),
    ],
    "dataset.format": [
        ("csv", r"at dataset.format: 'csv' is not one of"),
        (None, r"at dataset.format: None is not one of"),
    ],
    "dataset.edited_dir": [
        ("", r"at dataset.edited_dir: ''"),
        (1, r"at dataset.edited_dir: 1 is not of type 'string', 'null'"),
        ("no/such/folder", r"dataset.edited_dir is no/such/folder, which is not a folder"),
        ("config/config.yaml", r"dataset.edited_dir is config/config.yaml, which is not a folder"),
        ("resources", r"dataset.edited_dir is set, but no editor has the adapter 'given'"),
    ],
    "dataset.language": [("de", r"at dataset.language: 'de' is not one of"), (False, r"at dataset.language: False")],
    "dataset.categories": [
        (MISSING, r"at dataset: 'categories' is a required property"),
        ("物理", r"at dataset.categories: '物理' is not of type 'array'"),
        ([], r"at dataset.categories: \[\]"),
        ([None], r"at dataset.categories.0: None is not of type 'string'"),
        ([""], r"at dataset.categories.0: ''"),
        (["物理", "物理"], r"at dataset.categories: .*non-unique"),
        (["café", "cafe\u0301"], r"dataset.categories names a category twice"),
        (["-x"], r"'-x' cannot name a folder"),
        (["a/b"], r"'a/b' cannot name a folder"),
        (["物理", "天气"], r"no rubric for 天气"),
    ],
    "lanes": [
        (0, r"at lanes: 0 is less than the minimum of 1. Into how many lanes"),
        (1.5, r"at lanes: 1.5 is not of type 'integer'"),
        ("two", r"at lanes: 'two' is not of type 'integer'"),
        (True, r"at lanes: True is not of type 'integer'"),
        (None, r"at lanes: None is not of type 'integer'"),
        (NAN, r"at lanes: nan is not a finite number"),
    ],
    "lane_timeout": [
        (0, r"at lane_timeout: 0 is less than or equal to the minimum of 0"),
        (-1, r"at lane_timeout: -1 is less than"),
        (INFINITE, r"at lane_timeout: inf is not a finite number"),
        (1e12, r"at lane_timeout: 1000000000000.0 is greater than the maximum"),
        ("30 min", r"at lane_timeout: '30 min' is not of type 'number'"),
        (None, r"at lane_timeout: None is not of type 'number'"),
    ],
    "seed": [
        (-1, r"at seed: -1 is less than the minimum of 0"),
        (4.2, r"at seed: 4.2 is not of type 'integer'"),
        ("42", r"at seed: '42' is not of type 'integer'"),
    ],
    "editors": [
        (MISSING, r"`editors` is missing. Name at least one, or judge given edits"),
        ({}, r"at editors: {}"),
        ([FAKE], r"at editors: .* is not of type 'object'"),
        ({2511: FAKE}, r"2511 is not of type 'string'"),
        ({"a b": FAKE}, r"'a b' cannot be a name; use letters"),
        ({"..": FAKE}, r"'..' cannot be a name"),
        ({"a\n": FAKE}, r"'a\\n' cannot be a name"),
        ({"名" * 81: FAKE}, r"at editors: .* is too long"),
        *(({name: FAKE}, f"an editor cannot be called '{re.escape(name)}'") for name in sorted(RESERVED)),
    ],
    "editors.{name}": [
        (None, rf"at {EDITOR}: None is not of type 'object'"),
        ("fake", rf"at {EDITOR}: 'fake' is not of type 'object'"),
        (FAKE | {"modell": "x"}, rf"at {EDITOR}: Unknown key 'modell'. Did you mean 'model'\?"),
        ({"adapter": "given"}, r"'given', which needs `dataset: {format: pairs}`"),
    ],
    "editors.{name}.adapter": [
        (MISSING, rf"at {EDITOR}: 'adapter' is a required property"),
        (None, rf"at {EDITOR}.adapter: None is not of type 'string'"),
        ("qwen-image-edti", rf"{EDITOR}: Unknown editor 'qwen-image-edti'. Did you mean 'qwen-image-edit'\?"),
        ("qwen3-vl", rf"{EDITOR}: Unknown editor 'qwen3-vl'"),
    ],
    "editors.{name}.model": [
        (MISSING, rf"{EDITOR}: adapter 'qwen-image-edit' needs a `model`"),
        ("", rf"{EDITOR}: adapter 'qwen-image-edit' needs a `model`"),
        (1, rf"at {EDITOR}.model: 1 is not of type 'string', 'null'"),
        ("models/not-here/at-all", rf"{EDITOR}: The model models/not-here/at-all is missing"),
        ("config/config.yaml", rf"{EDITOR}: The model config/config.yaml is a single file"),
        ("resources", rf"{EDITOR}: The checkpoint resources is incomplete"),
        ("resources/models/tiny-qwen", rf"{EDITOR}: Unknown model .*tiny-qwen-image-edit"),
    ],
    "editors.{name}.revision": [
        (1234567, rf"at {EDITOR}.revision: 1234567 is not of type 'string', 'null'"),
        (datetime.date(2026, 1, 1), rf"at {EDITOR}.revision: YAML reads 2026-01-01 as a date; put it in quotes"),
    ],
    "editors.{name}.env": [
        (None, rf"at {EDITOR}.env: None is not of type 'string'"),
        ("", rf"{EDITOR}.env is , which is not a file"),
        ("envs/none.yaml", rf"{EDITOR}.env is envs/none.yaml, which is not a file. Paths are relative to"),
        ("envs", rf"{EDITOR}.env is envs, which is not a file"),
    ],
    "editors.{name}.params": [
        (None, rf"at {EDITOR}.params: None is not of type 'object'"),
        ([], rf"at {EDITOR}.params: \[\] is not of type 'object'"),
        ({"num_inference_step": 2}, rf"{EDITOR}: .*Did you mean 'num_inference_steps'\?"),
        ({"num_inference_steps": "2"}, rf"{EDITOR}: .*num_inference_steps is '2'"),
        ({"true_cfg_scale": NAN}, rf"at {EDITOR}.params.true_cfg_scale: nan is not a finite number"),
        ({"negative_prompt": datetime.date(2026, 1, 1)}, rf"at {EDITOR}.params.negative_prompt: YAML reads"),
    ],
    "judges": [
        (MISSING, r"'judges' is a required property"),
        ({}, r"at judges: {}"),
        ("fake", r"at judges: 'fake' is not of type 'object'"),
        ({"a/b": FAKE}, r"at judges: 'a/b' cannot be a name"),
        ({"名" * 81: FAKE}, r"at judges: .* is too long"),
    ],
    "judges.{name}": [
        (None, rf"at {JUDGE}: None is not of type 'object'"),
        (FAKE | {"protocoll": "x"}, rf"at {JUDGE}: Unknown key 'protocoll'. Did you mean 'protocol'\?"),
    ],
    "judges.{name}.adapter": [
        (MISSING, rf"at {JUDGE}: 'adapter' is a required property"),
        (3, rf"at {JUDGE}.adapter: 3 is not of type 'string'"),
        ("qwen3", rf"{JUDGE}: Unknown judge 'qwen3'. Did you mean 'qwen3-vl'\? Available: fake, qwen3-vl\.$"),
        ("qwen3-vl/vllm", rf"{JUDGE}: Unknown judge 'qwen3-vl/vllm'. Did you mean 'qwen3-vl'\?"),
    ],
    "judges.{name}.engine": [
        (None, rf"at {JUDGE}.engine: None is not one of \['transformers', 'vllm', 'openai'\]"),
        ("vlm", rf"at {JUDGE}.engine: 'vlm' is not one of \['transformers', 'vllm', 'openai'\]. What runs the judge's"),
        ("openai", rf"{JUDGE}: .*Unknown parameter of the judge qwen3-vl on openai 'batch_tokens'"),
        (
            "vllm",
            rf"{JUDGE}: .*Unknown parameter of the judge qwen3-vl on vllm 'batch_tokens'. Did you mean 'batch_size'",
        ),
    ],
    "judges.{name}.model": [
        (MISSING, rf"{JUDGE}: adapter 'qwen3-vl' needs a `model`"),
        ("./none", rf"{JUDGE}: The model ./none is missing"),
    ],
    "judges.{name}.revision": [(["main"], rf"at {JUDGE}.revision: \['main'\] is not of type 'string', 'null'")],
    "judges.{name}.protocol": [
        (None, rf"at {JUDGE}.protocol: None is not of type 'string'"),
        ("none.yaml", rf"{JUDGE}: There is no protocol file none.yaml. Check `protocol:`"),
        ("resources", rf"{JUDGE}: The protocol file resources cannot be read"),
        ("config/config.yaml", rf"{JUDGE}: The protocol file config/config.yaml: "),
        ("LICENSE", rf"{JUDGE}: The protocol file LICENSE"),
    ],
    "judges.{name}.env": [
        ("none.yaml", rf"{JUDGE}.env is none.yaml, which is not a file"),
        (1, rf"at {JUDGE}.env: 1 is not of type 'string', 'null'"),
        ("", rf"at {JUDGE}.env: ''"),
    ],
    "judges.{name}.params": [
        ({"batch_tokens": 0}, rf"{JUDGE}: .*batch_tokens is 0"),
        ({"batch_tokes": 1}, rf"{JUDGE}: .*Did you mean 'batch_tokens'\?"),
        ({"optional_criteria": ["preservatoin"]}, rf"{JUDGE}: .*Did you mean 'preservation'\?"),
        ({"optional_criteria": "preservation"}, rf"{JUDGE}: params: optional_criteria is .*use a list of names"),
        ({"optional_criteria": 5}, rf"{JUDGE}: params: optional_criteria is 5; use a list of names"),
        ("{}", rf"at {JUDGE}.params: '{{}}' is not of type 'object'"),
    ],
    "controls": [
        (None, r"at controls: None is not of type 'object'"),
        ({"shares": 1}, r"at controls: Unknown key 'shares'. Did you mean 'share'\?"),
    ],
    "controls.share": [
        (-0.1, r"at controls.share: -0.1 is less than the minimum of 0"),
        (4.1, r"at controls.share: 4.1 is greater than the maximum of 4"),
        (NAN, r"at controls.share: nan is not a finite number"),
        (INFINITE, r"at controls.share: inf is not a finite number"),
        ("10%", r"at controls.share: '10%' is not of type 'number'"),
    ],
    "controls.repeats": [
        (1.1, r"at controls.repeats: 1.1 is greater than the maximum of 1"),
        (-1, r"at controls.repeats: -1 is less than the minimum of 0"),
        (True, r"at controls.repeats: True is not of type 'number'"),
    ],
    "controls.canary": [
        ("no", r"at controls.canary: 'no' is not of type 'boolean'"),
        (0, r"at controls.canary: 0 is not of type 'boolean'"),
    ],
    "preservation": [(1, r"at preservation: 1 is not of type 'boolean'"), ("off", r"at preservation: 'off' is not")],
    "report": [
        ([], r"at report: \[\] is not of type 'object'"),
        ({"lang": "en"}, r"at report: Unknown key 'lang'. Did you mean 'language'\?"),
    ],
    "report.language": [("fr", r"at report.language: 'fr' is not one of"), (None, r"at report.language: None")],
    "report.baseline": [
        ("nobody", r"report.baseline is 'nobody', which is none of the editors: tiny-qwen"),
        ("", r"report.baseline is '', which is none of the editors"),
        (1, r"at report.baseline: 1 is not of type 'string', 'null'"),
    ],
    "report.min_coverage": [
        (1.1, r"at report.min_coverage: 1.1 is greater than the maximum of 1"),
        (-1, r"at report.min_coverage: -1 is less than the minimum of 0"),
        (NAN, r"at report.min_coverage: nan is not a finite number"),
        ("all", r"at report.min_coverage: 'all' is not of type 'number'"),
    ],
}


def changed(key: str, value: Any) -> dict[str, Any]:
    """The demo's config with one value changed; MISSING takes the key away."""
    if not key:
        return copy.deepcopy(value)
    config = copy.deepcopy(DEMO)
    *parents, last = [NAMES[key.split(".")[0]] if name == "{name}" else name for name in key.split(".")]
    place = config
    for name in parents:
        place = place.setdefault(name, {})
    if value is MISSING:
        del place[last]
    else:
        place[last] = value
    return config


@pytest.fixture(autouse=True)
def _schema_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing it is nearly all that a check costs."""
    monkeypatch.setattr(yaml, "safe_load", parse_once)


parse_once = cache(yaml.safe_load)

CASES = [(key, value, message) for key, wrong in WRONG.items() for value, message in wrong]


@pytest.mark.parametrize(
    ("key", "value", "message"), CASES, ids=[f"{key}={str(value)[:30]}" for key, value, _ in CASES]
)
def test_a_wrong_value_is_named_in_one_paragraph(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^config: .*{message}") as error:
        check_config(changed(key, value), SCHEMA)
    assert "\n" not in str(error.value)


def test_the_demo_itself_is_right() -> None:
    checked = check_config(changed("seed", 1), SCHEMA)
    assert checked["seed"] == 1
    assert set(checked) == set(yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))["properties"])  # with the defaults


def keys_of(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every key of the config, {name} for a name of the user's choice."""
    named = {"{name}": schema["additionalProperties"]} if isinstance(schema.get("additionalProperties"), dict) else {}
    for name, entry in (schema.get("properties", {}) | named).items():
        yield prefix + name
        yield from keys_of(entry, f"{prefix}{name}.")


def test_every_key_of_the_schema_has_a_wrong_value() -> None:
    keys = list(keys_of(yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))))
    assert len(keys) > 30
    assert sorted(key for key, wrong in WRONG.items() if key and wrong) == sorted(keys)


@pytest.mark.parametrize("kind", ["editors", "judges"])
def test_a_revision_of_no_model_is_refused(kind: str) -> None:
    config = changed(kind, {"f": FAKE | {"revision": "main"}})
    with pytest.raises(UserError, match=rf"^config: {kind}\.f: `revision` is a commit or tag of a `model`"):
        check_config(config, SCHEMA)


@pytest.mark.parametrize("kind", ["editors", "judges"])
def test_a_model_of_an_adapter_without_one_is_refused(kind: str) -> None:
    with pytest.raises(UserError, match=rf"^config: {kind}\.f: adapter 'fake' has no model"):
        check_config(changed(kind, {"f": FAKE | {"model": "x/y"}}), SCHEMA)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: a\nlanes: 1\nrun: b\n", "has the key 'run' twice, in lines 1 and 3. Keep one."),
        ("editors:\n  甲: {}\n  甲: {}\n", "has the key '甲' twice, in lines 2 and 3."),
        ("a: [{b: 1, b: 2}]\n", "has the key 'b' twice, in lines 1 and 1."),
    ],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(message)):
        check_keys_once(tmp_path / "c.yaml")


@pytest.mark.parametrize("text", ["", "a: &a {b: [1]}\nc: {<<: *a, b: 2}\n", "a: &a [*a]\n", '{"a": 1,\n\t"b": 2}'])
def test_other_files_are_left_to_snakemake(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    check_keys_once(tmp_path / "c.yaml")
