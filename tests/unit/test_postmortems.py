"""Post-mortems as teams export them become incidents, and what no rule finds is told and not made up."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Rejected
from pipeline.knowledge import Loaded, read_files, read_incidents
from pipeline.postmortems.confluence import as_markdown as of_html
from pipeline.postmortems.outline import outline
from pipeline.postmortems.plain import as_markdown as of_text
from pipeline.postmortems.rules import filled, minutes, when
from schemas import Action, Incident
from tests.growth import grows_linearly

CONFLUENCE = """<!DOCTYPE html><html><head><title>SRE : Payments database ran out of connections</title>
<style>h1 { color: red }</style></head><body class="theme-default"><div id="page"><div id="main"><div id="main-header">
<ol id="breadcrumbs"><li><a href="index.html">SRE</a></li></ol>
<h1 id="title-heading"><span id="title-text"> SRE : Payments database ran out of connections </span></h1></div>
<div id="content" class="view"><div class="page-metadata">Created by <span class='author'>Ada</span></div>
<div id="main-content" class="wiki-content group"><div class="table-wrap"><table class="confluenceTable"><tbody>
<tr><th><p>Incident date</p></th><td><div><p><time datetime="2024-05-03">03 May 2024</time> </p></div></td></tr>
<tr><th>Severity</th><td><span class="status-macro">SEV1</span></td></tr>
<tr><th>Impact</th><td>High</td></tr>
<tr><th>Affected services</th><td>payments-db</td></tr><tr><th>Action</th><td>throttle_connections</td></tr>
<tr><th>Status</th><td>RESOLVED</td></tr></tbody></table></div>
<h2 id="x">&#128270; Executive summary</h2>
<p>Checkout failed for&nbsp;41 minutes &amp; nobody could pay.<br/>It took &lt;30s&gt;.
</p><h2>Root cause</h2>
<p>A client <strong>retried</strong> without backoff</p><h3>Resolution of names</h3><ul><li>slow</li>
<li><p>no alert</p></li></ul><h2>Resolution</h2><p>Throttled:</p><div class="code"><pre># no heading
ALTER ROLE app CONNECTION LIMIT 30;</pre></div>
<h2>Lessons learned: fixes of the root cause</h2><p>Limit everything.</p></div>
<div class="pageSection"><h2 id="attachments">Attachments:</h2></div></div></div>
<div id="footer"><p>Confluence</p></div></div>
</body></html>"""
NOTION = """# Checkout latency after release

