"""Every key of the config with a wrong value: one paragraph that says what, where and what to do."""

import copy
import datetime
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from editlane.core.errors import UserError
from editlane.core.json_schema import iterate_keys
from editlane.core.pins import read_pip_pins
from editlane.preflight import config_values
from editlane.preflight.config import RESERVED_EDITOR_NAMES, check_config, check_config_file, read_config
from editlane.preflight.run_config import RunConfig
from editlane.protocols.load import load_protocol

DEMO = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))
NAMES = {"editors": "tiny-qwen", "judges": "tiny-qwen3-vl", "panels": "both"}
"""What stands for {name}."""

MISSING: Any = ...
NAN, INFINITE = float("nan"), float("inf")

FAKE = {"adapter": "fake"}


ARENA = {"judges": ["second"]}
"""The arena of a config with a wrong key of `arena`; the panel is there, too."""

PANEL = {"judges": ["tiny-qwen3-vl", "second"]}
"""The panel of both judges that a config with a wrong key of `panels` has."""


def given(**params: Any) -> dict[str, Any]:
    return {"adapter": "given", "params": params}


EDITOR, JUDGE = r"editors\.tiny-qwen", r"judges\.tiny-qwen3-vl"

WRONG: dict[str, list[tuple[Any, str]]] = {
    "": [
        ({}, r"run is missing; use a text"),
        (DEMO | {"lane": 2}, r"Unknown key 'lane'. Did you mean 'lanes'\?"),
        (DEMO | {2: 2}, r"Unknown key '2'"),
    ],
    "run": [
        (MISSING, r"run is missing"),
        (None, r"run is None; use a text in quotes"),
        (20260101, r"run is 20260101; use a text in quotes"),
        (datetime.date(2026, 1, 1), r"at run: YAML reads 2026-01-01 as a date; put it in quotes"),
        ("", r"run: '' cannot be a name; use letters"),
        ("../elsewhere", r"run: '../elsewhere' cannot be a name"),
        ("a/b", r"run: 'a/b' cannot be a name"),
        (".hidden", r"run: '.hidden' cannot be a name"),
        ("名" * 81, r"run is .*; use a text of at most 80 characters"),
    ],
    "dataset": [
        (MISSING, r"dataset is missing"),
        ("items.jsonl", r"dataset is 'items.jsonl'; use a mapping"),
        ({"path": "x"}, r"dataset.categories is missing"),
        (DEMO["dataset"] | {"pfad": "x"}, r"Unknown key in dataset: 'pfad'. Available: categories, .*path"),
    ],
    "dataset.path": [
        (MISSING, r"dataset.path is missing"),
        (["items.jsonl"], r"dataset.path is .*; use a text in quotes"),
        ("", r"dataset.path is ''; use a text that is not empty"),
        ("no/such/file.jsonl", r"dataset.path is no/such/file.jsonl, which is not a file. Paths are relative to"),
        ("resources/demo", r"dataset.path is resources/demo, which is not a file"),
    ],
    "dataset.format": [
        ("csv", r"Unknown dataset.format 'csv'. .*Available:"),
        (None, r"dataset.format is None; use `"),
    ],
    "dataset.edited_dir": [
        ("", r"dataset.edited_dir is ''; use a text that is not empty"),
        (1, r"dataset.edited_dir is 1; use a text in quotes.*, or null"),
        ("no/such/folder", r"dataset.edited_dir is no/such/folder, which is not a folder"),
        ("config/config.yaml", r"dataset.edited_dir is config/config.yaml, which is not a folder"),
        ("resources", r"dataset.edited_dir is set, but no editor has the adapter 'given'"),
    ],
    "dataset.limit": [
        (0, r"dataset.limit is 0; use a whole number of 1 or more"),
        (2.0, r"dataset.limit is 2.0; use a whole number"),
        ("5", r"dataset.limit is '5'; use a whole number"),
    ],
    "dataset.language": [
        ("de", r"Unknown dataset.language 'de'. .*Available:"),
        (False, r"dataset.language is False; use `en` or `zh`"),
    ],
    "dataset.categories": [
        (MISSING, r"dataset.categories is missing"),
        ("物理", r"dataset.categories is '物理'; use a list"),
        ([], r"dataset.categories is \[\]; use a list of 1 or more"),
        ([None], r"dataset.categories.0 is None; use a text in quotes"),
        ([""], r"dataset.categories.0 is ''; use a text that is not empty"),
        (["物理", "物理"], r"dataset.categories names a category twice: 物理, 物理"),
        (["café", "cafe\u0301"], r"dataset.categories names a category twice"),
        (["-x"], r"'-x' cannot name a folder"),
        (["a/b"], r"'a/b' cannot name a folder"),
        (["物理\u202e"], r"'物理\\u202e' cannot name a folder\. Avoid .*, characters that cannot be seen"),
        (["物\u200d理"], r"'物\\u200d理' cannot name a folder"),
        (["a\x07"], r"'a\\x07' cannot name a folder"),
    ],
    "lanes": [
        (0, r"lanes is 0; use a .*number .*Number of lanes"),
        (1.5, r"lanes is 1.5; use a whole number"),
        (2.0, r"lanes is 2.0; use a whole number"),
        (10**9, r"lanes is 1000000000; use a whole number from 1 to 10000"),
        (1 << 80, r"at lanes: a number of 81 bits is too large"),
        ("two", r"lanes is 'two'; use a whole number"),
        (True, r"lanes is True; use a whole number"),
        (None, r"lanes is None; use a whole number"),
        (NAN, r"at lanes: nan is not a finite number"),
    ],
    "lane_timeout": [
        (0, r"lane_timeout is 0; use a number above 0, at most 1000000000\. Seconds"),
        (-1, r"lane_timeout is -1; use a number above 0"),
        (INFINITE, r"at lane_timeout: inf is not a finite number"),
        (1e12, r"lane_timeout is 1000000000000.0; use a number"),
        ("30 min", r"lane_timeout is '30 min'; use a number"),
        (None, r"lane_timeout is None; use a number"),
    ],
    "seed": [
        (-1, r"seed is -1; use a .*number .*"),
        (4.2, r"seed is 4.2; use a whole number"),
        ("42", r"seed is '42'; use a whole number"),
    ],
    "samples": [
        (0, r"samples is 0; use a whole number from 1 to 100\. Edits of each item"),
        (101, r"samples is 101; use a whole number"),
        ("3", r"samples is '3'; use a whole number"),
        (None, r"samples is None; use a whole number"),
    ],
    "ratings": [
        ("none.csv", r"ratings is none\.csv, which is not a file\. Paths are relative"),
        (".", r"ratings is \., which is not a file"),
        (str(Path(__file__)), r"ratings: .*test_wrong_config\.py ends in '\.py'; give a file that ends in \.csv"),
        ("-x.csv", r"ratings is '-x.csv', which would be taken for a flag"),
        ("{x}.csv", r"Snakemake would replace what is in \{\}"),
        ("", r"ratings"),
        (3, r"ratings is 3; use a text"),
    ],
    "editors": [
        (MISSING, r"`editors` is missing. Name at least one, or judge given edits"),
        ({}, r"editors is {}; use a mapping of names to values, at least one"),
        ([FAKE], r"editors is .*; use a mapping"),
        ({2511: FAKE}, r"editors: 2511 cannot be a name; use a text of at most 80 characters, in quotes"),
        ({"a b": FAKE}, r"'a b' cannot be a name; use letters"),
        ({"..": FAKE}, r"'..' cannot be a name"),
        ({"a\n": FAKE}, r"'a\\n' cannot be a name"),
        ({"名" * 81: FAKE}, r"editors: .* cannot be a name; use a text of at most 80"),
        *(({name: FAKE}, f"an editor cannot be called '{re.escape(name)}'") for name in sorted(RESERVED_EDITOR_NAMES)),
    ],
    "editors.{name}": [
        (None, rf"{EDITOR} is None; use a mapping"),
        ("fake", rf"{EDITOR} is 'fake'; use a mapping"),
        (FAKE | {"modell": "x"}, rf"Unknown key in {EDITOR}: 'modell'. Did you mean 'model'\?"),
        ({"adapter": "given"}, r"'given', which needs `dataset: {format: pairs}`.* or .*`params: {dir: ...}`"),
        (given(dir="no/such"), rf"{EDITOR}.params.dir is no/such, which is not a folder. Paths are relative"),
        (given(dir="config/config.yaml"), rf"{EDITOR}.params.dir is config/config.yaml, which is not a folder"),
        (given(dir="a{x}"), rf"{EDITOR}.params.dir is 'a\{{x\}}', and Snakemake would replace"),
        (given(dir=""), rf"{EDITOR}: .*dir is ''; use a text that is not empty"),
        (given(dir=["a"]), rf"{EDITOR}: .*dir is \['a'\]; use a text in quotes that is not empty"),
        (given(folder="resources"), rf"{EDITOR}: Unknown parameter of the editor given 'folder'. Available: dir"),
    ],
    "editors.{name}.adapter": [
        (MISSING, rf"{EDITOR}.adapter is missing"),
        (None, rf"{EDITOR}.adapter is None; use a text in quotes"),
        ("qwen-image-edti", rf"{EDITOR}: Unknown editor 'qwen-image-edti'. Did you mean 'qwen-image-edit'\?"),
        ("qwen3-vl", rf"{EDITOR}: Unknown editor 'qwen3-vl'"),
    ],
    "editors.{name}.model": [
        (MISSING, rf"{EDITOR}: adapter 'qwen-image-edit' needs a `model`"),
        ("", rf"{EDITOR}: adapter 'qwen-image-edit' needs a `model`"),
        (1, rf"{EDITOR}.model is 1; use a text in quotes.*, or null"),
        ("models/not-here/at-all", rf"{EDITOR}: The model models/not-here/at-all is missing"),
        ("config/config.yaml", rf"{EDITOR}: The model config/config.yaml is a single file"),
        ("resources", rf"{EDITOR}: The checkpoint resources is incomplete"),
        ("resources/models/tiny-qwen", rf"{EDITOR}: Unknown model .*tiny-qwen-image-edit"),
    ],
    "editors.{name}.engine": [
        ("vllm", rf"Unknown {EDITOR}.engine 'vllm'\. .*Available: openai"),
        ("openai", rf"{EDITOR}: adapter 'qwen-image-edit' "),
    ],
    "editors.{name}.revision": [
        (1234567, rf"{EDITOR}.revision is 1234567; use a text in quotes.*, or null"),
        (datetime.date(2026, 1, 1), rf"at {EDITOR}.revision: YAML reads 2026-01-01 as a date; put it in quotes"),
    ],
    "editors.{name}.env": [
        (1, rf"{EDITOR}.env is 1; use a text in quotes.*, or null"),
        ("", rf"{EDITOR}.env is ''; use a text that is not empty"),
        ("envs/none.yaml", rf"{EDITOR}.env is envs/none.yaml, which is not a file. Paths are relative to"),
        ("envs", rf"{EDITOR}.env is envs, which is not a file"),
    ],
    "editors.{name}.params": [
        (None, rf"{EDITOR}.params is None; use a mapping"),
        ([], rf"{EDITOR}.params is \[\]; use a mapping"),
        ({"num_inference_step": 2}, rf"{EDITOR}: .*Did you mean 'num_inference_steps'\?"),
        ({"allow_pickle": "yes"}, rf"{EDITOR}: .*allow_pickle is 'yes'; use true or false"),
        ({"num_inference_steps": "2"}, rf"{EDITOR}: .*num_inference_steps is '2'"),
        ({"true_cfg_scale": NAN}, rf"at {EDITOR}.params.true_cfg_scale: nan is not a finite number"),
        ({"negative_prompt": datetime.date(2026, 1, 1)}, rf"at {EDITOR}.params.negative_prompt: YAML reads"),
    ],
    "judges": [
        (MISSING, r"judges is missing"),
        ({}, r"judges is {}; use a mapping of names to values, at least one"),
        ("fake", r"judges is 'fake'; use a mapping"),
        ({"a/b": FAKE}, r"judges: 'a/b' cannot be a name"),
        ({"名" * 81: FAKE}, r"judges: .* cannot be a name; use a text of at most 80"),
    ],
    "judges.{name}": [
        (None, rf"{JUDGE} is None; use a mapping"),
        (FAKE | {"protocoll": "x"}, rf"Unknown key in {JUDGE}: 'protocoll'. Did you mean 'protocol'\?"),
    ],
    "judges.{name}.adapter": [
        (MISSING, rf"{JUDGE}.adapter is missing"),
        (3, rf"{JUDGE}.adapter is 3; use a text in quotes"),
        ("qwen3", rf"{JUDGE}: Unknown judge 'qwen3'. Did you mean 'qwen3-vl'\? Available: fake, qwen3-vl, .*, vlm\.$"),
        ("qwen3-vl/vllm", rf"{JUDGE}: Unknown judge 'qwen3-vl/vllm'. Did you mean 'qwen3-vl'\?"),
    ],
    "judges.{name}.engine": [
        (None, rf"{JUDGE}.engine is None; use `"),
        (
            "vlm",
            rf"Unknown {JUDGE}.engine 'vlm'. .*Available: openai, transformers, vllm. Engine that runs the judge's",
        ),
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
    "judges.{name}.revision": [(["main"], rf"{JUDGE}.revision is \['main'\]; use a text in quotes.*, or null")],
    "judges.{name}.protocol": [
        (None, rf"{JUDGE}.protocol is None; use a text in quotes"),
        ("none.yaml", rf"{JUDGE}: There is no protocol file none.yaml. Check `protocol:`"),
        ("resources", rf"{JUDGE}: The protocol file resources cannot be read"),
        ("config/config.yaml", rf"{JUDGE}: The protocol file config/config.yaml: "),
        ("LICENSE", rf"{JUDGE}: The protocol file LICENSE"),
        ("resources/protocols/pairwise.yaml", rf"{JUDGE}: .*pairwise.yaml compares two edits .*Name it in `arena:"),
    ],
    "judges.{name}.env": [
        ("none.yaml", rf"{JUDGE}.env is none.yaml, which is not a file"),
        (1, rf"{JUDGE}.env is 1; use a text in quotes.*, or null"),
        ("", rf"{JUDGE}.env is ''; use a text that is not empty"),
    ],
    "judges.{name}.params": [
        ({"batch_tokens": 0}, rf"{JUDGE}: .*batch_tokens is 0"),
        ({"batch_tokes": 1}, rf"{JUDGE}: .*Did you mean 'batch_tokens'\?"),
        ({"optional_criteria": ["preservatoin"]}, rf"{JUDGE}: .*Did you mean 'preservation'\?"),
        ({"optional_criteria": "preservation"}, rf"{JUDGE}: params .*: optional_criteria is .*use a list, each a text"),
        ({"optional_criteria": 5}, rf"{JUDGE}: params .*: optional_criteria is 5; use a list, each a text"),
        ("{}", rf"{JUDGE}.params is '{{}}'; use a mapping"),
    ],
    "panels": [
        ([PANEL], r"panels is .*; use a mapping"),
        ({"a b": PANEL}, r"'a b' cannot be a name; use letters"),
        ({"second": PANEL}, r"panels\.second: a judge has this name\. Rename the panel"),
    ],
    "panels.{name}": [
        (["tiny-qwen3-vl", "second"], r"panels\.both is .*; use a mapping"),
        (PANEL | {"vote": "mean"}, r"Unknown key in panels\.both: 'vote'"),
        (PANEL | {"combine": "weighted"}, r"panels\.both: `combine: weighted` needs `weights`.*people's ratings"),
    ],
    "panels.{name}.judges": [
        (MISSING, r"panels\.both\.judges is missing"),
        (["second"], r"panels\.both\.judges is \['second'\]; use a list of 2 or more"),
        (["second", "secnd"], r"panels\.both: Unknown judge 'secnd'\. Did you mean 'second'\?"),
        (["second", "second"], r"panels\.both: `judges` names one twice: second, second\. Name each once"),
    ],
    "panels.{name}.combine": [("vote", r"Unknown panels\.both\.combine 'vote'\. .*Available: mean, median, weighted")],
    "panels.{name}.quorum": [
        (1, r"panels\.both\.quorum is 1; use a whole number of 2 or more"),
        (3, r"panels\.both: `quorum` is 3, but there are 2 judges\. Use a smaller one"),
        ("all", r"panels\.both\.quorum is 'all'; use a whole number"),
    ],
    "panels.{name}.weights": [
        ({"second": 0}, r"panels\.both\.weights\.second is 0; use a number above 0"),
        ({"second": 1}, r"panels\.both: `weights` need `combine: weighted`, but it is 'mean'\. Change it, or remove"),
    ],
    "arena": [
        (["second"], r"arena is .*; use a mapping.*, or null"),
        (ARENA | {"budgets": 1}, r"Unknown key in arena: 'budgets'\. Did you mean 'budget'\?"),
    ],
    "arena.judges": [
        (MISSING, r"arena\.judges is missing"),
        ([], r"arena\.judges is \[\]; use a list of 1 or more"),
        (["secnd"], r"arena: Unknown judge 'secnd'\. Did you mean 'second'\?"),
        (["both"], r"arena: `judges` names 'both', a panel, which has no model to ask\. Name its judges instead"),
        (["second", "second"], r"arena: `judges` names one twice: second, second\. Name each once"),
    ],
    "arena.protocol": [
        ("none.yaml", r"arena: There is no protocol file none.yaml"),
        (
            "resources/protocols/rubric.yaml",
            r"arena: .*rubric.yaml scores one edit, but the arena's `protocol:` compares",
        ),
        (1, r"arena\.protocol is 1; use a text"),
    ],
    "arena.method": [("halving", r"Unknown arena\.method 'halving'\. .*Available: active, uniform")],
    "arena.budget": [
        (0, r"arena\.budget is 0; use a whole number of 1 or more"),
        ("all", r"arena\.budget is 'all'; use a whole number"),
    ],
    "arena.rounds": [
        (0, r"arena\.rounds is 0; use a whole number from 1 to 100"),
        (None, r"arena\.rounds is None; use a whole number"),
        (2, r"arena: rounds is for `method: active`"),
    ],
    "controls": [
        (None, r"controls is None; use a mapping"),
        ({"shares": 1}, r"Unknown key in controls: 'shares'. Did you mean 'share'\?"),
    ],
    "controls.share": [
        (-0.1, r"controls.share is -0.1; use a .*number .*"),
        (6.1, r"controls.share is 6.1; use a number"),
        (NAN, r"at controls.share: nan is not a finite number"),
        (INFINITE, r"at controls.share: inf is not a finite number"),
        ("10%", r"controls.share is '10%'; use a number"),
    ],
    "controls.least": [
        (-1, r"controls.least is -1; use a .*"),
        (1.5, r"controls.least is 1.5; use a whole number"),
        ("all", r"controls.least is 'all'; use a whole number"),
    ],
    "controls.repeats": [
        (1.1, r"controls.repeats is 1.1; use a number"),
        (-1, r"controls.repeats is -1; use a .*number .*"),
        (True, r"controls.repeats is True; use a number"),
    ],
    "controls.canary": [
        ("no", r"controls.canary is 'no'; use true or false"),
        (0, r"controls.canary is 0; use true or false"),
    ],
    "preservation": [
        (1, r"preservation is 1; use true or false"),
        ("off", r"preservation is 'off'; use true or false"),
    ],
    "report": [
        ([], r"report is \[\]; use a mapping"),
        ({"lang": "en"}, r"Unknown key in report: 'lang'. Did you mean 'language'\?"),
    ],
    "report.language": [
        ("fr", r"Unknown report.language 'fr'. .*Available:"),
        (None, r"report.language is None; use `en` or `zh`"),
    ],
    "report.baseline": [
        ("nobody", r"report.baseline is 'nobody', which is none of the editors: tiny-qwen"),
        ("", r"report.baseline is '', which is none of the editors"),
        (1, r"report.baseline is 1; use a text in quotes.*, or null"),
    ],
    "report.min_coverage": [
        (1.1, r"report.min_coverage is 1.1; use a number"),
        (-1, r"report.min_coverage is -1; use a .*number .*"),
        (NAN, r"at report.min_coverage: nan is not a finite number"),
        ("all", r"report.min_coverage is 'all'; use a number"),
    ],
    "votes": [
        (1, r"votes is 1; use a text in quotes.*, or null"),
        ("nowhere.csv", r"votes is nowhere.csv, which is not a file"),
        ("", r"votes is"),
    ],
}


def changed(key: str, value: Any) -> dict[str, Any]:
    """The demo's config with one value changed; MISSING takes the key away."""
    if not key:
        return copy.deepcopy(value)
    config = copy.deepcopy(DEMO)
    if key.startswith("arena"):
        config["editors"] |= {"other": FAKE}
        config["arena"] = copy.deepcopy(ARENA)
    if key.startswith(("panels", "arena")):
        config["judges"] |= {"second": FAKE}
        config["panels"] = {"both": copy.deepcopy(PANEL)}
    *parents, last = [NAMES[key.split(".")[0]] if name == "{name}" else name for name in key.split(".")]
    place = config
    for name in parents:
        place = place.setdefault(name, {})
    if value is MISSING:
        del place[last]
    else:
        place[last] = value
    return config


CASES = [(key, value, message) for key, wrong in WRONG.items() for value, message in wrong]


@pytest.mark.parametrize(
    ("key", "value", "message"), CASES, ids=[f"{key}={str(value)[:30]}" for key, value, _ in CASES]
)
def test_a_wrong_value_is_named_in_one_paragraph(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^config: .*{message}") as error:
        check_config(changed(key, value))
    assert "\n" not in str(error.value)


def test_the_demo_itself_is_right() -> None:
    checked = check_config(changed("seed", 1))
    assert checked["seed"] == 1
    assert set(checked) == set(RunConfig.model_fields)  # with the defaults


def test_every_key_has_a_wrong_value() -> None:
    keys = [key for key, *_ in iterate_keys(RunConfig.model_json_schema())]
    assert len(keys) > 30
    assert sorted(key for key, wrong in WRONG.items() if key and wrong) == sorted(keys)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"second": 1.0}, r"`weights` lacks tiny-qwen3-vl\. Give each judge of the panel a number above 0"),
        ({"secnd": 1.0}, r"Unknown judge in weights 'secnd'\. Did you mean 'second'\?"),
    ],
)
def test_weights_of_a_panel_are_those_of_its_judges(weights: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=rf"^config: panels\.both: {message}"):
        check_config(changed("panels.{name}", PANEL | {"combine": "weighted", "weights": weights}))


