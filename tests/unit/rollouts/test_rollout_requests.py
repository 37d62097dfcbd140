"""What the Pi0 reward server's requests mean: texts, suites, seeds, trials."""

from dataclasses import replace
from typing import Any

import pytest

from editlane.rollouts.config import RolloutsConfig
from editlane.rollouts.request import Asked, UnfitItem, read_request
from editlane.server.dialects import Malformed
from editlane.simulators.wire import EpisodeTask

POLICY = {"addresses": ["127.0.0.1:8000"]}


def read(responses: Any = ("",), metas: Any = None, settings: Any = None, **more: Any) -> Asked:
    config = RolloutsConfig.model_validate({"server": "s", "simulator": {"name": "libero"}, "policy": POLICY})
    data = {"responses": list(responses) if isinstance(responses, tuple) else responses, "metas": metas}
    return read_request(data | {"reward_function_kwargs": settings} | more, config)


def read_tasks(*parts: Any) -> list[EpisodeTask]:
    (item,) = read(*parts).items
    assert not isinstance(item, UnfitItem), item
    return list(item)


@pytest.mark.parametrize(
    "response",
    [
        "pick up the bowl",
        "  pick up the bowl\n",
        ["pick up the bowl", "another one"],
        {"text": "pick up the bowl"},
        {"generated_text": "pick up the bowl"},
        {"output_text": "pick up the bowl"},
        {"response": "pick up the bowl"},
        {"content": "pick up the bowl"},
        {"outputs": [{"text": "pick up the bowl"}]},
        {"choices": [{"text": "pick up the bowl"}]},
        {"choices": [{"message": {"role": "assistant", "content": "pick up the bowl"}}]},
        [[{"outputs": [{"text": "pick up the bowl"}]}]],
    ],
)
def test_a_response_may_have_any_shape_of_a_language_models_server(response: Any) -> None:
    assert read_tasks([response])[0].prompt == "pick up the bowl"


@pytest.mark.parametrize("response", ["", "  \n", [], {}, None, {"outputs": []}])
def test_without_a_response_the_items_instruction_counts_then_the_requests_then_the_tasks_own(response: Any) -> None:
    own, general = {"original_instruction": "把碗放好"}, {"libero_cfg": {"instruction": "put it down"}}
    assert read_tasks([response], [own], general)[0].prompt == "把碗放好"
    assert read_tasks([response], [{}], general)[0].prompt == "put it down"
    assert read_tasks([response])[0].prompt is None


def test_an_episode_is_named_by_its_item_then_by_the_request() -> None:
    cfg = {"task_suite_name": "libero_goal", "task_id": 4, "seed": 1, "init_state_id": 2}
    assert read_tasks(("",)) == [EpisodeTask("libero_spatial", 0, 7, 0, None)]
    assert read_tasks([""], None, {"libero_cfg": cfg}) == [EpisodeTask("libero_goal", 4, 1, 2, None)]
    for name in ("suite", "task_suite_name", "suite_name"):
        meta = {name: "libero_10", "task_id": 0, "seed": 0, "init_state_id": 0}
        assert read_tasks([""], [meta], {"libero_cfg": cfg}) == [EpisodeTask("libero_10", 0, 0, 0, None)]


def test_trials_begin_from_states_in_a_row() -> None:
    tasks = read_tasks([""], [{"init_state_id": 3}], {"num_trials_per_task": 3})
    assert [task.init_state for task in tasks] == [3, 4, 5]


def test_where_the_policy_listens_and_what_it_may_write_is_not_the_requests() -> None:
    cfg = {"host": "10.0.0.1", "port": 22, "checkpoint": "/etc/passwd", "video_out_path": "/etc", "num_steps_wait": 99}
    told, plain = read([""], [cfg], {"libero_cfg": cfg, "max_workers": 2}), read([""], [{}], {"max_workers": 2})
    assert replace(told, ignored=[]) == plain
    assert {"metas.host", "libero_cfg.checkpoint"} <= set(told.ignored)


