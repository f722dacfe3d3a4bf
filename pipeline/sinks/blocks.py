"""A decision as Slack's Block Kit. Everything from outside is escaped and cut within Slack's limits. No I/O."""

from typing import Any

from schemas import Decision

HEADER, SECTION, TOTAL = 150, 2900, 12_000
"""Characters: Slack's limit for a header; under its 3,000 for a section; under what it takes over all blocks."""
_MARKS = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
_FIELD, _EVIDENCE = 1500, 3


def escape(text: str, limit: int) -> str:
    """Slack's three escapes, cut to ``limit`` characters without cutting an escape in two. No markup survives."""
    out: list[str] = []
    used = 0
    for character in text:
        shown = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(character, character)
        if not character.isprintable():
            shown = " "
        if used + len(shown) > limit - 1:
            return "".join(out) + "…"
        out.append(shown)
        used += len(shown)
    return "".join(out)


def plain(text: str, limit: int) -> str:
    """Plain text cut to ``limit``: Slack does not interpret it."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def trust(decision: Decision) -> str:
    """The confidence in words and percent."""
    level = "high" if decision.confidence_score >= 0.8 else "medium" if decision.confidence_score >= 0.5 else "low"  # noqa: PLR2004
    return f"{level} ({decision.confidence_score:.0%})"


def render(decision: Decision) -> dict[str, Any]:
    """``text`` (the notification) and ``blocks`` of one decision."""
    mark = _MARKS.get(decision.severity or "", "⚪")
    ask = "Ask a human" if decision.verdict == "escalate" else "Recommended action"
    title = f"{mark} {decision.error_type}" + (f" on {decision.service}" if decision.service else "")
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": plain(title, HEADER), "emoji": False}},
        _section(f"*Symptom*\n{escape(decision.symptom, _FIELD)}"),
        _section(f"*{ask}*\n{escape(decision.recommended_action, _FIELD)}"),
        _section(f"*Confidence* {trust(decision)}\n{escape(decision.rationale, _FIELD)}"),
    ]
    if decision.evidence:
        lines = [
            f"• {escape(item.incident_id, 80)}: {escape(item.title, 200)} ({item.score:.2f}, {item.outcome})"
            for item in decision.evidence[:_EVIDENCE]
        ]
        blocks.append(_section("*Evidence*\n" + "\n".join(lines)))
    engine = decision.engine + (f", model not used: {decision.fallback_reason}" if decision.fallback_reason else "")
    facts = f"{decision.id} · {decision.latency_ms:.0f} ms · {engine} · occurrences {decision.occurrences}"
    blocks.append({"type": "context", "elements": [{"type": "plain_text", "text": plain(facts, 300), "emoji": False}]})
    return {"text": escape(f"{title}: {decision.recommended_action}", 400), "blocks": blocks}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:SECTION], "verbatim": True}}
