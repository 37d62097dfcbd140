"""Every flag of every step with a wrong value: one paragraph, exit code 2, nothing written."""

import json
from pathlib import Path

import pytest
from step_commands import CATEGORIES, CONFIG, GOOD, NOT_RUN, PAIRWISE, PROTOCOL
from step_runs import SCRIPTS, Stages, list_flags, make_stages, run_step_program

Wrong = list[tuple[str | list[str], str]]
"""Values that are wrong, and what the message says."""

LANE: Wrong = [("-1", "'-1' is not a whole number of 0 or more"), ("x", "'x' is not a whole number of 0 or more")]
SEED: Wrong = LANE
LANES: Wrong = [("0", "'0' is not a whole number of 1 or more")]
SECONDS: Wrong = [("0", "'0' is not a number of seconds above 0"), ("nan", "'nan' is not a number of seconds above 0")]
NAME: Wrong = [("../x", "'../x' cannot name a folder"), ("", "'' cannot name a folder")]
NAMES: Wrong = [*NAME, (["a", "a"], "a is named twice")]
CATEGORY_NAMES: Wrong = [*NAME, ([*CATEGORIES, CATEGORIES[0]], f"{CATEGORIES[0]} is named twice")]
TABLE: Wrong = [
    ("none.parquet", "There is no table none.parquet"),
    ("garbage", "Cannot read the table garbage"),
    ("other.parquet", "it is not the table this step reads"),
    ("data", "data is a folder"),
]
SECOND_TABLE = "run/a/edits/因果/lane0.parquet"
IN_FOLDER: Wrong = [("none", "there is no folder 'none'"), ("file", "there is no folder 'file'")]
OUT_FOLDER: Wrong = [("file/x", "cannot write file/x: file is not a folder")]
OUT_FILE: Wrong = [
    ("file/x.csv", "cannot write file: file is not a folder"),
    ("data", "'data' is not a file"),
    (f"{'x' * 300}.csv", "File name too long. Use shorter names"),
]
PARAMS: Wrong = [
    ("{", "is not JSON"),
    ("[1]", "is not a JSON object such as"),
    ('{"second": 1}', "Did you mean 'seconds'"),
    ('{"seconds": NaN}', "seconds is nan"),
]
ADAPTER: Wrong = [("fak", "'fak'. Did you mean 'fake'?"), ("", "''")]
MODEL: Wrong = [
    ("./none", "The model ./none is missing"),
    ("file", "The model file is a single file"),
    ("empty", "The checkpoint empty is incomplete"),
]
REVISION: Wrong = [("main", "--revision is given without --model")]
RATINGS: Wrong = [
    ("none.csv", "There is no file none.csv"),
    ("garbage.csv", "garbage.csv"),
    ("garbage.parquet", "garbage.parquet cannot be read as Parquet"),
    ("garbage", "garbage ends in ''"),
    ("other.parquet", "other.parquet has no column item"),
]
ITEM_LIST: Wrong = [("none.jsonl", "none.jsonl"), ("garbage.jsonl", "garbage.jsonl"), ("data", "data")]


def lists(wrong: Wrong, second: str, doubled: str) -> Wrong:
    """Of a flag that wants two files: the first is wrong; both are the same; one is missing."""
    pairs = [([value, second], message) for value, message in wrong if isinstance(value, str)]
    return [*pairs, ([second, second], f"{second} is named twice"), ([second], doubled)]


def config(**changes: object) -> str:
    return json.dumps({name: value for name, value in (CONFIG | changes).items() if value is not None})


def panel(**changes: object) -> str:
    return json.dumps({"both": {"judges": ["j", "j"], "combine": "mean", "quorum": 2, "weights": None} | changes})


PANELS = [
    ("{", "is not JSON"),
    ("[]", "is not a JSON object"),
    ('{"both": {}}', "The panel both is not whole ('combine')"),
    (panel(judges=["j", "k"]), "The panel both has the judge k, which is none of: j"),
]

