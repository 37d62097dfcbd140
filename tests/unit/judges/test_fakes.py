"""The fake editor, the fake judge and the editor of given edits: they decide by content and misbehave when told to."""

import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
from adapters import built, checked
from PIL import Image

from editlane.core.errors import EditFailed, EditRefused, JudgeFailed, UnknownName, UserError
from editlane.core.types import EditRequest, Item, Question
from editlane.editors.fake import FakeEditor
from editlane.editors.given import GivenEditor
from editlane.images.degraded import blend_half, blur
from editlane.judges.fake import MASS, SILENCE, FakeJudge
from editlane.models.fake_signals import hash_to_share, is_signed, is_signed_for
from editlane.protocols.load import load_protocol
from editlane.protocols.scoring import build_questions, score_readouts, score_replies

DIGITS = [str(digit) for digit in range(10)]
SCRIPTS = Path(__file__).parents[3] / "scripts"
PROTOCOLS = Path(__file__).parents[3] / "resources" / "protocols"


def item(number=0, instruction="把杯子移到桌上", **changes):
    values = {
        "item_id": f"i{number}",
        "category": "物理",
        "instruction": instruction,
        "language": "zh",
        "source_path": "s.png",
        "source_sha256": f"{number:064x}",
        "width": 60,
        "height": 40,
        "cost": 1.0,
    }
    return Item(**(values | changes))


def request(an_item, seed=1, source=None, on_step=lambda step, steps: None, given=None):
    source = source or Image.new("RGB", (60, 40), (10, 120, 200))
    return EditRequest(item=an_item, source=source, given=given, seed=seed, on_step=on_step)


def editor(**params):
    return built(FakeEditor, model=None, params=params)


def judge(**params):
    return built(FakeJudge, model=None, params=params)


def question(edited=(200, 10, 10), instruction="turn the sky red", source=(10, 10, 200), criterion="Answer:"):
    images = [Image.new("RGB", (20, 10), colour) for colour in (source, edited)]
    for image in images:
        image.putpixel((19, 9), (255, 255, 255))  # or it would be blank
    return Question(system="物理", parts=("source:", images[0], "edited:", images[1], instruction, criterion))


def read_out(a_judge, questions, answers):
    """One question about each edit."""
    return [found for (found,) in a_judge.read_out([[one] for one in questions], answers)]


def generate(a_judge, questions, tokens, seeds):
    return [reply for (reply,) in a_judge.generate([[one] for one in questions], tokens, [[one] for one in seeds])]


def replies(a_judge, *questions, seed=1):
    return generate(a_judge, questions, 10, [seed] * len(questions))


def expectation(readout):
    return sum(value * probability for value, probability in enumerate(readout.probabilities))


def outcome(an_editor, an_item):
    try:
        return an_editor.edit(request(an_item)).image.tobytes()
    except (EditFailed, EditRefused) as error:
        return error.state


# --- the editor


def test_an_edit_depends_on_seed_and_instruction_only():
    pixels = editor().edit(request(item())).image.tobytes()
    assert editor().edit(request(item(5))).image.tobytes() == pixels
    assert editor().edit(request(item(), seed=2)).image.tobytes() != pixels
    assert editor().edit(request(item(instruction="让天下雨"))).image.tobytes() != pixels


def test_an_edit_is_signed_for_its_instruction_and_survives_as_png(tmp_path):
    editor().edit(request(item(instruction="第一行：把杯子\n移到桌上"))).image.save(tmp_path / "e.png")
    edited = Image.open(tmp_path / "e.png")
    assert is_signed(edited)
    assert is_signed_for(edited, ["x", "Source: a cup.\nInstruction to the model: 第一行：把杯子\n移到桌上\nHard: yes"])
    assert is_signed_for(edited, ["第一行：把杯子\n移到桌上"])
    assert not is_signed_for(edited, ["Instruction: 第一行：把杯子", "移到桌上", ""])
    assert not is_signed(request(item()).source)
    assert not is_signed(editor().edit(request(item(), source=Image.new("RGB", (7, 60)))).image)  # no room


