"""Variants of judging an edit, from plain transformers to the whole lane. Each adds one optimization to the last."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from full_size import Built
from judge_work import image_work, question_work
from judged_items import Asked, Work
from ladder import Way, seconds_of

from editlane.core import tables
from editlane.core.types import EDITED, Question, State
from editlane.images.files import save_png
from editlane.judges.qwen3_vl.attention import use_causal_attention
from editlane.judges.qwen3_vl.transformers_engine import Qwen3VLJudge
from editlane.lanes.journal import Journal
from editlane.lanes.judging import JudgeSpec, JudgeWork, group_by_item
from editlane.lanes.prefetch import prefetched
from editlane.lanes.runner import run_lane
from editlane.lanes.stopping import StopRequest

DECODING = 0.05
"""Seconds that a step of decoding is taken to need on a GPU, for the forecast of a way's time."""


class JudgeWays:
    """All ways for one model and one size of images."""

    def __init__(self, built: Built, work: Work, args: Any, folder: Path) -> None:
        self.built, self.work, self.args, self.folder = built, work, args, folder
        self.judge = self._judge(args.batch_tokens[0])
        self.tree = self.judge.prepare(work.asked(work.edits)[:1]).questions.trees[0]
        self.prefix = len(self.judge.prefill._find_prefix([self.tree]))
        cost = self.judge.batch_cost([(work.side, work.side)] * 2, "")
        self.size = min(len(work.items), max(1, self.judge.max_batch_cost // cost))
        self._saved: dict[str, str] = {}
        self.floor = self._flops()
        """FLOPs of one whole prompt with both images, nothing reused."""

    def _judge(self, tokens: int) -> Qwen3VLJudge:
        return self.built.judge(max_image_side=self.work.side, batch_tokens=tokens)

    def _flops(self, **known: int) -> float:
        return question_work(self.built.model.config, self.tree, **known)

    def about(self) -> str:
        """What is asked, in tokens."""
        image = int((self.tree.tokens == self.judge.prefill.image_token).sum())
        ends, side = ", ".join(str(len(suffix)) for suffix in self.tree.suffixes), self.work.side
        text = f"text {len(self.tree.tokens) - image} tokens, {self.prefix} of the rubric's prefix; suffixes {ends}"
        return f"{len(self.work.items)} items; 2 images of {side} x {side}, {image} tokens; {text}"

    def ways(self) -> Iterator[Way]:
        """In order, the plain one first."""
        yield from self._plain_ways()
        yield from self._batch_ways()
        yield from self._lane_ways()
        image = self.judge.prepare(self.work.asked(self.work.edits)[:1]).staged.images[0]
        looked = image_work(self.built.model.config.vision_config, *image.grid)
        units = self.args.turns + 1
        yield Way(name="looking at one image", measure=self._look, work=looked, units=units, whole=False)

    def _look(self) -> float:
        """Seconds an image, of one batch's."""
        prefill, times = self.judge.prefill, []
        staged = self.judge.prepare(self.work.asked(self.work.edits)[: self.size]).staged
        staged.upload.wait()

        def look() -> None:
            for image in staged.images:
                prefill.vision.encode(image, staged.upload)

        for _ in range(self.args.turns + 1):
            self._forget()
            with torch.inference_mode():
                times.append(seconds_of(look, self.args.device) / len(staged.images))
        return min(times[1:])

    def _plain_ways(self) -> Iterator[Way]:
        """The checkpoint's own processor and model.generate; one criterion."""
        first = [entry[0] for entry in self.work.asked(self.work.edits)]
        few, tokens = first[: self.args.plain_items], self.args.tokens
        for size, name in ((1, "one by one"), (2, "batches of 2")):
            steps = self.args.turns * len(few) / size * tokens
            yield self._way(
                f"plain: generate {tokens} tokens, {name}",
                self._plain(few, size, lambda inputs: self._generate(inputs, tokens)),
                self._flops(decoded=tokens),
                units=len(few),
                waits=steps * DECODING * (self.args.device == "cuda"),
                warm_up=self._plain(few, size, lambda inputs: self._generate(inputs, 2)),
            )
        run = self._plain(few, 1, self._last_logits)
        yield self._way("read out instead of generating, one by one", run, self._flops(), units=len(few))
        run = self._plain(first, self.size, self._last_logits)
        yield self._way(f"+ batches of {self.size}", run, self._flops())

    def _batch_ways(self) -> Iterator[Way]:
        """Through the judge's `prepare` and `read_out`."""
        both = self.work.asked(self.work.edits)
        alone, apart = [entry[:1] for entry in both], [[question] for entry in both for question in entry]
        kept = {"prefix": self.prefix}
        own_mask = self._asked(alone, self._own_attention)
        yield self._way("+ patches as bytes, cut without the processor", self._asked(alone, no_prefix), self._flops())
        yield self._way("+ the rubric's keys and values kept, transformers' own mask", own_mask, self._flops(**kept))
        yield self._way("+ no mask over what is kept", self._asked(alone), self._flops(**kept))
        yield self._way("both criteria, each with a prefill", self._asked(apart), 2 * self._flops(**kept))
        work = self._flops(questions=2, **kept)
        yield self._way("both criteria from one prefill", self._asked(both), work)
        yield self._way("+ the next batch prepared meanwhile", self._ahead(both), work)
        work = self._flops(questions=2, seen=1, **kept)
        yield self._way("+ what was seen in the source kept", self._ahead(both), work, before=self._see_sources)

    def _lane_ways(self) -> Iterator[Way]:
        """Through a lane: PNG files are read and hashed, the next batch is prepared meanwhile."""
        for tokens in self.args.batch_tokens:
            name = f"a lane: PNG files, both criteria, batches of {tokens} tokens"
            yield self._lane_way(name, self._flops(questions=2, prefix=self.prefix), tokens)
        work = (self._flops(questions=2, prefix=self.prefix) + self._flops(questions=2, prefix=self.prefix, seen=1)) / 2
        yield self._lane_way("a lane of two editors", work, tokens=16384, editors=2)

    def _way(
        self,
        name: str,
        run: Callable[[], object],
        work: float,
        *,
        units: int | None = None,
        waits: float = 0.0,
        before: Callable[[], object] | None = None,
        warm_up: Callable[[], object] | None = None,
    ) -> Way:
        """`run` judges so many items; `before` each turn the judge forgets the images, or does this."""
        units = units or len(self.work.items)
        before = before or self._forget
        turns = self.args.turns

        def turn(once: Callable[[], object]) -> float:
            before()
            return seconds_of(once, self.args.device)

        def measure() -> float:
            turn(warm_up or run)
            return min(turn(run) for _ in range(turns)) / units

        return Way(name=name, measure=measure, work=work, units=(turns + 1) * units, waits=waits)

    def _forget(self) -> None:
        """What was seen in images; the rubric's prefix stays, as in a lane."""
        self.judge.prefill.vision.features.clear()

    def _see_sources(self) -> None:
        """As if another edit of each source had been judged before."""
        self._forget()
        self._asked(self.work.asked(self.work.sources))()

    def _asked(
        self, asked: Asked, around: Callable[[], AbstractContextManager[Any]] = nullcontext
    ) -> Callable[[], None]:
        def run() -> None:
            with around():
                for start in range(0, len(asked), self.size):
                    batch = self.judge.prepare(asked[start : start + self.size])
                    self.judge.read_out(batch, self.work.protocol.answers)

        return run

    def _ahead(self, asked: Asked) -> Callable[[], None]:
        batches = [asked[start : start + self.size] for start in range(0, len(asked), self.size)]

        def run() -> None:
            for _, prepared in prefetched(self.judge.prepare, batches, depth=1):
                self.judge.read_out(prepared.result(), self.work.protocol.answers)

        return run

    def _plain(self, asked: Sequence[Question], size: int, call: Callable[[Any], object]) -> Callable[[], None]:
        def run() -> None:
            with torch.inference_mode(), self._own_code(), self._own_attention():
                for start in range(0, len(asked), size):
                    call(self._inputs(asked[start : start + size]))

        return run

    def _inputs(self, asked: Sequence[Question]) -> Any:
        def shown(part: Any) -> dict[str, Any]:
            return {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": part}

        chats = [
            [
                {"role": "system", "content": [{"type": "text", "text": question.system}]},
                {"role": "user", "content": [shown(part) for part in question.parts]},
            ]
            for question in asked
        ]
        inputs = self.built.processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        return inputs.to(self.built.model.device)

    def _generate(self, inputs: Any, tokens: int) -> None:
        found = self.built.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        assert found.shape[1] == inputs["input_ids"].shape[1] + tokens
        self.built.processor.batch_decode(found[:, -tokens:])

    def _last_logits(self, inputs: Any) -> None:
        self.built.model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1].softmax(-1).tolist()

    @contextmanager
    def _own_code(self) -> Iterator[None]:
        """transformers' own methods where the project's judge puts others into the model."""
        inner = self.built.model.model
        replaced = [(inner.visual.patch_embed, "forward"), (inner.language_model, "_deepstack_process")]
        ours = [vars(module).pop(name) for module, name in replaced]
        try:
            yield
        finally:
            for (module, name), method in zip(replaced, ours, strict=True):
                setattr(module, name, method)

    @contextmanager
    def _own_attention(self) -> Iterator[None]:
        """transformers' own attention of the language model, and its mask."""
        self.built.model.model.language_model.set_attn_implementation("sdpa")
        try:
            yield
        finally:
            use_causal_attention(self.built.model.model.language_model)

    def _lane_way(self, name: str, work: float, tokens: int, editors: int = 1) -> Way:
        judge = self._judge(tokens)
        spec = JudgeSpec(
            judge="bench",
            identity={"adapter": "qwen3-vl"},
            run_dir=self.folder,
            protocol=self.work.protocol,
            criteria=self.work.criteria,
            samples=1,
        )
        units = editors * len(self.work.items)
        before = judge.prefill.vision.features.clear
        return self._way(name, lambda: self._score(spec, judge, editors), work, units=units, before=before)

    def _score(self, spec: JudgeSpec, judge: Qwen3VLJudge, editors: int) -> None:
        rows = [row for place in range(editors) for row in self._rows(place)]
        work = JudgeWork(spec, 0, [group_by_item(rows)], lambda: judge)
        with TemporaryDirectory(dir=self.folder) as folder, Journal(Path(folder), "lane0") as journal:
            found = run_lane(work, journal, StopRequest())
        states = [row["state"] for row in found.values()]
        assert len(states) == len(work.wanted) and State.JUDGE_FAILED not in states, states

    def _rows(self, editor: int) -> list[dict[str, Any]]:
        """Of an edits table, for files that are written the first time. Each editor makes another edit of an item."""
        rows = []
        edits = self.work.edits[editor:] + self.work.edits[:editor]
        for item, source, edited in zip(self.work.items, self.work.sources, edits, strict=True):
            paths = {"source": item.source_path, "edited": f"edits {editor}/{item.item_id}.png"}
            for path, image in zip(paths.values(), (source, edited), strict=True):
                if path not in self._saved:
                    self._saved[path] = save_png(image, self.folder / path)
            row = tables.item_row(item) | {
                "state": EDITED,
                "editor": f"bench {editor}",
                "editor_key": "e",
                "edited_path": paths["edited"],
            }
            row |= {f"{kind}_sha256": self._saved[path] for kind, path in paths.items()}
            rows.append(row | {"edited_width": edited.width, "edited_height": edited.height})
        return rows


def no_prefix() -> AbstractContextManager[Any]:
    """No rubric is long enough to be kept."""
    return patch("editlane.judges.qwen3_vl.prefill.SHORTEST_PREFIX", 10**9)
