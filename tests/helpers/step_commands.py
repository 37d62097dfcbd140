"""Valid commands of every step program: run in this order, they make a small run."""

import json
from pathlib import Path

PROTOCOL = Path(__file__).parents[2] / "resources/protocols/rubric.yaml"
CATEGORIES = ["物理", "因果"]
FAKE = {"adapter": "fake", "model": None, "revision": None, "params": {}}
CONFIG = {
    "seed": 7,
    "controls": {"share": 1.0, "least": 0, "repeats": 0.5, "canary": True},
    "editors": {"a": FAKE},
    "judges": {"j": FAKE | {"protocol": str(PROTOCOL)}},
}

Flags = dict[str, list[str]]

GOOD: dict[str, Flags] = {
    "prepare_items": {
        "--dataset": ["data/items.jsonl"],
        "--format": ["items"],
        "--language": ["zh"],
        "--categories": CATEGORIES,
        "--run-dir": ["run"],
        "--out": ["run/items.parquet"],
    },
    "split_lanes": {
        "--items": ["run/items.parquet"],
        "--categories": CATEGORIES,
        "--lanes": ["1"],
        "--shards": ["run/shards"],
    },
    "edit_lane": {
        "--run-dir": ["run"],
        "--editor": ["a"],
        "--adapter": ["fake"],
        "--lane": ["0"],
        "--seed": ["7"],
        "--timeout": ["60"],
        "--shards": [f"run/shards/{category}/lane0.parquet" for category in CATEGORIES],
        "--edits": [f"run/a/edits/{category}/lane0.parquet" for category in CATEGORIES],
    },
    "draw_canary": {"--items": ["canary/items.jsonl"], "--photos": ["data"], "--out": ["canary/pictures"]},
    "plan_controls": {
        "--items": ["run/items.parquet"],
        "--editors": ["a"],
        "--share": ["1"],
        "--least": ["0"],
        "--repeats": ["0.5"],
        "--seed": ["7"],
        "--canary": ["canary/items.jsonl"],
        "--run-dir": ["run"],
        "--out": ["run/plan.parquet"],
    },
    "score_lane": {
        "--run-dir": ["run"],
        "--editors": ["a"],
        "--judge": ["j"],
        "--adapter": ["fake"],
        "--protocol": [str(PROTOCOL)],
        "--lane": ["0"],
        "--timeout": ["60"],
        "--categories": CATEGORIES,
        "--plan": ["run/plan.parquet"],
    },
    "merge_scores": {
        "--run-dir": ["run"],
        "--editors": ["a"],
        "--judges": ["j"],
        "--categories": CATEGORIES,
        "--lanes": ["1"],
        "--items": ["run/items.parquet"],
        "--out": ["run/scores.parquet"],
    },
    "merge_controls": {
        "--run-dir": ["run"],
        "--editors": ["a"],
        "--judges": ["j"],
        "--lanes": ["1"],
        "--plan": ["run/plan.parquet"],
        "--out": ["run/controls.parquet"],
    },
    "measure_preservation": {
        "--run-dir": ["run"],
        "--editor": ["a"],
        "--edits": [f"run/a/edits/{category}/lane0.parquet" for category in CATEGORIES],
        "--out": ["run/a/preservation/lane0.parquet"],
    },
    "merge_preservation": {
        "--run-dir": ["run"],
        "--editors": ["a"],
        "--lanes": ["1"],
        "--items": ["run/items.parquet"],
        "--out": ["run/preservation.parquet"],
    },
    "merge_costs": {
        "--run-dir": ["run"],
        "--scores": ["run/scores.parquet"],
        "--lanes": ["1"],
        "--out": ["run/costs.parquet"],
    },
    "make_report": {
        "--scores": ["run/scores.parquet"],
        "--items": ["run/items.parquet"],
        "--run-dir": ["run"],
        "--out-dir": ["run/report"],
        "--categories": CATEGORIES,
        "--expected-editors": ["a"],
        "--expected-judges": ["j"],
        "--controls": ["run/controls.parquet"],
        "--preservation": ["run/preservation.parquet"],
        "--costs": ["run/costs.parquet"],
        "--baseline": ["a"],
        "--min-coverage": ["0.5"],
        "--language": ["zh"],
    },
    "collect_scores": {
        "--run-dir": ["run"],
        "--items": ["run/items.parquet"],
        "--config": [json.dumps(CONFIG, ensure_ascii=False)],
        "--plan": ["run/plan.parquet"],
        "--out": ["run/partial_report/scores.parquet"],
        "--controls": ["run/partial_report/controls.parquet"],
    },
    "compare_ratings": {
        "--ratings": ["data/ratings.csv"],
        "--scores": ["run/scores.parquet"],
        "--judge": ["j"],
        "--out": ["agreement.json"],
    },
    "compare_votes": {"--votes": ["data/votes.csv"], "--judge": ["data/votes.csv"], "--out": ["votes.json"]},
    "collect_ratings": {
        "--run-dir": ["run"],
        "--rater": ["陈"],
        "--out": ["data/ratings.csv"],
        "--items": ["1"],
        "--editors": ["a"],
        "--port": ["0"],
        "--seed": ["1"],
    },
    "document_config": {
        "--schema": ["schema.json"],
        "--keys": ["data/keys.md"],
        "--params": ["data/params.md"],
        "--reward-schema": ["reward.json"],
        "--rewards": ["data/rewards.md"],
        "--fleet-schema": ["fleet.json"],
        "--fleets": ["data/fleets.md"],
    },
    "judge_worker": {
        "--run-dir": ["run"],
        "--judge": ["j"],
        "--adapter": ["fake"],
        "--protocol": [str(PROTOCOL)],
        "--max-pixels": ["100"],
        "--params": ["{}"],
    },
    "serve_rewards": {"--configfile": ["reward.yaml"], "--port": ["0"], "--server": ["s"]},
    "init_config": {"--dataset": ["data/items.jsonl"], "--out": ["first.yaml"]},
    "extract_demo_photos": {"--out": ["demo"]},
    "build_tiny_model": {"--kind": ["qwen3-vl"], "--out": ["model"]},
    "watch_lanes": {"run_dir": ["run"], "--every": ["60"]},
    "check_setup": {"--configfile": ["config.yaml"], "--gpus": ["1"], "--sdm": ["conda"], "--estimate": []},
    "gpulease": {"-n": ["1"], "command": ["true"]},
    "guard": {"--with-parent": ["1"], "command": ["true"]},
    "simulate_episodes": {"simulator": ["reach"]},
}
"""Flags and their values, by step. Later steps read the output of earlier ones."""

NOT_RUN = {
    "watch_lanes": "waits for the end of a run",
    "check_setup": "what it finds depends on the machine",
    "build_tiny_model": "loads torch and diffusers for seconds; test_tiny_models.py builds every kind",
    "gpulease": "replaces itself by its command; test_gpulease.py starts it",
    "guard": "runs with its parent; test_guard.py starts it",
    "judge_worker": "speaks with a server",
    "simulate_episodes": "speaks with who plays; test_simulators.py starts it",
    "serve_rewards": "serves until it is stopped",
}
