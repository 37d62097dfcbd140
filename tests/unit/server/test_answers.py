"""What a real server answers: every item in order, with a score or a reason."""

import base64
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from reward_server import FAKE_JUDGE, RewardServer
from rewards import CATEGORIES, audit, draw_png, judge_offline, make_edit, to_json

YES_NO = FAKE_JUDGE | {"protocol": "resources/protocols/yesno.yaml"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RewardServer]:
    judges = {"fake": FAKE_JUDGE, "是非": YES_NO}
    with RewardServer(tmp_path_factory.mktemp("服务 器"), judges=judges, pickle=True) as server:
        yield server


def score(server: RewardServer, edits: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    response = server.post("/v1/score", json=to_json(edits, **more))
    assert response.status_code == 200, response.text
    return response.json()["items"]


def test_every_item_has_its_score_in_order(server: RewardServer) -> None:
    edits = [make_edit(number) for number in range(40)]
    answers = score(server, edits)
    assert [one["id"] for one in answers] == [one["id"] for one in edits]
    assert [one["score"] for one in answers] == [row["score"] for row in judge_offline(edits)]
    assert all(one["reward"] == pytest.approx(one["score"] / 10) for one in answers)
    first = answers[0]
    assert set(first["scores"]) == {"category", "instruction"} and first["judge"] == "fake"
    assert first["mass"] == 0.95 and len(first["judge_key"]) == 16 and first["error"] is None
    assert len({one["judge_key"] for one in answers}) == len(CATEGORIES), "a key covers its own category's text"


def test_one_bad_item_fails_alone(server: RewardServer) -> None:
    bomb = draw_png(1, size=(6000, 6000))
    bad = {
        "decode": [
            {"source": b"<svg/>"},
            {"edited": draw_png(3)[:-40]},
            {"source": b""},
            {"edited": b"GIF89a" + b"0" * 40},
        ],
        "too_large": [{"edited": bomb}],
        "category": [{"category": "nope"}, {"category": ""}, {"category": "物理\x00"}],
        "text": [{"instruction": "  "}, {"instruction": "x" * 8193}, {"rationale": "y" * 9000}],
    }
    edits, kinds = [], []
    for kind, changes in bad.items():
        for change in changes:
            edits += [make_edit(100 + len(edits)) | change, make_edit(200 + len(edits))]
            kinds += [kind, None]
    answers = score(server, edits)
    assert [one["error"] and one["error"]["kind"] for one in answers] == kinds
    good = [(edit, one) for edit, one, kind in zip(edits, answers, kinds, strict=True) if kind is None]
    assert not +audit([edit for edit, _ in good], [one for _, one in good])
    assert all(one["state"] == "judge_failed" and one["score"] is None for one in answers if one["error"])


def test_damaged_base64_fails_alone(server: RewardServer) -> None:
    body = to_json([make_edit(1), make_edit(2)])
    body["items"][0]["source"] = "!!!!" + body["items"][0]["source"]
    answers = server.post("/v1/score", json=body).json()["items"]
    assert answers[0]["error"]["kind"] == "decode" and answers[1]["score"] is not None


def test_msgpack_a_form_and_data_urls_say_the_same(server: RewardServer) -> None:
    edit = make_edit(300)
    (plain,) = score(server, [edit])
    packed = server.post(
        "/v1/score",
        data=msgspec.msgpack.encode({"items": [edit]}),
        headers={"Content-Type": "application/msgpack", "Accept": "application/msgpack"},
    )
    (other,) = msgspec.msgpack.decode(packed.content)["items"]
    assert other == plain | {"cached": True}
    files = {name: (f"{name}.png", edit[name]) for name in ("source", "edited")}
    texts = {name: edit[name] for name in ("instruction", "category", "id")}
    form = server.post("/v1/score", files=files, data=texts).json()["items"]
    assert form == [plain | {"cached": True}]
    body = to_json([edit])
    body["items"][0]["source"] = "data:image/png;base64," + body["items"][0]["source"]
    assert server.post("/v1/score", json=body).json()["items"] == form
    on_yes_no = server.post("/v1/score", files=files, data=texts | {"judge": "是非"}).json()["items"]
    assert on_yes_no[0]["judge"] == "是非"


def test_the_same_edit_is_judged_once(server: RewardServer) -> None:
    edit = make_edit(400)
    twins = score(server, [edit, edit | {"id": "again"}, edit | {"category": "physical"}, edit | {"category": "物理"}])
    assert len({one["score"] for one in twins}) == 1
    asked = read_metric(server, 'editlane_items_asked_total{judge="fake"}')
    with ThreadPoolExecutor(10) as threads:
        many = list(threads.map(lambda _: score(server, [make_edit(401)])[0]["score"], range(30)))
    assert len(set(many)) == 1
    assert read_metric(server, 'editlane_items_asked_total{judge="fake"}') == asked + 1


def read_metric(server: RewardServer, name: str) -> float:
    lines = server.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


def test_requests_at_once_with_equal_ids_are_not_mixed_up(server: RewardServer) -> None:
    lists = [[make_edit(1000 * part + number, id=str(number)) for number in range(24)] for part in range(1, 5)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda edits: score(server, edits), lists))
    assert not any(+audit(edits, found) for edits, found in zip(lists, answers, strict=True))


