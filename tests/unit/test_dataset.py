"""A dataset is read in the forms that people write: what a value says counts, what says nothing is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.dataset import Case, _distinct, headline, read_dataset
from pipeline.errors import Rejected
from schemas import Anomaly, Incident
from tests.growth import grows_linearly

INCIDENT = {"id": "disk", "title": "Disk full", "symptoms": "no space left"}
QUERY = {"id": "q", "description": "no space", "relevant": ["disk"]}


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def read(folder: Path, incidents: bytes, queries: bytes) -> tuple[list[Incident], list[Case], list[str]]:
    (folder / "incidents.jsonl").write_bytes(incidents)
    (folder / "queries.jsonl").write_bytes(queries)
    notes: list[str] = []
    return *read_dataset(folder, noted=notes.append), notes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"relevant": "disk"}, {"disk"}),
        ({"relevant": [{"id": "disk"}, {"incident_id": "b"}]}, {"disk", "b"}),
        ({"relevant": {"disk": 2, "b": 0}}, {"disk"}),
        ({"relevant": [{"id": "disk", "score": 1, "of": []}, {"id": "b", "score": 0}]}, {"disk"}),
        ({"relevant": [{"id": "b", "score": 0}]}, set()),
        ({"relevant": {"id": "b", "score": 0}}, set()),
        ({"relevant": {"id": "disk", "score": 1}}, {"disk"}),
        ({"relevant": [{"incident_id": "b", "grade": "0"}, {"id": "c", "relevance": -1}, {"id": "disk"}]}, {"disk"}),
        ({"relevant": [{"disk": 2, "b": 0}, {"c": "0.0"}]}, {"disk"}),
        ({"relevant": [{"id": "disk", "grade": "high"}, {"id": "b", "grade": None}]}, {"disk", "b"}),
        ({"relevant": [7, None]}, {"7"}),
        ({"relevant": None}, set()),
        ({"relevant": False}, set()),
        ({}, {"disk"}),
    ],
)
def test_relevant_incidents_are_named_in_any_form(given: dict[str, Any], said: set[str], tmp_path: Path) -> None:
    """A text is one name and not its letters; a grade of 0 or less is not relevant."""
    _, (case,), _ = read(tmp_path, lines(INCIDENT), lines(QUERY | given))
    assert case.relevant == said


@pytest.mark.parametrize(
    ("metrics", "name"),
    [
        (["a", "b"], "a b"),
        ("node_free_bytes", "node_free_bytes"),
        ([{"name": "a", "value": 1}, {"metric": "b"}], "a b"),
        ({"a": 0.0, "b": 1}, "a b"),
        ([1, None], "1"),
    ],
)
def test_metrics_are_named_in_any_form(metrics: Any, name: str, tmp_path: Path) -> None:
    _, (case,), _ = read(tmp_path, lines(INCIDENT), lines(QUERY | {"metrics": metrics}))
    assert case.anomaly.metric is not None
    assert case.anomaly.metric.name == name


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"labels": {"a": 1, "b": None, "c": True, "d": ["x", "y"]}}, "labels", {"a": "1", "c": "true", "d": "x\ny"}),
        ({"labels": ["a=b", 'c="d"', "e"]}, "labels", {"a": "b", "c": "d", "e": "e"}),
        ({"labels": [{"name": "a", "value": "b"}, {"c": "d"}]}, "labels", {"a": "b", "c": "d"}),
        ({"description": ["no", "space"]}, "message", "no\nspace"),
        ({"description": None, "summary": "no space"}, "message", "no space"),
        ({"description": "x" * 70_000}, "message", "x" * 65_536),
        ({"description": "half \ud800"}, "message", "half ?"),
        ({"description": "next\u2028line\x85and\x0bmore"}, "message", "next\u2028line\x85and\x0bmore"),
        ({"alertname": "A" * 300}, "error_type", "A" * 256),
        ({"alertname": None}, "error_type", "alert"),
        ({"service": 5}, "service", "5"),
        ({"spike_percentage": "+450 %"}, "spike_percentage", 450),
        ({"spike_percentage": float("nan")}, "spike_percentage", None),
    ],
)
def test_a_query_is_read_as_what_it_says(given: dict[str, Any], field: str, value: Any, tmp_path: Path) -> None:
    _, (case,), notes = read(
        tmp_path, lines(INCIDENT), (json.dumps(QUERY | given, ensure_ascii="half" in str(given)) + "\n").encode()
    )
    assert getattr(case.anomaly, field) == value
    assert notes == []


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"id": 7}, "id", "7"),
        ({"id": "i" * 300}, "id", "i" * 256),
        ({"title": "t" * 2000}, "title", "t" * 1024),
        ({"title": None}, "title", "no space left"),
        ({"title": "", "symptoms": None, "text": "clocks\nran apart"}, "title", "clocks"),
        ({"symptoms": None, "text": "clocks ran apart"}, "symptoms", "clocks ran apart"),
        ({"text": "not asked for"}, "symptoms", "no space left"),
        ({"symptoms": ["no", None, "space"]}, "symptoms", "no\nspace"),
        ({"outcome": "Resolved"}, "outcome", "resolved"),
        ({"recovery_minutes": "1h 20m"}, "recovery_minutes", 80),
        ({"labels": {"a": 1}}, "labels", {"a": "1"}),
        ({"service": ["a", "b"]}, "service", "a\nb"),
    ],
)
def test_an_incident_is_read_as_what_it_says(given: dict[str, Any], field: str, value: Any, tmp_path: Path) -> None:
    (incident,), _, notes = read(tmp_path, lines(INCIDENT | given), lines())
    assert getattr(incident, field) == value
    assert notes == []


@pytest.mark.parametrize("action", ["clean_disk", {"name": "clean_disk"}, {"name": "clean_disk", "target": "db"}])
def test_an_action_may_be_its_name_alone(action: Any, tmp_path: Path) -> None:
    """Of an incident, aimed at its service; and of a query."""
    given = {"action": action}
    (incident,), (case,), _ = read(tmp_path, lines(INCIDENT | {"service": "db"} | given), lines(QUERY | given))
    assert incident.action is not None
    assert (incident.action.name, incident.action.target, case.action) == ("clean_disk", "db", "clean_disk")


@pytest.mark.parametrize("when", ["2024-01-02T03:04:05", "2024-01-02 03:04:05 UTC", "2024-01-02T04:04:05+01:00"])
def test_a_time_without_a_zone_is_utc(when: str, tmp_path: Path) -> None:
    (incident,), _, _ = read(tmp_path, lines(INCIDENT | {"occurred_at": when}), lines())
    assert incident.occurred_at is not None
    assert incident.occurred_at.timestamp() == 1_704_164_645


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b""), (b"\xef\xbb\xbf", b""), (b"\n\r\n", b"\n\n")],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_file_may_begin_and_end_its_lines_in_its_own_way(
    before: bytes, after: bytes, end: bytes, tmp_path: Path
) -> None:
    raw = before + lines(QUERY, QUERY | {"id": "r"}).replace(b"\n", end) + after
    _, cases, _ = read(tmp_path, before + lines(INCIDENT).replace(b"\n", end), raw.rstrip() + after)
    assert [case.id for case in cases] == ["q", "r"]


def test_a_file_may_be_one_json_list(tmp_path: Path) -> None:
    incidents, cases, _ = read(tmp_path, json.dumps([INCIDENT], indent=1).encode(), json.dumps([QUERY]).encode())
    assert ([incident.id for incident in incidents], [case.id for case in cases]) == (["disk"], ["q"])


def test_each_query_has_a_name_of_its_own(tmp_path: Path) -> None:
    """One that is there in two variants under one id is counted once; one without an id has its line's."""
    named, described = QUERY | {"variant": "named"}, QUERY | {"variant": "described"}
    _, cases, _ = read(tmp_path, lines(INCIDENT), lines(named, described, {"description": "x"}))
    assert [case.id for case in cases] == ["q", "q#2", "line 3"]
    assert [case.id for case in headline(cases)] == ["q#2", "line 3"]