def test_an_item_that_cannot_be_played_costs_the_others_nothing() -> None:
    metas: list[Any] = [{"task_id": "0"}, {"task_id": True}, {"seed": -1}, {"init_state_id": 1.5}, {"suite": 3}, 5, {}]
    items = read([""] * 7, metas).items
    assert [isinstance(item, UnfitItem) for item in items] == [True] * 6 + [False]
    assert "`task_id` is '0', not a whole number from 0 to 10000" in str(items[0])
    for response in (5, "x" * 2001, "\ud800", {"text": 5}):
        assert isinstance(read([response]).items[0], UnfitItem)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"responses": "x"}, "`responses` must be a list"),
        ({"responses": ["x"], "metas": [{}, {}]}, "`metas` must be a list as long as `responses`, which has 1"),
        ({"responses": ["x"], "metas": {}}, "`metas` must be a list"),
        ({"responses": [], "reward_function_kwargs": []}, "`reward_function_kwargs` must be an object"),
        ({"responses": [], "reward_function_kwargs": {"libero_cfg": 1}}, "`libero_cfg` must be an object"),
        ({"responses": [], "reward_function_kwargs": {"max_workers": 0}}, "`max_workers` is 0, not a whole number"),
        ({"responses": [], "reward_function_kwargs": {"max_workers": True}}, "`max_workers`"),
        ({"responses": [], "reward_function_kwargs": {"num_trials_per_task": 51}}, "from 1 to 50"),
        ({"responses": [], "reward_function_kwargs": {"on_error": "nan"}}, '`on_error` must be "null" or "zero"'),
        ({"responses": [], "reward_function_kwargs": {"danger": True}}, "collisions"),
        ({"responses": [], "deadline_s": float("nan")}, "`deadline_s`"),
        ({"responses": [], "deadline_s": 0}, "`deadline_s`"),
        ({"responses": [], "reward_function_kwargs": {"video": "true"}}, "`video` must be true or false"),
    ],
)
def test_what_is_wrong_with_a_whole_request_is_said(data: dict[str, Any], said: str) -> None:
    with pytest.raises(Malformed, match=said.replace("`", ".").replace("(", r"\(")):
        read(data.pop("responses"), data.pop("metas", None), data.pop("reward_function_kwargs", None), **data)


def test_old_callers_may_ask_for_zeros() -> None:
    assert not read().is_zero
    assert not read(settings={"on_error": None}).is_zero
    assert read(settings={"on_error": "zero"}).is_zero


def test_requests_as_the_originals_client_sends_them() -> None:
    """Recorded from example_client.py of the Pi0 reward server (a10b9e9): one task, and four with two trials each."""
    single = read(
        ["pick up the black bowl and place it on the plate"],
        [{"suite": "libero_spatial", "task_id": 0, "seed": 7}],
        {"num_trials_per_task": 1, "max_workers": 1},
    )
    told = "pick up the black bowl and place it on the plate"
    assert list(single.items) == [[EpisodeTask("libero_spatial", 0, 7, 0, told)]]
    assert (single.at_once, single.replan_steps, single.is_zero, list(single.ignored)) == (1, 5, False, [])
    texts = [
        "put the robot toy on the shelf",
        "pick up the red bowl and place it on the rack",
        "move the plate to the left of the bowl",
        "put the toy car next to the plate",
    ]
    metas = [{"suite": "libero_spatial", "task_id": number, "seed": 7} for number in range(4)]
    parallel = read(texts, metas, {"num_trials_per_task": 2, "max_workers": 2})
    assert [list(item) for item in parallel.items if not isinstance(item, UnfitItem)] == [
        [EpisodeTask("libero_spatial", number, 7, trial, text) for trial in range(2)]
        for number, text in enumerate(texts)
    ]