Created: May 6, 2024 9:12 AM
Date: May 3, 2024 10:00 AM → May 3, 2024 11:30 AM
Service: checkout (https://www.notion.so/checkout-0123456789abcdef)
Status: Done
Alert: HighLatencyP99
Category: deploys

# What happened

p99 latency rose to 4 s right after release 812.

# Investigation

Traces showed one query for each item.

# Root Cause

- the new release loaded each item alone

# Mitigation

TBD

# How it was resolved

Rolled back.

# Action items

- [ ] Fix: load all at once
"""
TEXT = """Disk of the search nodes full
=============================
Date: 2024-06-01 07:30 UTC
Services: search, indexer
Time to recovery: 1h 20m
Action: clean_disk

SYMPTOMS
Writes to the index were refused,
disk at 100 %.

Root cause: debug logs were left on
after an earlier incident.

What we did to fix it:
# Old logs were deleted.

Follow-ups:
Rotate logs.
"""
JSON = """[{"id": 4711, "name": "Consumers behind", "affectedService": "orders", "startedAt": "2024-07-01T10:00:00Z",
"status": "mitigated", "impact": "high", "summary": "Consumer lag grew for an hour.",
"resolution": "It was skipped by hand.",
"rootCause": "A poison message was retried.", "tags": ["kafka"]},
{"id": "x-2", "title": "T", "started_at": "03/05/2024"}]"""


def loaded(folder: Path, name: str, text: str) -> Loaded:
    (folder / name).write_text(text)
    (found,) = read_files(folder / name)
    return found


def test_a_page_of_confluence(tmp_path: Path):
    """Its own content and no navigation; properties from its table, prose from its sections, code as it stands."""
    found = loaded(tmp_path, "Payments_98765.html", CONFLUENCE)
    assert found.incidents == [
        Incident(
            id="Payments_98765", title="Payments database ran out of connections", service="payments-db",
            symptoms="Checkout failed for 41 minutes & nobody could pay.\nIt took <30s>.",
            root_cause="A client retried without backoff\n### Resolution of names\n- slow\n- no alert",
            mitigation="Throttled:\n\n```\n# no heading\nALTER ROLE app CONNECTION LIMIT 30;\n```",
            action=Action("throttle_connections", "payments-db"), outcome="resolved",
            occurred_at=datetime(2024, 5, 3, tzinfo=UTC), labels={"severity": "SEV1"},
        )
    ]  # fmt: skip
    assert found.unfilled() == ["error_type", "fault_class", "diagnosis", "recovery_minutes"]
    assert found.notes == ["the time '2024-05-03' names no zone: read as UTC"]


def test_a_page_of_notion(tmp_path: Path):
    """Its properties stand under the title, its headings are of the first level, its file's name ends in an id."""
    name = "Checkout latency 1f0c2d3e4a5b6c7d8e9f0a1b2c3d4e5f"
    found = loaded(tmp_path, f"{name}.md", NOTION)
    assert found.incidents == [
        Incident(
            id=name, title="Checkout latency after release", service="checkout", error_type="HighLatencyP99",
            fault_class="deploys", symptoms="p99 latency rose to 4 s right after release 812.",
            diagnosis="Traces showed one query for each item.", root_cause="- the new release loaded each item alone",
            mitigation="Rolled back.", occurred_at=datetime(2024, 5, 3, 10, tzinfo=UTC),
        )
    ]  # fmt: skip
    assert found.unfilled() == ["action", "outcome", "recovery_minutes"]  # a page that is done is no outcome
    (tmp_path / f"{name}.md").write_text(NOTION.split("\n", 1)[1].replace("# ", "## "))
    (untitled,) = read_files(tmp_path)
    assert untitled.incidents[0].title == "Checkout latency"


def test_plain_text(tmp_path: Path):
    """Headings as people type them; several services are none, and so there is nothing to aim the action at."""
    found = loaded(tmp_path, "disk.txt", TEXT)
    assert found.incidents == [
        Incident(
            id="disk", title="Disk of the search nodes full",
            symptoms="Writes to the index were refused,\ndisk at 100 %.",
            root_cause="debug logs were left on\nafter an earlier incident.", mitigation="# Old logs were deleted.",
            recovery_minutes=80.0, occurred_at=datetime(2024, 6, 1, 7, 30, tzinfo=UTC),
        )
    ]  # fmt: skip
    assert found.notes == ["several services: search, indexer", "the action clean_disk has no service to aim at"]


def test_json_of_another_tool(tmp_path: Path):
    """Other names than ours fill what is empty; how many lack what is told, and which time was not understood."""
    found = loaded(tmp_path, "tool.json", JSON)
    assert found.incidents == [
        Incident(
            id="4711", title="Consumers behind", service="orders", symptoms="Consumer lag grew for an hour.",
            root_cause="A poison message was retried.", mitigation="It was skipped by hand.", outcome="mitigated",
            occurred_at=datetime(2024, 7, 1, 10, tzinfo=UTC),
        ),
        Incident(id="x-2", title="T"),
    ]  # fmt: skip
    assert found.notes == ["x-2: the time '03/05/2024' was not understood"]
    assert "symptoms (1 of 2)" in found.unfilled()
    assert "action" in found.unfilled()


def test_our_own_json_is_taken_word_for_word(tmp_path: Path):
    """What bears our names is not read in another way, and stays strict."""
    row = '{"id": "a", "title": "t", "symptoms": "s", "summary": "it was rather different", "outcome": "resolved"}'
    assert loaded(tmp_path, "a.json", row).incidents == [Incident(id="a", title="t", symptoms="s", outcome="resolved")]
    with pytest.raises(Rejected, match=r"b\.json"):
        loaded(tmp_path, "b.json", '{"id": "b", "title": "t", "outcome": "great"}')


SHORT = """{"rootCause": "bad zone", "resolution": "restarted resolvers", "impact": "high", "duration": "25 min",
"timeline": ["9:00 alert", "9:25 over"], "time_to_recovery": 12}"""


def test_a_short_value_under_a_key_that_says_what_it_is_is_kept(tmp_path: Path):
    """Two words of a cause are a cause; a degree and a state are nothing told; what a duration is of counts."""
    found = loaded(tmp_path, "dns.json", SHORT)
    assert found.incidents == [
        Incident(
            id="dns", title="dns", root_cause="bad zone", mitigation="restarted resolvers", recovery_minutes=12.0
        )
    ]  # fmt: skip
    found = loaded(tmp_path, "b.json", SHORT.replace("restarted resolvers", "Done").replace("time_to_r", "r"))
    assert found.incidents == [Incident(id="b", title="b", root_cause="bad zone")]
    assert found.notes == ["the duration '25 min' is of the whole: how long the mitigation took is not told"]
    found = loaded(tmp_path, "c.md", "# DNS\n\nRoot cause: bad zone\nImpact: high\n")
    assert found.incidents == [Incident(id="c", title="DNS", root_cause="bad zone")]


def test_what_cannot_be_read_is_told_and_the_rest_is_loaded(tmp_path: Path):
    """Of a folder; a file that is named by itself is refused, and so is a folder where all must be read."""
    (tmp_path / "a.json").write_text('{"id": "a", ')
    (tmp_path / "b.txt").write_bytes(b"Root cause: \xff\n")
    (tmp_path / "c.jsonl").write_text('{"id": "c", "title": "t"}\n{')
    (tmp_path / "disk.txt").write_text(TEXT)
    (tmp_path / "twice.json").write_text('{"id": "disk", "title": "t"}')
    (tmp_path / "nul.json").write_text('{"id": "nul", "title": "t", "action": {"name": "a", "target": "\\u0000"}}')
    (tmp_path / "name\udcff.md").write_text("## Root cause\nA full disk.\n")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere.md")
    found = {one.file.name: one for one in read_files(tmp_path)}
    assert [one.id for loaded in found.values() for one in loaded.incidents] == ["disk"]
    assert {name: one.fault for name, one in found.items()} == {
        "a.json": "Input data was truncated",
        "b.txt": "is not UTF-8, from byte 12 on",
        "c.jsonl": "line 2: Input data was truncated",
        "disk.txt": None,
        "gone.md": "No such file or directory",
        "name\udcff.md": "incident 1: a string holds a lone surrogate",
        "nul.json": "incident 1: a string holds a NUL character",
        "twice.json": f"the id disk is in {tmp_path / 'disk.txt'}, too",
    }
    with pytest.raises(Rejected, match=r"b\.txt: is not UTF-8"):
        read_files(tmp_path / "b.txt")
    with pytest.raises(Rejected, match=r"a\.json"):
        read_incidents(tmp_path)
    unread: list[Loaded] = []
    assert [one.id for one in read_incidents(tmp_path, unread.append)] == ["disk"]
    assert [one.file.name for one in unread] == sorted(name for name, one in found.items() if one.fault)
    with pytest.raises(Rejected, match="no such file or folder"):
        read_files(tmp_path / "none")


def test_front_matter_says_it_in_our_words_or_in_others(tmp_path: Path):
    """An action may be its bare name, aimed at the service; a date and an alert are read as they are in a table."""
    front = "---\nservice: search\nalert: IndexLag\ndate: 2026-04-02\naction: restart_service\ntags: [a]\n---\n"
    found = loaded(tmp_path, "lag.md", front + "# Search was stale\n\n## Symptoms\nOld prices were shown.\n")
    assert found.incidents == [
        Incident(
            id="lag", title="Search was stale", service="search", error_type="IndexLag",
            symptoms="Old prices were shown.", action=Action("restart_service", "search"),
            occurred_at=datetime(2026, 4, 2, tzinfo=UTC),
        )
    ]  # fmt: skip
    assert found.notes == ["the time '2026-04-02' names no zone: read as UTC"]
    found = loaded(tmp_path, "lag.json", '{"title": "T", "action": "restart_service"}')
    assert found.incidents == [Incident(id="lag", title="T")]
    assert found.notes == ["the action restart_service has no service to aim at"]
    with pytest.raises(Rejected, match="not taken for a post-mortem"):
        loaded(tmp_path, "lunch.md", "---\nlayout: post\n---\n# Lunch\n")


_SLOW = "## Symptoms\nIt is slow.\n"
_ROW = {"service": "api", "action": "scale_out", "impact": "It is slow."}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", f"---\nservice: api\naction: scale_out(replicas=3, zone=eu-b)\n---\n# T\n\n{_SLOW}"),
        ("a.md", f"# T\n\n**Service:** api\n**Action:** scale_out replicas=3; zone='eu-b'\n\n{_SLOW}"),
        ("a.json", json.dumps(_ROW | {"parameters": {"replicas": 3, "zone": "eu-b"}})),
        ("a.csv", "title,service,action,parameters\nT,api,scale_out,replicas=3;zone=eu-b\n"),
    ],
)
def test_an_action_by_its_name_may_have_parameters(tmp_path: Path, name: str, text: str):
    """In brackets or behind it, and where a row has them in a column or field of their own."""
    (incident,) = loaded(tmp_path, name, text).incidents
    assert incident.action == Action("scale_out", "api", {"replicas": 3.0, "zone": "eu-b"})


