"""The three files of a report, from a run of five items, two editors and two judges on the disk."""

import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from editlane import tables
from editlane.errors import UnknownName, UserError
from editlane.report.charts import HALF, WIDTH, swarm
from editlane.report.load import Report, load_report
from editlane.report.notices import Notice, find_notices
from editlane.report.summary import percent
from editlane.report.thumbnails import LEVELS, choose_level, make_thumbnails
from editlane.report.write import write_report
from editlane.types import Item

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_report.py"

ITEMS = [
    ("树-1", "物理", "把天空换成日落", "zh", "sky"),
    ("tree-2", "物理", "Turn day into night", "en", "sky"),
    ("cat-3", "环境", "给猫戴上帽子", "zh", "cat"),
    ("broken-4", "环境", "Remove the car", "en", "broken"),
    ("bold-5", "指代", "<script>alert('x')</script> & <b>bold</b>", "en", "cat"),
]
"""item_id, category, instruction, language, source. Two pairs of items share a source; one source is no image."""

SCORES: dict[tuple[str, str], list[float | tuple[str, str]]] = {
    ("a", "j"): [8.0, 4.0, 9.0, ("source_unreadable", "decode"), 3.0],
    ("a", "k"): [7.0, ("judge_unreadable", "mass"), 8.0, ("source_unreadable", "decode"), 2.0],
    ("b", "j"): [5.0, 1.0, ("edit_failed", "oom"), ("source_unreadable", "decode"), ("edit_refused", "refused")],
    ("b", "k"): [4.0, 0.0, ("edit_failed", "oom"), ("source_unreadable", "decode"), ("edit_refused", "refused")],
}

PROVENANCE = {
    "editors": {
        "a": {"adapter": "qwen-image-edit", "model": "Qwen/Qwen-Image-Edit-2511", "revision": "6f3ccc0"},
        "b": {"adapter": "diffusers", "model": "black-forest-labs/FLUX.1-Kontext-dev", "pinned": False},
    },
    "judges": {"j": {"adapter": "fake", "model": None}, "k": {"adapter": "qwen3-vl", "random_weights": True}},
}


def write_image(path: Path, colour: str, size: tuple[int, int] = (48, 32)) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, "PNG")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_run(run: Path, scores: dict[tuple[str, str], list[Any]] = SCORES, items: list[Any] = ITEMS) -> Path:
    """A run's folder with items.parquet, scores.parquet and images; `scores` holds a number or (state, error kind)."""
    run.mkdir(parents=True, exist_ok=True)
    hashes = {"broken": "0" * 64}
    for name, colour in (("sky", "skyblue"), ("cat", "orange")):
        hashes[name] = write_image(run / f"sources/{name}.png", colour)
    (run / "sources/broken.png").write_bytes(b"no image")
    wanted = [
        Item(
            item_id=item_id,
            category=category,
            instruction=instruction,
            language=language,
            source_path=f"sources/{source}.png",
            source_sha256=hashes[source],
            width=None if source == "broken" else 48,
            height=None if source == "broken" else 32,
            cost=1.0,
        )
        for item_id, category, instruction, language, source in items
    ]
    rows = [
        score_row(run, item, place, editor, judge, result)
        for (editor, judge), results in scores.items()
        for place, (item, result) in enumerate(zip(wanted, results, strict=False))
    ]
    tables.write_table(run / "items.parquet", map(tables.item_row, wanted), tables.ITEMS, provenance={"seed": 42})
    schema = tables.scores_schema(["category", "instruction"])
    tables.write_table(run / "scores.parquet", rows, schema, provenance=PROVENANCE)
    return run


def score_row(run: Path, item: Item, place: int, editor: str, judge: str, result: Any) -> dict[str, Any]:
    scored = not isinstance(result, tuple)
    edited = scored or result[0].startswith("judge")
    path = f"{editor}/images/{item.category}/{item.item_id}.png"
    sha = write_image(run / path, f"rgb({place * 40}, {len(editor)}, {ord(editor)})") if edited else None
    return dict.fromkeys(tables.scores_schema(["category", "instruction"]).names) | {
        "item_id": item.item_id,
        "category": item.category,
        "editor": editor,
        "judge": judge,
        "state": "scored" if scored else result[0],
        "error_kind": None if scored else result[1],
        "error": None if scored else f"because of {result[1]}",
        "score": result if scored else None,
        "score_category": result + 1 if scored else None,
        "score_instruction": result if scored else None,
        "reply": f"the answer of {judge}: 影子不对" if edited else None,
        "unchanged": (editor, item.item_id) == ("b", "tree-2") if edited else None,
        "instruction": item.instruction,
        "language": item.language,
        "source_path": item.source_path,
        "source_sha256": item.source_sha256,
        "edited_path": path if edited else None,
        "edited_sha256": sha,
        "seed": 1,
        "editor_key": "e",
        "judge_key": "j",
        "protocol_version": "1",
    }


