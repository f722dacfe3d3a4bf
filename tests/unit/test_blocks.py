"""What Slack is sent: within its limits, and no markup of anybody else's."""

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sinks.blocks import escape, render
from schemas import Action, Decision, Evidence, Usage


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
    message = render(decision(text))
    total = 0
    for block in message["blocks"]:
        texts = [block["text"]] if "text" in block else block["elements"]
        for item in texts:
            total += len(item["text"])
            assert len(item["text"]) <= (150 if block["type"] == "header" else 3000)
            assert item["type"] == "plain_text" or ("<" not in item["text"] and ">" not in item["text"])
    assert len(message["blocks"]) <= 50
    assert total <= 12_000
    assert "<" not in message["text"]
    assert msgspec.json.encode(message)


def test_an_escape_is_never_cut_in_two():
    for limit in range(2, 30):
        cut = escape("&" * 20, limit)
        assert len(cut) <= limit
        assert cut.removesuffix("…").replace("&amp;", "") == ""
