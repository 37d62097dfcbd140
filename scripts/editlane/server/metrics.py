"""The server's figures for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
_EDITS = (1, 2, 4, 8, 16, 32, 64, 128)


class RequestMetrics:
    """The figures of every server's requests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.refused = self.count("requests_refused", "Requests refused as a whole", "why")
        self.requests = self.count("requests", "Requests answered", "path", "status")
        self.seconds = self.histogram("request_seconds", "Whole requests for scores", SECONDS, "path")

    def count(self, name: str, text: str, *labels: str) -> Counter:
        """Return a new counter."""
        return Counter(f"editlane_{name}", text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """Return a new gauge."""
        return Gauge(f"editlane_{name}", text, labels, registry=self.registry)

    def histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        """Return a new histogram."""
        return Histogram(f"editlane_{name}", text, labels, registry=self.registry, buckets=buckets)


class Metrics(RequestMetrics):
    """All figures of one reward server, by the judge's name where there are several."""

    def __init__(self) -> None:
        super().__init__()
        count, gauge, histogram = self.count, self.gauge, self.histogram
        self.items = count("items", "Edits answered, by how they ended", "judge", "state", "kind")
        self.asked = count("items_asked", "Edits that a worker was handed", "judge")
        self.known = count("items_known", "Edits answered without a worker: of the store, or joined", "judge", "how")
        self.again = count("items_retried", "Edits handed out again after a worker was lost", "judge")
        self.dropped = count("items_dropped", "Waiting edits that no client waited for any more", "judge")
        self.restarts = count("worker_restarts", "Workers started again", "judge")
        self.store_errors = count("store_errors", "Scores that could not be kept or looked up", "where")
        self.waiting = gauge("queue_items", "Edits that wait or are being judged")
        self.bytes = gauge("queue_bytes", "Bytes of these edits")
        self.workers = gauge("workers", "Workers", "judge", "state")
        self.canary = gauge("canary_difference", "Change of the canary's mean since the reference", "judge")
        self.moved = gauge("canary_moved", "1 if the judge has changed", "judge")
        self.batch = histogram("batch_items", "Edits of a batch", _EDITS, "judge")
        self.wait = histogram("queue_seconds", "From arrival to a worker", SECONDS, "judge")
        self.judging = histogram("judge_seconds", "A batch on its judge", SECONDS, "judge")
