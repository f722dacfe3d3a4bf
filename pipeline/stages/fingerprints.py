"""What makes two anomalies the same fault: rules from ``deploy/fingerprints.yaml``, one for each source.

Pure but for `load_fingerprints`.
"""

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline.files import read_yaml
from schemas import Anomaly

Field = Literal["environment", "service", "error_type", "source", "severity"]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which fields and labels tell one fault from another; the others (instance, pod, …) tell its occurrences apart.

    ``upstream``: whether a fingerprint that the producer sends takes their place.
    """

    fields: tuple[Field, ...] = ("environment", "service", "error_type")
    labels: tuple[str, ...] = ("cluster", "namespace", "region", "deployment", "database", "queue", "topic", "job")
    upstream: bool = True


class Fingerprints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rule for each ``source`` that has its own, and the default."""

    default: Rule = Rule()
    sources: dict[str, Rule] = {}

    def of(self, anomaly: Anomaly) -> str:
        """A digest of canonical name → value pairs.

        Pairs, not joined values: ("ab", "c") and ("a", "bc") must differ.
        """
        rule = self.sources.get(anomaly.source or "", self.default)
        if rule.upstream and anomaly.fingerprint:
            pairs = {"upstream": anomaly.fingerprint, "source": anomaly.source}
        else:
            pairs = {name: getattr(anomaly, name) for name in rule.fields}
            if anomaly.labels:
                pairs |= {f"label:{name}": anomaly.labels[name] for name in rule.labels if name in anomaly.labels}
        return "fp_" + digest(sorted((name, value.strip()) for name, value in pairs.items() if value is not None))


def digest(value: Any) -> str:
    """The same value, the same 24 hexadecimal digits; for ids."""
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:24]


def load_fingerprints(path: Path) -> Fingerprints:
    """Read the rules. Raises `Misconfigured`."""
    return read_yaml("FINGERPRINTS_FILE", path, Fingerprints)