def test_an_edit_keeps_the_size_and_always_changes_something():
    for size in ((1, 1), (3, 200), (60, 40)):
        for colour in ((0, 0, 0), (255, 255, 255), (127, 127, 127)):
            source = Image.new("RGB", size, colour)
            edited = editor().edit(request(item(), source=source)).image
            assert edited.size == size and edited.mode == "RGB"
            assert edited.tobytes() != source.tobytes()


def test_every_step_is_reported():
    steps = []
    editor(steps=3).edit(request(item(), on_step=lambda step, total: steps.append((step, total))))
    assert steps == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("rate", "found"), [("failure_rate", "edit_failed"), ("refusal_rate", "edit_refused"), ("noop_rate", "unchanged")]
)
def test_rates_choose_items_by_content_not_by_order(rate, found):
    source = request(item()).source.tobytes()
    wanted = source if found == "unchanged" else found
    items = [item(number) for number in range(200)]
    forward = [outcome(editor(**{rate: 0.25}), i) == wanted for i in items]
    backward = [outcome(editor(**{rate: 0.25}), i) == wanted for i in reversed(items)]
    assert forward == backward[::-1]
    assert 30 <= sum(forward) <= 70
    assert not any(outcome(editor(**{rate: 0.0}), i) == wanted for i in items[:5])
    assert all(outcome(editor(**{rate: 1.0}), i) == wanted for i in items[:5])


def test_loading_takes_its_seconds(monkeypatch):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    editor(load_seconds=2.5)
    built(FakeJudge, model=None, params={"load_seconds": 3.0})
    assert waits == [2.5, 3]


def test_seconds_are_spent(monkeypatch):
    waits = []
    monkeypatch.setattr("editlane.editors.fake.time.sleep", waits.append)
    editor(seconds=[5, 6], steps=2).edit(request(item()))
    assert len(waits) == 2
    assert 5 <= sum(waits) <= 6


def test_a_batch_takes_its_seconds_whatever_its_size(monkeypatch):
    judge = built(FakeJudge, model=None, params={"batch_seconds": 0.04})
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    question = Question(system="", parts=(Image.new("RGB", (8, 8)), "Is it sharp?"))
    judge.read_out([[question]], DIGITS)
    judge.read_out([[question, question]] * 7, DIGITS)
    judge.generate([[question]] * 3, 16, [[0]] * 3)
    assert waits == [0.04] * 3
    assert FakeJudge.PARAMS.key_parts({"batch_seconds": 0.04}) == {}


# --- the editor of given edits


def given(path):
    return built(GivenEditor, model=None, params={}).edit(request(item(), given=path)).image