@pytest.mark.parametrize("action", ["scale_out: added pods", "Scaled out", "rollback to v1", "scale_out(=3)", "f(a=)"])
def test_what_is_prose_is_no_action(tmp_path: Path, action: str):
    found = loaded(tmp_path, "a.json", json.dumps(_ROW | {"action": action}))
    assert found.incidents[0].action is None
    assert any("is no name of an action" in note for note in found.notes)


def test_a_row_of_an_export_may_say_null_and_hold_any_character(tmp_path: Path):
    """What is null is empty; a separator of paragraphs ends no line of JSON; a source that is no text is told, once."""
    rows = [
        {"id": name, "title": "Disk full", "symptoms": "a\u2028b\x85c\x0bd", "root_cause": None, "action": None,
         "labels": None, "outcome": None, "source": {"repo": "x"}}
        for name in "ab"
    ]  # fmt: skip
    expected = [Incident(id=name, title="Disk full", symptoms="a\u2028b\x85c\x0bd") for name in "ab"]
    texts = [json.dumps(row, ensure_ascii=False) for row in rows]
    for name, text in (("rows.jsonl", "\n".join(texts)), ("rows.json", f"[{','.join(texts)}]")):
        found = loaded(tmp_path, name, text)
        assert found.incidents == expected
        assert found.notes == ["a source that is no text was left out"]


