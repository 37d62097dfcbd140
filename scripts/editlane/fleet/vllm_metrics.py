"""Read the figures that a vLLM server has for Prometheus."""

import math
from collections import Counter
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

FAILED = frozenset({"error", "abort"})
"""Reasons why a request ended that are no success, though vLLM counts them under `request_success`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmMetrics:
    """Figures of a server, over all of its engines. Counts grow as long as its process lives."""

    running: int
    waiting: int
    adapters: tuple[str, ...]
    """Names of the adapters that it works for now."""
    prompt_tokens: int
    generated_tokens: int
    finished: dict[str, int]
    """Requests that ended, by reason: stop, length, abort, error, ..."""
    latency: dict[float, int]
    """Seconds, in ascending order and up to infinity -> requests that were answered within."""

    @property
    def requests(self) -> int:
        """Requests that ended, however they did."""
        return sum(self.finished.values())

    @property
    def failures(self) -> int:
        """Requests that ended without an answer. Those whose client left are among them."""
        return sum(count for reason, count in self.finished.items() if reason in FAILED)

    def find_latency(self, share: float) -> float | None:
        """Return the seconds within which this share of the answers was given, or None if none was given.

        Interpolated within a bucket, as Prometheus does; beyond the last bucket its bound.
        """
        wanted, low, below = share * max(self.latency.values(), default=0), 0.0, 0
        if not wanted:
            return None
        for bound, count in self.latency.items():
            if count >= wanted:
                return low if math.isinf(bound) else low + (bound - low) * (wanted - below) / (count - below)
            low, below = bound, count
        return None


def read_metrics(text: str) -> VllmMetrics:
    """Read the text of `/metrics`. Raises ValueError, or KeyError if a figure is missing."""
    numbers: Counter[str] = Counter()
    finished: Counter[str] = Counter()
    latency: Counter[float] = Counter()
    newest: tuple[float, str] = (-math.inf, "")
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            match sample.name:
                case "vllm:request_success_total":
                    finished[sample.labels["finished_reason"]] += _count(sample.value)
                case "vllm:e2e_request_latency_seconds_bucket":
                    latency[float(sample.labels["le"])] += _count(sample.value)
                case "vllm:lora_requests_info":
                    # A series for each set of adapters that ever ran. The value is the time at which it last did.
                    newest = max(newest, (sample.value, sample.labels["running_lora_adapters"]))
                case name if name in _SUMMED:
                    numbers[name] += _count(sample.value)
    running, waiting, prompt, generated = (numbers[name] if name in numbers else _miss(name) for name in _SUMMED)
    return VllmMetrics(
        running=running,
        waiting=waiting,
        adapters=tuple(name for name in newest[1].split(",") if name),
        prompt_tokens=prompt,
        generated_tokens=generated,
        finished=dict(finished),
        latency=dict(sorted(latency.items())),
    )


_SUMMED = (
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
)


def _count(value: float) -> int:
    if not math.isfinite(value):
        raise ValueError("a count is no number")
    return int(value)


def _miss(name: str) -> int:
    raise KeyError(name)