def test_a_given_edit_is_decoded_upright_rgb(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("L", (8, 4), 9).save(tmp_path / "e.jpg", exif=exif)
    edited = given(tmp_path / "e.jpg")
    assert edited.size == (4, 8) and edited.mode == "RGB"


@pytest.mark.parametrize(("name", "kind"), [(None, "missing"), ("gone.png", "missing"), ("text.png", "decode")])
def test_a_given_edit_without_an_image_fails_for_its_item(tmp_path, name, kind):
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(EditFailed) as failed:
        given(name and tmp_path / name)
    assert failed.value.kind == kind


# --- the judge


def test_a_readout_is_a_distribution_in_the_order_of_the_answers():
    a_judge = judge(behaviour="random")
    forward, backward = (read_out(a_judge, [question()], answers)[0] for answers in (DIGITS, DIGITS[::-1]))
    assert sum(forward.probabilities) == pytest.approx(1)
    assert forward.mass == MASS
    assert forward.probabilities == pytest.approx(backward.probabilities[::-1])


def test_a_judge_that_sees_gives_an_unchanged_image_the_lowest_answer():
    blue = (10, 10, 200)
    unchanged, edited = read_out(judge(), [question(edited=blue), question()], DIGITS)
    assert max(unchanged.probabilities) == unchanged.probabilities[0]
    assert expectation(unchanged) < 0.2 < 2 < expectation(edited)
    no = read_out(judge(), [question(edited=blue)], ["Yes", "No"])[0]
    assert no.probabilities[1] > 0.8


# --- what the controls find


PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
CONTROLS = {"source_as_edit", "other_instruction", "blank_edit", "swapped", "half_blended", "blurred"}


@pytest.fixture(scope="module")
def shown():
    """Real edits by the fake editor and the controls about them: name -> (item, source, edited) of each item."""
    photos = [Image.fromarray(getattr(skimage.data, name)()).resize((96, 64)) for name in PHOTOS] * 6
    items = [item(n, instruction=f"把第 {n} 个: 物体涂成红色", rationale="The shadow: it stays.") for n in range(24)]
    pairs = list(zip(items, photos, strict=True))
    edits = [(photo, editor().edit(request(one, seed=1, source=photo)).image) for one, photo in pairs]
    others = [*items[1:], items[0]]
    triples = [(one, *pair) for one, pair in zip(items, edits, strict=True)]
    return {
        "real": triples,
        "source_as_edit": [(one, source, source) for one, source, _ in triples],
        "other_instruction": [(other, *pair) for other, pair in zip(others, edits, strict=True)],
        "blank_edit": [(one, source, Image.new("RGB", source.size, "white")) for one, source, _ in triples],
        "swapped": [(one, edited, source) for one, source, edited in triples],
        "half_blended": [(one, source, blend_half(source, edited)) for one, source, edited in triples],
        "blurred": [(one, source, blur(edited)) for one, source, edited in triples],
    }


def told_apart(shown, protocol, a_judge):
    """The controls whose scores lie below those of the real edits: AUC of 0.75 or more."""
    loaded = load_protocol(PROTOCOLS / f"{protocol}.yaml")
    scores = {}
    for name, triples in shown.items():
        asked = [build_questions(loaded, *triple, loaded.select_criteria()) for triple in triples]
        if loaded.answers:
            read = [read_out(a_judge, list(one.values()), loaded.answers) for one in asked]
            rows = [score_readouts(loaded, dict(zip(loaded.select_criteria(), one, strict=True))) for one in read]
        else:
            rows = [
                score_replies(loaded, dict(zip(one, replies(a_judge, *one.values()), strict=True))) for one in asked
            ]
        scores[name] = [row["score"] for row in rows]
    return {name for name in CONTROLS if auc(scores["real"], scores[name]) >= 0.75}


def auc(above, below):
    pairs = [(a > b) + (a == b) / 2 for a in above for b in below]
    return sum(pairs) / len(pairs)


@pytest.mark.parametrize(
    ("protocol", "behaviour", "found"),
    [
        ("rubric", "sees", CONTROLS),
        ("viescore", "sees", CONTROLS),
        ("legacy", "sees", {"other_instruction", "blank_edit"}),  # it does not show the source
        ("rubric", "ignores_instruction", CONTROLS - {"other_instruction"}),
        ("viescore", "ignores_instruction", CONTROLS - {"other_instruction"}),
        ("rubric", "ignores_images", set()),
        ("viescore", "ignores_images", set()),
        ("rubric", "constant", set()),
        ("viescore", "constant", set()),
        ("rubric", "random", set()),
    ],
)
def test_each_behaviour_tells_apart_the_controls_that_it_should(shown, protocol, behaviour, found):
    assert told_apart(shown, protocol, judge(behaviour=behaviour)) == found


def test_an_edit_by_another_editor_is_no_worse_for_having_no_signature():
    (found,) = read_out(judge(), [question()], DIGITS)
    assert expectation(found) > 2


# --- noise


def test_noise_is_drawn_for_every_seed_and_nothing_else():
    a_judge = judge(noise=0.05)
    batch = [question(), question(edited=(9, 9, 9))]
    assert generate(a_judge, batch, 10, [1, 2]) == generate(a_judge, batch[::-1], 10, [2, 1])[::-1]
    drawn = [float(generate(a_judge, [question()], 10, [seed])[0].removeprefix("Score: ")) for seed in range(200)]
    (quiet,) = replies(judge(), question())
    assert statistics.mean(drawn) == pytest.approx(float(quiet.removeprefix("Score: ")), abs=0.15)
    assert statistics.stdev(drawn) == pytest.approx(0.5, abs=0.08)
    assert replies(judge(noise=100.0), *[question()] * 9, seed=3) == replies(judge(noise=100.0), question(), seed=3) * 9
    assert read_out(a_judge, batch, DIGITS) == read_out(judge(), batch, DIGITS)


def test_only_a_noisy_judge_samples():
    assert judge(noise=0.1).params.samples
    assert not judge().params.samples and not judge(noise=0).params.samples


@pytest.mark.parametrize(
    ("behaviour", "notices_images", "notices_instruction"),
    [
        ("sees", True, True),
        ("random", True, True),
        ("constant", False, False),
        ("ignores_images", False, True),
        ("ignores_instruction", True, False),
    ],
)
def test_behaviours(behaviour, notices_images, notices_instruction):
    a_judge = judge(behaviour=behaviour)
    base = replies(a_judge, question())
    images = [replies(a_judge, question(edited=(1, 2, n))) for n in range(3)]
    instructions = [replies(a_judge, question(instruction=str(n))) for n in range(3)]
    assert any(reply != base for reply in images) is notices_images
    assert any(reply != base for reply in instructions) is notices_instruction


def test_an_item_is_silent_for_all_its_criteria_or_for_none():
    a_judge = judge(unreadable_rate=0.5)
    silent = []
    for n in range(40):
        batch = [question(instruction=str(n), criterion=criterion) for criterion in ("category", "instruction")]
        masses = {readout.mass for readout in read_out(a_judge, batch, DIGITS)}
        assert len(masses) == 1
        assert {reply == SILENCE for reply in replies(a_judge, *batch)} == {masses != {MASS}}
        silent.append(masses != {MASS})
    assert 8 <= sum(silent) <= 32


def test_failing_items_fail_their_batch_and_the_others_do_not():
    a_judge = judge(failure_rate=0.3)
    questions = [question(instruction=str(n)) for n in range(20)]
    failing = []
    for one in questions:
        try:
            read_out(a_judge, [one], DIGITS)
        except JudgeFailed:
            failing.append(one)
    assert 0 < len(failing) < 20
    with pytest.raises(JudgeFailed, match="told to fail"):
        read_out(a_judge, questions, DIGITS)
    assert len(read_out(a_judge, [q for q in questions if q not in failing], DIGITS)) == 20 - len(failing)


# --- both


@pytest.mark.parametrize("adapter", [FakeEditor, FakeJudge])
def test_unknown_names_are_refused_with_a_hint(adapter):
    with pytest.raises(UnknownName, match=r"Unknown parameter of the .* 'secnds'\. Did you mean 'seconds'"):
        checked(adapter, {"secnds": 1})


@pytest.mark.parametrize(
    ("adapter", "params", "message"),
    [
        (FakeEditor, {"failure_rate": 1.5}, "failure_rate is 1.5; use a number from 0 to 1"),
        (FakeEditor, {"failure_rate": True}, "failure_rate is True"),
        (FakeEditor, {"seconds": [2, 1]}, r"seconds: \[2.0, 1.0\] has the larger number first"),
        (FakeEditor, {"seconds": "1"}, "seconds is '1'"),
        (FakeEditor, {"steps": 0}, "steps is 0; use a whole number of 1 or more"),
        (FakeJudge, {"batch_size": 2.0}, "batch_size is 2.0"),
        (FakeJudge, {"behaviour": "see"}, "Unknown behaviour 'see'. Did you mean 'sees'"),
        (FakeJudge, {"unreadable_rate": float("nan")}, "unreadable_rate is nan"),
        (FakeJudge, {"optional_criteria": "preservation"}, "use a list"),
        (FakeJudge, {"noise": -0.1}, "noise is -0.1; use a number of 0 or more"),
        (GivenEditor, {"steps": 3}, "Unknown parameter of the adapter GivenEditor 'steps'. Available: dir"),
    ],
)
def test_bad_values_are_refused(adapter, params, message):
    with pytest.raises(UserError, match=message):
        checked(adapter, params)


def test_chance_is_the_same_everywhere():
    assert hash_to_share("指代", b"x") == pytest.approx(0.07363599223704398, abs=0)
    assert hash_to_share("ab", "c") != hash_to_share("a", "bc")


def test_a_fake_needs_no_model_library():
    code = "import sys; import editlane.judges.fake, editlane.editors.fake; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=SCRIPTS, check=True)
    assert done.stdout.strip() == "False"