def test_one_id_many_times_is_told_apart_in_time(tmp_path: Path) -> None:
    """A file of nothing else takes no longer for each; a name that another query has is passed over."""

    def told(size: int) -> list[str]:
        return [case.id for case in _distinct([Case("q", "", Anomaly(error_type="e"), frozenset(), None)] * size)]

    assert told(4) == ["q", "q#2", "q#3", "q#4"]
    assert grows_linearly(told, 1000)
    asked = [QUERY | {"id": name} for name in ("q#3", "q", "q", "q", "q#3")]
    _, cases, _ = read(tmp_path, lines(INCIDENT), lines(*asked))
    assert [case.id for case in cases] == ["q#3", "q", "q#2", "q#4", "q#3#2"]


def test_what_is_left_out_is_told_once(tmp_path: Path) -> None:
    """With how often and the first line; so is an id that is there twice, and an answer that is not on record."""
    odd = INCIDENT | {"outcome": "success"}
    incidents, cases, notes = read(
        tmp_path,
        lines(INCIDENT, odd, odd | {"id": "b"}, {"title": "no id"}),
        lines(QUERY | {"relevant": ["gone"]}, QUERY | {"spike_percentage": "much"}, {"id": "mute", "desc": "no space"}),
    )
    assert [case.id for case in cases] == ["q", "q#2"]
    assert [(incident.id, incident.outcome) for incident in incidents] == [
        ("disk", "unknown"), ("b", "unknown"), ("line 4", "unknown"),
    ]  # fmt: skip
    assert [note.replace(f"{tmp_path}/", "") for note in notes] == [
        "incidents.jsonl: 1 with the id of another one: of each id the last one counts",
        "incidents.jsonl: line 2, and 1 more: outcome was not understood, and left out: 'success'",
        "incidents.jsonl: line 4: has no id: its line is its name",
        "queries.jsonl: 1 of 2 queries name relevant incidents of which none is on record",
        "queries.jsonl: line 2: spike_percentage was not understood, and left out: 'much'",
        "queries.jsonl: line 3: says nothing that could be asked: left out",
    ]


DEEP = b'{"id": "i", "symptoms": ' + b"[" * 600 + b"1" + b"]" * 600 + b"}"


@pytest.mark.parametrize("row", [b'{"id": "i"}', b"null", b"{", b'{"id": "\xff"}', b'{"labels": ' + b"[" * 5000, DEEP])
def test_what_is_no_row_is_refused_by_line(row: bytes, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=r"incidents\.jsonl: (line 1|is not UTF-8)"):
        read(tmp_path, row + b"\n", lines())
