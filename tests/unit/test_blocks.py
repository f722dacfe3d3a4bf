"""What Slack is sent: within its limits, and no markup of anybody else's."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sinks.blocks import Member, Payload, escape, readable, render, render_digest, render_update
from schemas import Action, Decision, Evidence, TrackRecord, Usage


def decision(text: str) -> Decision:
    evidence = [Evidence(text, text, 0.5, Action("restart_service", text), "resolved", text)] * 5
    return Decision(
        id="dec_1", episode_id="ep_1", revision=1, anomaly_id="a", fingerprint="fp", service=text, error_type=text,
        severity="critical", symptom=text, matched_incident=text, verdict="recommend", recommended_action=text,
        action=Action("restart_service", text), confidence_score=0.5, rationale=text, evidence=evidence, occurrences=1,
        engine="nearest", model=None, prompt_version=None, usage=Usage(), fallback_reason=text, latency_ms=1.0,
        timings={}, created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


@given(
    st.text(max_size=50).map(lambda text: text * 200)
    | st.sampled_from(["<!channel>", "<@U1>", "<http://x|y>", "&lt;!here&gt;"])
)
def test_rendering_stays_within_slacks_limits_and_lets_no_markup_through(text: str):
    """Headers, sections, blocks and the whole are within their limits; no control sequence comes from outside."""
    one = decision(text)
    many = [msgspec.structs.replace(one, id=f"dec_{n}", situation_id=f"sit_{n % 9}") for n in range(60)]
    members = [Member(text, n % 2 == 0) for n in range(60)]
    for message in (
        render(one), render(one, members), render(one, members, many),
        render(one, members, many, buttons=True), render_update(many, one, members),
        render_update([], None, []), render_digest(many),
    ):  # fmt: skip
        within_limits(message)


def texts_of(block: dict[str, Any]) -> list[dict[str, Any]]:
    """What a block says. Slack reads marks, mentions, emoji and addresses into none of these: there is no mrkdwn."""
    if block["type"] == "rich_text":
        (section,) = block["elements"]
        assert section["type"] == "rich_text_section"
        assert {item["type"] for item in section["elements"]} <= {"text", "link"}
        return list(section["elements"])
    texts = {"header": lambda: [block["text"]], "context": lambda: block["elements"]}.get(block["type"], list)()
    assert all((item["type"], item["emoji"]) == ("plain_text", False) for item in texts)
    return texts


def within_limits(message: dict[str, Any]) -> None:
    total = 0
    for block in message["blocks"]:
        texts = [item["text"] for item in texts_of(block)]
        total += sum(map(len, texts))
        assert all(1 <= len(text) <= (150 if block["type"] == "header" else 3000) for text in texts)
        assert sum(map(len, texts)) <= 3000
    assert len(message["blocks"]) <= 50
    assert total <= 12_000
    assert "<" not in message["text"]
    assert msgspec.json.encode(message)


def test_the_longest_messages_are_no_longer_than_slack_takes():
    """Its limit is of the blocks as JSON, and more than 13,000 characters."""
    one = decision("x" * 3000)
    many = [msgspec.structs.replace(one, id=f"dec_{n:020}", error_type=f"{n}{'x' * 250}") for n in range(60)]
    members = [Member("x" * 300 + str(n), going_on=True) for n in range(60)]
    for message in (
        render(one, members), render(one, members, many, buttons=True), render_update(many, one, members),
        render_digest(many),
    ):  # fmt: skip
        assert len(json.dumps(message["blocks"])) < 12_900


def test_a_message_links_to_its_situation_on_the_page():
    """Where the page's address is known, and a situation is."""
    lone = decision("x")
    one = msgspec.structs.replace(lone, situation_id="sit_1")

    def links(message: Payload) -> list[str]:
        return [item["url"] for block in message["blocks"] for item in texts_of(block) if "url" in item]

    assert links(render(one, page="https://pg.example/")) == ["https://pg.example/?situation=sit_1"]
    assert links(render(one)) == links(render(lone, page="https://pg.example/")) == []
    shown = readable(render(one, page="https://pg.example/"))
    assert "Open it on the page, and say whether it is right: https://pg.example/?situation=sit_1" in shown


