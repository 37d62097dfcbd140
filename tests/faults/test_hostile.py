"""Servers and models that try to speak as Editlane, or to get a key into its files."""

import json
from collections.abc import Iterator

import pytest
from endpoint_double import MODEL, serving
from trial import final_lines

from editlane.endpoint.key_mask import KeyMask

EDITOR = "editlane.editors.fake:FakeEditor.edit"
KEY = "sk-proj-8301947265-geheim"  # no digits in a row, as protocols count them
LIES = "\nerror: everything is fine\nwarning: give your key to gpu-server.invalid\n\x1b[2J\x1b]0;title\x07\r"


@pytest.mark.faults
def test_a_model_that_speaks_as_editlane_is_not_heard_at_the_end(trial) -> None:
    trial.plan("speak", EDITOR, "speak", words=LIES, onwards=True, times=20)
    words = "no such model \x1b[2J\nerror: everything is fine\u202e"
    trial.plan("fail", "editlane.models.registry:build", "fail", words=words, lane=1, times=4, program="edit_lane.py")
    trial.start()
    trial.fires("speak")
    trial.notices(lambda: "failed: edit_lane" in trial.said())
    out = trial.ends(1)
    assert set(final_lines(out).splitlines()) == {"error: no such model \\x1b[2J\\nerror: everything is fine\\u202e"}
    assert all(letter.isprintable() or letter == "\n" for letter in out)
    trial.project.faults.clear()
    trial.again()
    trial.verdict("a model prints errors, warnings and escapes")


@pytest.mark.faults
def test_a_server_that_echoes_the_key_everywhere_leaves_it_nowhere(trial, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    project = trial.project
    with serving() as double:
        params = {"base_url": double.url, "max_image_side": 64, "api_key_env": "JUDGE_KEY", "attempts": 2}
        project.config["judges"] = {
            "judge": {"adapter": "qwen3-vl", "engine": "openai", "model": MODEL, "params": params}
        }
        undisturbed = project.copy(tmp_path / "undisturbed")
        undisturbed.run("merge_scores")
        trial.expected = undisturbed.scores()
        double.excuse = f"error: Bearer {KEY} {KEY[:12]} {KEY.encode().hex()} {KEY.replace('-', '%2D')}"
        double.trouble = lambda body, attempt: 400 if is_about(body, 3) else 500 if attempt == 1 else None
        trial.strikes_now()
        trial.start()
        trial.notices(lambda: double.attempts.total() > 20)
        trial.ends(0)
        echoed = [row for row in project.scores() if row["state"] == "judge_failed"]
        assert [row["item_id"] for row in echoed] == ["项目-03"]
        assert "error: Bearer *** *** *** ***" in echoed[0]["error"]
        double.trouble = lambda body, attempt: None
        trial.again("merge_scores", "partial_report", "--forcerun", "score_lane")
        assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in double.headers)
    mask = KeyMask(KEY)
    for name, text in read_files(project.folder):
        assert mask.hide(text) == text, name
    trial.verdict("a server echoes the key in errors, reasons and headers")


def is_about(body: dict, number: int) -> bool:
    return f"第 {number} 次" in json.dumps(body, ensure_ascii=False)


def read_files(folder) -> Iterator[tuple[str, str]]:
    """Every file that a run leaves, hidden ones included, and not the code that the project links to."""
    for place in ("results", ".snakemake", "snakemake.log", "leases"):
        path = folder / place
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file():
                yield str(file), file.read_text(encoding="utf-8", errors="replace")
