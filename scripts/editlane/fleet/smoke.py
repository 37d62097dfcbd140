"""Prove that a server's adapters act, each for itself, and that none of their weights come into others' answers.

A server lists an adapter that does nothing, and one that answers with another's weights, like any other. So each name
is asked alone, among requests for itself, and among requests for all others. Answers are compared by the
log-probabilities of their tokens.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

from editlane.core.published_names import strip_fingerprint
from editlane.core.text_width import pluralize
from editlane.fleet.vllm_api import ServerError

Answer = list[dict[str, float]]
"""For each place of the likeliest answer: the likeliest tokens -> their log-probabilities."""

Ask = Callable[[str, str, int], Answer]
"""Asks a model, by name, with a prompt and a number of tokens: `VllmServer.first_tokens`. Raises ServerError."""

PROMPTS = (
    "A photo of a street in the rain was edited so that the red car is gone and nothing else has changed. On a scale "
    "from 0 to 9, how good is the edit? The score is",
    "把照片里的猫换成一只戴帽子的狗，背景、光线和其他物体都保持不变。请按照零到九分给这次编辑打分，只回答一个数字。分数：",
    "Question: the instruction was to make the sky darker, but the building became blue as well. Was the instruction "
    "followed, Yes or No? Answer:",
    "问题：编辑以后，桌上的杯子从三个变成了两个，而且墙上的影子没有跟着改变，这符合物理规律吗？请回答是或否。回答：",
)

TOKENS = 16
"""Tokens of an answer. Requests for one token would come and go one by one, and never share a batch."""

TOLERANCE = 1e-3
"""Difference of log-probabilities that is none, on a server without noise."""

NOISE_FACTOR = 3.0
"""A difference that is larger than the server's own noise by this factor is one."""

MOST_NOISE = 1.0
"""Noise beyond that of any number format. Then a server does not answer the same question alike."""

REPEATS = 6
"""Requests for each name in a batch."""