WRONG: dict[str, dict[str, Wrong]] = {
    "prepare_items": {
        "--dataset": [*ITEM_LIST, ("garbage", "garbage ends in ''"), ("garbage.parquet", "garbage.parquet")],
        "--format": [("itemz", "Did you mean 'items'?"), ("", "Unknown dataset format")],
        "--language": [("de", "Unknown language 'de'"), ("", "Unknown language")],
        "--categories": [*CATEGORY_NAMES, ("天气", "No items are left"), ("a:b", "cannot name a folder")],
        "--edited-dir": [*IN_FOLDER, ("empty", "empty")],
        "--given": [
            ("empty", "'empty' is not EDITOR=FOLDER"),
            ("甲=none", "there is no folder 'none'"),
            ("甲=", "there is no folder ''"),
            ("=empty", "'' cannot name a folder"),
            ("../甲=empty", "'../甲' cannot name a folder"),
            ("甲=empty", "editors.甲.params.dir: empty has no edit of any item"),
            (["甲=empty", "甲=data"], "甲 is named twice"),
        ],
        "--limit": LANES,
        "--samples": LANES,
        "--run-dir": OUT_FOLDER,
        "--out": OUT_FILE,
    },
    "split_lanes": {
        "--items": TABLE,
        "--categories": [*CATEGORY_NAMES, ("物理", "has items of 因果, which --categories lacks")],
        "--lanes": LANES,
        "--shards": OUT_FOLDER,
    },
    "edit_lane": {
        "--run-dir": IN_FOLDER,
        "--editor": NAME,
        "--adapter": ADAPTER,
        "--model": MODEL,
        "--revision": REVISION,
        "--params": PARAMS,
        "--lane": LANE,
        "--seed": SEED,
        "--timeout": SECONDS,
        "--shards": lists(TABLE, "run/shards/因果/lane0.parquet", "--shards names 1 file and --edits 2"),
        "--edits": lists(OUT_FILE, "run/a/edits/因果/lane0.parquet", "--shards names 2 files and --edits 1"),
    },
    "draw_canary": {
        "--items": [
            ("none", "Cannot read the canary set none"),
            ("garbage", "Cannot read the canary set garbage"),
            ("data/items.jsonl", "Cannot read the canary set data/items.jsonl: 'photo'"),
            ("data", "Cannot read the canary set data"),
        ],
        "--photos": [*IN_FOLDER, ("empty", "Cannot draw c")],
        "--out": OUT_FOLDER,
    },
    "draw_gallery_demo": {
        "--items": [
            ("none", "Cannot read the worked example none"),
            ("data/items.jsonl", "Cannot read the worked example data/items.jsonl: 'draw'"),
            ("data", "Cannot read the worked example data"),
        ],
        "--photos": [*IN_FOLDER, ("empty", "Cannot draw g")],
        "--out": OUT_FOLDER,
    },
    "plan_controls": {
        "--items": TABLE,
        "--editors": NAMES,
        "--share": [(text, f"'{text}' is not a number from 0 to 6") for text in ("6.1", "nan")],
        "--least": [("-1", "'-1' is not a whole number"), ("1.5", "'1.5' is not a whole number")],
        "--repeats": [(text, f"'{text}' is not a number from 0 to 1") for text in ("1.1", "nan")],
        "--seed": SEED,
        "--canary": [*ITEM_LIST, ("data/items.jsonl", "The canary set lacks the edit of 项-0")],
        "--run-dir": OUT_FOLDER,
        "--out": OUT_FILE,
    },
    "score_lane": {
        "--run-dir": [*IN_FOLDER, ("empty", "There is no table empty/a/edits/物理/lane0.parquet")],
        "--editors": [*NAMES, ("nobody", "There is no table run/nobody/edits/物理/lane0.parquet")],
        "--judge": NAME,
        "--adapter": ADAPTER,
        "--model": MODEL,
        "--revision": REVISION,
        "--params": [*PARAMS, ('{"optional_criteria": ["x"]}', "'x'")],
        "--protocol": [
            ("none.yaml", "There is no protocol file none.yaml"),
            ("garbage", "The protocol file garbage cannot be read as YAML"),
            ("file", "The protocol file file"),
            ("data", "The protocol file data cannot be read"),
            (str(PAIRWISE), "compares two edits (`kind: pairwise`), but a judge's `protocol:` scores one"),
        ],
        "--lane": [*LANE, ("7", "There is no table run/a/edits/物理/lane7.parquet")],
        "--timeout": SECONDS,
        "--categories": [*CATEGORY_NAMES, ("天气", "There is no table run/a/edits/天气/lane0.parquet")],
        "--plan": TABLE,
    },
    "merge_scores": {
        "--run-dir": [*IN_FOLDER, ("empty", "There is no table empty/a/scores/j/物理/lane0.parquet")],
        "--editors": [*NAMES, ("nobody", "There is no table run/nobody/scores")],
        "--judges": [*NAMES, ("nobody", "There is no table run/a/scores/nobody")],
        "--panels": PANELS,
        "--categories": [*CATEGORY_NAMES, ("天气", "There is no table"), ("物理", "rows are lost")],
        "--lanes": [*LANES, ("2", "There is no table run/a/scores/j/物理/lane1.parquet")],
        "--items": TABLE,
        "--out": OUT_FILE,
    },
    "merge_controls": {
        "--run-dir": [*IN_FOLDER, ("empty", "There is no table empty/a/controls/j/lane0.parquet")],
        "--editors": [*NAMES, ("nobody", "There is no table run/nobody/controls")],
        "--judges": [*NAMES, ("nobody", "There is no table run/a/controls/nobody")],
        "--panels": PANELS,
        "--lanes": [*LANES, ("2", "There is no table run/a/controls/j/lane1.parquet")],
        "--plan": TABLE,
        "--out": OUT_FILE,
    },
    "plan_pairs": {
        "--items": TABLE,
        "--run-dir": [*IN_FOLDER, ("empty", "There is no table empty/a/edits/物理/lane0.parquet")],
        "--editors": [*NAMES, ("nobody", "There is no table run/nobody/edits")],
        "--categories": [*CATEGORY_NAMES, ("天气", "There is no table"), ("物理", "each item needs one")],
        "--lanes": [*LANES, ("2", "There is no table run/a/edits/物理/lane1.parquet")],
        "--judge": NAME,
        "--round": [*LANES, ("2", "There is no table run/arena/j/round1/lane0.parquet")],
        "--rounds": LANES,
        "--budget": LANES,
        "--share": [(text, f"'{text}' is not a number from 0 to 6") for text in ("6.1", "nan")],
        "--least": [("-1", "'-1' is not a whole number")],
        "--seed": SEED,
        "--out": OUT_FILE,
    },
    "compare_lane": {
        "--run-dir": IN_FOLDER,
        "--judge": NAME,
        "--adapter": ADAPTER,
        "--model": MODEL,
        "--revision": REVISION,
        "--params": PARAMS,
        "--protocol": [
            ("none.yaml", "There is no protocol file none.yaml"),
            ("garbage", "The protocol file garbage cannot be read as YAML"),
            (str(PROTOCOL), "scores one edit, but the arena's `protocol:` compares two"),
        ],
        "--lane": [*LANE, ("7", "--lane is 7, but --lanes is 1")],
        "--lanes": LANES,
        "--timeout": SECONDS,
        "--plan": TABLE,
        "--out": OUT_FILE,
    },
    "merge_pairs": {
        "--items": [*TABLE, ("foreign.parquet", "The arena's answers do not fit the items")],
        "--run-dir": [*IN_FOLDER, ("empty", "There is no table empty/arena/j/round1/lane0.parquet")],
        "--editors": NAMES,
        "--judges": [*NAMES, ("nobody", "There is no table run/arena/nobody/round1")],
        "--rounds": [*LANES, ("2", "There is no table run/arena/j/round2")],
        "--lanes": [*LANES, ("2", "There is no table run/arena/j/round1/lane1.parquet")],
        "--out": OUT_FILE,
    },
    "measure_preservation": {
        "--run-dir": IN_FOLDER,
        "--editor": [*NAME, ("nobody", "has edits by a, not by 'nobody'")],
        "--edits": [*TABLE, ([SECOND_TABLE, SECOND_TABLE], "is named twice")],
        "--out": OUT_FILE,
    },
    "merge_preservation": {
        "--run-dir": [*IN_FOLDER, ("empty", "There is no table empty/a/preservation/lane0.parquet")],
        "--editors": [*NAMES, ("nobody", "There is no table run/nobody/preservation")],
        "--lanes": [*LANES, ("2", "There is no table run/a/preservation/lane1.parquet")],
        "--items": TABLE,
        "--out": OUT_FILE,
    },
    "merge_costs": {
        "--run-dir": IN_FOLDER,
        "--scores": [*TABLE, ("run/items.parquet", "it is not the table this step reads")],
        "--lanes": LANES,
        "--out": OUT_FILE,
    },
    "make_report": {
        "--scores": [*TABLE, ("run/items.parquet", "run/items.parquet has no column editor, judge")],
        "--items": [
            *TABLE,
            ("foreign.parquet", "does not belong to this run"),
            ("run/plan.parquet", "run/plan.parquet has the item"),
        ],
        "--run-dir": IN_FOLDER,
        "--out-dir": OUT_FOLDER,
        "--categories": CATEGORY_NAMES,
        "--expected-editors": [*NAMES, ("nobody", "Unknown baseline 'a'")],
        "--expected-judges": NAMES,
        "--controls": [*TABLE, ("run/scores.parquet", "has no column control")],
        "--preservation": TABLE,
        "--costs": TABLE,
        "--pairs": [*TABLE, ("run/scores.parquet", "has no column editor_a")],
        "--votes": [("gone.csv", "There is no file gone.csv"), ("run/scores.parquet", "has no column vote")],
        "--ratings": RATINGS,
        "--baseline": [("nobody", "Unknown baseline 'nobody'"), ("", "Unknown baseline ''")],
        "--min-coverage": [(text, "is not a number from 0 to 1") for text in ("1.1", "nan")],
        "--language": [("de", "invalid choice: 'de' (choose from 'en', 'zh')")],
    },
    "collect_scores": {
        "--run-dir": IN_FOLDER,
        "--items": TABLE,
        "--config": [
            ("{", "is not JSON"),
            ("[]", "is not a JSON object"),
            ("{}", "is not a whole config ('seed')"),
            (config(editors=None), "is not a whole config ('editors')"),
            (config(editors=["a"]), "is not a whole config"),
            (config(editors={"a": {"adapter": "fake"}}), "is not a whole config ('model')"),
            (config(editors={"a": CONFIG["editors"]["a"] | {"adapter": "fak"}}), "Did you mean 'fake'?"),
            (config(judges={"j": CONFIG["editors"]["a"]}), "is not a whole config ('protocol')"),
            (config(judges={"j": CONFIG["judges"]["j"] | {"protocol": "none"}}), "There is no protocol file none"),
        ],
        "--plan": TABLE[1:],
        "--out": OUT_FILE,
        "--controls": OUT_FILE,
    },
    "compare_runs": {
        "runs": [
            (["run", "none"], "there is no folder 'none'"),
            (["run", "file"], "there is no folder 'file'"),
            ("run", "Only one run is given"),
            (["run", "run"], "run and run are the same run"),
            (["run", "empty"], "empty is no finished run: there is no items.parquet"),
        ],
        "--out": OUT_FOLDER,
        "--editors": [
            ("a", "'a' is not A=B, two names of editors"),
            ("a=../x", "'../x' cannot name a folder"),
            ("b=a", "Unknown editor of run 'b'"),
            (["a=a", "a=a"], "is named twice"),
        ],
        "--language": [("de", "invalid choice: 'de' (choose from 'en', 'zh')")],
    },
    "fit_weights": {
        "--ratings": RATINGS,
        "--scores": [*RATINGS, ("data/rated.csv", "Unknown judge 'j'. Available: rated")],
        "--judges": [("j", "there is j alone"), (["j", "nobody"], "Unknown judge 'nobody'")],
        "--out": OUT_FILE,
    },
    "compare_ratings": {
        "--ratings": RATINGS,
        "--scores": [
            ("none.csv", "There is no file none.csv"),
            ("garbage.csv", "garbage.csv"),
            ("garbage.parquet", "garbage.parquet cannot be read as Parquet"),
            ("other.parquet", "other.parquet has no column item"),
        ],
        "--judge": [("nobody", "Unknown judge 'nobody'"), ("", "Unknown judge ''")],
        "--out": OUT_FILE,
    },
    "compare_votes": {
        flag: [
            ("none.csv", "There is no file none.csv"),
            ("garbage.csv", "garbage.csv"),
            ("garbage.jsonl", "garbage.jsonl"),
            ("garbage.parquet", "garbage.parquet cannot be read as Parquet"),
            ("garbage", "garbage ends in ''"),
            ("other.parquet", "other.parquet has no column item"),
        ]
        for flag in ("--votes", "--judge")
    }
    | {"--out": OUT_FILE},
    "collect_ratings": {
        "--run-dir": [*IN_FOLDER, ("empty", "There is no table empty/items.parquet")],
        "--rater": [("", "--rater is empty"), (" ", "--rater is empty")],
        "--out": [
            *OUT_FILE,
            ("ratings.tsv", "give a name that ends in .csv"),
            ("garbage.csv", "garbage.csv does not start with the columns item,system,rater,score"),
        ],
        "--items": LANES,
        "--editors": [*NAMES, ("nobody", "Unknown editor 'nobody'")],
        "--port": [("65536", "'65536' is not a whole number from 0 to 65535")],
        "--seed": SEED,
        "--language": [("de", "invalid choice: 'de' (choose from 'en', 'zh')")],
    },
    "document_config": {
        "--schema": OUT_FILE,
        "--keys": [
            ("none.md", "cannot read or write none.md: No such file or directory. Check the path."),
            ("garbage", "garbage needs the lines `<!-- keys: begin -->`"),
            ("data", "cannot read or write data: Is a directory"),
        ],
        "--params": [
            ("none.md", "cannot read or write none.md: No such file or directory. Check the path."),
            ("data/keys.md", "data/keys.md needs the lines `<!-- params: begin -->`"),
        ],
        "--reward-schema": OUT_FILE,
        "--rewards": [("data/keys.md", "data/keys.md needs the lines `<!-- rewards: begin -->`")],
        "--fleet-schema": OUT_FILE,
        "--fleets": [("data/keys.md", "data/keys.md needs the lines `<!-- fleets: begin -->`")],
        "--robots-schema": OUT_FILE,
        "--robots": [("data/keys.md", "data/keys.md needs the lines `<!-- robots: begin -->`")],
    },
    "extract_demo_photos": {"--out": OUT_FOLDER},
    "build_tiny_model": {
        "--kind": [
            ("qwen3", "Unknown kind of tiny model 'qwen3'. Did you mean 'qwen3.5'?"),
            ("", "Unknown kind"),
            ("lora", "Give --base"),
        ],
        "--base": [*IN_FOLDER, ("data", "Give --base with this kind, and only with it")],
        "--out": [*OUT_FOLDER, ("data", "data exists and is not a tiny model")],
        "--seed": [("-1", "is not a whole number from 0 to"), (str(2**63), "is not a whole number from 0 to")],
    },
    "watch_lanes": {
        "run_dir": [
            ("none", "There is no folder none"),
            ("file", "file is not a folder"),
            ("data", "data is not the folder of a run"),
        ],
        "--every": SECONDS,
    },
    "check_setup": {
        "--configfile": [
            ("none.yaml", "cannot read or write none.yaml: No such file or directory. Check the path."),
            ("garbage", "garbage cannot be read as YAML"),
            ("file", "file holds no settings"),
            (
                "twice.yaml",
                "twice.yaml cannot be read as YAML: it has the key 'run' twice, in lines 1 and 2; keep one.",
            ),
            ("other.yaml", "config: Unknown key 'lanse'. Did you mean 'lanes'?"),
        ],
        "--gpus": LANES,
        "--sdm": [("apptainer", "invalid choice: 'apptainer'")],
        "--from": IN_FOLDER,
    },
    "check_robots": {
        "--configfile": [("none.yaml", "none.yaml"), ("garbage", "garbage"), ("other.yaml", "Unknown key 'lanse'")],
    },
    "init_config": {
        "--dataset": [
            ("none.csv", "There is no dataset file none.csv"),
            ("garbage", "garbage ends in ''"),
            ("data", "The folder data has no dataset file"),
        ],
        "--edited-dir": IN_FOLDER,
        "--out": [("data", "data exists"), ("garbage", "garbage exists")],
    },
    "gpulease": {
        "-n": [
            ("-1", "-n of 0 or more"),
            ("x", "argument -n: invalid int value: 'x'"),
            ("100000", "100000 devices were asked for, but this machine offers"),
        ],
        "command": [([], "give a command after --")],
    },
    "guard": {"command": [([], "give a command after --")]},
    "simulate_episodes": {
        "simulator": [("gazebo", "invalid choice: 'gazebo' (choose from"), ("", "invalid choice: ''")]
    },
    "judge_worker": {
        "--run-dir": IN_FOLDER,
        "--judge": NAME,
        "--max-pixels": LANES,
        "--params": [("{", "is not JSON"), ("[1]", "is not a JSON object such as")],
    },
    "serve_policy": {
        "--policy": [("reech", "Unknown policy 'reech'. Did you mean 'reach'?"), ("", "Unknown policy")],
        "--host": [("host.invalid", "Cannot listen on host.invalid, port 0"), ("x" * 70, "Cannot listen on")],
        "--port": [("65536", "'65536' is not a whole number from 0 to 65535"), ("x", "'x' is not a whole number")],
        "--delay": [("-1", "'-1' is not a number from 0 to 3600"), ("nan", "'nan' is not a number from 0 to 3600")],
        "--seed": [(text, f"{text!r} is not a whole number from 0 to 4294967295") for text in ("-1", "x")],
        "--checkpoint": [("none", "--policy reach has no --checkpoint")],
    },
    "example_client": {
        "--url": [("ftp://x", "'ftp://x' is no address"), ("http://a:b@c", "has no password")],
        "--token-env": [("NO_SUCH_TOKEN", "The environment variable NO_SUCH_TOKEN is not set"), ("", "is not set")],
        "--parallel": [("0", "'0' is not a whole number from 1 to 256")],
        "--tasks": [
            ("1,x", "'1,x' is no list of tasks such as 0,1,2"),
            ("", "'' is no list"),
            ("-1", "'-1' is no list"),
        ],
        "--trials": [("0", "'0' is not a whole number from 1 to 1000")],
    },
    "serve_rewards": {
        "--configfile": [("none.yaml", "none.yaml"), ("garbage", "garbage"), ("other.yaml", "Unknown key 'lanse'")],
        "--server": NAME,
        "--port": [("70000", "'70000' is not a whole number from 0 to 65535"), ("x", "'x' is not a whole number")],
    },
}