def test_the_quorum_of_a_panel_is_all_of_its_judges_unless_it_is_given() -> None:
    assert check_config(changed("panels.{name}.quorum", None))["panels"]["both"]["quorum"] == 2


def test_an_arena_needs_two_editors() -> None:
    config = changed("arena.budget", None)
    assert check_config(config)["arena"]["rounds"] == 4
    config["editors"] = {"other": FAKE}
    with pytest.raises(UserError, match=r"^config: arena: it compares editors, but the run has one\. Add another"):
        check_config(config)


@pytest.mark.parametrize("kind", ["editors", "judges"])
def test_a_revision_of_no_model_is_refused(kind: str) -> None:
    config = changed(kind, {"f": FAKE | {"revision": "main"}})
    with pytest.raises(UserError, match=rf"^config: {kind}\.f: `revision` needs a `model`, of which it is"):
        check_config(config)


@pytest.mark.parametrize("kind", ["editors", "judges"])
def test_a_model_of_an_adapter_without_one_is_refused(kind: str) -> None:
    with pytest.raises(UserError, match=rf"^config: {kind}\.f: adapter 'fake' has no model"):
        check_config(changed(kind, {"f": FAKE | {"model": "x/y"}}))


PATHS = [
    "dataset.path",
    "dataset.edited_dir",
    *(f"editors.{{name}}.{key}" for key in ("model", "revision", "env")),
    *(f"judges.{{name}}.{key}" for key in ("model", "revision", "env", "protocol")),
]


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("data {x}/a", r"is 'data \{x\}/a', and Snakemake would replace what is in \{\} or <>"),
        ("<results>/a", r"is '<results>/a', and Snakemake would replace"),
        ("{", r"and Snakemake would replace"),
        ("--params={}", r"is '--params=\{\}', which would be taken for a flag"),
        ("-x/y", r"which would be taken for a flag. A path can begin with \./"),
        ("a\x1b[2J", r"is 'a\\x1b\[2J', with characters that cannot be printed"),
        ("a\nb", r"with characters that cannot be printed"),
    ],
)
def test_a_path_that_would_be_rewritten_or_read_as_a_flag_is_refused(key: str, value: str, message: str) -> None:
    where = re.escape(key.replace("{name}", NAMES.get(key.split(".")[0], "")))
    with pytest.raises(UserError, match=f"^config: {where} .*{message}") as error:
        check_config(changed(key, value))
    assert error.value.args[0].isprintable()


