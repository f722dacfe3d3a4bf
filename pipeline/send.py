"""What `pulseguard send` publishes: JSON from a file, each value with the key of its fault."""

from collections.abc import Sequence

import msgspec

from pipeline.errors import Rejected
from pipeline.kafka import Message
from pipeline.settings import Settings
from pipeline.stages import ingest
from pipeline.stages.fingerprints import Fingerprints

_LIST = msgspec.json.Decoder(list[msgspec.Raw])


def keyed(
    values: Sequence[bytes], settings: Settings, fingerprints: Fingerprints
) -> list[tuple[bytes | None, bytes]]:  # fmt: skip
    """Each with its fault's fingerprint, as the gateway has it: what is resolved does not overtake what fired.

    What is no anomaly has no key, and is the worker's to reject.
    """
    return [(_key(value, settings, fingerprints), value) for value in values]


def _key(value: bytes, settings: Settings, fingerprints: Fingerprints) -> bytes | None:
    try:
        anomaly = ingest.decode(Message(settings.topic_anomalies, 0, 0, None, value, [], 0), settings.max_event_bytes)
    except Rejected:
        return None
    return fingerprints.of(anomaly).encode()


def json_values(text: bytes) -> list[bytes]:
    """A JSON list's elements, one object, or lines of objects, as they stand. Raises `Rejected` where it is none."""
    stripped = text.strip()
    if stripped.startswith(b"["):
        try:
            numbered = [("element", number, bytes(raw)) for number, raw in enumerate(_LIST.decode(stripped), 1)]
        except (ValueError, RecursionError) as exc:
            raise Rejected(f"not JSON: {exc}") from exc
    elif _fault(stripped) is None:
        numbered = [("line", 1, stripped)]
    else:
        lines = enumerate(text.splitlines(), 1)
        numbered = [("line", number, line.strip()) for number, line in lines if line.strip()]
    if not numbered:
        raise Rejected("nothing to send: the input is empty")
    for kind, number, value in numbered:
        fault = _fault(value)
        if fault:
            raise Rejected(f"{kind} {number} {fault}; nothing was sent")
    return [value for _, _, value in numbered]


def _fault(value: bytes) -> str | None:
    try:
        return None if isinstance(msgspec.json.decode(value), dict) else "is no JSON object"
    except (ValueError, RecursionError) as exc:
        return f"is not JSON: {exc}"
