"""The fleet's own figures for Prometheus: its servers, its routers, and what its clients noted by adapter and group."""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from editlane.core.fleet_accounts import read_accounts

if TYPE_CHECKING:
    from editlane.fleet.supervisor import Supervisor

log = logging.getLogger(__name__)

STATES = ("waiting", "starting", "checking", "ready", "silent", "draining", "wrong", "resting")


class FleetMetrics:
    """Answers scrapes with the supervisor's state at that moment."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor
        self._registry = CollectorRegistry()
        self._close: Callable[[], None] = lambda: None

    def serve(self, port: int) -> None:
        """Answer at 127.0.0.1. Without this port the fleet still works."""
        self._registry.register(self)
        try:
            server, thread = start_http_server(port, addr="127.0.0.1", registry=self._registry)
        except OSError as error:
            log.warning("no metrics: port %d (`metrics_port`): %s", port, error.strerror)
            return

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self._close = close

    def close(self) -> None:
        """Answer no more."""
        self._close()

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        yield from self._collect_servers()
        up = GaugeMetricFamily("editlane_fleet_router_up", "1 if a router answers", labels=["group"])
        starts = CounterMetricFamily("editlane_fleet_router_starts", "Starts of a router", labels=["group"])
        for group, router in self._supervisor.routers.items():
            up.add_metric([group], router.is_up)
            starts.add_metric([group], router.starts)
        yield from (up, starts)
        yield from self._collect_accounts()

    def _collect_servers(self) -> Iterator[Metric]:
        names = ["server", "gpu", "group"]
        state = GaugeMetricFamily("editlane_fleet_server_state", "1 for a server's state", labels=[*names, "state"])
        starts = CounterMetricFamily("editlane_fleet_server_starts", "Starts of a server", labels=names)
        running = GaugeMetricFamily("editlane_fleet_server_running", "Requests at work", labels=names)
        waiting = GaugeMetricFamily("editlane_fleet_server_waiting", "Requests that wait", labels=names)
        full = GaugeMetricFamily("editlane_fleet_server_full", "1 if it has all that it works on at once", labels=names)
        for one in [server.state for server in self._supervisor.servers]:
            labels = [str(one.number), one.gpu, one.group or ""]
            for name in STATES:
                state.add_metric([*labels, name], one.state == name)
            starts.add_metric(labels, one.starts)
            running.add_metric(labels, one.running)
            waiting.add_metric(labels, one.waiting)
            full.add_metric(labels, one.full)
        yield from (state, starts, running, waiting, full)

    def _collect_accounts(self) -> Iterator[Metric]:
        """Yield what Editlane's own clients noted; the servers count no adapters."""
        found = read_accounts(self._supervisor.site.paths.accounts)
        for kind, totals in (("model", found.models), ("group", found.groups)):
            asked = CounterMetricFamily(f"editlane_fleet_{kind}_requests", f"Requests by {kind}", labels=[kind])
            failed = CounterMetricFamily(f"editlane_fleet_{kind}_failures", "Those without an answer", labels=[kind])
            slow = GaugeMetricFamily(
                f"editlane_fleet_{kind}_seconds", "Within which a share was answered", labels=[kind, "quantile"]
            )
            for name, one in totals.items():
                asked.add_metric([name], one.total_calls)
                failed.add_metric([name], one.error_calls)
                for quantile, seconds in (("0.5", one.p50), ("0.99", one.p99)):
                    if seconds is not None:
                        slow.add_metric([name, quantile], seconds)
            yield from (asked, failed, slow)
