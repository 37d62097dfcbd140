"""How many controls a dataset gives, and what is said where they cannot suffice to accept a judge."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from preflight_project import CATEGORIES, fake_config, make_context, write_project

from editlane.core import schemas
from editlane.core.findings import Finding
from editlane.core.types import Control
from editlane.preflight.control_counts import ENOUGH, NEEDED, check_controls
from editlane.protocols.controls import count_controls, plan_controls
from editlane.stats.acceptance import compare_controls


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)


def controls_of(share: float, records: int, editors: int = 1) -> list[Finding]:
    names = [f"e{number}" for number in range(editors)]
    lines = [{"image": "图 0.png", "category": CATEGORIES[n % 2], "instruction": f"{n}"} for n in range(records)]
    dataset = Path("资料/items.jsonl")
    dataset.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    config = fake_config(controls={"share": share}, editors={name: {"adapter": "fake"} for name in names})
    context = make_context(config)
    assert context.scan.error is None
    return list(check_controls(context))


@pytest.mark.parametrize(
    ("share", "records", "editors", "level", "text", "remedy"),
    [
        (0.1, 400, 1, "pass", "150 questions to each judge about 400 items x 1 editor, at least 25 of each kind", None),
        (0.1, 900, 2, "pass", "180 questions to each judge about 900 items x 2 editors, at least 30 of each", None),
        (0.1, 40, 4, "pass", "180 questions to each judge", None),
        (0.1, 22, 1, "pass", "132 questions to each judge about 22 items x 1 editor, at least 22 of each kind", None),
        (
            0.1,
            16,
            1,
            "warn",
            "at least 16 of each kind and in each category: enough for a perfect judge",
            "gives 16, all",
        ),
        (6, 6, 1, "warn", "in each category: too few to accept a judge everywhere", "gives 6, all that there are"),
        (0.01, 900, 1, "pass", "150 questions", None),
        (0, 6, 1, "pass", "no judge is tested, so the report ranks nothing", None),
    ],
)
def test_the_number_of_controls_and_whether_they_can_suffice(share, records, editors, level, text, remedy) -> None:
    (found,) = (one for one in controls_of(share, records, editors) if "too few edits" not in one.text)
    assert (found.level, found.what) == (level, "controls") and text in found.text
    assert (remedy or "") in found.remedy and bool(remedy) == bool(found.remedy)


def test_categories_with_too_few_edits_to_test_a_judge_are_named() -> None:
    small, _ = controls_of(0.1, 16)
    assert (small.level, small.text) == ("warn", "too few edits to test a judge in 物理, 因果")
    assert "10 edits or more" in small.remedy
    assert not any("too few edits" in one.text for one in controls_of(0.1, 16, editors=2))


def test_the_counted_controls_are_those_of_the_plan() -> None:
    for sizes, share in (({"c": 7, "b": 30, "a": 1}, 0.3), ({"a": 5}, 4), ({"b": 3, "a": 9}, 1.7)):
        items = pa.Table.from_pylist(
            [
                dict.fromkeys(schemas.ITEMS.names)
                | {"item_id": f"{name}{n}", "category": name, "instruction": f"{n}", "source_path": "", "tags": []}
                | {"source_sha256": "", "language": "en", "cost": 1.0}
                for name, size in sizes.items()
                for n in range(size + 1)
            ],
            schemas.ITEMS,
        )
        plan = plan_controls(items, ["e"], share=share, least=9, repeats=0.5, seed=1)
        cells = zip(plan["category"].to_pylist(), plan["control"].to_pylist(), strict=True)
        planned = Counter(cell for cell in cells if cell[1] != "repeat")
        assert Counter(count_controls({name: size + 1 for name, size in sizes.items()}, share, 9, 1)) == planned


def test_a_category_with_one_instruction_gives_no_controls_with_another() -> None:
    counts = count_controls({"a": 6, "b": 6}, 1, 0, 1, uniform={"a"})
    assert counts["a", Control.OTHER_INSTRUCTION] == 0
    assert counts["b", Control.OTHER_INSTRUCTION] == 1 and sum(counts.values()) == 11


def test_fewer_than_the_needed_number_of_controls_cannot_accept_a_perfect_judge() -> None:
    edits = np.linspace(0, 10, 50)
    assert compare_controls(edits, [0.0] * NEEDED, NEEDED)["verdict"] == "told_apart"
    assert compare_controls(edits, [0.0] * (NEEDED - 2), NEEDED - 2)["verdict"] == "too_few"
    assert compare_controls(edits, [0.0] * (ENOUGH - 1) + [10.0], ENOUGH)["verdict"] == "told_apart"