def load(run: Path, **options: Any) -> Report:
    defaults: dict[str, Any] = {"run": "demo"}
    return load_report(scores=run / "scores.parquet", items=run / "items.parquet", **defaults | options)


def write(run: Path, min_coverage: float = 0.0, notices: list[Notice] | None = None, **options: Any) -> dict[str, str]:
    """The text of the three files, by suffix."""
    report = load(run, **options)
    found = find_notices(report, min_coverage=min_coverage) if notices is None else notices
    write_report(report, found, run_dir=run, out_dir=run / "report", min_coverage=min_coverage)
    return {path.suffix: path.read_text(encoding="utf-8") for path in sorted((run / "report").iterdir())}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def files(run: Path) -> dict[str, str]:
    return write(run)


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


def test_json_has_the_numbers_of_the_run(files: dict[str, str]) -> None:
    numbers = json.loads(files[".json"])
    assert (numbers["items"], numbers["rows"], numbers["missing"]) == (5, 5 * 2 * 2, 0)
    overall = numbers["editors"]["a"]["j"]["overall"]
    assert (overall["mean"], overall["scored"], overall["n"]) == (6.0, 4, 5)
    assert overall["bounds"] == [4.8, 6.8]
    assert numbers["editors"]["b"]["k"]["categories"]["环境"]["mean"] is None
    assert numbers["editors"]["b"]["j"]["criteria"]["category"]["mean"] == 4.0
    assert numbers["editors"]["b"]["j"]["overall"]["unchanged"] == {"count": 1, "n": 2}
    assert numbers["provenance"]["dataset"] == {"seed": 42}


def test_json_is_plain_text_without_nan(files: dict[str, str]) -> None:
    assert "NaN" not in files[".json"]
    assert "物理" in files[".json"]


def test_markdown_and_page_carry_the_same_score_rows_as_the_json(files: dict[str, str]) -> None:
    row = ["Overall", "a", "4", "5", "80.0%", "6.00", "4.80 – 6.80", "6.00", "2.94", "3.00", "9.00", "0 / 4"]
    assert "| " + " | ".join(row) + " |" in files[".md"]
    assert row in Page(files[".html"]).rows
    empty = ["环境", "b", "0", "2", "0.0%", "–", "0.00 – 10.00", "–", "–", "–", "–", "0 / 0"]
    assert "| " + " | ".join(empty) + " |" in files[".md"]
    assert empty[1:] in Page(files[".html"]).rows


def test_markdown_lists_states_error_kinds_criteria_and_provenance(files: dict[str, str]) -> None:
    for row in (
        "| j | b | 2 | 1 | 1 | 1 | 0 | 0 | 0 | 5 |",
        "| k | a | judge unreadable | mass | 1 |",
        "| category | b | 2 | 5 | 40.0% | 4.00 | 1.60 – 7.60 | 4.00 | 2.83 | 2.00 | 6.00 |",
        "| model | Qwen/Qwen-Image-Edit-2511 | black-forest-labs/FLUX.1-Kontext-dev |",
        "| dataset.seed | 42 |",
        "- Rows: **20** = 5 items × 2 editors × 2 judges",
    ):
        assert row in files[".md"].splitlines()


def test_the_page_loads_nothing_from_anywhere(files: dict[str, str]) -> None:
    assert "http://" not in files[".html"] and "https://" not in files[".html"]
    page = Page(files[".html"])
    sources = [attributes.get("src") for _, attributes in page.tags if attributes.get("src")]
    assert sources and all(source and source.startswith("data:image/webp;base64,") for source in sources)
    assert not page.of("link") and not page.of("iframe")
    assert all(str(link["href"]).startswith("#") for link in page.of("a"))
    assert "default-src 'none'" in str([meta.get("content") for meta in page.of("meta")])


def test_an_instruction_cannot_put_a_script_into_the_page(files: dict[str, str]) -> None:
    page = Page(files[".html"])
    assert len(page.of("script")) == 1
    assert "<script>alert" not in files[".html"]
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &lt;b&gt;bold&lt;/b&gt;" in files[".html"]


