"""The program that finds a panel's weights: what it prints, and what it needs."""

import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import csv, parquet
from step_runs import run_step_program


def write_files(folder: Path, errors: dict[str, float], items: int = 80) -> list[str]:
    """Write ratings of two systems by one person, and the scores of judges with these errors. Return the flags."""
    rng = np.random.default_rng(0)
    ratings, scores = ["item,system,rater,score"], ["item,system,judge,score"]
    for item in range(items):
        for system in "xy":
            quality = rng.normal()
            ratings.append(f"{item},{system},anna,{round(5 + 2 * quality)}")
            scores += [f"{item},{system},{judge},{5 + quality + rng.normal(0, sd):.3f}" for judge, sd in errors.items()]
    (folder / "ratings.csv").write_text("\n".join(ratings) + "\n")
    (folder / "scores.csv").write_text("\n".join(scores) + "\n")
    return ["--ratings", "ratings.csv", "--scores", "scores.csv", "--out", "weights.json"]


def fit(folder: Path, *flags: str):
    return run_step_program("fit_weights", list(flags), folder)


def test_a_good_judge_gets_the_weight_and_the_config_is_printed(tmp_path: Path) -> None:
    done = fit(tmp_path, *write_files(tmp_path, {"good": 0.3, "好": 2.0, "noisy": 4.0}))
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "weights.json").read_text(encoding="utf-8"))
    assert found["weights"]["good"] > 0.85 and found["shown"]
    assert "combine: weighted, weights: {good: 0." in done.out and "No gain" not in done.out


def test_judges_that_are_alike_get_the_mean(tmp_path: Path) -> None:
    done = fit(tmp_path, *write_files(tmp_path, {"a": 1.0, "b": 1.0}))
    assert "No gain shown: use the mean." in done.out and "weighted, weights" not in done.out
    assert "{judges: [a, b], combine: mean}" in done.out


def test_the_panels_of_a_run_are_no_judges(tmp_path: Path) -> None:
    flags = write_files(tmp_path, {"a": 0.5, "b": 0.5, "both": 0.3})
    table = csv.read_csv(tmp_path / "scores.csv", convert_options=csv.ConvertOptions(column_types={"item": "string"}))
    made = {"panels": {"both": {"judges": ["a", "b"]}}}
    parquet.write_table(table.replace_schema_metadata({"editlane": json.dumps(made)}), tmp_path / "scores.parquet")
    flags[flags.index("scores.csv")] = "scores.parquet"
    assert fit(tmp_path, *flags).code == 0
    assert set(json.loads((tmp_path / "weights.json").read_text(encoding="utf-8"))["weights"]) == {"a", "b"}
    done = fit(tmp_path, *flags, "--judges", "a", "both")
    assert done.code == 2 and "both is a panel" in done.err


def test_a_judge_without_weight_is_left_out_of_the_config(tmp_path: Path) -> None:
    flags = write_files(tmp_path, {"a": 0.5, "b": 0.5})
    scores = (tmp_path / "scores.csv").read_text().splitlines()
    wrong = [line.replace(",a,", ",wrong,", 1) for line in scores if ",a," in line]
    shown = [f"{head},{5 - 3 * (float(score) - 5):.3f}" for head, score in (line.rsplit(",", 1) for line in wrong)]
    (tmp_path / "scores.csv").write_text("\n".join([*scores, *shown]) + "\n")
    done = fit(tmp_path, *flags)
    assert "judges: [a, b], combine: weighted" in done.out and "left out, with the weight 0: wrong" in done.out


@pytest.mark.parametrize(
    ("items", "message"), [(4, "have 4 source images, but weights need 5"), (0, "have 0 source images")]
)
def test_too_few_edits_are_one_paragraph(tmp_path: Path, items: int, message: str) -> None:
    flags = write_files(tmp_path, {"a": 1.0, "b": 1.0})
    lines = (tmp_path / "ratings.csv").read_text().splitlines()
    (tmp_path / "ratings.csv").write_text("\n".join(lines[: 1 + 2 * items]) + "\n")
    done = fit(tmp_path, *flags)
    assert done.code == 2 and message in done.err and not (tmp_path / "weights.json").exists()