def test_a_panel_gives_every_judges_score_and_no_mean(server: RewardServer) -> None:
    edits = [make_edit(number) for number in range(3)]
    answers = score(server, edits, judge="panel")
    assert all(set(one) == {"id", "judges"} and set(one["judges"]) == {"fake", "是非"} for one in answers)
    alone = score(server, edits, judge="是非")
    assert [one["judges"]["是非"]["score"] for one in answers] == [one["score"] for one in alone]


def test_rows_are_those_of_a_table(server: RewardServer) -> None:
    body = to_json([make_edit(7)])
    (row,) = server.post("/v1/rows", json=body).json()["rows"]
    assert {"score_category", "mode_category", "entropy_category", "mass_category", "reply", "score_seconds"} <= set(
        row
    )


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"items": 3}', "application/json", 400),
        (b'{"items": [{"source": "", "edited": "", "instruction": "x", "catgory": "y"}]}', "application/json", 400),
        (b'{"items": [], "judge": "nobody"}', "application/json", 400),
        (b'{"items": [], "deadline_s": NaN}', "application/json", 400),
        (b"\xff\xfe", "application/msgpack", 400),
        (b"x", "text/csv", 415),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400),
        (b"", "multipart/form-data", 400),
        (b'{"items": []}', "application/json", 200),
    ],
)
def test_what_cannot_be_understood_is_refused_as_a_whole(
    server: RewardServer, body: bytes, kind: str, status: int
) -> None:
    response = server.post("/v1/score", data=body, headers={"Content-Type": kind})
    assert response.status_code == status, response.text
    assert status == 200 or "\n" not in response.json()["error"]
    assert "/scripts/" not in response.text and "Traceback" not in response.text


def test_trainers_shapes(server: RewardServer) -> None:
    edits = [make_edit(number, category="物理") for number in range(500, 504)]
    rewards = [row["score"] / 10 for row in judge_offline(edits)]
    coded = to_json(edits)["items"]
    flow = {
        "prompt": [one["instruction"] for one in coded],
        "image": [one["edited"] for one in coded],
        "condition_images": [[one["source"]] for one in coded],
        "video": None,
    }
    refused = server.post("/compute", json=flow)
    assert refused.status_code == 422 and "category" in refused.json()["error"], "the server has no default category"
    labels = [msgspec.json.encode({key: one[key] for key in one if key != "id"}).decode() for one in coded]
    openrlhf = {"query": ["x"] * 4, "prompts": ["x"] * 4, "labels": labels}
    assert server.post("/get_reward", json=openrlhf).json() == {"rewards": rewards, "scores": rewards, "extra_logs": {}}
    del labels[:]
    for one in coded:
        label = {name: one[name] for name in ("source", "edited", "category")}
        labels.append(msgspec.json.encode(label).decode())
    queries = [f"prompt {one['instruction']}" for one in coded]
    openrlhf = {"query": queries, "prompts": ["prompt "] * 4, "labels": labels}
    assert server.post("/get_reward", json=openrlhf).json()["rewards"] == rewards, "the response is the instruction"
    metas = [{"original_instruction": one["instruction"], "source": one["source"], "category": "物理"} for one in coded]
    shapes = [one["edited"] for one in coded[:2]] + [{"outputs": [{"text": coded[2]["edited"]}]}, {"text": "no image"}]
    listed = {"responses": shapes, "metas": metas, "reward_function_kwargs": {"max_workers": 2}}
    answer = server.post("/score", json=listed).json()
    assert answer["done_result"] == [*rewards[:3], None]
    assert [one and one["kind"] for one in answer["errors"]] == [None, None, None, "decode"]


