"""The closed set of metrics, each with its meaning, and where a process that is no gateway serves them.

What a label may be is counted from 0: a counter that begins with its first event hides it from Prometheus.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any, get_args
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import Counter, Gauge, Histogram, make_wsgi_app

from pipeline.errors import Failure
from pipeline.listen import listener, unusable
from schemas import Engine, Reason
from schemas.decision import Verdict

lag = Gauge(
    "pulseguard_lag", "Records that are not settled, by partition; what several processes say is the same",
    ["stage", "topic", "partition"],
)  # fmt: skip
consumed = Counter("pulseguard_consumed", "Records settled, by stage", ["stage"])
questions = Counter("pulseguard_questions", "Decisions asked for: episodes opened or worse, handed on to be decided")

decisions = Counter("pulseguard_decisions", "Decisions made, by engine and verdict", ["engine", "verdict"])
decision_latency = Histogram(
    "pulseguard_decision_latency_seconds",
    "From an anomaly's arrival in Kafka to its decision",
    buckets=(0.02, 0.05, 0.08, 0.15, 0.25, 0.5, 1, 2, 5, 10, 20, 60),
)
dead_letters = Counter("pulseguard_dead_letters", "Dead letters written, by reason", ["reason"])
fallbacks = Counter("pulseguard_fallbacks", "Decisions by the rule as the model failed, by how it did", ["reason"])
model_spent = Gauge("pulseguard_model_spent_usd", "What the decisions of all workers have cost today (UTC)")
in_flight = Gauge("pulseguard_decisions_in_flight", "Decisions being made now")
episodes_open = Gauge("pulseguard_episodes_open", "Episodes that go on")
index_incidents = Gauge("pulseguard_index_incidents", "Incidents that this process's searches look through")
index_level = Gauge("pulseguard_index_level_timestamp_seconds", "When the index was last level with PostgreSQL")
relay_events = Counter("pulseguard_relay_events", "Events taken into the live feed, by type", ["type"])
relay_clients = Gauge("pulseguard_relay_clients", "Websocket clients connected now")
relay_slow = Counter("pulseguard_relay_slow_clients", "Websocket clients dropped because they did not read")
alerts_left_out = Counter(
    "pulseguard_alerts_left_out", "Alerts that a webhook's notification was cut short of, by source", ["source"]
)
rows_forgotten = Counter("pulseguard_rows_forgotten", "Rows deleted for their age, by table", ["table"])
slack_posts = Counter("pulseguard_slack_posts", "Posts to Slack, by outcome", ["outcome"])
slack_waiting = Gauge("pulseguard_slack_waiting", "Decisions that are still to be told")
slack_oldest = Gauge("pulseguard_slack_oldest_waiting_seconds", "How long the first of them has waited; 0: none waits")

for _engine in get_args(Engine):
    for _verdict in get_args(Verdict):
        decisions.labels(engine=_engine, verdict=_verdict)
for _reason in get_args(Reason):
    dead_letters.labels(reason=_reason)
for _failure in get_args(Failure):
    fallbacks.labels(reason=_failure)
for _stage in ("enrich", "decide", "learn_incidents", "learn_feedback", "slack"):
    consumed.labels(stage=_stage)
for _source in ("alertmanager", "grafana"):
    alerts_left_out.labels(source=_source)
for _outcome in ("sent", "refused", "uncertain", "repeated"):
    slack_posts.labels(outcome=_outcome)


@contextmanager
def served(host: str, port: int, fault: Callable[[], str | None]) -> Iterator[None]:
    """Serve them at http://host:port/metrics, and at /healthz 200, or 503 with ``fault``'s answer. From a thread.

    Raises `Misconfigured` when the port is taken.
    """
    prometheus = make_wsgi_app()

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/healthz":
            return prometheus(environ, start_response)
        found = fault()
        status = "200 OK" if found is None else "503 Service Unavailable"
        start_response(status, [("content-type", "text/plain; charset=utf-8")])
        return [f"{found or 'ok'}\n".encode()]

    try:
        server = make_server(host, port, answer, _Server, _Quiet)
    except OSError as exc:
        raise unusable(host, "METRICS_PORT", port, exc) from exc
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Take the port. Python's own knows one kind of address, and asks the resolver for the name of each."""
        host, port = self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.socket.close()
        self.socket = listener(host, "METRICS_PORT", port)
        self.setup_environ()


class _Quiet(WSGIRequestHandler):
    timeout = 10

    def log_message(self, *_: Any) -> None:
        """Nothing: a probe every few seconds is no news."""
