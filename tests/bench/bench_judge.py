"""How much faster one batched forward pass scores than one reply after the other.

    python tests/bench/bench_judge.py --json bench_judge.json

All ways run in this process on the same items, device and checkpoint (a tiny random Qwen3-VL unless --model is given),
preprocessing included. They take turns, and the best of --repeats turns counts, so that other work on the machine
disturbs all of them alike and little.

read-out    2 criteria per item, batches of --batch-size, one forward pass each, no decoding
generate    1 question per item, one item at a time, greedy, exactly --tokens new tokens

The tiny model's tokenizer makes a token of every byte, so the protocol's texts are cut to a quarter for it: that is
about the number of tokens that the released tokenizer makes of them.
"""

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from PIL import Image

from editlane.judges.qwen3_vl import Qwen3VLJudge
from editlane.scoring import ScoringProtocol, load_protocol, questions
from editlane.tiny_models import build_tiny_model
from editlane.types import Item, Question

PROTOCOLS = Path(__file__).parents[2] / "resources" / "protocols"
Asked = list[dict[str, Question]]


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        judge = load_judge(args, Path(folder))
    rubric, legacy = (load_protocol(PROTOCOLS / f"{name}.yaml") for name in ("rubric", "legacy"))
    if args.model is None:
        rubric, legacy = shortened(rubric), shortened(legacy)
    rubric_questions, legacy_questions = ask(rubric, args.items, args.side), ask(legacy, args.items, args.side)
    generate_forever(judge)

    def read_out() -> None:
        for criterion in rubric.asked():
            for start in range(0, args.items, args.batch_size):
                chunk = rubric_questions[start : start + args.batch_size]
                judge.read_out(judge.prepare([one[criterion] for one in chunk]), rubric.answers)

    def generate() -> None:
        for one in legacy_questions:
            judge.generate(judge.prepare([one["overall"]]), args.tokens, [0])

    def generate_rubric() -> None:
        for one in rubric_questions:
            judge.generate(judge.prepare([one["category"]]), args.tokens, [0])

    ways = {
        f"read-out, 2 criteria, batches of {args.batch_size}": read_out,
        f"generate {args.tokens} tokens, same prompt, one by one": generate_rubric,
        f"generate {args.tokens} tokens, legacy prompt, one by one": generate,
    }
    best = seconds(ways, args.repeats)
    report({name: args.items / best[name] for name in ways}, args, judge)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a Qwen3-VL folder or hub id instead of the tiny one")
    parser.add_argument("--kind", default="qwen3-vl", choices=["qwen3-vl", "qwen3-vl-moe"], help="of the tiny model")
    parser.add_argument("--items", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--side", type=int, default=256, help="width and height of the images, pixels")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each way")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU; one is disturbed the least")
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    return parser.parse_args()


def load_judge(args: argparse.Namespace, folder: Path) -> Qwen3VLJudge:
    model = args.model
    if model is None:
        model = str(folder / args.kind)
        build_tiny_model(args.kind, Path(model))
    return Qwen3VLJudge(model=model, revision=None, params={"max_image_side": args.side})


def shortened(protocol: ScoringProtocol) -> ScoringProtocol:
    """The protocol with the first quarter of each long text."""
    return replace(
        protocol,
        system=protocol.system[: len(protocol.system) // 4] + "{rubric}",
        rubrics={name: text[: len(text) // 4] for name, text in protocol.rubrics.items()},
        criteria=tuple(replace(one, question=one.question[: len(one.question) // 4]) for one in protocol.criteria),
    )


def ask(protocol: ScoringProtocol, count: int, side: int) -> Asked:
    """The questions about `count` items with random pixels."""
    draw = random.Random(0)
    asked = []
    for number in range(count):
        source, edited = (Image.frombytes("RGB", (side, side), draw.randbytes(3 * side * side)) for _ in range(2))
        item = Item(
            item_id=f"i{number}",
            category="物理",
            instruction=f"把第 {number} 个杯子移到地板上",
            language="zh",
            source_path="",
            source_sha256="",
            width=side,
            height=side,
            cost=1.0,
        )
        asked.append(questions(protocol, item, source, edited, protocol.asked()))
    return asked


def generate_forever(judge: Qwen3VLJudge) -> None:
    """Random weights may end a reply at any token; without an end token every reply has its full length."""
    judge.model.generation_config.eos_token_id = None


def seconds(ways: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """The shortest wall time of each way; a first turn warms up and does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - started)
    return {name: min(turns[1:]) for name, turns in times.items()}


def report(rates: dict[str, float], args: argparse.Namespace, judge: Qwen3VLJudge) -> None:
    fastest = next(iter(rates.values()))
    print(f"{args.items} items, images {args.side} x {args.side}, {args.model or 'tiny ' + args.kind}, {judge.device}")
    print(f"{'':56}{'items/s':>10}{'read-out is':>14}")
    for name, rate in rates.items():
        print(f"{name:56}{rate:10.3f}{fastest / rate:12.1f} x")
    if args.json:
        setting = {name: value for name, value in vars(args).items() if name != "json"}
        machine = {"device": judge.device, "dtype": str(judge.model.dtype), "python": platform.python_version()}
        args.json.write_text(json.dumps({"items_per_second": rates, "setting": setting, "machine": machine}, indent=2))


if __name__ == "__main__":
    main()
