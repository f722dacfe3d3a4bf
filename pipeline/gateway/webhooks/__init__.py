"""`POST /v1/webhooks/{source}`: what monitoring systems send, published as anomalies. One file a source."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from litestar import Request, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from pipeline import kafka
from pipeline.gateway.webhooks import alertmanager, grafana
from pipeline.settings import Settings
from pipeline.stages.fingerprints import Fingerprints
from schemas import Anomaly

SOURCES: dict[str, Callable[[bytes], list[Anomaly]]] = {"alertmanager": alertmanager.read, "grafana": grafana.read}
"""Each reads a body, or raises `Rejected`."""


def routes(settings: Settings, sender: kafka.Sender, fingerprints: Fingerprints) -> list[HTTPRouteHandler]:
    """The route."""

    @post(
        "/v1/webhooks/{source:str}", status_code=202,
        summary=f"Publish what a monitoring system sends ({', '.join(SOURCES)}); 202 once Kafka has acknowledged all",
    )  # fmt: skip
    async def webhook(source: str, request: Request[Any, Any, Any]) -> dict[str, int]:
        if source not in SOURCES:
            raise HTTPException(f"no webhook {source}, only {', '.join(SOURCES)}", status_code=404)
        told = changes(SOURCES[source](await request.body()), fingerprints)
        # By their fault, so that what was resolved does not overtake what fired.
        await asyncio.gather(
            *(
                sender.send(settings.topic_anomalies, fault.encode(), msgspec.json.encode(anomaly))
                for fault, anomaly in told
            )
        )
        return {"accepted": len(told)}

    return [webhook]


def changes(anomalies: Sequence[Anomaly], fingerprints: Fingerprints) -> list[tuple[str, Anomaly]]:
    """Each anomaly of a notification with its fault's fingerprint; none that calls a fault resolved which still fires.

    Senders resolve instance by instance, and one of forty pods is not the end of it.
    """
    told = [(fingerprints.of(anomaly), anomaly) for anomaly in anomalies]
    firing = {fault for fault, anomaly in told if anomaly.status == "firing"}
    return [(fault, anomaly) for fault, anomaly in told if anomaly.status == "firing" or fault not in firing]