def test_the_same_name_in_two_folders_is_two_incidents(tmp_path: Path):
    """An id is the path below the folder; a README down there is a page like any other."""
    for name in ("kafka/index.md", "dns/index.md", "dns/README.md", "README.md", "flat.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("## Root cause\nA full disk.\n")
    found = {one.id: one.title for one in read_incidents(tmp_path)}
    assert found == {"kafka/index": "kafka", "dns/index": "dns", "dns/README": "dns", "flat": "flat"}


@pytest.mark.parametrize(
    ("first", "title"),
    [
        ("Postmortem: Kafka lag on orders", "Postmortem: Kafka lag on orders"),
        ("Incident report: Kafka lag", "Incident report: Kafka lag"),
        ("Kafka lag on orders", "Kafka lag on orders"),
        ("Incident date: 2024-06-01", "lag"),
        ("Title: Kafka lag", "Kafka lag"),
        ("On 2 May the orders stood still, " + "and nobody knew why, " * 9, "lag"),
    ],
)
def test_the_title_of_plain_text_is_its_first_line(tmp_path: Path, first: str, title: str):
    """Unless it is a property, or the first paragraph of a text without a title."""
    found = loaded(tmp_path, "lag.txt", f"{first}\n\nRoot cause:\nA poison message.\n")
    assert [incident.title for incident in found.incidents] == [title]


NO_POST_MORTEM = {
    "index.html": "<html><head><title>SRE</title><body><h2>Available Pages:</h2><a href='x'>x</a></html>",
    "shopping.txt": "buy milk",
    "Team page.md": "# Team\n\n## Members\nAda",
    "empty.txt": "",
}


def test_what_is_no_post_mortem_is_not_loaded_and_told(tmp_path: Path):
    """In a folder it is passed over with a note; named by itself it is refused."""
    for name, text in NO_POST_MORTEM.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(Rejected, match="not taken for a post-mortem"):
            read_files(tmp_path / name)
    (tmp_path / "disk.txt").write_text(TEXT)
    found = read_files(tmp_path)
    assert {one.file.name for one in found if not one.incidents} == set(NO_POST_MORTEM)
    assert all(one.notes for one in found)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-03T10:00:00Z", datetime(2024, 5, 3, 10, tzinfo=UTC)),
        ("2024-05-03 10:00+02:00", datetime(2024, 5, 3, 10, tzinfo=timezone(timedelta(hours=2)))),
        ("May 3, 2024 10:00 AM (GMT+2)", datetime(2024, 5, 3, 10, tzinfo=timezone(timedelta(hours=2)))),
        ("3 May 2024 22:15 UTC", datetime(2024, 5, 3, 22, 15, tzinfo=UTC)),
        ("3 May 2024 at 22:15 UTC", datetime(2024, 5, 3, 22, 15, tzinfo=UTC)),
        ("2024/05/03", datetime(2024, 5, 3, tzinfo=UTC)),
        ("2024-05-03 10:00 - 2024-05-03 12:00", datetime(2024, 5, 3, 10, tzinfo=UTC)),
        ("03/05/2024", None),
        ("last Friday", None),
        ("2024-05-03 10:00 PST", None),
        ("2024-05-03 10:00 GMT+99", None),
    ],
)
def test_a_time_is_read_or_not_and_never_guessed(text: str, moment: datetime | None):
    """What is no time, or two, or in a zone that we do not know, is None with a note."""
    found, note = when(text)
    assert found == moment
    assert moment is not None or (note is not None and "was not understood" in note)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45", 45.0),
        ("45 min", 45.0),
        ("1h 20m", 80.0),
        ("2 hours", 120.0),
        ("1.5 h", 90.0),
        ("a while", None),
        ("", None),
    ],
)
def test_a_duration_is_read_or_not(text: str, expected: float | None):
    assert minutes(text) == expected