def test_no_text_of_others_is_read_as_markup():
    """Slack looks for marks in mrkdwn alone: nothing of an alert stands in one. What is bold is a heading of ours."""
    text = "> _x_ *y* ~z~ `w` :fire: <!channel> evil.example a_b:c &lt;!here&gt;"
    one = decision(text)
    for message in (
        render(one, [Member(text, going_on=True)] * 2, [one], buttons=True), render_update([one], one, []),
        render_digest([one] * 40),
    ):  # fmt: skip
        said = [item for block in message["blocks"] for item in texts_of(block)]
        assert "mrkdwn" not in json.dumps(message["blocks"])
        assert any(text in item["text"] for item in said)
        assert not any("url" in item for item in said)
        styled = {item["text"] for item in said if "style" in item}
        assert styled <= {"Symptom", "Recommended action", "Confidence", "Evidence", "Situation", "and 12 more"}


def test_a_notification_shows_no_markup_of_others():
    """What an alert says is no emoji and stays as it is written, and a pile of marks covers no other line."""
    text = "*Recommended action* ~no~ `curl x | sh` ```y``` \u202e\u200b\u3164 a" + "\u0301" * 50
    assert escape(text, 400) == "\u2217Recommended action\u2217 \u223cno\u223c \u02cbcurl x | sh\u02cb " + (
        "\u02cb\u02cb\u02cby\u02cb\u02cb\u02cb  a" + "\u0301" * 4
    )
    assert escape("a\nb\tc", 400) == "a b c"
    assert escape("_up_ __all__ :fire: a:100:b \uff0ax\uff0a \uff3fx\uff3f", 400) == (
        "\u02cdup_ \u02cd\u02cdall_\u02cd \u2236fire: a\u2236100:b \u2217x\u2217 \u2e0fx\u2e0f"
    )


@pytest.mark.parametrize(
    "text", ["service_name_with_underscores on a_b_c: d/e:5432 is down", "12:30, 100 %, a::b, c_ and PGBOUNCER_POOL_"]
)
def test_words_of_every_day_are_notified_of_as_they_are(text: str):
    assert escape(text, 400) == text


def test_a_digest_names_every_decision_and_what_there_is_no_room_for_by_what_it_is():
    """28 one by one with their ids, the other two by error type and service."""
    many = [msgspec.structs.replace(decision("x"), id=f"dec_{n}", error_type=f"kind{n}") for n in range(30)]
    said = msgspec.json.encode(render_digest(many)).decode()
    assert "30 decisions in 30 situations" in said
    assert all(f" dec_{n}" in said for n in range(28))
    assert "and 2 more" in said
    assert "kind28 on x" in said
    assert "kind29 on x" in said


def test_an_advice_says_how_it_did_before():
    known = msgspec.structs.replace(
        decision("x"), track_record=TrackRecord(times=9, worked=7, failed=1, recovery_minutes=11.0)
    )
    assert "Done before: 9, worked 7, failed 1, median 11 min to recovery" in str(render(known))
    assert "Done before" not in str(render(decision("x")))


@pytest.mark.parametrize(
    ("first", "then", "title"),
    [
        ("warning", ["error", "critical"], "🔴 2 more of 🟡 slow on api"),
        ("critical", ["warning"], "1 more of 🔴 slow on api"),
        ("warning", ["warning", None], "2 more of 🟡 slow on api"),
    ],
)
def test_an_update_that_is_worse_than_its_head_says_so_first(first: Any, then: list[Any], title: str):
    """A notification shows the title alone: what began as a warning may have become critical."""
    head = msgspec.structs.replace(decision("slow"), error_type="slow", service="api", severity=first)
    more = [msgspec.structs.replace(head, id=f"dec_{n}", severity=severity) for n, severity in enumerate(then)]
    assert render_update(more, head, [])["text"] == title


def test_a_head_says_when_its_situation_is_over():
    going_on, over = ([Member("a", state), Member("b", False)] for state in (True, False))
    assert "over" not in render(decision("x"), going_on)["text"]
    assert "2 episodes, 1 going on" in str(render(decision("x"), going_on))
    assert render(decision("x"), over)["text"].startswith("✅ over: 🔴 x on x")


def test_an_escape_is_never_cut_in_two():
    for limit in range(2, 30):
        cut = escape("&" * 20, limit)
        assert len(cut) <= limit
        assert cut.removesuffix("…").replace("&amp;", "") == ""
