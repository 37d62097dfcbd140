"""What is wrong with a config of robot roll-outs is said in one paragraph."""

import subprocess
import sys
from pathlib import Path

import pytest

from editlane.core.errors import UserError
from editlane.preflight.rollouts_config import is_of_rollouts, read_rollouts_config

ROOT = Path(__file__).parents[3]
REACH = "server: a\nsimulator: {name: reach}\n"
WRONG = {
    "server: a\nsimulator: {name: libro}\npolicy: {addresses: ['h:1']}\n": r"simulator.name.*libro",
    f"{REACH}policy: {{}}\n": "names no server",
    f"{REACH}policy: {{addresses: ['http://h']}}\n": "'http://h' is not an address",
    f"{REACH}policy: {{addresses: ['h:0']}}\n": "'h:0' is not an address",
    f"{REACH}policy: {{addresses: ['::1:80']}}\n": "'::1:80' is not an address",
    f"{REACH}policy: {{start: {{command: [a]}}}}\n": "no word has `{port}`",
    f"{REACH}policy: {{start: {{command: []}}}}\n": "policy.start.command",
    f"{REACH}polcy: {{}}\n": "polcy",
    "simulator: {name: reach}\npolicy: {addresses: ['h:1']}\n": "server",
}


@pytest.mark.parametrize(("content", "said"), WRONG.items())
def test_it_says_what_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "机器人.yaml"
    path.write_text(content, encoding="utf-8")
    assert is_of_rollouts(path)
    with pytest.raises(UserError, match=said) as caught:
        read_rollouts_config(path)
    assert "config/robots.md describes every key" in str(caught.value)


def test_the_demo_is_read_and_a_judges_config_is_another_kind() -> None:
    config = read_rollouts_config(ROOT / "config/robots.yaml")
    assert (config.simulator.name, config.port) == ("reach", 6006)
    assert not is_of_rollouts(ROOT / "config/reward.yaml")


def test_the_program_shows_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "robots.yaml"
    path.write_text(f"{REACH.replace('reach', 'reach, python: /nowhere')}policy: {{addresses: ['h:1']}}\nport: 0\n")
    words = [sys.executable, str(ROOT / "scripts/serve_rewards.py"), "--configfile", str(path)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "There is no /nowhere" in done.stderr, "Traceback" in done.stderr) == (2, True, False)