def test_names_from_the_data_are_escaped_everywhere(tmp_path: Path) -> None:
    evil = '"><img src=x onerror=alert(1)>|`'
    items = [("x-1", evil, evil, "en", "sky")]
    run = write_run(tmp_path / "demo", {("a", "j"): [("edit_failed", evil)]}, items)
    files = write(run)
    page = Page(files[".html"])
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    assert evil in page.text
    assert r"\|\`" in files[".md"]


def test_chinese_is_there_and_marked_as_chinese(files: dict[str, str]) -> None:
    page = Page(files[".html"])
    for text in ("物理", "给猫戴上帽子", "影子不对"):
        assert text in page.text
    assert '<h3 lang="zh">给猫戴上帽子</h3>' in files[".html"]
    assert [attributes["lang"] for attributes in page.of("html")] == ["en"]
    assert '<text x="13" y="12">a · j</text>' in files[".html"]


def test_each_distinct_picture_is_embedded_once(files: dict[str, str]) -> None:
    images = [image for image in Page(files[".html"]).of("img") if "src" in image]
    shared = [image for image in Page(files[".html"]).of("img") if "data-same" in image]
    edits = 4 + 2  # of editor a, of editor b
    assert len(images) == 2 + edits
    assert len({image["src"] for image in images}) == len(images)
    ids = [image["id"] for image in images]
    assert [image["data-same"] for image in shared] == [ids[0], shared[1]["data-same"]] and len(shared) == 2
    assert all(image["alt"] and image["loading"] == "lazy" and image["decoding"] == "async" for image in images)


def test_a_source_that_cannot_be_decoded_shows_a_placeholder(files: dict[str, str]) -> None:
    card = re.search(r'<article class="item" id="item-broken-4".*?</article>', files[".html"], re.DOTALL)
    assert card and "<img" not in card[0]
    assert card[0].count('<div class="none">source unreadable</div>') == 3


def test_cards_carry_what_the_filter_and_the_sorting_need(files: dict[str, str]) -> None:
    cards = Page(files[".html"]).of("article")
    assert [card["data-category"] for card in cards] == ["物理", "物理", "环境", "环境", "指代"]
    assert [card["data-scores"] for card in cards] == ["8,7,5,4", "4,,1,0", "9,8,,", ",,,", "3,2,,"]
    assert cards[1]["data-states"] == "judge_unreadable scored unchanged"
    assert cards[3]["data-states"] == "source_unreadable"


def test_failures_are_listed_with_their_reasons_once_for_all_judges(files: dict[str, str]) -> None:
    rows = Page(files[".html"]).rows
    assert ["cat-3", "环境", "b", "j, k", "edit failed", "oom", "because of oom"] in rows
    assert ["tree-2", "物理", "a", "k", "judge unreadable", "mass", "because of mass"] in rows


def test_every_table_header_says_what_it_heads_and_every_control_has_a_label(files: dict[str, str]) -> None:
    page = Page(files[".html"])
    assert all(header.get("scope") in ("col", "row", "rowgroup") for header in page.of("th"))
    assert len(page.of("label")) == len(page.of("select")) + len(page.of("input")) == 5
    assert all(svg.get("aria-label") for svg in page.of("svg") if svg.get("role") == "img")


def test_one_dot_per_scored_item_in_every_strip(files: dict[str, str]) -> None:
    svgs = re.findall(r'<svg viewBox="0 0 360.*?</svg>', files[".html"])
    dots = [[path.count("h0") for path in re.findall(r'class="dots"[^>]*d="([^"]*)"', svg)] for svg in svgs]
    assert dots == [[4, 3, 2, 2], [2, 1, 2, 2], [1, 1], [1, 1]]  # overall, 物理, 环境, 指代


def test_dots_keep_their_score_and_stay_within_their_strip() -> None:
    dots = swarm([0.0, 10.0, *[5.0] * 400], 3)
    assert len(dots) == 402
    assert {x for x, _ in dots} == {8.0, WIDTH / 2, WIDTH - 8.0}
    assert all(abs(y) <= HALF for _, y in dots)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name / "demo") for name in ("first", "second")]
    first, second = (write(run) for run in runs)
    assert first == second
    assert sorted(path.name for path in (runs[0] / "report").iterdir()) == ["report.html", "report.json", "report.md"]


def test_full_size_links_are_offered_only_where_the_page_lies_in_the_runs_folder(run: Path, tmp_path: Path) -> None:
    report = load(run)
    write_report(report, [], run_dir=run, out_dir=run / "report")
    inside = Page((run / "report/report.html").read_text(encoding="utf-8")).of("button")
    assert "../a/images/%E7%89%A9%E7%90%86/%E6%A0%91-1.png" in [button.get("data-full") for button in inside]
    write_report(report, [], run_dir=run, out_dir=tmp_path)
    outside = Page((tmp_path / "report.html").read_text(encoding="utf-8")).of("button")
    assert not any("data-full" in button for button in outside)


