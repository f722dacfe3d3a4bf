"""JSON Schema and AsyncAPI, derived from the types. ``python -m schemas.generate`` writes them; ``--check`` compares.

A record of AsyncAPI is made of a topic, the message on it and the headers that travel with it.
"""

import inspect
import sys
from pathlib import Path
from typing import Any

import msgspec

from schemas import Anomaly, DeadLetter, Decision, EnrichedAnomaly, Explanation, Feedback, Incident

FOLDER = Path(__file__).parent / "generated"
VERSION = 1
"""Of the contracts; it rises when a change breaks a reader."""
CONTRACTS: dict[str, type[msgspec.Struct]] = {
    "anomaly": Anomaly,
    "enriched_anomaly": EnrichedAnomaly,
    "decision": Decision,
    "incident": Incident,
    "feedback": Feedback,
    "dead_letter": DeadLetter,
    "explanation": Explanation,
}
_CLOUD_EVENT = {
    "ce_id": "the event's id",
    "ce_type": "what happened, pulseguard.* for ours",
    "ce_source": "who says so",
    "ce_specversion": "1.0",
    "ce_time": "when, RFC 3339",
    "traceparent": "W3C trace context",
    "pulseguard_origin": "of a dead letter that was published again: where and when it first lay",
    "pulseguard_retried": "of a dead letter that was published again: which one it was",
}
_DEAD_LETTER = {
    "pulseguard_reason": "rejected (bad input), bug (our fault) or refused (a sink refused it for good)",
    "pulseguard_message": "why, in a sentence",
    "pulseguard_topic": "the topic it came from",
    "pulseguard_partition": "the partition it came from, a decimal number",
    "pulseguard_offset": "the offset it came from, a decimal number",
    "pulseguard_time": "when it was dead-lettered, RFC 3339",
    "pulseguard_origin": "where and when an anomaly that came here again first lay: TOPIC ID/PARTITION/OFFSET/MS",
    "pulseguard_truncated": "true where Kafka refused the whole value and only its beginning is kept",
}
_TOPICS: dict[str, tuple[str, str, str]] = {
    "anomalies": (
        "Anomaly",
        "receive",
        "Where producers publish. Any key; a CloudEvent in structured mode is read too.",
    ),
    "anomalies.enriched": ("EnrichedAnomaly", "send", "Anomalies that ask for a decision. Keyed by fingerprint."),
    "decisions": ("Decision", "send", "The advice. Keyed by fingerprint; at least once, never two bodies for one id."),
    "anomalies.dlq": ("DeadLetter", "send", "What could not be processed: bytes and key as they came."),
    "incidents": ("Incident", "receive", "Knowledge. Keyed by incident id, compacted."),
    "feedback": ("Feedback", "receive", "Verdicts of humans on decisions."),
}


def documents() -> dict[str, dict[str, Any]]:
    """File name → document, for every generated file."""
    schemas = {f"{name}.schema.json": _json_schema(name, kind) for name, kind in CONTRACTS.items()}
    return schemas | {"asyncapi.json": _asyncapi()}


def render(document: dict[str, Any]) -> bytes:
    """Return the document as it is committed."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _json_schema(name: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:pulseguard:schema:{name}:{VERSION}",
    }
    schema: dict[str, Any] = _clean(msgspec.json.schema(kind))
    return head | schema


def _asyncapi() -> dict[str, Any]:
    _, types = msgspec.json.schema_components(CONTRACTS.values(), ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "id": "urn:pulseguard:asyncapi",
        "info": {
            "title": "PulseGuard",
            "version": f"{VERSION}.0.0",
            "description": "Anomalies in, decisions out, over Kafka; the live feed over a websocket.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {"host": "127.0.0.1:9092", "protocol": "kafka", "description": "KAFKA_BOOTSTRAP_SERVERS"},
            "relay": {"host": "127.0.0.1:8765", "protocol": "ws", "description": "PULSEGUARD_HOST and RELAY_PORT"},
        },
        "channels": {_key(topic): _channel(topic) for topic in _TOPICS} | {"feed": _FEED_CHANNEL},
        "operations": _operations(),
        "components": {
            "messages": {message: _message(message) for message, _, _ in _TOPICS.values()} | _FEED_MESSAGES,
            "schemas": _clean(types) | _header_schemas() | _FEED_SCHEMAS,
        },
    }


def _key(topic: str) -> str:
    return topic.replace(".", "_")


def _channel(topic: str) -> dict[str, Any]:
    message, _, description = _TOPICS[topic]
    return {
        "address": topic,
        "servers": [{"$ref": "#/servers/kafka"}],
        "description": description,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
    }


def _message(name: str) -> dict[str, Any]:
    if name == "DeadLetter":
        # The value is whatever came: it has no schema. What we know is in the headers.
        return {"name": name, "headers": {"$ref": "#/components/schemas/DeadLetterHeaders"}, "contentType": "*/*"}
    return {
        "name": name,
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/EventHeaders"},
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }


def _operations() -> dict[str, Any]:
    topics = {
        f"{action}_{_key(topic)}": {
            "action": action,
            "channel": {"$ref": f"#/channels/{_key(topic)}"},
            "messages": [{"$ref": f"#/channels/{_key(topic)}/messages/{message}"}],
        }
        for topic, (message, action, _) in _TOPICS.items()
    }
    return topics | {
        "send_feed": _feed_operation("send", ("FeedEvent", "FeedBatch", "Pong")),
        "receive_feed": _feed_operation("receive", ("Hello", "Ping")),
    }


def _feed_operation(action: str, messages: tuple[str, ...]) -> dict[str, Any]:
    references = [{"$ref": f"#/channels/feed/messages/{message}"} for message in messages]
    return {"action": action, "channel": {"$ref": "#/channels/feed"}, "messages": references}


def _header_schemas() -> dict[str, Any]:
    required = [f"pulseguard_{name}" for name in DeadLetter.__struct_fields__]
    return {
        "EventHeaders": _text_object(
            "Optional; ce_… are always there on anomalies.enriched and decisions.", _CLOUD_EVENT
        ),
        "DeadLetterHeaders": _text_object("After the record's own headers.", _DEAD_LETTER) | {"required": required},
    }


def _text_object(description: str, texts: dict[str, str]) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": text} for name, text in texts.items()}
    return {"type": "object", "description": description, "properties": properties}


def _clean(schema: Any) -> Any:
    """Descriptions without their source's indentation: Python 3.13 strips it from docstrings, 3.11 does not."""
    if isinstance(schema, dict):
        return {
            name: inspect.cleandoc(value) if name == "description" and isinstance(value, str) else _clean(value)
            for name, value in schema.items()
        }
    return [_clean(item) for item in schema] if isinstance(schema, list) else schema