@given(st.text(alphabet=st.sampled_from("<>/#|:-*`=abRoot cause\n\t &;pretdhiv1234")))
def test_no_text_breaks_the_readers(text: str):
    """Whatever is between the brackets, there is an outline, and no more is filled than the fields there are."""
    for markdown in (text, of_html(text), of_text(text)):
        assert set(filled(outline(markdown)).fields) <= set(Incident.__struct_fields__)


@pytest.mark.parametrize(
    ("html", "markdown"),
    [
        ("<p>a</p><!-- <p>b</p> --><p>c</p>", "a\n\nc"),
        ("<!--><p>a</p><!--->b", "a\n\nb"),
        ("<script>if (a.indexOf('<!--')) {}</script><p>a</p><script src='x'/><p>b</p>", "a\n\nb"),
        ("<![if !supportLists]>1.<![endif]> a <![foo <p>b", "1. a b"),
        ("<![CDATA[<p>a</p>]]>b", "b"),
        ("List<String and 1 < 2 and <a title='x > y < z'>c</a>", "List<String and 1 < 2 and c"),
        ("<p title=it's>a</p>", "a"),
        ("a <b", "a <b"),
    ],
)
def test_what_is_no_tag_is_text_and_what_is_not_shown_is_not_read(html: str, markdown: str):
    """Comments, scripts and sections go; a sign that begins no tag stays; a section of no known kind breaks nothing."""
    assert of_html(html) == markdown