def test_unirl_by_its_remote_backend(server: RewardServer) -> None:
    edits = [make_edit(number, category="物理") for number in range(520, 523)]
    coded = to_json(edits)["items"]
    asked = [
        {
            "history": [
                {"text": one["instruction"], "image_b64": one["source"]},
                {"text": "", "image_b64": one["edited"]},
            ],
            "required_rewards": ["editlane", "是非"],
            "metadata": {"category": "物理"},
            "protocol_version": 2,
        }
        for one in coded
    ]
    asked[2]["metadata"] = {"category": "nope"}
    answer = server.post("/score", json={"requests": asked}).json()
    assert [one.get("editlane") for one in answer["results"][:2]] == [
        {"reward": row["score"] / 10} for row in judge_offline(edits[:2])
    ]
    assert answer["results"][2] == {} and set(answer["errors"][2]) == {"editlane", "是非"}
    assert answer["errors"][0] == {} and "是非" in answer["results"][0]
    assert server.get("/health").json()["rewards"]["editlane"] == ["ready"]
    for broken in ({"requests": 3}, {"requests": [{}]}, {"requests": [{"history": [{}], "required_rewards": []}]}):
        assert server.post("/score", json=broken).status_code == 400


class Gadget:
    def __reduce__(self) -> Any:
        return (print, ("executed",))


def test_pickles_of_plain_data_only(server: RewardServer) -> None:
    for body in (pickle.dumps(Gadget()), pickle.dumps({"images": Gadget()}), b"garbage", b"", pickle.dumps([1])):
        response = server.post("/", data=body)
        assert response.status_code == 400, response.text
    assert "executed" not in server.stderr
    short = {"ref_images": [b"a", b"b"], "images": [b"a"], "prompts": ["x"], "metadatas": [{}]}
    response = server.post("/mode/logits_non_cot", data=pickle.dumps(short))
    assert response.status_code == 400 and "different lengths" in response.json()["error"]


def test_dialects_with_a_default_category(tmp_path: Path) -> None:
    edits = [make_edit(number, category="社会") for number in range(4)]
    rewards = [row["score"] / 10 for row in judge_offline(edits)]
    names = ("source", "edited", "instruction")
    sources, images, prompts = ([one[name] for one in edits] for name in names)
    with RewardServer(tmp_path, category="social", pickle=True, on_error="zero") as server:
        assert server.get("/v1/judges").json()["default_category"] == "社会"
        flow = {
            "prompt": prompts,
            "image": [base64.b64encode(one).decode() for one in images],
            "condition_images": [[base64.b64encode(one).decode()] for one in sources],
        }
        assert server.post("/compute", json=flow).json() == {"rewards": rewards}
        flow["image"][1] = "AAAA"
        assert server.post("/compute", json=flow).json()["rewards"][1] == 0.0, "the config says so"
        unirl = {"images": {"source": sources, "edited": images}, "prompts": prompts, "metadata": {}}
        edit_r1 = {"images": images, "ref_images": sources, "prompts": prompts, "metadatas": [{}] * 4}
        metas = [msgspec.json.encode({"instruction": text}).decode() for text in prompts]
        editscore = {"input_images": [[one] for one in sources], "output_image": images, "meta_datas": metas}
        for path, body in (("/", unirl), ("/mode/logits_non_cot", edit_r1), ("/", editscore)):
            response = server.post(path, data=pickle.dumps(body))
            assert response.status_code == 200, response.text
            assert pickle.loads(response.content)["scores"] == rewards
        assert server.post("/", data=pickle.dumps({"images": images, "prompts": prompts})).status_code == 400


def test_what_the_server_tells_of_itself(server: RewardServer) -> None:
    score(server, [make_edit(number) for number in range(37)])
    about = server.get("/v1/judges").json()
    assert about["default"] == "fake" and about["categories"] == {"fake": list(CATEGORIES), "是非": list(CATEGORIES)}
    assert about["judges"]["fake"]["protocol"]["name"] == "rubric" and len(about["judges"]["fake"]["key"]) == 16
    assert about["limits"]["items"] == 256 and about["limits"]["body_bytes"] == 64_000_000
    status = server.get("/pool_status").json()
    assert status["total_clients"] == 2 and status["available_clients"] == 2
    for one in status["workers"]:
        variables = Path(f"/proc/{one['pid']}/environ").read_bytes().split(b"\0")
        assert any(line.startswith(b"OMP_NUM_THREADS=") for line in variables), "workers share the cores"
    assert {one["state"] for one in status["workers"]} == {"ready"} and status["queue"]["items"] == 0
    assert server.get("/health").json()["status"] == "ok" and server.get("/ready").text == "ready"
    assert server.get("/nothing").status_code == 404 and server.get("/v1/score").status_code == 405
    path, asked = server.folder / "results/servers/t/access.jsonl", {"path": "/v1/score", "items": 37, "ok": 37}
    until = time.monotonic() + 10  # a thread writes it
    while not any(asked.items() <= msgspec.json.decode(line).items() for line in path.read_bytes().splitlines()):
        assert time.monotonic() < until
        time.sleep(0.02)
    text = path.read_text()
    assert "下雨" not in text and "iVBOR" not in text
