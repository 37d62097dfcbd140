"""The files of a report, from the tables of a run of five items, two editors and two judges."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from made_report import cell, made_report
from private_folder import make_private
from report_run import PROVENANCE, load, write, write_run

from editlane.core import schemas, tables
from editlane.core.errors import UnknownName, UserError
from editlane.report.failures import SHOWN, find_failures
from editlane.report.load import Report, find_earlier_controls
from editlane.report.notices import Notice, find_notices
from editlane.report.page.charts import BINS, draw_bars
from editlane.report.page.html import SCRIPTS
from editlane.report.summary import make_criterion_tables
from editlane.report.texts import load_texts
from editlane.report.write import write_report

SCRIPT = Path(__file__).parents[3] / "scripts" / "make_report.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def report(run: Path) -> Report:
    return load(run)


@pytest.fixture(scope="module")
def files(report: Report, run: Path) -> dict[str, str]:
    return write(report, run)


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text without scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_json_has_the_numbers_of_the_run_and_no_words_of_the_page(files: dict[str, str]) -> None:
    numbers = json.loads(files[".json"])
    assert (numbers["items"], numbers["rows"], numbers["missing"]) == (5, 5 * 2 * 2, 0)
    overall = numbers["editors"]["a"]["j"]["overall"]
    assert (overall["mean"], overall["scored"], overall["n"]) == (6.0, 4, 5)
    assert numbers["editors"]["b"]["k"]["categories"]["环境"]["mean"] is None
    assert numbers["acceptance"]["j"]["verdict"] == "not_tested"
    assert "NaN" not in files[".json"] and "物理" in files[".json"]


def test_markdown_and_page_carry_the_same_score_rows_as_the_json(files: dict[str, str]) -> None:
    overall = json.loads(files[".json"])["editors"]["a"]["j"]["overall"]
    assert overall["interval"] is None, "so few images say nothing"
    row = ["All items (micro mean)", "a", "4 / 5 (80.0%)", "6.00", "–", "4.80 – 6.80", "6.00", "2.94", "3.00", "9.00"]
    shown = [*row, "0 / 4", "0.0% [0.0, 49.0]"]
    assert "| " + " | ".join(shown).replace("[", "\\[") + " |" in files[".md"]
    assert shown in Page(files[".html"]).rows
    empty = ["环境", "b", "0 / 2 (0.0%)", "no data", "–", "0.00 – 10.00", "–", "–", "–", "–", "0 / 0", "–"]
    assert "| " + " | ".join(empty) + " |" in files[".md"]
    assert empty[1:] in Page(files[".html"]).rows


def test_markdown_lists_states_error_kinds_criteria_and_provenance(files: dict[str, str]) -> None:
    for row in (
        "| j | b | 2 | 1 | 1 | 1 | 0 | 0 | 0 | 5 |",
        "| k | a | judge unreadable | mass | 1 |",
        "| model | Qwen/Qwen-Image-Edit-2511 | black-forest-labs/FLUX.1-Kontext-dev |",
        "| dataset.seed | 42 |",
        "- Rows: **20** = 5 items × 2 editors × 2 judges",
    ):
        assert row in files[".md"].splitlines()
    assert "| category | b | 2 / 5 (40.0%) | 4.00 |" in files[".md"]


def test_both_files_have_the_same_sections_in_the_same_order(files: dict[str, str]) -> None:
    sections = [section["id"] for section in Page(files[".html"]).of("section")]
    assert sections == [
        *("answer", "pictures", "gallery", "run", "states", "failures", "scores", "criteria", "charts", "leaderboard"),
        *("said", "comparisons", "trust", "together", "provenance"),
    ]
    titles = re.findall("^## (.*)$", files[".md"], re.MULTILINE)
    assert titles == [
        *("Result", "States", "Scores", "Criteria", "Leaderboard", "What can be said", "Comparisons"),
        *("Judges together", "Provenance"),
    ]
    links = [link["href"] for link in Page(files[".html"]).of("a")]
    assert {f"#{section}" for section in sections} <= set(links)


def test_protocols_stand_in_the_page_word_by_word(files: dict[str, str]) -> None:
    assert '<pre tabindex="0">RUBRIC: &lt;b&gt;</pre>' in files[".html"]
    assert "Protocol of j: rubric 1" in files[".html"]
    assert "RUBRIC" not in files[".md"], "it is long"


def test_the_page_loads_nothing_from_anywhere(files: dict[str, str]) -> None:
    assert "http://" not in files[".html"] and "https://" not in files[".html"]
    page = Page(files[".html"])
    assert not [tag for tag, attributes in page.tags if "src" in attributes]
    assert not page.of("link") and not page.of("iframe")
    assert all(str(link["href"]).startswith("#") for link in page.of("a"))
    policy = next(str(meta["content"]) for meta in page.of("meta") if "content" in meta and "'none'" in str(meta))
    scripts = [script for script in page.of("script") if "type" not in script]
    assert policy.startswith("default-src 'none'") and policy.count("sha256-") == len(scripts) == len(SCRIPTS)


def test_names_from_the_data_are_escaped_everywhere(tmp_path: Path) -> None:
    evil = '"><img src=x onerror=alert(1)></script>|`'
    items = [("x-1", evil, evil, "en", "sky")]
    run = write_run(tmp_path / "demo", {("a", "j"): [("edit_failed", evil)]}, items)
    files = write(load(run), run)
    page = Page(files[".html"])
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    assert evil in page.text
    assert r"\|\`" in files[".md"]


def test_chinese_data_is_marked_as_chinese_on_an_english_page(files: dict[str, str]) -> None:
    page = Page(files[".html"])
    assert [attributes["lang"] for attributes in page.of("html")] == ["en"]
    assert '<th scope="rowgroup" rowspan="2" lang="zh">物理</th>' in files[".html"]
    assert '<b lang="zh">物理</b>' in files[".html"]


def test_a_chinese_report_speaks_chinese_and_has_the_same_numbers(report: Report, run: Path) -> None:
    english, chinese = write(report, run), write(report, run, "zh", min_coverage=0.7)
    assert english[".json"] == chinese[".json"]
    page = Page(chinese[".html"])
    assert [attributes["lang"] for attributes in page.of("html")] == ["zh"]
    assert not [tag for tag, attributes in page.tags if tag != "html" and attributes.get("lang") == "zh"]
    for text in ("可以得出的结论", "排行榜", "评审模型是否可信", "编辑失败", "无数据", "以下各处覆盖率低于 70.0%"):
        assert text in page.text
    numbers = [re.findall(r"\d+\.\d+", text[".md"].split("70.0%")[-1]) for text in (english, chinese)]
    assert numbers[1] and set(numbers[1]) <= set(numbers[0])
    said_in_english = [
        text for text in load_texts("en").entries.values() if re.fullmatch("[A-Z][a-z]+ [^{}]{4,}", text)
    ]
    assert len(said_in_english) > 50 and not [text for text in said_in_english if text in page.text]


def test_failures_are_listed_with_their_reasons_once_for_all_judges(files: dict[str, str]) -> None:
    rows = Page(files[".html"]).rows
    assert ["cat-3", "环境", "b", "j, k", "edit failed", "oom", "because of oom"] in rows
    assert ["tree-2", "物理", "a", "k", "judge unreadable", "mass", "because of mass"] in rows
    assert '<a href="#item-%E6%A0%91-1">' not in files[".html"], "the first item has a score everywhere"
    assert '<a href="#item-broken-4">' in files[".html"]


def failed_report(count: int) -> Report:
    """A report of `count` items whose edits all failed."""
    ids = [f"x-{place}" for place in range(count)]
    items = pd.DataFrame({"item_id": ids, "category": "物理"})
    failed = {"editor": "A", "judge": "j", "state": "edit_failed", "error_kind": "oom", "error": None, "score": None}
    scores = items.assign(item=items.index, **failed).sample(frac=1, random_state=1)
    return made_report({"A": cell(None)}, items=items, scores=scores, categories=["物理"])


def test_many_failures_are_counted_and_the_first_of_them_listed() -> None:
    failures, count = find_failures(failed_report(SHOWN + 5), load_texts("en"))
    assert (len(failures), count) == (SHOWN, SHOWN + 5)
    assert [failure.item_id for failure in failures[:3]] == ["x-0", "x-1", "x-2"], "in the order of the items"
    assert (failures[0].state, failures[0].error) == ("edit failed", "")


def test_every_table_header_says_what_it_heads(files: dict[str, str]) -> None:
    page = Page(files[".html"])
    assert all(header.get("scope") in ("col", "row", "rowgroup") for header in page.of("th"))
    assert all(table.get("aria-labelledby") for table in page.of("table"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.of("svg"))


def test_every_chart_has_a_link_to_its_numbers(files: dict[str, str]) -> None:
    page = Page(files[".html"])
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    charts = [svg for svg in page.of("svg") if svg.get("role") == "img"]
    links = [str(link["href"])[1:] for link in page.of("a") if str(link["href"]).startswith("#scores-")]
    assert len(charts) == len(links) == 2 * 4, "every judge, overall and in every category"
    assert set(links) <= ids and len(set(links)) == len(links)


def test_headings_follow_each_other_without_a_gap(files: dict[str, str]) -> None:
    levels = [int(tag[1]) for tag, _ in Page(files[".html"]).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_strip_has_a_histogram_of_its_scored_items(files: dict[str, str]) -> None:
    svgs = re.findall(r'<svg viewBox="0 0 360.*?</svg>', files[".html"])
    columns = [[path.count("M") for path in re.findall(r'class="bars" d="([^"]*)"', svg)] for svg in svgs]
    by_j, by_k = [[4, 2], [2, 2], [1], [1]], [[3, 2], [1, 2], [1], [1]]  # overall, 物理, 环境, 指代; no score twice
    assert columns == by_j + by_k
    assert "no data" in svgs[2], "no edit of b in 环境 was scored"


def test_columns_of_a_histogram_are_as_high_as_there_are_scores() -> None:
    path = draw_bars(np.array([0.0, 0.0, 0.0, 0.0, 10.0]), 40)
    assert re.findall(r"M([\d.]+) 40v-([\d.]+)", path) == [("8", "20"), ("343.4", "5")]
    assert draw_bars(np.linspace(0, 10, 400), 40).count("M") == BINS


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, files: dict[str, str]) -> None:
    again = write_run(tmp_path / "demo")
    assert write(load(again), again) == files


def test_what_an_earlier_larger_report_left_beside_the_page_is_removed(
    report: Report, run: Path, tmp_path: Path
) -> None:
    for stale in (tmp_path / "gallery" / "items-7.js", tmp_path / "tables" / "scores-gone.csv"):
        stale.parent.mkdir()
        stale.write_text("old")
    write_report(report, [], run_dir=run, out_dir=tmp_path)
    names = sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "tables")
    assert names == ["report.html", "report.json", "report.md"]
    assert not (tmp_path / "tables" / "scores-gone.csv").exists() and (tmp_path / "tables" / "scores-j.csv").exists()


def test_nothing_on_the_page_turns_the_direction_of_what_is_beside_it(tmp_path: Path) -> None:
    items = [
        ("\u202egpj-1", "\u2066物理", "\u202eTurn\u2069 it", "en", "sky"),
        ("b", "环境", "给猫戴上帽子 👩‍🚀", "zh", "cat"),
    ]
    editor = "\u202ea"
    run = write_run(tmp_path / "demo", {(editor, "\u2067j"): [("edit_failed", "oom"), 5.0]}, items)
    html = write(load(run), run)[".html"]
    shown = re.sub(r'"paths":\[\[.*?\]\]', "", html)  # these are addresses
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", shown)
    assert "👩‍🚀" in shown and "物理" in shown
    (link,) = re.findall('href="#item-([^"]*)"', html)
    index = json.loads(re.findall('id="gallery-index">(.*?)</script>', html)[0])
    assert unquote(link) == index["ids"][0] == r"\u202egpj-1"


def test_a_run_where_everything_failed_has_no_mean_and_no_histogram(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo", {("a", "j"): [("edit_failed", "oom")] * 5})
    files = write(load(run), run)
    overall = json.loads(files[".json"])["editors"]["a"]["j"]["overall"]
    assert (overall["mean"], overall["std"], overall["bounds"]) == (None, None, [0.0, 10.0])
    assert (
        "| All items (micro mean) | a | 0 / 5 (0.0%) | no data | – | 0.00 – 10.00 | – | – | – | – | 0 / 0 | – |"
        in files[".md"]
    )
    assert not re.findall(r'class="bars" d="M[^"]*"/></g>', files[".html"])


def test_one_editor_and_one_judge_without_failures(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo", {("a", "j"): [5.0] * 5})
    files = write(load(run), run)
    assert "None: every row has a score." in files[".html"]
    assert "Error kinds" not in files[".md"] and "Comparisons" not in files[".md"]


def test_a_category_of_the_config_without_items_has_no_data(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo")
    files = write(load(run, categories=["因果", "物理"]), run)
    assert "| 因果 | a | 0 / 0 | no data | – | – | – | – | – | – | 0 / 0 | – |" in files[".md"]
    numbers = json.loads(files[".json"])
    assert list(numbers["editors"]["a"]["j"]["categories"]) == ["因果", "物理", "环境", "指代"]


def test_the_baseline_comes_first_and_is_marked(run: Path, tmp_path: Path) -> None:
    report = load(run, baseline="b")
    assert report.editors == ["b", "a"]
    assert list(report.numbers["editors"]) == ["b", "a"]
    write_report(report, [], run_dir=run, out_dir=tmp_path)
    assert "| All items (micro mean) | b (baseline) | 2 / 5 (40.0%) |" in (tmp_path / "report.md").read_text(
        encoding="utf-8"
    )
    with pytest.raises(UnknownName, match="Available: a, b"):
        load(run, baseline="c")


def test_a_partial_report_says_which_rows_are_missing(tmp_path: Path) -> None:
    scores = {("a", "j"): [8.0, 4.0, 9.0, 2.0, 3.0], ("b", "j"): [5.0, 1.0]}
    run = write_run(tmp_path / "demo", scores)
    report = load(run, editors=["a", "b", "c"], judges=["j"])
    _, notice, *_ = find_notices(report)
    assert notice.title == "This report is partial: 8 of 15 rows do not exist yet."
    assert notice.lines[:-1] == ("b scored by j: 3 of 5 rows (环境 2, 指代 1)", "c scored by j: all 5 rows")
    assert "without `partial_report` or `partial_scores` finishes it" in notice.lines[-1]
    files = write(report, run)
    assert "> - c scored by j: all 5 rows" in files[".md"]
    assert notice.title in Page(files[".html"]).text
    assert "- Rows: **7** of 15 = 5 items × 3 editors × 1 judge" in files[".md"]


def titled(notices: list[Notice], start: str) -> Notice:
    (found,) = (notice for notice in notices if notice.title.startswith(start))
    return found


def test_notices_name_random_weights_low_coverage_and_open_revisions(report: Report) -> None:
    notices = find_notices(report, min_coverage=0.7)
    assert titled(notices, "Scores of randomly initialised").lines == ("Random weights: k.", "No model: j.")
    assert titled(notices, "Coverage is below 70.0%").lines == (
        "a scored by j: 环境 1/2",
        "a scored by k: all items 3/5, 物理 1/2, 环境 1/2",
        "b scored by j: all items 2/5, 环境 0/2, 指代 0/1",
        "b scored by k: all items 2/5, 环境 0/2, 指代 0/1",
    )
    unscored = titled(notices, "Not every item has a score, so two means may be of different items")
    assert unscored.lines[0] == "a scored by j: 4 of 5 items" and len(unscored.lines) == 4 and not unscored.severe
    unpinned = titled(notices, "A revision is not pinned")
    assert unpinned.lines == ("editor b (black-forest-labs/FLUX.1-Kontext-dev).",) and not unpinned.severe
    severe = [notice.severe for notice in notices]
    assert severe == sorted(severe, reverse=True), "the gravest first"


def test_instructions_in_another_language_are_counted(run: Path, report: Report) -> None:
    dataset = {"dataset": {"language": "en", "fallback_language": 2}}
    told = made_report(items=report.items, provenance=dataset)
    notice = find_notices(told)[-1]
    assert notice.title == "2 of 5 instructions are not in the requested language (en)." and not notice.severe


def test_categories_that_the_general_rubric_judged_are_named(report: Report) -> None:
    text = "rubrics: {物理: x}\ngeneral_rubric: y\n"
    judges = {"j": {"protocol": {"text": text}}, "k": {"protocol": {"text": "rubrics: {物理: x}"}}}
    told = made_report(
        items=report.items, categories=["物理", "style"], judges=["j", "k"], provenance={"judges": judges}
    )
    notice = find_notices(told)[-1]
    assert notice.lines == ("Judge j used the general rubric of its protocol for style.",) and not notice.severe


def test_a_criterion_is_listed_for_the_judges_that_were_asked(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo")
    rows = tables.read_rows(run / "scores.parquet")
    for row in rows:
        row["score_category" if row["judge"] == "j" else "score_instruction"] = None
    schema = schemas.scores_schema(["category", "instruction"])
    tables.write_table(run / "scores.parquet", rows, schema, provenance=PROVENANCE)
    files = write(load(run), run)
    by_j, by_k = (re.search(rf"## Criteria by {judge}\n\n(.*?)\n\n", files[".md"], re.DOTALL) for judge in "jk")
    assert by_j and "| instruction | a |" in by_j[1] and "| category |" not in by_j[1]
    assert by_k and "| category | a |" in by_k[1] and "| instruction |" not in by_k[1]


def test_rows_of_an_editor_that_is_not_expected_end_the_report(run: Path) -> None:
    with pytest.raises(UserError, match=r"editor 'b'.*not part of this run"):
        load(run, editors=["a"], judges=["j", "k"])


def test_a_table_without_rows_needs_expected_names(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo", {})
    with pytest.raises(UserError, match="--expected-editors"):
        load(run)
    assert load(run, editors=["a"], judges=["j"]).numbers["missing"] == 5


@pytest.mark.runs
def test_the_step_writes_three_files_and_warns_in_its_language(run: Path, tmp_path: Path) -> None:
    flags = ["--scores", run / "scores.parquet", "--items", run / "items.parquet", "--run-dir", run]
    more = ["--out-dir", tmp_path / "out", "--min-coverage", "0.1", "--baseline", "b", "--language", "zh"]
    done = subprocess.run([sys.executable, SCRIPT, *flags, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "随机初始化模型的得分没有意义。" in done.stderr
    assert json.loads((tmp_path / "out/report.json").read_text(encoding="utf-8"))["run"] == "demo"
    assert '<html lang="zh">' in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    wrong = subprocess.run(
        [sys.executable, SCRIPT, *flags, *more[:2], "--baseline", "z"], capture_output=True, text=True, check=False
    )
    assert (wrong.returncode, wrong.stderr.startswith("error: Unknown baseline 'z'.")) == (2, True)


def test_the_controls_of_another_run_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo")
    rows = [
        row | {"control": "swapped", "repeat": 0, "other_item_id": None}
        for row in tables.read_rows(run / "scores.parquet")
    ]
    schema = schemas.controls_schema(["category", "instruction"])
    tables.write_table(run / "controls.parquet", rows, schema)
    assert load(run, controls=run / "controls.parquet").numbers["acceptance"]["j"]["calls"] > 0
    tables.write_table(run / "controls.parquet", [row | {"item_id": "别的"} for row in rows], schema)
    with pytest.raises(UserError, match="does not belong to this run: it has item '别的'"):
        load(run, controls=run / "controls.parquet")
    with pytest.raises(UserError, match="has no column"):
        load(run, controls=run / "scores.parquet")


def make_pair(**changes: object) -> dict[str, object]:
    made = {"item_id": "树-1", "category": "物理", "judge": "j", "editor_a": "a", "editor_b": "b", "round": 1}
    keys = {"state": "edit_failed", "source_sha256": "sky", "judge_key": "1", "protocol_version": "1"}
    return made | keys | changes


def test_the_answers_of_the_arena_are_read_and_those_of_another_run_refused(tmp_path: Path) -> None:
    run, path = write_run(tmp_path / "demo"), tmp_path / "demo/pairs.parquet"
    tables.write_table(path, [make_pair(), make_pair(editor_a="b", control="itself")], schemas.PAIRS)
    with_pairs, without = load(run, pairs=path).numbers, load(run).numbers
    del with_pairs["provenance"]["arena"]
    assert with_pairs | {"arena": None} == without
    assert with_pairs["arena"]["judges"]["j"]["states"] == {"edit_failed": 1}
    for change in (
        {"item_id": "别的"},
        {"editor_b": "z"},
        {"judge": "z"},
        {"source_sha256": "cat"},
        {"category": "环境"},
    ):
        tables.write_table(path, [make_pair(), make_pair(**change)], schemas.PAIRS)
        with pytest.raises(UserError, match="does not belong to this run: it has item"):
            load(run, pairs=path)
    with pytest.raises(UserError, match="has no column"):
        load(run, pairs=run / "scores.parquet")


def test_only_older_runs_are_earlier_and_a_damaged_one_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_run(tmp_path / "demo")
    for number, name in enumerate(("old", "demo", "new")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "controls.parquet").write_bytes(b"PAR1 half")
        os.utime(tmp_path / name / "controls.parquet", (number, number))
    earlier = find_earlier_controls(run)
    assert earlier == [tmp_path / "old/controls.parquet"]
    assert load(run, earlier=earlier).numbers["canary"] == {"j": None, "k": None}
    assert "not compared with that run" in caplog.text


def test_a_private_run_of_another_user_does_not_end_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_run(tmp_path / "demo")
    for name in ("open", "private", "third"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "controls.parquet").write_bytes(b"PAR1 half")
        os.utime(tmp_path / name / "controls.parquet", (1, 1))
    make_private(monkeypatch, tmp_path / "private")
    assert find_earlier_controls(run) == [tmp_path / "open/controls.parquet", tmp_path / "third/controls.parquet"]
    assert "not compared with the run private: Permission denied" in caplog.text


def test_a_judge_that_answers_yes_or_no_has_a_yes_rate(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo")
    rows = tables.read_rows(run / "scores.parquet")
    for row in rows:
        if row["judge"] == "k":
            row["mode_category"] = "Yes" if row["item_id"] == "树-1" else "No"
    tables.write_table(run / "scores.parquet", rows, schemas.scores_schema(["category", "instruction"]))
    plain, with_rate = make_criterion_tables(load(run), load_texts("en"))
    assert "Yes rate" not in plain.columns and with_rate.columns[-1] == "Yes rate"
    cells = {(group.name, line.name): line.cells[-1] for group in with_rate.groups for line in group.lines}
    assert cells["category", "a"].startswith("33.3% [")
    assert cells["instruction", "a"] == "–"
