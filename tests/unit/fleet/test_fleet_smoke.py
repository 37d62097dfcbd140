"""The smoke test on servers that answer as they should, and on those with each known fault."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from editlane.fleet.smoke import PROMPTS, REPEATS, TOKENS, SmokeResult, measure, run_smoke_test
from editlane.fleet.vllm_api import ServerError

Place = dict[str, float]
ALL = ["strict", "评委"]


def draw(weights: str, prompt: str, place: int) -> Place:
    chance = random.Random(f"{weights} {prompt} {place}")
    return {f"token_id:{number}": -chance.uniform(0, 5) for number in chance.sample(range(40), 20)}


@dataclass
class Fake:
    """A server whose names have weights; what a batch does to an answer is up to `mix`."""

    weights: dict[str, str]
    noise: float = 0.0
    mix: Callable[[str, list[str]], str] = lambda name, together: name
    """The name whose weights answer for a name, among the names that are asked for at once."""
    fails: Callable[[str, int], bool] = lambda name, at_once: False
    asked: list[str] = field(default_factory=list)
    batches: list[Counter[str]] = field(default_factory=list)
    size: int = 0
    """Requests of a batch, for which each of them waits."""

    def __post_init__(self) -> None:
        self.arrived: list[str] = []

    def run(
        self, adapters: list[str], *, base: str | None = None, serve_base: bool = True, size: int = 0
    ) -> SmokeResult:
        names = len(adapters) + (base is not None and serve_base)
        self.barrier = threading.Barrier(size or REPEATS * names, self.begin_batch, timeout=20)
        return run_smoke_test(self.ask, adapters, base=base, serve_base=serve_base)

    def begin_batch(self) -> None:
        self.batches.append(Counter(self.arrived))
        self.arrived.clear()

    def ask(self, name: str, prompt: str, count: int) -> list[Place]:
        self.asked.append(name)
        chance = random.Random(len(self.asked))
        together = Counter([name])
        if threading.current_thread() is not threading.main_thread():
            self.arrived.append(name)
            self.barrier.wait()
            together = self.batches[-1]
        if self.fails(name, together.total()):
            raise ServerError("/v1/completions: HTTP 500: broken", 500)
        weights = self.weights[self.mix(name, list(together))]
        return [
            {token: one + chance.uniform(-self.noise, self.noise) / 2 for token, one in place.items()}
            for place in (draw(weights, prompt, number) for number in range(count))
        ]


def make(**changes: object) -> Fake:
    return Fake({"base": "0", "strict": "1", "评委": "2"}, **changes)  # type: ignore[arg-type]


def test_a_server_that_does_what_it_should_has_no_problems() -> None:
    fake = make()
    found = fake.run(ALL, base="base")
    assert found.problems == []
    assert found.noise == 0
    assert set(found.differences) == {("base", "strict"), ("base", "评委"), ("strict", "评委")}
    assert min(found.differences.values()) > 1
    alone = 2 * len(PROMPTS)
    assert fake.asked.count("base") == alone + 3 * REPEATS + REPEATS
    assert fake.batches == [Counter({name: 3 * REPEATS}) for name in ("base", *ALL)] + [
        Counter(dict.fromkeys(("base", *ALL), REPEATS))
    ]


def test_a_base_that_is_not_served_is_asked_alone_only() -> None:
    fake = make(mix=lambda name, together: "strict" if name == "base" and len(together) > 1 else name)
    assert fake.run(ALL, base="base", serve_base=False).problems == []
    assert fake.asked.count("base") == 2 * len(PROMPTS)
    fake.asked.clear()
    assert fake.run(ALL).problems == []
    assert "base" not in fake.asked


def test_one_name_alone_is_no_batch() -> None:
    assert make().run([], base="base").problems == []
    assert make().run(["strict"]).problems == []


@pytest.mark.parametrize("noise", [1e-5, 0.02, 0.2])
def test_the_noise_of_a_server_is_no_problem(noise: float) -> None:
    found = make(noise=noise).run(ALL, base="base")
    assert found.problems == []
    assert 0.3 * noise < found.noise <= noise


def test_an_adapter_that_changes_nothing_is_found() -> None:
    fake = make(noise=0.01)
    fake.weights["评委"] = fake.weights["base"]
    (problem,) = fake.run(ALL, base="base", serve_base=False).problems
    assert problem == (
        "the adapter `评委` changes nothing: it answers as the base model does. It was made for another model, or was "
        "never trained (its lora_B is zero). Give one that was trained on this model."
    )


def test_two_that_change_nothing_are_two_problems_and_no_third() -> None:
    fake = make()
    fake.weights |= {"评委": "0", "strict": "0"}
    assert len(fake.run(ALL, base="base").problems) == 2


@pytest.mark.parametrize("base", ["base", None])
def test_equal_weights_under_two_names_are_found(base: str | None) -> None:
    fake = make()
    fake.weights["评委"] = fake.weights["strict"]
    (problem,) = fake.run(ALL, base=base).problems
    assert problem.startswith("the adapters `strict` and `评委` answer alike: they have the same weights, or neither")


def test_base_answers_with_an_adapters_weights_in_a_mixed_batch_are_found() -> None:
    fake = make(mix=lambda name, together: "strict" if name == "base" and "strict" in together else name)
    (problem,) = fake.run(ALL, base="base").problems
    assert problem == (
        "in a mixed batch 6 of 6 answers for the base model came with the weights of the adapter `strict`. vLLM on the "
        "CPU does so, and some of its versions with mixture-of-experts models. Set `serve_base: false`, and serve the "
        "base model from a fleet without adapters."
    )


def test_answers_with_another_adapters_weights_are_found_in_spite_of_noise() -> None:
    fake = make(noise=0.05, mix=lambda name, together: "strict" if name == "评委" and "strict" in together else name)
    (problem,) = fake.run(ALL).problems
    assert problem.startswith(
        "in a mixed batch 6 of 6 answers for the adapter `评委` came with the weights of the adapter"
    )
    assert problem.endswith("or give each adapter servers of its own (`affinity: hard`).")


def test_answers_with_weights_of_nobody_are_found() -> None:
    fake = make(mix=lambda name, together: "x" if name == "评委" and "strict" in together else name)
    fake.weights["x"] = "9"
    (problem,) = fake.run(ALL).problems
    assert "answers for the adapter `评委` came with" in problem


def test_a_server_whose_answers_differ_each_time_is_found() -> None:
    found = make(noise=3).run(ALL, base="base")
    assert len(found.problems) == 1
    assert "so this server's answers mean nothing" in found.problems[0]


def test_a_server_that_takes_the_weights_of_the_one_before_is_found() -> None:
    last = ["strict"]

    def take_last(name: str, together: list[str]) -> str:
        found, last[0] = last[0], name
        return found

    assert make(mix=take_last).run(ALL).problems != []


def test_a_name_that_does_not_answer_is_a_problem_and_the_others_are_tested() -> None:
    fake = make(fails=lambda name, at_once: name == "strict")
    fake.weights["评委"] = fake.weights["base"]
    first, second = fake.run(ALL, base="base", serve_base=False, size=REPEATS).problems
    assert first == "the adapter `strict` does not answer: /v1/completions: HTTP 500: broken."
    assert second.startswith("the adapter `评委` changes nothing")


def test_requests_that_fail_in_a_batch_only_are_a_problem() -> None:
    problems = make(fails=lambda name, at_once: at_once > 15).run(ALL, base="base").problems
    assert problems
    assert all(" at once (" in problem and "HTTP 500: broken" in problem for problem in problems)


def test_an_error_in_the_program_is_none_of_the_server() -> None:
    def fail(name: str, prompt: str, count: int) -> list[Place]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_smoke_test(fail, ALL)


def test_answers_are_apart_by_their_largest_difference() -> None:
    one = {"a": -0.1, "b": -2.0, "c": -4.0}
    assert measure([one], [one]) == 0
    assert measure([one], [one | {"b": -2.5}]) == pytest.approx(0.5)
    assert measure([one], [{"a": -0.1, "b": -2.0, "d": -4.5}]) == pytest.approx(0.5)  # c is at most -4.5 there
    assert measure([one], [{"a": -0.1, "b": -2.0, "d": -3.0}]) == pytest.approx(1.0)  # d is at most -4 here
    assert measure([one, {"x": -1.0}], [one, {"x": -2.0}]) == 1
    other = {"a": -2.0, "b": -0.1, "c": -4.0}
    assert measure([one, {"x": 0.0}], [other, {"x": -9.0}]) == pytest.approx(1.9)  # after another text
    assert measure([one, {"x": 0.0}], [one]) == 0


def test_prompts_are_of_both_languages_and_no_single_word() -> None:
    assert all(len(prompt) > 50 for prompt in PROMPTS)
    assert sum(not prompt.isascii() for prompt in PROMPTS) == len(PROMPTS) // 2
    assert TOKENS > 1