def _typed(kind: str, properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"type": {"const": kind}} | properties,
        "required": ["type", *required],
    }


_CURSOR = {"type": "string", "description": "Where the feed stands; opaque. Show it as `since` to go on from here."}
_FILTERS = {
    "since": {"type": "string", "description": "a cursor: replays what was missed, or says recovered: false"},
    "types": {"type": "array", "items": {"enum": ["decision", "anomaly", "system"]}},
    "service": {"type": "string"},
    "min_severity": {"enum": ["info", "warning", "error", "critical"]},
    "batch": {"type": "boolean", "description": "one envelope of many events"},
    "token": {"type": "string", "description": "RELAY_TOKEN; never in the URL"},
}
_FEED_SCHEMAS: dict[str, Any] = {
    "FeedEvent": {
        "oneOf": [
            _typed(
                "decision", {"data": {"$ref": "#/components/schemas/Decision"}, "cursor": _CURSOR}, ("data", "cursor")
            ),
            _typed(
                "anomaly",
                {
                    "data": {
                        "type": "object",
                        "description": "Of an EnrichedAnomaly what is no evidence: an episode asks for a decision.",
                        "properties": {
                            "anomaly": {"$ref": "#/components/schemas/Anomaly"},
                            "anomaly_id": {"type": "string"},
                            "fingerprint": {"type": "string"},
                            "episode_id": {"type": "string"},
                            "revision": {"type": "integer"},
                            "received_at": {"type": "string", "format": "date-time"},
                        },
                        "required": ["anomaly", "anomaly_id", "fingerprint", "episode_id", "revision", "received_at"],
                    },
                    "cursor": _CURSOR,
                },
                ("data", "cursor"),
            ),
            _typed(
                "system",
                {
                    "data": {
                        "type": "object",
                        "properties": {"event": {"type": "string"}, "recovered": {"type": ["boolean", "null"]}},
                    },
                    "cursor": _CURSOR,
                },
                ("data", "cursor"),
            ),
        ]
    },
    "FeedBatch": _typed(
        "batch",
        {"events": {"type": "array", "items": {"$ref": "#/components/schemas/FeedEvent"}}, "cursor": _CURSOR},
        ("events", "cursor"),
    ),
    "Hello": _typed("hello", _FILTERS),
    "Ping": _typed("ping", {}),
    "Pong": _typed("pong", {}),
}
_FEED_MESSAGES: dict[str, Any] = {
    name: {"name": name, "contentType": "application/json", "payload": {"$ref": f"#/components/schemas/{name}"}}
    for name in _FEED_SCHEMAS
}
_FEED_CHANNEL: dict[str, Any] = {
    "address": "/ws/incidents",
    "servers": [{"$ref": "#/servers/relay"}],
    "description": (
        "Every decision and every episode that asks for one, as it comes. The server closes with 4400 for a message or "
        "query that it cannot read, 4401 for a bad token, 1012 when it stops or the topics were made anew, 1009 for a "
        "message over 16 KiB; a client that does not read is cut off without a close frame."
    ),
    "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _FEED_MESSAGES},
    "bindings": {
        "ws": {
            "query": {
                "type": "object",
                "properties": {
                    "since": {"type": "string"},
                    "types": {"type": "string", "description": "comma-separated: decision, anomaly, system"},
                    "service": {"type": "string"},
                    "min_severity": {"enum": ["info", "warning", "error", "critical"]},
                    "batch": {"enum": ["0", "1"]},
                },
            },
            "headers": {
                "type": "object",
                "properties": {
                    "Authorization": {
                        "type": "string",
                        "description": "Bearer RELAY_TOKEN, in place of a hello with it",
                    },
                },
            },
            "bindingVersion": "0.1.0",
        }
    },
}


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` name those that differ; 1 when any does."""
    fresh = {FOLDER / name: render(document) for name, document in documents().items()}
    stale = [path for path, text in fresh.items() if not path.exists() or path.read_bytes() != text]
    if "--check" not in arguments:
        FOLDER.mkdir(exist_ok=True)
        for path in stale:
            path.write_bytes(fresh[path])
        return 0
    for path in stale:
        sys.stderr.write(f"{path.name} differs from the types: run `python -m schemas.generate`\n")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
