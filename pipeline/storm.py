"""How well a labelled stream of alerts is grouped: `pulseguard storm FILE`. No services: the pure rules alone.

A line is one alert as monitoring sent it, with the truth beside it: ``ts`` (seconds), ``status``, ``labels``,
``annotations``, and ``truth.group``, equal for all alerts of one cause. Pair-F1 is the harmonic mean of precision and
recall over all pairs of alerts, "of one situation" against "of one cause" (the pairwise F-measure of cluster analysis).

Where ``truth.root`` names the service that a cause came from, the probable root is judged, too: in the situation that
holds most of the cause's alerts, is the first suspect of that service, or one of the first three services?
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pipeline.alerts import anomaly_of
from pipeline.errors import Rejected
from pipeline.stages.count import Grouping
from pipeline.stages.episodes import Arrival, Episode, advance
from pipeline.stages.fingerprints import Fingerprints
from pipeline.stages.situations import (
    Beginning,
    Hold,
    Member,
    Topology,
    began,
    correlate,
    situation_id,
    suspects,
)  # fmt: skip
from schemas import Anomaly

FLOOR_GAP = 300.0
"""Seconds of quiet of the simple rule that we are measured against: same cluster and namespace, five minutes."""
_START = datetime(2026, 1, 1, tzinfo=UTC)
_FEW = 3


class Truth(msgspec.Struct, frozen=True):
    """What really belongs together and, where it is known, the service (or the services) that it came from."""

    group: str
    root: str | list[str] | None = None


Seconds = Annotated[float, Meta(ge=-1e10, le=1e11)]
"""What a date can hold: three centuries back, three millennia forth."""


class Alert(msgspec.Struct, frozen=True, rename={"starts_at": "startsAt"}):
    """One line. Times are seconds since the start of the stream."""

    ts: Seconds
    labels: dict[str, str]
    truth: Truth
    status: str = "firing"
    annotations: dict[str, str] = {}
    starts_at: Seconds | None = None


def read_alerts(path: Path) -> list[Alert]:
    """Every line, in the order of time. Raises `Rejected` naming the line that is none, or where there is no alert."""
    alerts: list[Alert] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            alerts.append(msgspec.json.decode(line, type=Alert))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            raise Rejected(f"{path}, line {number}: {exc}") from exc
    if not alerts:
        raise Rejected(f"{path}: there is no alert in it")
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


@dataclass(frozen=True, slots=True)
class Grouped:
    """Each alert's situation, and the episodes that each situation holds."""

    situations: list[str]
    members: dict[str, list[Member]]


def grouped(alerts: Sequence[Alert], grouping: Grouping, fingerprints: Fingerprints) -> Grouped:
    """What the pipeline would have made of the alerts one by one."""
    latest: dict[str, Episode] = {}
    keys: dict[str, Hold] = {}
    found = Grouped([], {})
    for number, alert in enumerate(alerts):
        anomaly = _anomaly(alert)
        at = _START + timedelta(seconds=alert.ts)
        arrival = Arrival(anomaly, str(number), fingerprints.of(anomaly), "", 0, number, at)
        changes = advance([arrival], latest, grouping.rules)
        for episode in changes.episodes.values():
            if episode.opened_by is not None:
                beginning = Beginning(episode.id, anomaly, began(anomaly, at), at)
                where, keys = correlate([beginning], keys, grouping.gap, grouping.topology)
                episode.situation_id = where[episode.id]
                episode.opened_by = None
                found.members.setdefault(episode.situation_id, []).append(
                    Member(episode.id, anomaly.service, anomaly.error_type, anomaly.message or "", beginning.at)
                )
            latest[episode.fingerprint] = episode  # in order: one that opens comes after the one it follows
        belongs = changes.episode_of[str(number)] is not None  # a `resolved` of nothing known belongs nowhere
        found.situations.append(
            latest[arrival.fingerprint].situation_id or "" if belongs else situation_id(str(number))
        )
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
    """The figures of one stream: ours, the simple rules', and how much less there is to read."""
    truth = [alert.truth.group for alert in alerts]
    found, floor = grouped(alerts, grouping, fingerprints), simple_rule(alerts)
    precision, recall, f1 = pair_f1(truth, found.situations)
    situations = len(set(found.situations))
    return {
        "alerts": len(alerts),
        "causes": len(set(truth)),
        "situations": situations,
        "pair_precision": round(precision, 4),
        "pair_recall": round(recall, 4),
        "pair_f1": round(f1, 4),
        "floor_pair_f1": round(pair_f1(truth, floor)[2], 4),
        "noise_reduction": round(1 - situations / len(alerts), 4) if alerts else 0.0,
        **root_figures(alerts, found, grouping.topology),
    }


def root_figures(alerts: Sequence[Alert], found: Grouped, topology: Topology) -> dict[str, Any]:
    """How often the root is found, beside two floors: the service that was heard of first, and the one most often.

    ``roots_heard`` is as far as any rule could come: in so many of the situations some episode is of the true root.
    Nothing where no line names a root.
    """
    roots = _roots(alerts)
    if not roots:
        return {}
    place: dict[str, Counter[str]] = {}
    heard: dict[str, Counter[str | None]] = {}  # counted in order, so that the first of equals was heard first
    for alert, situation in zip(alerts, found.situations, strict=True):
        place.setdefault(alert.truth.group, Counter())[situation] += 1
        if alert.status != "resolved":
            heard.setdefault(situation, Counter())[_anomaly(alert).service] += 1
    told: Counter[str] = Counter()
    for cause, services in roots.items():
        situation = place[cause].most_common(1)[0][0]
        members = found.members.get(situation, [])
        ranked = list(dict.fromkeys(member.service for member in suspects(members, topology)))
        first = [member.service for member in sorted(members, key=lambda member: member.began_at)]
        most = [service for service, _ in heard.get(situation, Counter()).most_common(1)]
        told["roots_heard"] += not services.isdisjoint(first)
        told["root_top1"] += not services.isdisjoint(ranked[:1])
        told["root_top3"] += not services.isdisjoint(ranked[:_FEW])
        told["floor_root_first"] += not services.isdisjoint(first[:1])
        told["floor_root_most"] += not services.isdisjoint(most)
    return {"roots": len(roots)} | {name: round(count / len(roots), 4) for name, count in told.items()}


def _roots(alerts: Iterable[Alert]) -> Mapping[str, set[str]]:
    """By cause, as far as a line of it names one."""
    roots: dict[str, set[str]] = {}
    for alert in alerts:
        named = alert.truth.root
        if named:
            roots.setdefault(alert.truth.group, set()).update([named] if isinstance(named, str) else named)
    return roots


def _pairs(sizes: Iterable[int]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes)