@pytest.mark.parametrize(
    "unit", ["<!--", "<!-- a", "<?", "<!", "<![", "<![CDATA[", "</", "</a ", "<a", "<a ", "<a b", "<a b='", '<a b="',
             "a<b", "<script ", "<script>", "</script", "[", "[a](", "[](", "(https://", "how ", "how a ", " ", "\n",
             "-", " #"],
)  # fmt: skip
def test_no_page_takes_long(unit: str, tmp_path: Path):
    """Whatever a pattern of ours, or Python's own parser, may begin with, and never finds the end of."""
    file = tmp_path / "a.md"

    def read(size: int) -> None:
        text = unit * (size // len(unit))
        of_html(text)
        of_html(f"{text}/>")
        filled(outline(f"# t\n\nservice: {text}\n\n## {text}\n\nx"))
        filled(outline(f"# t{text}t\n\nservice: a{text}b\n\n## Summary\n\n{text}x"))
        file.write_text(f"---{text}\n\n## Root cause\nA full disk.\n")
        read_files(file)

    assert grows_linearly(read, 12_500)


@pytest.mark.parametrize("suffix", ["json", "jsonl", "yaml"])
def test_several_without_an_id_keep_theirs_wherever_they_stand(tmp_path: Path, suffix: str):
    """An export grows at its head: what is known already is not taken for another one."""
    rows = [
        {"headline": "Basket lost items", "rootCause": "redis evicted keys", "date": "2026-01-02"},
        {"title": "Disk full", "symptoms": "no space left", "occurred_at": "2026-02-03T04:05:06Z"},
        {"title": "Disk full", "symptoms": "no space left again", "occurred_at": "2026-03-03T04:05:06Z"},
    ]
    if suffix == "yaml":
        rows = rows[1:]
    file = tmp_path / f"export.{suffix}"

    def written(rows: list[dict[str, str]]) -> dict[str, str]:
        file.write_text("\n".join(map(json.dumps, rows)) if suffix == "jsonl" else json.dumps(rows))
        return {incident.id: incident.title + incident.symptoms for incident in read_incidents(file)}

    first = written(rows)
    assert len(first) == len(rows)
    assert all(name.startswith("export#") for name in first)
    assert written([{"title": "New", "symptoms": "it is new"}, *reversed(rows)]).items() > first.items()


TABLE = """Opened;Service;Alert;Symptoms;Symptoms;Resolution;Action;Outcome
12.02.2025 08:00;seatmap;SeatLockTimeout;"lock waits; over 20 s";;Killed the queries.;kill_long_queries;Resolved

13.02.2025 09:30;seatmap;SeatLockTimeout;;"lock waits of
a minute";Killed them.;kill_long_queries;Failed
"""


@pytest.mark.parametrize(("suffix", "between"), [("csv", ";"), ("csv", ","), ("tsv", "\t")])
def test_a_table_has_an_incident_a_row(tmp_path: Path, suffix: str, between: str):
    """Columns are read as headings and properties are; a row that names no title is called by its fault."""
    text = TABLE.replace(";", between).replace(f"waits{between}", "waits;")
    found = loaded(tmp_path, f"export.{suffix}", "\ufeff" + text)
    one, other = found.incidents
    assert (one.title, one.service, one.symptoms) == ("SeatLockTimeout on seatmap", "seatmap", "lock waits; over 20 s")
    assert (one.mitigation, one.outcome, other.outcome) == ("Killed the queries.", "resolved", "failed")
    assert one.occurred_at == datetime(2025, 2, 12, 8, tzinfo=UTC)
    assert one.action == Action("kill_long_queries", "seatmap")
    assert other.symptoms == "lock waits of\na minute"
    (note,) = found.notes
    assert note == "without an id: the time '12.02.2025 08:00' names no zone: read as UTC (and 1 more like it)"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Title,Symptoms\nlag,slow,very\n", "line 2: cells: 3, columns: 2"),
        ("Title,Symptoms\nlag\n", "line 2: cells: 1, columns: 2"),
        ("Service,Symptoms\norders,slow\n", "incident 1: Object missing required field"),
        ("Title,Symptoms\nlag," + "x" * 200_000, "line 2: field larger than field limit"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_line(tmp_path: Path, text: str, fault: str):
    """A cell in the wrong column would be told as what it is not."""
    (tmp_path / "export.csv").write_text(text)
    with pytest.raises(Rejected, match=re.escape(fault)):
        read_files(tmp_path / "export.csv")


def test_one_in_our_form_without_an_id_is_called_by_its_file(tmp_path: Path):
    """As one in another form is."""
    (tmp_path / "disk.json").write_text('{"symptoms": "no space left"}')
    assert [(one.id, one.title) for one in read_incidents(tmp_path)] == [("disk", "disk")]
