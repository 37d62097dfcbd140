"""Judges that compare two edits: the tiny Qwen3-VL models, and one behind an endpoint."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from adapters import built
from endpoint_double import MODEL, Double, decode_images, serving
from PIL import Image

from editlane.core.types import PAIR_ANSWERS, Item
from editlane.endpoint import http as endpoints
from editlane.judges.qwen3_vl.openai_engine import EndpointJudge
from editlane.judges.qwen3_vl.transformers_engine import Qwen3VLJudge
from editlane.protocols.asking import prepare
from editlane.protocols.pairwise import PairwiseProtocol, build_comparison, compare, load_pairwise
from editlane.protocols.protocol import ReadoutAnswer

FILE = Path("resources/protocols/pairwise.yaml")
KINDS = ("qwen3-vl", "qwen3-vl-moe")
ITEM = Item(
    item_id="一", category="物理", instruction="把左边第二个杯子涂成红色", language="zh", source_path="s",
    source_sha256="0", width=64, height=64, cost=1.0,
)  # fmt: skip


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(seed).randbytes(3 * size[0] * size[1]))


PAIRS = [(picture(1, (96, 64)), picture(2, (64, 96))), (picture(3, (40, 200)), picture(4, (128, 128)))]


def read(protocol: PairwiseProtocol, judge, pairs) -> list[dict]:
    asked = [build_comparison(protocol, ITEM, picture(9, (96, 64)), *pair) for pair in pairs]
    return compare(protocol, judge, prepare(judge, asked))


def list_numbers(row: dict) -> list[float]:
    return [row["mass"], *(row[f"p_{name}"] for name in PAIR_ANSWERS)]


def without_least_mass(protocol: PairwiseProtocol) -> PairwiseProtocol:
    """Random weights put no mass on any letters."""
    assert isinstance(protocol.prompt.answer, ReadoutAnswer)
    return PairwiseProtocol(replace(protocol.prompt, answer=replace(protocol.prompt.answer, min_mass=0.0)))


@pytest.fixture(scope="module")
def judges(tiny_model):
    return {kind: built(Qwen3VLJudge, model=str(tiny_model(kind)), params={"max_image_side": 256}) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_with_both_orders_equals_its_questions_alone(judges, kind) -> None:
    protocol = without_least_mass(load_pairwise(FILE))
    both = [shown for pair in PAIRS for shown in (pair, pair[::-1])]
    batched = read(protocol, judges[kind], both)
    alone = [read(protocol, judges[kind], [pair])[0] for pair in both]
    for one, other in zip(batched, alone, strict=True):
        assert list_numbers(one) == pytest.approx(list_numbers(other), abs=1e-4)
        assert one["state"] == "scored" and sum(list_numbers(one)[1:]) == pytest.approx(1)
    assert list_numbers(batched[0]) != pytest.approx(list_numbers(batched[1]), abs=1e-6)  # so the order does matter


def test_the_letters_of_the_shipped_protocol_are_one_token_each_and_noise_is_unreadable(judges) -> None:
    protocol = load_pairwise(FILE)
    tokenizer = judges["qwen3-vl"].processor.tokenizer
    assert [len(tokenizer.encode(answer, add_special_tokens=False)) for answer in protocol.prompt.answers] == [1] * 4
    (row,) = read(protocol, judges["qwen3-vl"], PAIRS[:1])
    assert (row["state"], row["error_kind"]) == ("judge_unreadable", "mass")
    assert "p_a" not in row and row["mass"] < 0.5 and row["mode"] in ("A", "B", "tie", "both_bad")


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    monkeypatch.setattr(endpoints, "FIRST_PAUSE", 0.001)
    with serving() as server:
        yield server


def test_an_endpoint_is_shown_the_source_and_both_edits_in_their_order(double: Double, tmp_path: Path) -> None:
    data = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    data["answer"] |= dict(zip(PAIR_ANSWERS, "1234", strict=True)) | {"min_mass": 0}  # likely tokens of the double
    (tmp_path / "pairs.yaml").write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    judge = built(EndpointJudge, model=MODEL, params={"base_url": double.url, "attempts": 3})
    pair = (picture(1, (256, 256)), picture(2, (288, 256)))
    rows = read(load_pairwise(tmp_path / "pairs.yaml"), judge, [pair, pair[::-1]])
    assert [row["state"] for row in rows] == ["scored", "scored"]
    assert all(sum(list_numbers(row)[1:]) == pytest.approx(1) for row in rows)
    shown = {tuple(image.size for image in decode_images(body["messages"])[1:]) for body in double.asked}
    assert {((256, 256), (288, 256)), ((288, 256), (256, 256))} <= shown
    texts = [part["text"].strip() for part in double.asked[-1]["messages"][-1]["content"] if part["type"] == "text"]
    assert texts[:3] == ["Source image:", "Edit A:", "Edit B:"]