LARGEST_BATCH = 24
"""Requests of one name at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeResult:
    """What the smoke test found. Differences are the largest of log-probabilities over all prompts."""

    problems: list[str]
    """Sentences for the user; without one the server may be used."""
    differences: dict[tuple[str, str], float]
    """By pair of names, each asked alone."""
    noise: float
    """Largest difference between two answers of one name to one prompt, alone and among requests for itself."""


def run_smoke_test(
    ask: Ask, adapters: Sequence[str], *, base: str | None = None, serve_base: bool = True
) -> SmokeResult:
    """Ask each of the names, alone and all at once. Give each adapter by one name only, since an alias answers alike.

    With a `base` each adapter must differ from it. Without `serve_base` it is asked alone only, for which it may have
    a name that users do not know; nobody else may ask the server meanwhile. Takes 8 requests and a batch of at most 24
    for each name, and a batch of 6 for each at the end.
    """
    test = _Test(ask, base)
    names = [name for name in (*((base,) if base else ()), *adapters) if test.ask_alone(name)]
    differences = {(one, other): test.compare(one, other) for one, other in combinations(names, 2)}
    asked = [name for name in names if serve_base or name != base]
    if test.is_steady():
        test.find_alike(differences)
        for name in asked:
            test.ask_itself(name, min(LARGEST_BATCH, REPEATS * len(asked)))
    if len(asked) > 1 and test.is_steady():
        test.ask_mixed(asked)
    if not test.is_steady():
        test.problems.append(
            f"log-probabilities of answers to one question differ by {test.noise:.2g}, so this server's answers mean "
            "nothing. Use another version of vLLM, or another `dtype`."
        )
    return SmokeResult(problems=test.problems, differences=differences, noise=test.noise)


_SERVE_NO_BASE = (
    "vLLM on the CPU does so, and some of its versions with mixture-of-experts models. Set `serve_base: false`, and "
    "serve the base model from a fleet without adapters."
)
_SEPARATE = "Use another version of vLLM, or give each adapter servers of its own (`affinity: hard`)."


class _Test:
    """The answers of one test, and what is wrong with them."""

    def __init__(self, ask: Ask, base: str | None) -> None:
        self._ask = ask
        self._base = base
        self._alone: dict[str, list[Answer]] = {}
        """By name, one for each prompt."""
        self.problems: list[str] = []
        self.noise = 0.0

    @property
    def _limit(self) -> float:
        """The largest difference that may be noise."""
        return max(TOLERANCE, NOISE_FACTOR * self.noise)

    def is_steady(self) -> bool:
        """Return whether the noise is one that servers have."""
        return self.noise <= MOST_NOISE

    def ask_alone(self, name: str) -> bool:
        """Ask a name twice. Returns whether it answered."""
        try:
            first = [self._ask(name, prompt, TOKENS) for prompt in PROMPTS]
            again = [self._ask(name, prompt, TOKENS) for prompt in PROMPTS]
        except ServerError as error:
            self.problems.append(f"{self._call(name)} does not answer: {error}.")
            return False
        self._alone[name] = first
        self.noise = max(self.noise, *map(measure, first, again))
        return True

    def compare(self, one: str, other: str) -> float:
        """Return the largest difference between two names, each asked alone."""
        return max(map(measure, self._alone[one], self._alone[other]))

    def find_alike(self, differences: dict[tuple[str, str], float]) -> None:
        """Find adapters that answer like the base model, or like each other."""
        alike = [pair for pair, difference in differences.items() if difference <= self._limit]
        idle = {adapter for name, adapter in alike if name == self._base}
        for name in sorted(idle):
            self.problems.append(
                f"the adapter `{name}` changes nothing: it answers as the base model does. It was made for another "
                "model, or was never trained (its lora_B is zero). Give one that was trained on this model."
            )
        for one, other in alike:
            if self._base not in (one, other) and not {one, other} <= idle and not is_version(one, other):
                self.problems.append(
                    f"the adapters `{one}` and `{other}` answer alike: they have the same weights, or neither does "
                    "anything. Give the right folder for each, or remove one of them."
                )

    def ask_itself(self, name: str, size: int) -> None:
        """Ask one name so often at once, to know the noise of a batch."""
        found, failed = self._ask_at_once([name] * size)
        self.noise = max([self.noise, *(measure(answer, self._alone[name][prompt]) for _, prompt, answer in found)])
        self._report_failed(failed, {name: size}, "all for it")

    def ask_mixed(self, names: Sequence[str]) -> None:
        """Ask all names at once. Each must answer as it does alone."""
        found, failed = self._ask_at_once([name for _ in range(REPEATS) for name in names])
        self._report_failed(failed, dict.fromkeys(names, REPEATS), "mixed")
        wrong: dict[str, Counter[str]] = {}
        """Name -> how many of its answers were wrong, by the name whose answer is the nearest."""
        for name, prompt, answer in found:
            distances = {other: measure(answer, self._alone[other][prompt]) for other in names}
            if distances[name] > self._limit:
                wrong.setdefault(name, Counter())[min(distances, key=distances.__getitem__)] += 1
        self.problems += [self._word_mixed(name, by) for name, by in wrong.items()]

    def _word_mixed(self, name: str, by: Counter[str]) -> str:
        others = " and ".join(self._call(other) for other in sorted(by) if other != name)
        came = f"came with the weights of {others}" if others else "came with other weights than its own"
        remedy = _SERVE_NO_BASE if name == self._base else _SEPARATE
        return f"in a mixed batch {by.total()} of {REPEATS} answers for {self._call(name)} {came}. {remedy}"

    def _report_failed(self, failed: list[tuple[str, ServerError]], asked: dict[str, int], how: str) -> None:
        for name, count in Counter(name for name, _ in failed).items():
            why, of = next(error for one, error in failed if one == name), pluralize(asked[name], "request")
            self.problems.append(f"{self._call(name)} did not answer {count} of {of} at once ({how}): {why}.")

    def _ask_at_once(self, names: Sequence[str]) -> tuple[list[tuple[str, int, Answer]], list[tuple[str, ServerError]]]:
        """Ask for these names at once, each with the prompts in turn. Returns (name, prompt, answer), and failures."""
        turns: Counter[str] = Counter()
        found, failed = [], []
        with ThreadPoolExecutor(len(names)) as threads:
            jobs = []
            for name in names:
                prompt = turns[name] % len(PROMPTS)
                turns[name] += 1
                jobs.append((name, prompt, threads.submit(self._ask, name, PROMPTS[prompt], TOKENS)))
            for name, prompt, job in jobs:
                try:
                    found.append((name, prompt, job.result()))
                except ServerError as error:
                    failed.append((name, error))
        return found, failed

    def _call(self, name: str) -> str:
        return "the base model" if name == self._base else f"the adapter `{name}`"


def is_version(one: str, other: str) -> bool:
    """Return whether these are versions of one adapter, which may answer alike."""
    return strip_fingerprint(one) == strip_fingerprint(other)


def measure(one: Answer, other: Answer) -> float:
    """Return how far two answers are apart at least: the largest difference of a token's log-probabilities.

    Places are compared as long as the answers before them are the same text.
    """
    largest = 0.0
    for here, there in zip(one, other, strict=False):
        largest = max(largest, _measure_place(here, there))
        if max(here, key=here.__getitem__) != max(there, key=there.__getitem__):
            break
    return largest


def _measure_place(one: dict[str, float], other: dict[str, float]) -> float:
    """Compare one place. A token that is not reported is at most as likely as the least likely one that is."""
    known = [abs(one[token] - other[token]) for token in one.keys() & other.keys()]
    pairs = ((one, other), (other, one))
    hidden = [has[token] - min(lacks.values()) for has, lacks in pairs for token in has.keys() - lacks.keys()]
    return max([0.0, *known, *hidden])