TOLD = ("--adapter", "--model", "--revision", "--protocol")

RIGHT = {
    ("example_client", "--suite"): "is checked by the server",
    ("example_client", "texts"): "is whatever the policy is told",
    ("check_setup", "--estimate"): "has no value",
    ("check_setup", "--list-editors"): "has no value",
    ("collect_ratings", "--pairs"): "has no value",
    ("gpulease", "--forgive"): "is refused beside a command; test_gpulease.py gives it alone",
    ("gpulease", "--with-parent"): "comes before the command; test_gpulease.py gives it alone",
    ("gpulease", "--show"): "has no value; together with a command it is refused, see `command`",
    ("guard", "--with-parent"): "is a process, whichever it is; test_guard.py gives one",
    ("score_lane", "--journal-only"): "has no value",
    ("merge_costs", "--with-pairs"): "has no value",
    ("serve_fleet", "==SUPPRESS=="): "its commands have their own flags; test_serve_fleet.py gives wrong ones",
    ("serve_policies", "==SUPPRESS=="): "its commands have their own flags; test_serve_policies.py gives wrong ones",
    **{("judge_worker", flag): "is checked by the server, and told over the wire" for flag in TOLD},
}
"""Flags of which no value is wrong, and why."""

CASES = [
    (step, flag, [value] if isinstance(value, str) else value, message)
    for step, flags in WRONG.items()
    for flag, wrong in flags.items()
    for value, message in wrong
]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """The good command of every step was run."""
    return make_stages(tmp_path_factory.mktemp("stages"))


