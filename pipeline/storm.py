"""How well a labelled stream of alerts is grouped: `pulseguard storm FILE`. No services: the pure rules alone.

A line is one alert as monitoring sent it, with the truth beside it: ``ts`` (seconds), ``status``, ``labels``,
``annotations``, and ``truth.group``, equal for all alerts of one cause. Pair-F1 is the harmonic mean of precision and
recall over all pairs of alerts, "of one situation" against "of one cause" (the pairwise F-measure of cluster analysis).
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from pipeline.alerts import anomaly_of
from pipeline.errors import Rejected
from pipeline.stages.count import Grouping
from pipeline.stages.episodes import Arrival, Episode, advance
from pipeline.stages.fingerprints import Fingerprints
from pipeline.stages.situations import Beginning, Hold, began, correlate, situation_id
from schemas import Anomaly

FLOOR_GAP = 300.0
"""Seconds of quiet of the simple rule that we are measured against: same cluster and namespace, five minutes."""
_START = datetime(2026, 1, 1, tzinfo=UTC)


class Truth(msgspec.Struct, frozen=True):
    """What really belongs together."""

    group: str


class Alert(msgspec.Struct, frozen=True, rename={"starts_at": "startsAt"}):
    """One line. Times are seconds since the start of the stream."""

    ts: float
    labels: dict[str, str]
    truth: Truth
    status: str = "firing"
    annotations: dict[str, str] = {}
    starts_at: float | None = None


def read_alerts(path: Path) -> list[Alert]:
    """Every line, in the order of time. Raises `Rejected` naming the line that is none."""
    alerts: list[Alert] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            alerts.append(msgspec.json.decode(line, type=Alert))
        except msgspec.MsgspecError as exc:
            raise Rejected(f"{path}, line {number}: {exc}") from exc
    return sorted(alerts, key=lambda alert: alert.ts)


def crowded(alerts: Sequence[Alert], clusters: int, seed: int = 0) -> list[Alert]:
    """The same stream as if it came from so few clusters: faults overlap, which is harder."""
    names = sorted({alert.labels.get("cluster", "") for alert in alerts})
    random.Random(seed).shuffle(names)  # noqa: S311 - which ones fall together is no secret
    new = {name: f"cluster-{number % clusters}" for number, name in enumerate(names)}
    return [
        msgspec.structs.replace(alert, labels=alert.labels | {"cluster": new[alert.labels.get("cluster", "")]})
        for alert in alerts
    ]


def _anomaly(alert: Alert) -> Anomaly:
    """The alert as the webhook would publish it."""
    started = alert.ts if alert.starts_at is None else alert.starts_at
    return anomaly_of(
        alert.labels, alert.annotations, occurred_at=_START + timedelta(seconds=started),
        status="resolved" if alert.status == "resolved" else "firing",
    )  # fmt: skip


def situations(alerts: Sequence[Alert], grouping: Grouping, fingerprints: Fingerprints) -> list[str]:
    """Each alert's situation, as the pipeline would have grouped them one by one."""
    latest: dict[str, Episode] = {}
    keys: dict[str, Hold] = {}
    found: list[str] = []
    for number, alert in enumerate(alerts):
        anomaly = _anomaly(alert)
        at = _START + timedelta(seconds=alert.ts)
        arrival = Arrival(anomaly, str(number), fingerprints.of(anomaly), "", 0, number, at)
        changes = advance([arrival], latest, grouping.rules)
        for episode in changes.episodes.values():
            if episode.opened_by is not None:
                beginning = Beginning(episode.id, anomaly, began(anomaly, at))
                where, keys = correlate([beginning], keys, grouping.gap, grouping.topology)
                episode.situation_id = where[episode.id]
                episode.opened_by = None
            latest[episode.fingerprint] = episode  # in order: one that opens comes after the one it follows
        belongs = changes.episode_of[str(number)] is not None  # a `resolved` of nothing known belongs nowhere
        found.append(latest[arrival.fingerprint].situation_id or "" if belongs else situation_id(str(number)))
    return found


def simple_rule(alerts: Sequence[Alert]) -> list[str]:
    """The floor: same cluster and namespace, and no more than `FLOOR_GAP` since the last alert there."""
    last: dict[tuple[str | None, str | None], tuple[float, str]] = {}
    found: list[str] = []
    for number, alert in enumerate(alerts):
        where = (alert.labels.get("cluster"), alert.labels.get("namespace"))
        before, name = last.get(where, (-FLOOR_GAP - 1, ""))
        if not name or alert.ts - before > FLOOR_GAP:
            name = str(number)
        last[where] = (alert.ts, name)
        found.append(name)
    return found


def pair_f1(truth: Sequence[str], found: Sequence[str]) -> tuple[float, float, float]:
    """Precision, recall and F1 over all pairs. 1 where there is no pair to find."""
    together = _pairs(Counter(zip(truth, found, strict=True)).values())
    ours, theirs = _pairs(Counter(found).values()), _pairs(Counter(truth).values())
    precision, recall = together / ours if ours else 1.0, together / theirs if theirs else 1.0
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def report(alerts: Sequence[Alert], grouping: Grouping, fingerprints: Fingerprints) -> dict[str, Any]:
    """The figures of one stream: ours, the simple rule's, and how much less there is to read."""
    truth = [alert.truth.group for alert in alerts]
    found, floor = situations(alerts, grouping, fingerprints), simple_rule(alerts)
    precision, recall, f1 = pair_f1(truth, found)
    return {
        "alerts": len(alerts),
        "causes": len(set(truth)),
        "situations": len(set(found)),
        "pair_precision": round(precision, 4),
        "pair_recall": round(recall, 4),
        "pair_f1": round(f1, 4),
        "floor_pair_f1": round(pair_f1(truth, floor)[2], 4),
        "noise_reduction": round(1 - len(set(found)) / len(alerts), 4) if alerts else 0.0,
    }


def _pairs(sizes: Iterable[int]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes)
