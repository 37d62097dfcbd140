"""Ask a reward server for the rewards of edits, from a trainer's own environment.

Needs urllib3, and Pillow for pictures that are no files. Imports nothing else of Editlane but its errors.
"""

from editlane.client.client import RewardClient
from editlane.client.rewards import Reward, RewardError

__all__ = ["Reward", "RewardClient", "RewardError"]
