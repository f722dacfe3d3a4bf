"""Raw bytes to a certain `Anomaly`: decode, identify. No I/O; after this the types are certain."""

import re
from datetime import UTC, datetime, timedelta

import msgspec

from pipeline.errors import Rejected
from pipeline.kafka import Message
from pipeline.stages.fingerprints import digest
from schemas import SEVERITIES, STATUSES, Anomaly
from schemas.dead_letter import ORIGIN

_NESTING = 100
"""Deeper JSON than this is no anomaly."""

_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
"""What is said to be before was set by nobody: Go's zero time and Unix's, seconds that are taken for milliseconds."""
_AHEAD = timedelta(days=1)
"""How far a producer's clock may be ahead of ours. A record from farther on is no time either: microseconds, say."""

_LONGEST_ID = 256
"""Characters, as of an anomaly's own."""

_BACKSLASH, _QUOTE = b'\\"'

_ORIGIN = re.compile(rb"[!-~]{1,64}/\d{1,10}/\d{1,19}/-?\d{1,19}")
"""The id of a topic is base64, which has slashes."""
_anomaly = msgspec.json.Decoder(Anomaly)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _choices(fault: str) -> str:
    """What would have been taken, where the fault is a word that is none of a few."""
    for name, words in (("severity", SEVERITIES), ("status", STATUSES)):
        if fault.startswith("Invalid enum value") and fault.endswith(f"`$.{name}`"):
            return f", which is one of {', '.join(words)}"
    return ""


def decode(message: Message, max_bytes: int) -> Anomaly:
    """The anomaly in a record, plain or a CloudEvent in structured mode. Raises `Rejected`.

    An ``occurred_at`` that nobody set is none.
    """
    if not message.value:
        raise Rejected("the record is empty" if message.value == b"" else "the record is a tombstone (no value)")
    if len(message.value) > max_bytes:
        raise Rejected(f"{len(message.value)} bytes are more than the {max_bytes} allowed")
    if _depth(message.value) > _NESTING:
        raise Rejected(f"nested deeper than {_NESTING}")
    body, event_id = _unwrapped(message.value, dict(message.headers))
    try:
        anomaly = _anomaly.decode(body)
    except msgspec.ValidationError as exc:
        raise Rejected(f"not an anomaly: {exc}{_choices(str(exc))}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Rejected(f"not JSON: {exc}") from exc
    if event_id and not anomaly.id:
        anomaly = msgspec.structs.replace(anomaly, id=event_id)
    if event_id or b"\\u" in body:  # JSON brings in what `check_text` refuses by an escape alone
        check_texts(anomaly)
    if anomaly.occurred_at is not None and anomaly.occurred_at < _FIRST:
        anomaly = msgspec.structs.replace(anomaly, occurred_at=None)
    if anomaly.occurred_at is not None:
        try:
            anomaly.occurred_at.astimezone(UTC)
        except OverflowError as exc:
            raise Rejected("occurred_at is out of range in UTC") from exc
    return anomaly


def received_at(message: Message, now: datetime) -> datetime:
    """When Kafka had a record, by the record's clock; ``now`` where that shows none, or one that cannot be."""
    try:
        told = datetime.fromtimestamp(message.timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return now
    return told if _FIRST <= told <= now + _AHEAD else now


def identify(anomaly: Anomaly, message: Message, topic_id: str) -> str:
    """The producer's id, or one from where and when the record was written: redelivery gives the same.

    A sender that names its faults itself repeats them as reminders, which are no new occurrences: what says the same
    ``fingerprint``, ``status`` and ``occurred_at`` is the same anomaly.

    ``topic_id`` is Kafka's own id of the topic. With the record's time, a topic that is made anew under a running
    worker repeats no id either. A dead letter that was published again tells where it first lay.
    """
    if anomaly.id:
        return anomaly.id
    if anomaly.fingerprint and anomaly.occurred_at:
        return "anm_" + digest([anomaly.source, anomaly.fingerprint, anomaly.status, anomaly.occurred_at])
    return "anm_" + digest((told_origin(message) or origin_of(message, topic_id)).decode())


def origin_of(message: Message, topic_id: str) -> bytes:
    """Where a record lies, and its time: TOPIC ID/PARTITION/OFFSET/MILLISECONDS."""
    return f"{topic_id}/{message.partition}/{message.offset}/{message.timestamp}".encode()


def told_origin(message: Message) -> bytes | None:
    """Where a dead letter that was published again first lay; what is not of that form is as if it were not there."""
    told = _ORIGIN.fullmatch(dict(message.headers).get(ORIGIN) or b"")
    return told[0] if told else None


def decision_id(episode_id: str, revision: int) -> str:
    """Deciding the same revision of the same episode twice gives the same id."""
    return "dec_" + digest([episode_id, revision])


def _unwrapped(value: bytes, headers: dict[str, bytes]) -> tuple[bytes, str | None]:
    """The anomaly's JSON, and the CloudEvent's id where it came in an envelope or with ce_ headers."""
    ce_id = headers.get("ce_id")
    event_id = _event_id(_told(headers.get("ce_source") or b""), _told(ce_id)) if ce_id else None
    if b'"specversion"' not in value:
        return value, event_id
    try:
        envelope = _object.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return value, event_id  # the anomaly's own decoder says better what is wrong
    if not {"specversion", "id", "source", "type", "data"} <= envelope.keys():
        return value, event_id
    try:
        source, name = (msgspec.json.decode(envelope[name], type=str) for name in ("source", "id"))
    except msgspec.MsgspecError as exc:
        raise Rejected(f"not a CloudEvent: {exc}") from exc
    return bytes(envelope["data"]), _event_id(source, name)


def _event_id(source: str, name: str) -> str:
    """One id of the two. Where that is too long it is no piece of it, which other events could share."""
    whole = f"{source}#{name}"
    return whole if len(whole) <= _LONGEST_ID else f"ce_{digest([source, name])}"


def _told(header: bytes) -> str:
    """Its text; what is no UTF-8 is spelled out, so that two differ as their bytes do."""
    return header.decode(errors="backslashreplace")


def check_text(text: str) -> None:
    """Raise `Rejected` for what every JSON parser accepts and PostgreSQL, or UTF-8, does not."""
    if "\x00" in text:
        raise Rejected("a string holds a NUL character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise Rejected("a string holds a lone surrogate")


def check_texts(value: msgspec.Struct) -> None:
    """`check_text` for every text in what ``value`` is as JSON. Raises `Rejected`."""
    _check_within(msgspec.to_builtins(value))


def _check_within(value: object) -> None:
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, dict):
        _check_within([*value, *value.values()])
    elif isinstance(value, list):
        for item in value:
            _check_within(item)


def _depth(value: bytes) -> int:
    """The deepest nesting of JSON text, brackets inside strings not counted. Linear, and without recursion."""
    if value.count(b"{") + value.count(b"[") <= _NESTING:
        return 0  # cannot be deeper than it has brackets
    depth = deepest = 0
    in_string = escaped = False
    for byte in value:
        if escaped:
            escaped = False
        elif in_string:
            escaped = byte == _BACKSLASH
            in_string = byte != _QUOTE
        elif byte == _QUOTE:
            in_string = True
        elif byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest
