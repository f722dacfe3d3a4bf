"""The generated documents say what the types say."""

import re
from typing import Any

import jsonschema
import msgspec
import pytest

from pipeline.llm.answer import Answer
from pipeline.sinks import feed, relay
from schemas import Anomaly, DeadLetter, Feedback, Incident
from schemas.dead_letter import ORIGIN, PREFIX, RETRIED
from schemas.generate import CONTRACTS, FOLDER, documents, main, render

FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time")
def is_rfc3339(value: object) -> bool:
    shape = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})"
    return not isinstance(value, str) or re.fullmatch(shape, value) is not None


VALID = [
    {"error_type": "database_timeout", "spike_percentage": 450},
    {"error_type": "x"},
    {"error_type": "x" * 256, "id": "i", "service": "", "severity": None},
    {"error_type": "x", "severity": "critical", "status": "resolved", "labels": {"region": "eu"}},
    {"error_type": "x", "metric": {"name": "lag", "value": 1.5, "baseline": 0, "unit": "s"}},
    {"error_type": "x", "occurred_at": "2026-01-01T00:00:00Z"},
    {"error_type": "x", "occurred_at": "2026-01-01T00:00:00.123456+02:00"},
    {"error_type": "x", "nobody_knows_this_field": {"deep": [1]}},
    {"error_type": "x", "spike_percentage": -1e9},
]
INVALID = [
    {},
    [],
    None,
    "database_timeout",
    {"error_type": ""},
    {"error_type": None},
    {"error_type": 5},
    {"error_type": "x" * 257},
    {"error_type": "x", "id": ""},
    {"error_type": "x", "id": 7},
    {"error_type": "x", "severity": "fatal"},
    {"error_type": "x", "severity": "Critical"},
    {"error_type": "x", "status": None},
    {"error_type": "x", "spike_percentage": "450"},
    {"error_type": "x", "spike_percentage": True},
    {"error_type": "x", "labels": {"a": 1}},
    {"error_type": "x", "labels": ["a"]},
    {"error_type": "x", "labels": None},
    {"error_type": "x", "metric": "lag"},
    {"error_type": "x", "metric": {"value": "high"}},
    {"error_type": "x", "message": "m" * 65537},
    {"error_type": "x", "occurred_at": "yesterday"},
    {"error_type": "x", "occurred_at": "2026-01-01T00:00:00"},
    {"error_type": "x", "link": 1},
]


def schema_accepts(value: Any) -> bool:
    schema = documents()["anomaly.schema.json"]
    return jsonschema.Draft202012Validator(schema, format_checker=FORMATS).is_valid(value)


def type_accepts(value: Any) -> bool:
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=Anomaly)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize("value", VALID)
def test_type_and_schema_accept(value: Any) -> None:
    """What is an anomaly to the worker is one to anybody who validates with the published schema."""
    assert (type_accepts(value), schema_accepts(value)) == (True, True)


@pytest.mark.parametrize("value", INVALID, ids=lambda value: str(value)[:50])
def test_type_and_schema_refuse(value: Any) -> None:
    """What the worker dead-letters, the published schema refuses too."""
    assert (type_accepts(value), schema_accepts(value)) == (False, False)


REQUIRED = {
    "Anomaly": "error_type",
    "EnrichedAnomaly": "anomaly anomaly_id fingerprint episode_id revision evidence received_at timings",
    "Decision": "id episode_id revision anomaly_id fingerprint service error_type severity symptom matched_incident "
    "verdict recommended_action action confidence_score rationale evidence occurrences engine model prompt_version "
    "usage fallback_reason latency_ms timings created_at",
    "Action": "name target",
    "Evidence": "incident_id title score",
    "TrackRecord": "times worked failed",
    "Incident": "id title",
    "Feedback": "id decision_id verdict",
    "DeadLetter": "reason message topic partition offset time",
    "Explanation": "decision anomaly received_at origin provenance",
    "Provenance": "decision_id fitted_on relevant right least calls",
    "Weighing": "intercept weights said",
    "ModelCall": "messages",
}
"""What each contract has had from the start. A new type's go here; a new field of these has a default."""


def test_what_was_written_before_can_be_read() -> None:
    """Rows and records of an earlier release lack what came later; outside readers count on what was always there."""
    defined = {name: shape for one in CONTRACTS for name, shape in documents()[f"{one}.schema.json"]["$defs"].items()}
    required = {name: set(shape["required"]) for name, shape in defined.items() if shape.get("required")}
    assert required == {name: set(fields.split()) for name, fields in REQUIRED.items()}


@pytest.mark.parametrize("name", sorted(documents()))
def test_generated_files_equal_the_types(name: str) -> None:
    """A committed document is what the types say today; `python -m schemas.generate` makes it so."""
    assert (FOLDER / name).read_bytes() == render(documents()[name])


def test_nothing_else_lies_among_the_generated() -> None:
    """A contract that went away leaves no document behind."""
    ours = {path.name for path in FOLDER.iterdir() if path.name != "openapi.json"}
    assert ours == set(documents())


def test_check_says_when_a_file_differs(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--check` writes nothing and ends with 1 when a document is missing or differs."""
    monkeypatch.setattr("schemas.generate.FOLDER", tmp_path / "generated")
    assert main(["--check"]) == 1
    assert main([]) == 0
    assert main(["--check"]) == 0
    (tmp_path / "generated" / "decision.schema.json").write_text("{}")
    assert main(["--check"]) == 1


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_schemas_are_schemas(name: str) -> None:
    """Each document is valid JSON Schema 2020-12 and names itself without a host."""
    schema = documents()[f"{name}.schema.json"]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:pulseguard:schema:{name}:1"


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {value["$ref"]} if "$ref" in value else set().union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("name", sorted(documents()))
def test_references_resolve(name: str) -> None:
    """Every $ref points at something in the same document."""
    document = documents()[name]
    for reference in references(document):
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        assert found


def test_asyncapi_tells_the_feed_as_the_relay_sends_it() -> None:
    """The fields of an anomaly's event, the types that a client may ask for, and how long its message may be."""
    document = documents()["asyncapi.json"]
    schemas = document["components"]["schemas"]
    (anomaly,) = (one for one in schemas["FeedEvent"]["oneOf"] if one["properties"]["type"]["const"] == "anomaly")
    told = anomaly["properties"]["data"]
    assert set(told["properties"]) == set(told["required"]) == set(relay.ANOMALY_FIELDS)
    assert schemas["Hello"]["properties"]["types"]["items"]["enum"] == list(feed.TYPES)
    assert f"{relay.LONGEST_HELLO // 1024} KiB" in document["channels"]["feed"]["description"]
    assert {ORIGIN, RETRIED} <= set(schemas["EventHeaders"]["properties"])


def test_asyncapi_names_every_topic_and_the_feed() -> None:
    """Every channel of DESIGN is there, and every operation speaks of messages that its channel carries."""
    document = documents()["asyncapi.json"]
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {
        "anomalies", "anomalies.enriched", "decisions", "anomalies.dlq", "incidents", "feedback", "/ws/incidents",
    }  # fmt: skip
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(channel + "/messages/") for message in operation["messages"])


def test_asyncapi_names_the_headers_of_a_dead_letter() -> None:
    """The document promises just the headers that a dead letter carries, beside the mark of a cut one and an origin."""
    headers = documents()["asyncapi.json"]["components"]["schemas"]["DeadLetterHeaders"]
    fields = {f"pulseguard_{name}" for name in DeadLetter.__struct_fields__}
    assert set(headers["required"]) == fields
    assert set(headers["properties"]) == fields | {f"{PREFIX}truncated", ORIGIN}


@pytest.mark.parametrize("digits", ["9" * 19, "1" + "0" * 400, "-1" + "0" * 400, "1e400"])
@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        (Incident, b'"id": "i", "title": "t", "action": {"name": "a", "target": "b", %s}'),
        (Feedback, b'"id": "i", "decision_id": "d", "verdict": "accept", "action": {"name": "a", "target": "b", %s}'),
        (Answer, b'"verdict": "recommend", "action": "a", "confidence": 1, "rationale": "r", %s'),
    ],
)  # fmt: skip
def test_a_number_that_nobody_can_hold_is_refused(kind: type[msgspec.Struct], rest: bytes, digits: str) -> None:
    """Whoever says it: Qdrant takes no number of 400 digits, and an index that cannot be level stops its process."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b"{" + rest % f'"parameters": {{"n": {digits}}}'.encode() + b"}", type=kind)
