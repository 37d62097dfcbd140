"""What the report's page gets of the gallery: columns, texts and pictures; in the page, or in files beside it."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery_page import ITEMS, SCORES, make_report, write_page
from PIL import Image

from editlane.report.load import Report
from editlane.report.page import gallery as module
from editlane.report.page import thumbnails
from editlane.report.page.gallery import CLIPPED, STATES, Gallery, make_gallery
from editlane.report.page.thumbnails import LEVELS, choose_level, make_thumbnails


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def report(run: Path) -> Report:
    return make_report(run)


def block(gallery: Gallery, name: str) -> Any:
    """A block of data, wherever it lies."""
    if not gallery.files:
        return json.loads(gallery.blocks[name])
    text = gallery.files[f"gallery/{name}.js"].decode()
    called, _, data = text.removesuffix(");\n").partition(", ")
    assert called == f'editlaneGallery("{name}"'
    return json.loads(data)


def test_the_index_has_a_column_per_editor_and_judge_in_item_order(report: Report, run: Path) -> None:
    index = block(make_gallery(report, run, run / "report"), "index")
    assert index["ids"] == [item[0] for item in ITEMS]
    assert [index["categories"][code] for code in index["category"]] == [item[1] for item in ITEMS]
    wanted = [[None if isinstance(result, str) else result for result in results] for results in SCORES.values()]
    assert index["score"] == wanted
    states = [[result if isinstance(result, str) else "scored" for result in results] for results in SCORES.values()]
    assert [[index["states"][code] for code in column] for column in index["state"]] == states
    assert index["entropy"][1] == [0.7, None, 0.8, None, 0.25]
    assert index["unchanged"] == [[], [1]]


def test_the_order_of_the_rows_does_not_matter(report: Report, run: Path) -> None:
    rows = report.scores.sample(frac=1, random_state=1)
    shuffled = Report(**{name: getattr(report, name) for name in report.__slots__} | {"scores": rows})
    wanted = make_gallery(report, run, run / "report")
    assert make_gallery(shuffled, run, run / "report") == wanted
    assert make_gallery(report, run, run / "report") == wanted


def test_a_row_that_does_not_exist_yet_is_missing(run: Path) -> None:
    report = make_report(run, {("a", "j"): [8.0, 4.0], ("b", "j"): [5.0]})
    gallery = make_gallery(report, run, run / "report")
    index = block(gallery, "index")
    assert [[index["states"][code] for code in column] for column in index["state"]] == [
        ["scored", "scored", "missing", "missing", "missing"],
        ["scored", "missing", "missing", "missing", "missing"],
    ]
    assert index["score"][1] == [5.0, None, None, None, None]
    assert block(gallery, "items-0")["paths"][2][1:] == [None] * 4
    assert gallery.states == ["scored", "missing"]


def test_only_states_that_occur_are_offered(report: Report, run: Path) -> None:
    gallery = make_gallery(report, run, run / "report")
    assert gallery.states == ["scored", "source_unreadable", "edit_failed", "edit_refused", "judge_unreadable"]
    assert gallery.uncertain
    silent = Report(
        **{name: getattr(report, name) for name in report.__slots__} | {"scores": report.scores.assign(entropy=None)}
    )
    assert not make_gallery(silent, run, run / "report").uncertain


def test_no_text_of_the_data_can_end_a_script(report: Report, run: Path) -> None:
    page = make_gallery(report, run, run / "report")
    assert all("<" not in text for text in page.blocks.values())
    assert block(page, "index")["instructions"][4].startswith("</script>")
    beside = make_gallery(report, run, run / "report", limit=3)
    assert all(b"<" not in data for data in beside.files.values())


HOSTILE = [
    ("_.\u202egpj-1", "\u202egnp.evil", "\u2066Turn\u2069 the\u202e page\x1b[2J", "en", "sky"),
    ("表情 👩‍🚀", "物理", "把天空换成日落 👨‍👩‍👧\n第二行 é e\u0301 نمی‌خواهم", "zh", "cat"),
]


def test_controls_are_shown_escaped_and_other_letters_as_they_are(run: Path) -> None:
    report = make_report(run, {("\u202ea", "\u2067j"): [8.0, "edit_failed"]}, HOSTILE)
    report.scores["error"] = report.scores["reply"] = "\u202ehi\x9b"
    report.items["tags"] = [["\u2066tag"], ["光照"]]
    gallery = make_gallery(report, run, run / "report")
    index, chunk = block(gallery, "index"), block(gallery, "items-0")
    assert index["ids"] == ["_.\\u202egpj-1", HOSTILE[1][0]]
    assert index["instructions"] == ["\\u2066Turn\\u2069 the\\u202e page\\x1b[2J", HOSTILE[1][2]]
    assert (index["categories"], index["editors"], index["judges"]) == (
        ["\\u202egnp.evil", "物理"], ["\\u202ea"], ["\\u2067j"],
    )  # fmt: skip
    assert chunk["tags"] == [["\\u2066tag"], ["光照"]]
    assert chunk["reply"] == [["\\u202ehi\\x9b"] * 2] and chunk["why"][0][1] == "oom: \\u202ehi\\x9b"
    assert chunk["paths"][1][0] == "\u202ea/images/\u202egnp.evil/_.\u202egpj-1.png"


def test_a_card_has_the_parts_the_reason_and_the_start_of_the_answer(report: Report, run: Path) -> None:
    report.scores.loc[report.scores["item"] == 0, "reply"] = "长" * 600
    chunk = block(make_gallery(report, run, run / "report"), "items-0")
    assert chunk["reply"][0][0] == "长" * (CLIPPED - 1) + "…"
    assert chunk["reply"][0][1] == "j says 影子不对 in tree 2"
    assert chunk["parts"] == [[[None if isinstance(r, str) else r + 1 for r in results] for results in SCORES.values()]]
    assert chunk["why"][2] == [
        "",
        "",
        "oom: because of edit_failed 内存不足",
        "oom: because of source_unreadable 内存不足",
        "oom: because of edit_refused 内存不足",
    ]
    assert chunk["ratio"] == [1.5, 1.5, 1.5, 1.33, 1.5]
    assert chunk["tags"] == [["光照"]] * 5


def test_each_distinct_picture_is_embedded_once(report: Report, run: Path) -> None:
    gallery = make_gallery(report, run, run / "report")
    shown = block(gallery, "items-0")["shown"]
    uris = block(gallery, "pictures")["uris"]
    assert len(uris) == len(set(uris)) == 2 + 4 + 2
    assert all(uri.startswith("data:image/webp;base64,") for uri in uris)
    assert shown[0] == [0, 0, 1, "unreadable", 1]
    assert shown[1][3] is None and shown[2][2:] == [None] * 3
    assert gallery.side == LEVELS[0][0]


def test_an_edit_that_is_not_the_judged_one_is_not_shown(report: Report, run: Path) -> None:
    Image.new("RGB", (48, 32), "red").save(run / "a/images/物理/树-1.png")
    (run / "b/images/物理/树-1.png").write_bytes(b"no image")
    (run / "a/images/物理/tree 2.png").unlink()
    shown = block(make_gallery(report, run, run / "report"), "items-0")["shown"]
    assert shown[1][:2] == ["changed", "unreadable"]
    assert shown[2][0] == "changed"


def test_a_later_judges_row_gives_the_edit_where_the_first_has_none(report: Report, run: Path) -> None:
    first = (report.scores["editor"] == "a") & (report.scores["judge"] == "j")
    report.scores.loc[first, ["edited_path", "edited_sha256"]] = None
    chunk = block(make_gallery(report, run, run / "report"), "items-0")
    assert chunk["paths"][1][:2] == ["a/images/物理/树-1.png", "a/images/物理/tree 2.png"]
    assert isinstance(chunk["shown"][1][0], int)


def test_up_to_the_limit_nothing_lies_beside_the_page(report: Report, run: Path) -> None:
    gallery = make_gallery(report, run, run / "report", limit=5)
    assert gallery.files == {} and gallery.origins == ""
    assert list(gallery.blocks) == ["index", "pictures", "items-0"]


def test_above_the_limit_cards_lie_beside_the_page_and_no_picture_is_opened(
    report: Report, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    monkeypatch.setattr(module, "embed_pictures", None)
    gallery = make_gallery(report, run, run / "report", limit=4)
    assert gallery.blocks == {} and gallery.side is None
    assert sorted(gallery.files) == [
        f"gallery/{name}.js" for name in ("criterion-0", "index", "items-0", "items-1", "items-2")
    ]
    assert block(gallery, "index")["folder"] == ".."
    last = block(gallery, "items-2")
    assert last["paths"] == [["sources/cat.png"], ["a/images/指代/bold-5.png"], [None]]
    assert last["reply"][0] == ["j says 影子不对 in bold-5"]
    assert "shown" not in last


def test_a_page_outside_the_runs_folder_links_to_it_only_where_it_has_to(report: Report, run: Path) -> None:
    assert block(make_gallery(report, run, run / "a" / "report"), "index")["folder"] == "../.."
    assert block(make_gallery(report, run, run.parent / "elsewhere"), "index")["folder"] is None
    linked = make_gallery(report, run, run.parent / "elsewhere", limit=3)
    assert block(linked, "index")["folder"] == "../run"


def test_a_run_without_items_or_criteria_has_an_empty_gallery(report: Report, run: Path) -> None:
    nothing = {"items": report.items[:0], "scores": report.scores[:0], "criteria": []}
    empty = Report(**{name: getattr(report, name) for name in report.__slots__} | nothing)
    gallery = make_gallery(empty, run, run / "report")
    assert block(gallery, "index")["ids"] == []
    assert list(gallery.blocks) == ["index", "pictures"]
    assert gallery.states == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_has_a_word_for_every_state_and_works_without_javascript_as_far_as_it_can(
    report: Report, run: Path, language: str
) -> None:
    page = write_page(report, make_gallery(report, run, run / "report"), run / "report", language)
    html = page.read_text(encoding="utf-8")
    texts = json.loads(html.partition('id="gallery-texts">')[2].partition("</script>")[0])
    assert list(texts["states"]) == sorted(STATES)
    assert "scores.parquet" in html.partition("<noscript>")[2].partition("</noscript>")[0]


@pytest.mark.parametrize("step", ["resize", "save"])
def test_no_picture_ends_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Pillow raises MemoryError for a lack of memory, and for some broken files."""
    paths = {name: tmp_path / f"{name}.png" for name in ("good", "bad")}
    for name, path in paths.items():
        Image.new("RGB", (400, 640 if name == "bad" else 400)).save(path)
    real = getattr(Image.Image, step)

    def fail(image: Image.Image, *given: Any, **named: Any) -> Any:
        if image.height > image.width:
            raise MemoryError
        return real(image, *given, **named)

    monkeypatch.setattr(Image.Image, step, fail)
    assert list(make_thumbnails(paths).uris) == ["good"]


def test_a_picture_that_cannot_be_hashed_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"on a broken disk")

    def fail(_: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(thumbnails, "file_sha256", fail)
    paths, hashes = (np.array([[None], [text]], dtype=object) for text in ("a.png", "ab"))
    assert thumbnails.embed_pictures(paths, hashes, tmp_path).shown.tolist() == [[None], ["unreadable"]]


def test_many_pictures_are_made_smaller_than_few(tmp_path: Path) -> None:
    noise = Image.effect_noise((320, 320), 80).convert("RGB")
    assert choose_level([noise], 1, 10**6) == LEVELS[0]
    assert choose_level([noise], 10**6, 10**6) == LEVELS[-1]
    noise.save(tmp_path / "noise.png")
    paths = {str(number): tmp_path / "noise.png" for number in range(4)}
    large, small = make_thumbnails(paths, 10**6), make_thumbnails(paths, 4 * 8000)
    assert large.side == 320 and small.side < 320
    assert sum(len(uri) * 3 / 4 for uri in small.uris.values()) < 4 * 8000