def test_a_run_where_everything_failed_has_no_mean_and_no_dots(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo", {("a", "j"): [("edit_failed", "oom")] * 5})
    files = write(run)
    overall = json.loads(files[".json"])["editors"]["a"]["j"]["overall"]
    assert (overall["mean"], overall["std"], overall["bounds"]) == (None, None, [0.0, 10.0])
    assert "| Overall | a | 0 | 5 | 0.0% | – | 0.00 – 10.00 | – | – | – | – | 0 / 0 |" in files[".md"]
    assert not re.findall(r'class="dots"[^>]*d="M8', files[".html"])


def test_one_editor_and_one_judge_without_failures(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo", {("a", "j"): [5.0] * 5})
    files = write(run)
    assert "None: every row has a score." in files[".html"]
    assert "Error kinds" not in files[".md"]
    assert "<span>score</span> <strong>5.00</strong>" in files[".html"]


def test_a_category_of_the_config_without_items_has_a_row_of_its_own(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo")
    files = write(run, categories=["因果", "物理"])
    assert "| 因果 | a | 0 | 0 | – | – | – | – | – | – | – | 0 / 0 |" in files[".md"]
    numbers = json.loads(files[".json"])
    assert list(numbers["editors"]["a"]["j"]["categories"]) == ["因果", "物理", "环境", "指代"]


def test_the_baseline_comes_first_and_is_marked(run: Path) -> None:
    report = load(run, baseline="b")
    assert report.editors == ["b", "a"]
    assert list(report.numbers["editors"]) == ["b", "a"]
    assert "| Overall | b (baseline) | 2 |" in write(run, baseline="b")[".md"]
    with pytest.raises(UnknownName, match="Available: a, b"):
        load(run, baseline="c")


def test_a_partial_report_says_which_rows_are_missing(tmp_path: Path) -> None:
    scores = {("a", "j"): [8.0, 4.0, 9.0, 2.0, 3.0], ("b", "j"): [5.0, 1.0]}
    run = write_run(tmp_path / "demo", scores)
    report = load(run, editors=["a", "b", "c"], judges=["j"])
    _, notice, *_ = find_notices(report)
    assert notice.title == "This report is partial: 8 of 15 rows do not exist yet."
    assert notice.lines == ("b scored by j: 3 of 5 rows (环境 2, 指代 1)", "c scored by j: all 5 rows")
    files = write(run, editors=["a", "b", "c"], judges=["j"])
    assert "> - c scored by j: all 5 rows" in files[".md"]
    assert notice.title in Page(files[".html"]).text
    assert "- Rows: **7** of 15 = 5 items × 3 editors × 1 judge" in files[".md"]
    assert Page(files[".html"]).of("article")[0]["data-states"] == "missing scored"


def test_notices_name_random_weights_low_coverage_and_open_revisions(run: Path) -> None:
    random, coverage, unscored, unpinned = find_notices(load(run), min_coverage=0.7)
    assert random.title == "Scores of randomly initialised models mean nothing."
    assert random.lines == ("Random weights: k.", "No model: j.")
    assert coverage.lines == (
        "a scored by j: 环境 1/2",
        "a scored by k: overall 3/5, 物理 1/2, 环境 1/2",
        "b scored by j: overall 2/5, 环境 0/2, 指代 0/1",
        "b scored by k: overall 2/5, 环境 0/2, 指代 0/1",
    )
    assert unscored.lines[0] == "a scored by j: 4 of 5 items" and len(unscored.lines) == 4
    assert unpinned.lines == ("editor b (black-forest-labs/FLUX.1-Kontext-dev).",) and not unpinned.severe


def test_one_item_without_a_score_is_told_without_any_min_coverage(tmp_path: Path) -> None:
    scores = {("a", "j"): [8.0, 4.0, 9.0, 2.0, ("edit_failed", "oom")], ("b", "j"): [5.0] * 5}
    _, *notices = find_notices(load(write_run(tmp_path / "demo", scores)))  # the judge is a fake one
    assert notices[0].title.endswith("means are taken over different items; compare the worst-case bounds.")
    assert (notices[0].lines, notices[0].severe) == (("a scored by j: 4 of 5 items",), False)
    full = write_run(tmp_path / "full", {("a", "j"): [5.0] * 5, ("b", "j"): [5.0] * 5})
    assert [notice.severe for notice in find_notices(load(full))] == [True, False], "a fake judge, an open revision"


def test_the_page_says_what_its_numbers_mean(files: dict[str, str]) -> None:
    for hint in (
        "Overall counts every item once; a larger category weighs more.",
        "Unchanged: the same pixels, apart from resizing; a model that redraws its input is not counted.",
        "where it answers with the digits 0 to 9, its 5 stands here as 5.56.",
    ):
        assert hint in files[".html"]


def test_a_criterion_is_listed_for_the_judges_that_were_asked(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo")
    rows = tables.read_rows(run / "scores.parquet")
    for row in rows:
        row["score_category" if row["judge"] == "j" else "score_instruction"] = None
    schema = tables.scores_schema(["category", "instruction"])
    tables.write_table(run / "scores.parquet", rows, schema, provenance=PROVENANCE)
    files = write(run)
    by_j, by_k = (re.search(rf"## Criteria by {judge}\n\n(.*?)\n\n", files[".md"], re.DOTALL) for judge in "jk")
    assert by_j and "| instruction | a |" in by_j[1] and "| category |" not in by_j[1]
    assert by_k and "| category | a |" in by_k[1] and "| instruction |" not in by_k[1]


def test_an_edit_that_is_not_the_judged_one_is_not_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo")
    write_image(run / "a/images/物理/树-1.png", "magenta")
    cards = re.findall(r'<article class="item".*?</article>', write(run)[".html"], re.DOTALL)
    changed, untouched = cards[:2]
    assert changed.count('<div class="none">image has changed since it was judged</div>') == 1
    assert changed.count("<img") == 2, "the source and the edit of b"
    assert "has changed" not in untouched and untouched.count("<img") == 3


def test_instructions_in_another_language_are_counted(run: Path) -> None:
    items = tables.read_rows(run / "items.parquet")
    source = {"language": "en", "fallback_language": 2}
    tables.write_table(run / "items.parquet", items, tables.ITEMS, provenance=source)
    notice = find_notices(load(run))[-1]
    assert notice.title == "2 of 5 instructions are not in the language asked for (en)." and not notice.severe


def test_rows_of_an_editor_that_is_not_expected_end_the_report(run: Path) -> None:
    with pytest.raises(UserError, match=r"editor 'b'.*not expected"):
        load(run, editors=["a"], judges=["j", "k"])


def test_a_table_without_rows_needs_expected_names(tmp_path: Path) -> None:
    run = write_run(tmp_path / "demo", {})
    with pytest.raises(UserError, match="--expected-editors"):
        load(run)
    assert load(run, editors=["a"], judges=["j"]).numbers["missing"] == 5


def test_full_coverage_is_said_only_where_nothing_is_left_out() -> None:
    shares = [percent(share) for share in (1.0, 0.9999, 11 / 12, 0.57, 0.0, None)]
    assert shares == ["100.0%", "99.9%", "91.7%", "57.0%", "0.0%", "–"]


def test_many_pictures_are_made_smaller_than_few(tmp_path: Path) -> None:
    noise = Image.effect_noise((320, 320), 80).convert("RGB")
    assert choose_level([noise], 1, 10**6) == LEVELS[0]
    assert choose_level([noise], 10**6, 10**6) == LEVELS[-1]
    noise.save(tmp_path / "noise.png")
    paths = {str(number): tmp_path / "noise.png" for number in range(4)}
    large, small = make_thumbnails(paths, 10**6), make_thumbnails(paths, 4 * 8000)
    assert large.side == 320 and small.side < 320
    assert sum(len(uri) * 3 / 4 for uri in small.uris.values()) < 4 * 8000


def test_the_step_writes_three_files_and_warns(run: Path, tmp_path: Path) -> None:
    flags = ["--scores", run / "scores.parquet", "--items", run / "items.parquet", "--run-dir", run]
    more = ["--out-dir", tmp_path / "out", "--min-coverage", "0.1", "--baseline", "b"]
    done = subprocess.run([sys.executable, SCRIPT, *flags, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Scores of randomly initialised models mean nothing. Random weights: k." in done.stderr
    assert json.loads((tmp_path / "out/report.json").read_text(encoding="utf-8"))["run"] == "demo"
    wrong = subprocess.run(
        [sys.executable, SCRIPT, *flags, *more[:2], "--baseline", "z"], capture_output=True, text=True, check=False
    )
    assert (wrong.returncode, wrong.stderr.startswith("error: Unknown baseline 'z'.")) == (2, True)
