"""Which words an anomaly is looked up by, and by which an incident is found. Pure, and judged by `pulseguard eval`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from schemas import Anomaly, Incident

_MAX_TEXT = 2000
_MAX_FIELD = 20_000
"""Characters of one field of an incident, two hundred lines, that it is found by its words in."""
_VOLATILE = re.compile(
    r"^(instance|pod|host|hostname|node|ip|container|container_id|uid|id|endpoint|severity|priority|prometheus"
    r"|alert_?type|pager|team|tier|type)$"
)
"""Labels that say where it happens or who is to be called, not what is wrong."""
_BREAKS = re.compile(r"[_\-./:]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# Each repetition starts only where its own characters do not precede it: linear in the text's length.
_IDENTIFIER = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z0-9]++(?:[_\-./:]++[A-Za-z0-9]++)+|(?<![a-z])[a-z]++[A-Z]\w*|[A-Z][a-z]++[A-Z]\w*"
)
_UNNAMED = frozenset({"unknown", "alert", "anomaly", "error"})
"""Error types that name nothing."""
_PLACEHOLDER = re.compile(r"\{\{(?:[^{}\n]|\{(?!\{)|\}(?!\}))*+\}\}|<\w+>|\$\w+")
_WORD = re.compile(r"\w+")
STOP_WORDS = frozenset(
    ("a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "have", "in", "is", "it", "its", "no",
     "not", "of", "on", "or", "that", "the", "this", "to", "was", "were", "will", "with")
)  # fmt: skip
"""Words that say nothing of what is wrong."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for. ``error_type`` and ``service`` lift incidents that say exactly the same."""

    text: str
    service: str | None = None
    error_type: str | None = None

    @property
    def kind(self) -> str:
        """The error type's words: however it is spelled, the index holds it so."""
        return kind_of(self.error_type)


def words(name: str) -> str:
    """``database_timeout``, ``KubePodCrashLooping`` and ``disk-full`` as words."""
    return " ".join(_BREAKS.sub(" ", name).split()).lower()


def kind_of(error_type: str | None) -> str:
    """An error type as words by which two are equal however they are spelled; empty where it names nothing."""
    found = words(error_type or "")
    return "" if found in _UNNAMED else found


def plain(text: str) -> str:
    """``text`` with its identifiers as words and without what alert templates leave for a value."""
    return _IDENTIFIER.sub(lambda found: words(found.group()), " ".join(_PLACEHOLDER.sub(" ", text).split()))


def pairs(text: str) -> str:
    """Each word of ``text`` joined to the next, as words: "api server down" is `api_server server_down`."""
    told = [word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]
    return " ".join(f"{one}_{other}" for one, other in pairwise(told))


def query_of(anomaly: Anomaly) -> Query:
    """The words of an anomaly that tell what it is, most telling first.

    Not the service's name: `search-index` has a full disk like any other. An equal service lifts by its field.
    """
    metric = anomaly.metric.name if anomaly.metric and anomaly.metric.name else ""
    labels = " ".join(words(value) for name, value in anomaly.labels.items() if not _VOLATILE.match(name))
    spike = "" if anomaly.spike_percentage is None else f"{anomaly.spike_percentage:g} % above normal"
    parts = [kind_of(anomaly.error_type), spike, plain((anomaly.message or "")[:_MAX_TEXT]), words(metric), labels]
    text = ". ".join(part for part in parts if part) or words(anomaly.error_type)
    return Query(text[:_MAX_TEXT], anomaly.service, anomaly.error_type)


def fault_of(error_type: str, service: str | None) -> str:
    """What is wrong where, in the fewest words: "High latency on checkout" says by itself that it is on checkout."""
    where = f" on {service}" if service else ""
    return error_type if error_type.lower().endswith(where.lower()) else error_type + where


def essence_of(incident: Incident) -> str:
    """What an incident looks like from outside, and why: the dense vector that it is found by is made of this."""
    looks = (incident.title, _kind(incident), incident.symptoms, incident.root_cause)
    return ". ".join(_told(part[:_MAX_TEXT] for part in looks))[:_MAX_TEXT]


def title_of(incident: Incident) -> str:
    """The incident in its fewest words: a second dense vector, for in the first one a long story drowns them."""
    return plain(incident.title[:_MAX_TEXT]) or _kind(incident)


def document_of(incident: Incident) -> str:
    """All that an incident says: its sparse vector is made of this."""
    looks = (incident.title, incident.service or "", _kind(incident), incident.symptoms)
    told = (*looks, incident.root_cause, incident.diagnosis, incident.mitigation)
    return ". ".join(_told(part[:_MAX_FIELD] for part in told))


def _kind(incident: Incident) -> str:
    return words(incident.error_type or "")


def _told(parts: Iterable[str]) -> list[str]:
    """The parts that say anything, none twice."""
    return list(dict.fromkeys(plain(part) for part in parts if part.strip()))