@pytest.mark.parametrize("name", ["br{x}ce", "a{b", "a}b", "a<b>c", "a<results>c"])
def test_a_checkout_whose_path_would_be_rewritten_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_values, "CHECKOUT", tmp_path / name / "editlane")
    with pytest.raises(
        UserError, match=f"^Editlane is in .*{re.escape(name)}/editlane, and Snakemake would replace .* Rename"
    ):
        check_config(changed("seed", 7))


def test_an_environment_in_a_folder_that_would_be_rewritten_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d{x}/envs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "d{x}")
    check_config(changed("seed", 7))  # with the checkout's environments
    Path("envs/own.yaml").touch()
    with pytest.raises(UserError, match=r"^the environment envs/own.yaml is .*/d\{x\}/envs/own.yaml, and Snakemake"):
        check_config(changed("editors.{name}.env", "envs/own.yaml"))


def make_loop() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def make_bomb() -> list[Any]:
    bomb: list[Any] = ["lol"]
    for _ in range(30):
        bomb = [bomb, bomb]
    return bomb


@pytest.mark.parametrize("key", ["run", "dataset", "editors.{name}.params", "report"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_loop, "it holds itself, or is nested more than"),
        (lambda: {"a": make_loop()}, "it holds itself, or is nested more than"),
        (make_bomb, "it holds more than 100000 values"),
    ],
)
def test_a_config_that_holds_itself_or_multiplies_is_refused(key: str, make: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^config: {message}"):
        check_config(changed(key, make()))


ENDLESS = [
    ("a: &a [*a]\n", "it holds itself"),
    ("a: &a {b: *a}\n", "it holds itself"),
    ("a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(30)), "more than 100000 values"),
    ("a: " + "[" * 5000 + "]" * 5000, "it is nested too deeply"),
    ("a: " + "[" * 60 + "]" * 60, "nested more than 40 levels"),
    ("a: " + "9" * 5000, "Exceeds the limit"),
    ("a: 2026-99-99", "month must be in"),
    ("a: !!timestamp x", "cannot be read as YAML"),
    ("a: !!int ''", "cannot be read as YAML"),
    ("a: !!bool x", "cannot be read as YAML"),
    ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    ("? [a]\n: b", "cannot be read as YAML"),
    ("a: \x07", "cannot be read as YAML"),
    ("a: " + "x" * 4 * 2**20, "it has more than"),
]


@pytest.mark.parametrize(("text", "message"), ENDLESS, ids=[text[:30] for text, _ in ENDLESS])
@pytest.mark.parametrize("read", [read_config, load_protocol, read_pip_pins])
def test_yaml_without_an_end_is_refused(tmp_path: Path, read: Any, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path / "c.yaml")
    assert "c.yaml" in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: a\nlanes: 1\nrun: b\n", "has the key 'run' twice, in lines 1 and 3; keep one."),
        ("editors:\n  甲: {}\n  甲: {}\n", "has the key '甲' twice, in lines 2 and 3;"),
        ("a: [{b: 1, b: 2}]\n", "has the key 'b' twice, in lines 1 and 1;"),
    ],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(message)):
        check_config_file(tmp_path / "c.yaml")


@pytest.mark.parametrize("text", ["", "a: &a {b: [1]}\nc: {<<: *a, b: 2}\n", "a: &a [*a]\n", '{"a": 1,\n\t"b": 2}'])
def test_other_files_are_left_to_snakemake(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    check_config_file(tmp_path / "c.yaml")


def test_a_category_without_a_rubric_is_told_the_protocols_that_judge_it() -> None:
    config = changed("dataset.categories", ["物理", "天气"])
    for judge in config["judges"].values():
        judge["protocol"] = "resources/protocols/rubric.yaml"
    check_config(config)  # which has a general rubric
    for judge in config["judges"].values():
        judge["protocol"] = "resources/protocols/yesno.yaml"
    with pytest.raises(
        UserError, match=r"no rubric for 天气; .*there are: resources/protocols/rubric.yaml, .*viescore"
    ):
        check_config(config)
