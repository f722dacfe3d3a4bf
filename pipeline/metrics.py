"""The closed set of metrics, each with its meaning."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from pipeline.errors import Misconfigured

decisions = Counter("pulseguard_decisions", "Decisions made, by engine and verdict", ["engine", "verdict"])
decision_latency = Histogram(
    "pulseguard_decision_latency_seconds",
    "From an anomaly's arrival in Kafka to its decision",
    buckets=(0.02, 0.05, 0.08, 0.15, 0.25, 0.5, 1, 2, 5, 10, 20, 60),
)
dead_letters = Counter("pulseguard_dead_letters", "Dead letters written, by reason", ["reason"])
in_flight = Gauge("pulseguard_decisions_in_flight", "Decisions being made now")
relay_events = Counter("pulseguard_relay_events", "Events taken into the live feed, by type", ["type"])
relay_clients = Gauge("pulseguard_relay_clients", "Websocket clients connected now")
relay_slow = Counter("pulseguard_relay_slow_clients", "Websocket clients dropped because they did not read")
alerts_left_out = Counter(
    "pulseguard_alerts_left_out", "Alerts that a webhook's notification was cut short of, by source", ["source"]
)
slack_posts = Counter("pulseguard_slack_posts", "Posts to Slack, by outcome", ["outcome"])


@contextmanager
def served(host: str, port: int) -> Iterator[None]:
    """Serve them at http://host:port/metrics from a thread. Raises `Misconfigured` when the port is taken."""
    try:
        server, thread = start_http_server(port, host)
    except OSError as exc:
        raise Misconfigured("METRICS_PORT", f"port {port} cannot be used: {exc.strerror}") from exc
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
