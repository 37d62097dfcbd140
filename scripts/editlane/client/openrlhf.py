"""The file that OpenRLHF loads: `--reward.remote_url .../editlane/client/openrlhf.py`."""

from editlane.client.trainers import openrlhf_reward as reward_func

__all__ = ["reward_func"]
