"""The figures of roll-outs for Prometheus."""

from editlane.core.types import Row
from editlane.server.metrics import RequestMetrics

_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800)


class RolloutMetrics(RequestMetrics):
    """All figures of one server of roll-outs."""

    def __init__(self) -> None:
        super().__init__()
        self.episodes = self.count("episodes", "Episodes that ended, by how", "outcome", "kind")
        self.known = self.count("episodes_known", "Episodes answered from the journal")
        self.joined = self.gauge("episodes_joined", "Requests that waited for an episode of another one, so far")
        self.infers = self.count("policy_answers", "Answers of the policy in these episodes")
        self.retries = self.count("policy_retries", "Answers that failed at one server and came from another")
        self.again = self.count("episodes_again", "Simulators that were lost in the middle of an episode")
        self.store_errors = self.count("store_errors", "Episodes that could not be kept", "where")
        self.waiting = self.gauge("queue_episodes", "Episodes that requests wait for")
        self.playing = self.gauge("simulators_playing", "Simulators at play")
        self.simulators = self.gauge("simulators", "Simulators")
        self.servers = self.gauge("policy_servers", "Policy servers", "state")
        self.spent = self.histogram("episode_seconds", "Whole episodes, with all waiting", _SECONDS)

    def count_episode(self, row: Row) -> None:
        """Count an episode that ended."""
        outcome = {True: "solved", False: "unsolved", None: "error"}[row["solved"]]
        self.episodes.labels(outcome, row["error_kind"] or "").inc()
        if row["seconds"] is None:
            return
        self.infers.inc(row["infers"])
        self.retries.inc(row["retries"])
        self.again.inc(max(0, row["attempts"] - 1))
        self.spent.observe(row["seconds"])