@pytest.mark.parametrize("step", [step for step in GOOD if step not in NOT_RUN])
def test_the_good_command_does_what_the_wrong_ones_do_not(stages: Stages, step: str) -> None:
    ended = stages.ended[step]
    assert ended.code == (130 if step == "collect_ratings" else 0), ended.err


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """What differs once a file was written, also with the same bytes, or a folder was made."""
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {str(path): (stat.st_ino, path.is_dir() or stat.st_mtime_ns) for path, stat in found.items()}


@pytest.mark.parametrize(
    ("step", "flag", "values", "message"),
    CASES,
    ids=[f"{step} {flag} {' '.join(values)[:40]}" for step, flag, values, _ in CASES],
)
def test_a_wrong_value_is_one_paragraph_and_writes_nothing(
    stages: Stages, step: str, flag: str, values: list[str], message: str
) -> None:
    folder = stages.folders[step]
    before = contents(folder)
    ended = run_step_program(step, GOOD[step] | {flag: values}, folder)
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err
    if "usage: " not in ended.err:  # of the lease
        assert ended.err.startswith("error: ")
        assert len(ended.err.splitlines()) == 1, ended.err
    assert message in ended.err
    assert contents(folder) == before


@pytest.mark.parametrize("step", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_every_flag_of_every_step_has_a_wrong_value(step: str, tmp_path: Path) -> None:
    tested = [flag for flag, wrong in WRONG.get(step, {}).items() if wrong]
    right = [flag for of, flag in RIGHT if of == step]
    assert sorted(tested + right) == sorted(list_flags(step, tmp_path))
