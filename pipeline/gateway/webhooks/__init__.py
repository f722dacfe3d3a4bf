"""`POST /v1/webhooks/{source}`: what monitoring systems send, published as anomalies. One file a source."""

import asyncio
import hmac
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from litestar import Request, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from msgspec import structs

from pipeline import kafka
from pipeline.gateway.webhooks import (
    alertmanager,
    azuremonitor,
    cloudwatch,
    datadog,
    grafana,
    newrelic,
    pagerduty,
    sentry,
    zabbix,
)
from pipeline.settings import Settings
from pipeline.stages.fingerprints import Fingerprints
from pipeline.stages.record import Record
from pipeline.variables import listed
from schemas import Anomaly

SOURCES: dict[str, Callable[[bytes], list[Anomaly]]] = {
    "alertmanager": alertmanager.read, "grafana": grafana.read, "datadog": datadog.read, "cloudwatch": cloudwatch.read,
    "pagerduty": pagerduty.read, "sentry": sentry.read, "zabbix": zabbix.read,
    "azuremonitor": azuremonitor.read, "newrelic": newrelic.read,
}  # fmt: skip
"""Each reads a body, or raises `Rejected`."""
_BEGIN_AGAIN = {"alertmanager", "grafana"}
"""Whose alerts have the same id when they fire again; all others name each time that they fire."""


def routes(
    settings: Settings, record: Record, sender: kafka.Sender, fingerprints: Fingerprints
) -> list[HTTPRouteHandler]:  # fmt: skip
    """The route. A source whose secret is set has to sign what it sends."""
    signing = signatures(settings)

    @post(
        "/v1/webhooks/{source:str}", status_code=202,
        summary=f"Publish what a monitoring system sends ({', '.join(SOURCES)}); 202 once Kafka has acknowledged all",
    )  # fmt: skip
    async def webhook(source: str, request: Request[Any, Any, Any]) -> dict[str, int]:
        if source not in SOURCES:
            raise HTTPException(f"no webhook {source}, only {', '.join(SOURCES)}", status_code=404)
        body = await request.body()
        header, secrets = signing.get(source, ("", ""))
        if header and not signed(secrets, body, request.headers.get(header, "")):
            raise HTTPException(f"{header} is missing, or of another secret or body", status_code=401)
        told = changes(SOURCES[source](body), fingerprints)
        if source in _BEGIN_AGAIN:
            told = await _anew(record, told)
        # By their fault, so that what was resolved does not overtake what fired.
        await asyncio.gather(
            *(
                sender.send(settings.topic_anomalies, fault.encode(), msgspec.json.encode(anomaly))
                for fault, anomaly in told
            )
        )
        return {"accepted": len(told)}

    return [webhook]


def signatures(settings: Settings) -> dict[str, tuple[str, str]]:
    """Of each source whose secret is set the header with its signature, and the secrets."""
    known = {
        "pagerduty": ("x-pagerduty-signature", settings.pagerduty_webhook_secret),
        "sentry": ("sentry-hook-signature", settings.sentry_client_secret),
    }
    return {source: (header, secrets) for source, (header, secrets) in known.items() if secrets}


def signed(secrets: str, body: bytes, header: str) -> bool:
    """Whether one of the signatures (HMAC-SHA256, hexadecimal) is of one of the secrets, both with commas between."""
    made = [hmac.new(secret.encode(), body, "sha256").hexdigest().encode() for secret in listed(secrets)]
    shown = [one.strip().removeprefix("v1=").encode() for one in header.split(",")]
    return any(hmac.compare_digest(ours, theirs) for ours in made for theirs in shown)


async def _anew(record: Record, told: Sequence[tuple[str, Anomaly]]) -> list[tuple[str, Anomaly]]:
    """What fires again after its fault was resolved is no reminder, though it began when it began before.

    Alertmanager calls an alert resolved that Prometheus could not confirm for a while, and hears of it again.
    """
    firing = [(fault, anomaly.id) for fault, anomaly in told if anomaly.id and anomaly.status == "firing"]
    if not firing:
        return list(told)
    async with record.connection() as connection:
        rows = await connection.fetch(_RESOLVED, *(list(column) for column in zip(*firing, strict=True)))
    names = {row["id"]: f"{row['id']}/after/{row['last_seen_at'].isoformat()}" for row in rows}
    return [(fault, structs.replace(anomaly, id=names.get(anomaly.id or "", anomaly.id))) for fault, anomaly in told]


def changes(anomalies: Sequence[Anomaly], fingerprints: Fingerprints) -> list[tuple[str, Anomaly]]:
    """Each anomaly of a notification with its fault's fingerprint; none that calls a fault resolved which still fires.

    Senders resolve instance by instance, and one of forty pods is not the end of it.
    """
    told = [(fingerprints.of(anomaly), anomaly) for anomaly in anomalies]
    firing = {fault for fault, anomaly in told if anomaly.status == "firing"}
    return [(fault, anomaly) for fault, anomaly in told if anomaly.status == "firing" or fault not in firing]


_RESOLVED = """
SELECT told.id, latest.last_seen_at
FROM unnest($1::text[], $2::text[]) AS told (fault, id)
JOIN anomalies ON anomalies.id = told.id
CROSS JOIN LATERAL (
    SELECT state, last_seen_at FROM episodes WHERE fingerprint = told.fault ORDER BY ordinal DESC LIMIT 1
) AS latest
WHERE latest.state = 'resolved'
"""
