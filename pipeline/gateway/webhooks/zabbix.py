"""Zabbix's problems, by the media type of deploy/WEBHOOKS.md: a script that posts its parameters.

https://www.zabbix.com/documentation/current/en/manual/config/notifications/media/webhook
"""

import re

import msgspec

from pipeline.alerts import anomaly_of, name_of, read_as, time_of
from pipeline.errors import Rejected
from schemas import Anomaly


class Problem(msgspec.Struct, frozen=True):
    """The parameters, all of them texts. ``event_id`` is that of the problem, also when it is over: value 0.

    ``tags`` are JSON within the text: a list of objects with tag and value.
    """

    event_id: str
    event_value: str
    trigger_id: str | None = None
    name: str | None = None
    host: str | None = None
    nseverity: str | None = None
    opdata: str | None = None
    description: str | None = None
    tags: str | None = None
    started: str | None = None
    ended: str | None = None
    link: str | None = None


class Tag(msgspec.Struct, frozen=True):
    """A tag of the event."""

    tag: str | None = None
    value: str | None = None


_SEVERITIES = {"0": "info", "1": "info", "2": "warning", "3": "warning", "4": "error", "5": "critical"}
"""Not classified, information, warning, average, high, disaster."""
_UNSET = re.compile(r"\{[$A-Z].*\}|\*UNKNOWN\*", re.DOTALL)


def read(body: bytes) -> list[Anomaly]:
    """The anomaly. A step of an escalation, or an update, is the same one. Raises `Rejected`."""
    problem = read_as(Problem, body, "Zabbix")
    event, trigger = _set(problem.event_id), _set(problem.trigger_id)
    if problem.event_value not in {"0", "1"} or not event:
        raise Rejected("not a notification of Zabbix: event_value is neither 0 nor 1, or event_id is empty")
    over = problem.event_value == "0"
    severity, host = _SEVERITIES.get(_set(problem.nseverity), ""), _set(problem.host)
    labels = _tags(_set(problem.tags))
    own = {"alertname": _set(problem.name) or f"trigger {trigger or event}", "severity": severity, "host": host}
    link = _set(problem.link)
    return [
        anomaly_of(
            ({"service": host} if host else {}) | labels | {name: text for name, text in own.items() if text},
            {"summary": _set(problem.description), "description": _set(problem.opdata)},
            status="resolved" if over else "firing",
            occurred_at=time_of(_set(problem.ended if over else problem.started)),
            name=name_of("zabbix", event, "resolved" if over else severity),
            source="zabbix",
            link=link if link.startswith("http") else None,
            fingerprint=name_of("zabbix", trigger or event),
        )
    ]


def _tags(text: str) -> dict[str, str]:
    """Several values of one name stand together; what is no list of tags tells none."""
    found: dict[str, list[str]] = {}
    try:
        tags = read_as(list[Tag], text.encode("utf-8", "replace"), "Zabbix") if text else []
    except Rejected:
        tags = []
    for one in tags:
        if one.tag:
            found.setdefault(one.tag, []).append(one.value or "")
    return {name: ",".join(values) for name, values in found.items()}


def _set(text: str | None) -> str:
    """A macro that has no value stays as it is."""
    return "" if text is None or _UNSET.fullmatch(text) else text.strip()
